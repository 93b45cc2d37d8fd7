"""The words that people read, in one place: `__snapshots__/test_wording.ambr`.

Other tests assert numbers, exit codes and names of options. Who changes a sentence on purpose runs
``pytest -n 0 tests/cli/test_wording.py --snapshot-update`` and reads the difference.
"""

import re
import shutil
from pathlib import Path

import pytest
import tiny_runs

COMMANDS = [
    "simulate new.h5 --n-series 4 --n-steps 30",
    "analyze data.csv",
    "tokenize data.csv --model model",
    "flops --model model --seq-len 512",
    "flops --model model --rank 2 --vary rank=2,4",
    "baseline data.csv --no-model --context 10 --horizon 4",
    "forecast data.csv --model model --adapter none --horizon 4 --samples 2 --dry-run",
    "forecast data.csv --series s0 --forecaster last-value --holdout 4",
    "train data.csv --model model --dry-run",
    "train data.csv --model model --max-steps 2 --rank 2 --no-validation --out runs/first",
    "report first",
    "evaluate data.csv --model model --adapter none --context 10 --horizon 4 --samples 2",
    "export first --peft plain",
]


def _steady(words: str, folder: Path) -> str:
    """Words without what differs from run to run and from machine to machine."""
    words = words.replace(str(folder), "FOLDER")
    words = re.sub(r"\x1b\[[0-9;]*m", "", words)
    words = re.sub(r"\d[\d.,]*(e[+-]?\d+)?", "9", words)
    # a busy machine takes longer, and says so
    words = re.sub(r"\b9 (d|h|min)( 9 (h|min|s))?\b", "9 s", words)
    words = re.sub(r"\b9 [kMG] tokens", "9 tokens", words)
    words = re.sub(r"^ *model zero-shot: 9 of 9\n", "", words, flags=re.MULTILINE)
    words = re.sub(r"\babout 9 ([kMG]?B|s)\b", "about 9", words)
    words = re.sub(r"[─━═]+", "─", words)
    # a point of a sketch moves by a row with the last bits of a number, so with the threads
    words = re.sub(r"^ *(9 )?[+|][ +|*o.]*\n", "SKETCH\n", words, flags=re.MULTILINE)
    words = re.sub(r"(SKETCH\n)+", "SKETCH\n", words)
    return re.sub(r" +$", "", re.sub(r" +(?=\S)", " ", words), flags=re.MULTILINE)


@pytest.fixture
def folder(tmp_path, tiny_folder):
    """Where the commands run: a tiny model and six waves."""
    shutil.copytree(tiny_folder("qwen2"), tmp_path / "model")
    tiny_runs.write_csv(tmp_path / "data.csv", tiny_runs.dataset(6, n_steps=30))
    return tmp_path


def test_what_the_commands_say(run_lvlora, folder, monkeypatch, snapshot):
    """One test: some commands read what an earlier one left."""
    monkeypatch.chdir(folder)
    for line in COMMANDS:
        ran = run_lvlora(line.split(), code=0)
        assert _steady(f"{ran.stdout}\n{ran.stderr}", folder) == snapshot(name=line)

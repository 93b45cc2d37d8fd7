"""What a shell may complete: commands, options, words, models, runs, studies, layers."""

import os
import subprocess
import sys
from pathlib import Path

import ledgers
import pytest

from lvlora.cli.program import completion

ROOT = Path(__file__).parents[3]
HEAVY = {"torch", "transformers", "numpy", "scipy", "matplotlib", "optuna", "h5py"}


@pytest.fixture
def typed(run_lvlora):
    """``typed("lvlora train --ra")``: what bash offers for the last word."""

    def complete(line: str, **env: str) -> list[str]:
        asked = {
            "_LVLORA_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(line.split(" ")) - 1),
        }
        ran = run_lvlora([], env=asked | env, code=0)
        return ran.stdout.split()

    return complete


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder of runs: two with an adapter, one that has just begun, a study, an evaluation."""
    monkeypatch.chdir(tmp_path)
    runs = tmp_path / "runs"
    for name in ("20260101T000000Z-a", "20260102T000000Z-b", "20260103T000000Z-new"):
        (runs / name).mkdir(parents=True)
        (runs / name / "config.toml").touch()
        if not name.endswith("new"):
            (runs / name / "adapter").mkdir()
    (runs / "search" / "trial-0000" / "adapter").mkdir(parents=True)
    (runs / "search" / "study.journal").touch()
    (runs / "table").mkdir()
    (runs / "table" / "evaluation.json").touch()
    return tmp_path


def test_models():
    assert completion.models("b") == ["bundled"]
    assert "qwen2.5-0.5b" in completion.models("qwen")
    assert completion.models("/some/path") == []
    assert "tinyllama-1.1b" in completion.priced_models("")


def test_adapters_the_newest_first(typed, project):
    newest = ["20260102T000000Z-b", "20260101T000000Z-a"]
    assert typed("lvlora forecast x.csv --adapter 2026") == newest
    assert typed("lvlora export 20260101") == newest[1:]
    assert typed("lvlora evaluate --adapter l") == ["latest"]
    assert typed("lvlora forecast x.csv --adapter runs/2026") == [f"runs/{n}" for n in newest]
    assert typed("lvlora forecast x.csv --adapter runs/s") == ["runs/search/trial-0000"]


def test_runs_studies_and_evaluations(typed, project):
    assert "20260103T000000Z-new" in typed("lvlora train --resume 2026")
    assert typed("lvlora sweep --study s") == ["search"]
    assert typed("lvlora report t") == ["table"]
    assert typed("lvlora report 20260103") == ["20260103T000000Z-new"]


def test_open_runs_of_the_ledger(typed, project):
    from lvlora.flops.ledger import Ledger

    assert typed("lvlora flops --ledger --close ") == []
    with Ledger.for_runs(project / "runs") as ledger:
        ledgers.reserve(ledger, run="killed")
    assert typed("lvlora flops --ledger --close k") == ["killed"]


def test_runs_elsewhere(typed, project, monkeypatch):
    monkeypatch.chdir("/")
    assert typed("lvlora sweep --study ") == []
    elsewhere = project / "runs"
    assert typed("lvlora sweep --study ", LVLORA_RUNS=str(elsewhere)) == ["search"]
    assert typed(f"lvlora sweep --runs {elsewhere} --study ") == ["search"]
    assert len(typed(f"lvlora forecast x.csv --adapter {elsewhere}/2026 --runs {elsewhere}")) <= 2


def test_the_last_layer_of_a_list():
    assert completion.linear_layers("q") == ["q_proj"]
    assert completion.linear_layers("q_proj,v") == ["q_proj,v_proj"]
    assert "q_proj,q_proj" not in completion.linear_layers("q_proj,")
    assert "all-linear" in completion.linear_layers("")


def test_commands_options_and_words(typed):
    assert typed("lvlora forecast x.csv --forecaster sindy") == [
        "sindy-on-levels",
        "sindy-on-rates",
    ]
    assert typed("lvlora tr") == ["train"]
    assert "--learning-rate" in typed("lvlora train --lea")
    assert typed("lvlora flops --vary seq") == ["seq-len="]
    assert typed("lvlora train --schedule o") == ["one-cycle"]


@pytest.mark.parametrize(
    ("shell", "env"),
    [
        ("zsh", {"_TYPER_COMPLETE_ARGS": "lvlora sweep --study "}),
        (
            "fish",
            {
                "_TYPER_COMPLETE_ARGS": "lvlora sweep --study ",
                "_TYPER_COMPLETE_FISH_ACTION": "get-args",
            },
        ),
    ],
)
def test_other_shells_are_answered_too(run_lvlora, project, shell, env):
    ran = run_lvlora([], env={"_LVLORA_COMPLETE": f"complete_{shell}", **env})
    assert "search" in ran.stdout


def test_an_answer_to_a_shell_loads_nothing_heavy(project):
    code = (
        "import sys\nfrom lvlora.cli.program.app import main\n"
        "main([])\nprint('\\nMODULES', *sys.modules)"
    )
    line = "lvlora forecast x.csv --model q"
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "_LVLORA_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": "4",
    }
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    said, _, loaded = done.stdout.partition("\nMODULES ")
    assert "qwen2.5-0.5b" in said
    assert "typer" in loaded.split()
    assert HEAVY.isdisjoint(loaded.split())

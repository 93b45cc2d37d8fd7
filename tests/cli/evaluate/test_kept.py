"""What an evaluation keeps: torn forecasts are made again, one process works at a time."""

import json
from pathlib import Path

import numpy as np
import pytest

from lvlora import folders
from lvlora.errors import LvloraError


def scores(answer: dict) -> list:
    return [(row["name"], row["mae"], row["crps"]) for row in answer["forecasters"]]


def test_torn_forecasts_are_made_again(run_lvlora, data, tiny_folder) -> None:
    args = ["evaluate", data, "--model", tiny_folder("qwen2"), "--adapter", "none"]
    args += ["--context", "15", "--horizon", "5", "--samples", "3", "--workers", "1"]
    args += ["--out", "here", "--json"]
    first = run_lvlora(args, code=0)
    for file in Path("here/forecasts").iterdir():
        text = file.read_text()
        file.write_text(text[: -len(text) // 3])
    again = run_lvlora(args, code=0)
    assert scores(again.json) == scores(first.json)
    assert json.loads(Path("here/evaluation.json").read_text())["key"]


def test_two_at_a_time_pay_once(run_lvlora, data, tiny_folder) -> None:
    args = ["evaluate", data, "--model", tiny_folder("qwen2"), "--adapter", "none"]
    args += ["--context", "15", "--horizon", "5", "--greedy", "--no-rivals", "--out", "here"]
    Path("here").mkdir()
    with folders.held(Path("here"), LvloraError("busy")):
        ran = run_lvlora(args)
    assert ran.exit_code == LvloraError.exit_code
    assert "here" in ran.stderr
    assert not Path("runs").exists(), "nothing is spent"
    assert run_lvlora(args).exit_code == 0


def test_a_damaged_record_is_named(run_lvlora, data) -> None:
    args = ["evaluate", data, "--no-model", "--context", "15", "--horizon", "5", "--out", "here"]
    assert run_lvlora(args).exit_code == 0
    record = Path("here/evaluation.json")
    record.write_text(record.read_text().replace('"horizon"', '"horison"'))
    for command in (args, ["report", "here"]):
        ran = run_lvlora(command)
        assert ran.exit_code in (2, 4)
        assert "evaluation.json" in ran.stderr
    assert run_lvlora([*args, "--fresh"]).exit_code == 0
    assert run_lvlora(["report", "here"]).exit_code == 0


@pytest.mark.usefixtures("made_figures")
def test_truths_that_the_grammar_cannot_write(
    run_lvlora, tmp_path, tiny_folder, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    values = np.r_[np.linspace(1, 2, 20), np.linspace(-1, -2, 5)]
    rows = [f"{t},{value}" for t, value in enumerate(values)]
    Path("data.csv").write_text("\n".join(["t,x", *rows]) + "\n")
    args = ["evaluate", "data.csv", "--holdout", "5", "--model", tiny_folder("qwen2")]
    args += ["--adapter", "none", "--samples", "3", "--no-rivals"]
    ran = run_lvlora([*args, "--out", "a", "--json"], code=0)
    (row,) = ran.json["forecasters"]
    assert row["nll"] is None
    assert row["nll_possible"] is None
    assert row["nll_impossible"] == 5
    table = run_lvlora([*args, "--out", "b"], code=0)
    for text in (table.stdout, Path("a/report.html").read_text()):
        assert "NLL/D is infinite" in text
        assert "without them" not in text

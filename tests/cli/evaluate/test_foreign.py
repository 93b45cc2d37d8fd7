"""Forecasts of other programs, through the real command: the task, their table, the row."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import programs
import pytest

from lvlora.evaluation import evaluate

OPTIONS = ["--no-model", "--no-rivals", "--split", "train", "--context", "12", "--horizon", "3"]
Rows = list[dict[str, str]]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "draw_evaluation", lambda *_: [])


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two series, one called as a formula; all train."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "data.csv"
    rows = ["id,time,prey,predator"]
    for k, name in enumerate(("=1", "b", "c", "d")):
        for t in range(20 + k):
            rows.append(f"{name},{t},{5 + np.sin(t + k):.6f},{7 + np.cos(t + k):.6f}")
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture
def forecasts(run_lvlora, data: Path) -> Callable[..., Path]:
    """Writes the table of a task: the last value, and what was changed in it."""

    def write(change: Callable[[Rows], Rows] = lambda rows: rows, *more: str) -> Path:
        ran = run_lvlora(
            ["evaluate", data, *OPTIONS, *more, "--export-task", "task", "--json"], code=0
        )
        asked = json.loads(Path("task/task.json").read_text())
        assert ran.json["task"] == asked["task"]
        with Path("task/histories.csv").open(newline="") as stream:
            last = {row["id"].removeprefix("'"): row for row in csv.DictReader(stream)}
        rows = [
            {
                "series": series["id"],
                "step": str(step),
                "variable": variable,
                "quantile": str(quantile),
                "value": str(float(last[series["id"]][variable]) + (quantile - 0.5)),
                "task": asked["task"],
            }
            for series in asked["series"]
            for step in range(1, asked["horizon"] + 1)
            for variable in asked["variables"]
            for quantile in (0.1, 0.5, 0.9)
        ]
        file = Path("theirs.csv")
        with file.open("w", newline="") as stream:
            changed = change(rows)
            table = csv.DictWriter(stream, list(changed[0]))
            table.writeheader()
            table.writerows(changed)
        return file

    return write


def test_a_foreign_row_is_scored_as_a_rival_with_the_same_forecast(
    run_lvlora, data, forecasts
) -> None:
    file = forecasts()
    everything = "".join(p.read_text() for p in Path("task").glob("*.*"))
    held = [line.split(",")[2] for line in data.read_text().splitlines() if line.startswith("b,1")]
    assert held[7] not in everything, "the truth is in the task"
    options = [o for o in OPTIONS if o != "--no-rivals"]
    ran = run_lvlora(
        ["evaluate", data, *options, "--forecasts", f"theirs={file}", "--json"], code=0
    )
    rows = {f["name"]: f for f in ran.json["forecasters"]}
    theirs, ours = rows["theirs"], rows["last value"]
    assert theirs["kind"] == "foreign"
    for name in ("mae", "rmse", "mase", "valid_steps", "mae_by_step"):
        np.testing.assert_allclose(theirs[name], ours[name], rtol=1e-9, err_msg=name)
    assert theirs["seconds"] is None
    assert theirs["crps"] < theirs["mae"]
    assert set(theirs["coverage"]) == {"0.8"}
    assert ours["win_rate"]["value"] == pytest.approx(theirs["win_rate"]["value"])
    assert "nobody knows" not in ran.stderr


def test_several_files_and_no_task_column(run_lvlora, data, forecasts) -> None:
    file = forecasts(lambda rows: [{k: r[k] for k in r if k != "task"} for r in rows])
    ran = run_lvlora(
        ["evaluate", data, *OPTIONS, "--forecasts", f"a={file}", "--forecasts", f"b={file}"], code=0
    )
    assert "theirs.csv has no column 'task': nobody knows whether a saw more" in ran.stderr
    assert ran.stderr.count("nobody knows") == 2
    assert "–" in ran.stdout


def test_another_split_or_context_is_another_task(run_lvlora, data, forecasts) -> None:
    file = forecasts()
    others = (["--split-seed", "1"], ["--context", "15"])
    for other in others:
        ran = run_lvlora(
            ["evaluate", data, *OPTIONS, *other, "--forecasts", f"theirs={file}"], code=4
        )
        assert "another task" in ran.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--forecasts", "theirs.csv"], "should be NAME=FILE"),
        (["--forecasts", "a="], "should be NAME=FILE"),
        (["--forecasts", "nvar=x.csv"], "another forecaster is called nvar"),
        (["--forecasts", "a=x.csv", "--forecasts", "a=y.csv"], "each name once"),
        (["--forecasts", "a=x.csv", "--export-task", "t"], "--export-task scores nothing"),
        (["--export-task", "."], "is or holds"),
        (["--export-task", "data.csv"], "is or holds the data"),
    ],
)
def test_options_that_cannot_be_meant(run_lvlora, data, options, said) -> None:
    ran = run_lvlora(["evaluate", data, *OPTIONS, *options], code=2)
    assert said in ran.stderr


def test_the_runnable_example_goes_from_task_to_table(
    run_lvlora, data, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    rolling = ["--no-model", "--no-rivals", "--split", "train", "--windows", "2", "--horizon", "4"]
    ran = run_lvlora(["evaluate", data, *rolling, "--export-task", "task"], code=0)
    assert "4 steps of" in ran.stdout
    monkeypatch.syspath_prepend(str(programs.ROOT / "examples" / "foreign"))
    monkeypatch.setattr(sys, "argv", ["drift.py", "task", "drift.csv"])
    module = programs.load("examples/foreign/drift.py")
    sys.modules.pop("task_folder").main(module.forecast)
    ran = run_lvlora(
        ["evaluate", data, *rolling, "--forecasts", "drift=drift.csv", "--json"], code=0
    )
    (row,) = ran.json["forecasters"]
    assert (row["name"], row["kind"]) == ("drift", "foreign")
    assert row["mae"] > 0

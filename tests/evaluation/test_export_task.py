"""What other forecasters may see: the histories, the question, and nothing of the truth."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from lvlora.data.dataset import Dataset, Series
from lvlora.data.dates import Calendar
from lvlora.errors import SettingsError
from lvlora.evaluation.foreign import check_task_folder, export_task
from lvlora.evaluation.job import prepare
from lvlora.evaluation.settings import EvaluateSettings
from lvlora.narrator import Silent

TRUTH = [[777.25, 888.5], [777.5, 888.75]]


def export(folder: Path, n_series: int = 2, calendar: Calendar | None = None) -> dict:
    """Export the first three of five steps; return what task.json says."""
    values = np.array([[0.1, 2.0], [np.nan, 3.0], [1 / 3, 4.0], *TRUTH])
    series = [Series(n, np.arange(5.0), values + i, calendar) for i, n in enumerate("0b")]
    data = Dataset(tuple(series[:n_series]), ("prey", "predator"), "x", "year")
    job = prepare(EvaluateSettings(split="all", holdout=2), data, Silent(), has_folder=False)
    exported = export_task(job, folder, Silent())
    assert sorted(exported.files) == [str(folder / n) for n in ("histories.csv", "task.json")]
    task = json.loads((folder / "task.json").read_text())
    assert task["task"] == exported.task == job.task_name
    return task


def test_nothing_of_the_truth_is_written(tmp_path: Path) -> None:
    task = export(tmp_path / "task")
    text = "".join(p.read_text() for p in (tmp_path / "task").rglob("*") if p.is_file())
    for value in np.ravel([np.array(TRUTH), np.array(TRUTH) + 1]):
        assert f"{value:g}" not in text
    assert task["split"] == "all"
    assert {"id": "0", "steps": 3, "time": [3.0, 4.0]} in task["series"]
    with (tmp_path / "task" / "histories.csv").open(newline="") as stream:
        table = list(csv.reader(stream))
    assert table[0] == ["id", "year", "prey", "predator"]
    first, second, third = (row[1:] for row in table if row[0] == "0")
    assert (first, second) == (["0", "0.1", "2"], ["1", "", "3"])
    assert float(third[1]) == 1 / 3
    assert len(table) == 7


def test_one_series_has_an_id_and_dates_are_dates(tmp_path: Path) -> None:
    task = export(tmp_path / "task", 1, Calendar("day"))
    assert (tmp_path / "task" / "histories.csv").read_text().splitlines()[1] == "0,1970-01-01,0.1,2"
    assert task["series"][0]["time"] == ["1970-01-04", "1970-01-05"]


def test_a_task_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    place = tmp_path / "task"

    def check(folder: Path, data: Path | None = None) -> None:
        check_task_folder(EvaluateSettings(data=data, runs=tmp_path / "runs"), folder)

    check(place)
    place.mkdir()
    check(place)
    export(place)
    check(place)
    with pytest.raises(SettingsError, match="is or holds the data"):
        check(place, place / "data.csv")
    (place / "forecasts.csv").write_text("mine")
    with pytest.raises(SettingsError, match=r"forecasts\.csv"):
        check(place)
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("x")
    with pytest.raises(SettingsError, match="other"):
        check(other)

"""What other forecasters may see: the histories, the question, and nothing of the truth."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from lvlora.data.dataset import Dataset, Series
from lvlora.data.dates import Calendar
from lvlora.errors import SettingsError
from lvlora.evaluation.export_task import check, write_task
from lvlora.evaluation.settings import EvaluateSettings

NAME = "from3-to2-0123456789abcdef"


def dataset(calendar: Calendar | None = None) -> tuple[Dataset, list[Series]]:
    values = np.array([[0.1, 2.0], [np.nan, 3.0], [1 / 3, 4.0], [777.25, 888.5], [777.5, 888.75]])
    whole = [Series(n, np.arange(5.0), values + i, calendar) for i, n in enumerate("0b")]
    histories = tuple(s.steps(0, 3) for s in whole)
    return Dataset(histories, ("prey", "predator"), "x", "year"), [s.steps(3, 5) for s in whole]


def test_nothing_of_the_truth_is_written(tmp_path: Path) -> None:
    histories, futures = dataset()
    files = write_task(tmp_path / "task", NAME, histories, futures, {"split": "all"})
    assert sorted(p.name for p in files) == ["histories.csv", "task.json"]
    everything = "".join(p.read_text() for p in (tmp_path / "task").rglob("*") if p.is_file())
    for value in np.concatenate([f.values.ravel() for f in futures]):
        assert f"{value:g}" not in everything
    asked = json.loads((tmp_path / "task" / "task.json").read_text())
    assert asked["task"] == "from3-to2-0123456789abcdef"
    assert asked["split"] == "all"
    assert asked["series"][0] == {"id": "0", "steps": 3, "time": [3.0, 4.0]}
    with (tmp_path / "task" / "histories.csv").open(newline="") as stream:
        table = list(csv.reader(stream))
    assert table[:3] == [
        ["id", "year", "prey", "predator"],
        ["0", "0", "0.1", "2"],
        ["0", "1", "", "3"],
    ]
    assert float(table[3][2]) == 1 / 3
    assert len(table) == 7


def test_one_series_has_an_id_and_dates_are_dates(tmp_path: Path) -> None:
    histories, futures = dataset(Calendar("day"))
    write_task(tmp_path / "task", NAME, histories[:1], futures[:1], {})
    assert (tmp_path / "task" / "histories.csv").read_text().splitlines()[1] == "0,1970-01-01,0.1,2"
    asked = json.loads((tmp_path / "task" / "task.json").read_text())
    assert asked["series"][0]["time"] == ["1970-01-04", "1970-01-05"]


def test_a_task_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    histories, futures = dataset()
    place = tmp_path / "task"

    def checked(folder: Path, data: Path | None = None) -> None:
        check(EvaluateSettings(data=data, export_task=folder, runs=tmp_path / "runs"))

    checked(place)
    place.mkdir()
    checked(place)
    write_task(place, NAME, histories, futures, {})
    checked(place)
    with pytest.raises(SettingsError, match="is or holds the data"):
        checked(place, place / "data.csv")
    (place / "forecasts.csv").write_text("mine")
    with pytest.raises(SettingsError, match=r"forecasts\.csv"):
        checked(place)
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("x")
    with pytest.raises(SettingsError, match="other"):
        checked(other)

"""validation.json: the forecasts of the kept adapter and the untrained model, and plain rivals."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tiny_runs

from lvlora.series.dataset import Dataset
from lvlora.series.rivals import LastValue, VectorAutoregression, quick_rivals
from lvlora.train.validation_file import Scored, add_rivals, keep

DATA = tiny_runs.dataset(n_series=6, n_steps=24)


def scored(data=DATA, horizon=8):
    histories = [s.steps(0, len(s) - horizon) for s in data]
    futures = [s.steps(len(s) - horizon, len(s)) for s in data]
    return Scored(histories, futures, data.variables, "day")


def truth(given):
    return np.stack([f.values for f in given.futures])


@pytest.fixture
def file(tmp_path):
    return tmp_path / "validation.json"


def test_what_is_kept_takes_the_place_of_what_was(file):
    given = scored()
    keep(file, given, truth(given) + 2, "before", 0)
    keep(file, given, truth(given) + 1, "kept", 3)
    keep(file, given, truth(given) - np.arange(6)[:, None, None], "kept", 6)
    found = json.loads(file.read_text())
    assert found["before"]["mae"] == 2
    assert (found["kept"]["step"], found["kept"]["mae"]) == (6, 2.5)
    assert found["kept"]["series_mae"] == [0, 1, 2, 3, 4, 5]
    assert np.allclose(found["kept"]["forecasts"][1], truth(given)[1] - 1)
    assert found["time"] == "day"
    assert found["series"][2]["id"] == "s2"
    assert np.allclose(found["series"][2]["history"], given.histories[2].values)
    assert found["series"][2]["time"] == list(given.futures[2].time)


def test_what_was_said_of_other_series_is_forgotten(file):
    other = scored(tiny_runs.dataset(n_series=6, n_steps=24, seed=1))
    keep(file, other, truth(other), "before", 0)
    given = scored()
    keep(file, given, truth(given), "kept", 3)
    assert "before" not in json.loads(file.read_text())
    file.write_text("{")  # a damaged one as well
    keep(file, given, truth(given), "before", 0)
    assert json.loads(file.read_text()).keys() >= {"before", "series"}


def test_rivals_forecast_the_same_futures(file):
    given = scored()
    keep(file, given, truth(given), "kept", 3)
    add_rivals(file, given, DATA)
    rows = {row["name"]: row["mae"] for row in json.loads(file.read_text())["rivals"]}
    for rival in (LastValue(), VectorAutoregression()):
        errors = [
            np.abs(rival.forecast(np.r_[h.time, f.time], h.values) - f.values)
            for h, f in zip(given.histories, given.futures, strict=True)
        ]
        assert rows[rival.name] == pytest.approx(np.mean(errors), rel=1e-6)
    assert not any("fit" in name for name in rows), "they take seconds"
    assert set(rows) == {r.name for r in quick_rivals() if not r.refusal(DATA)}
    assert len(rows) >= 6
    before = file.read_bytes()
    add_rivals(file, given, Dataset((), DATA.variables))  # a run that goes on finds them done
    assert file.read_bytes() == before


def test_a_rival_that_cannot_is_left_out(file, monkeypatch):
    def fail(*_):
        raise np.linalg.LinAlgError("singular")

    monkeypatch.setattr(VectorAutoregression, "forecast", fail)
    given = scored()
    keep(file, given, truth(given), "kept", 3)
    add_rivals(file, given, DATA)
    names = [row["name"] for row in json.loads(file.read_text())["rivals"]]
    assert "last value" in names
    assert VectorAutoregression.name not in names


def test_without_a_forecast_there_is_nothing_to_compare_with(file):
    add_rivals(file, scored(), DATA)
    assert not file.exists()


def test_gaps_and_long_parts(file):
    data = tiny_runs.dataset(n_series=40, n_steps=12)
    for s in data:
        s.values[-1, 0] = np.nan
    given = scored(data, horizon=3)
    keep(file, given, np.where(np.isnan(truth(given)), 9, truth(given) + 1), "kept", 1)
    found = json.loads(file.read_text())
    assert found["kept"]["mae"] == pytest.approx(1)
    assert found["series"][0]["truth"][-1][0] is None
    assert len(found["series"]) == len(found["kept"]["forecasts"]) == 32
    assert len(found["kept"]["series_mae"]) == found["series_scored"] == 40

"""Times and values of results read back as the same numbers, in every format."""

import csv
from pathlib import Path

import h5py
import numpy as np
import pytest

SECOND = 1 / 86_400
TIMES = {
    "epoch milliseconds": 1_700_000_060_120.0 + np.arange(12) * 250.0,
    "epoch microseconds": 1_700_000_060_120_000.0 + np.arange(12),
    "Julian dates by the second": 2_460_000.5 + np.arange(12) * SECOND,
    "Julian dates by the hundredth of a second": 2_460_000.5 + np.arange(12) * SECOND / 100,
}


@pytest.fixture
def forecast(run_lvlora, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ["--forecaster", "last-value", "--horizon", "5", "--samples", "3", "--json"]

    def run(*more: str):
        ran = run_lvlora(["forecast", "data.csv", *options, *more], code=0)
        return ran

    return run


@pytest.mark.parametrize("kind", TIMES)
def test_times_and_values_are_the_same_in_every_format(forecast, kind):
    time = TIMES[kind]
    values = 3 + np.sin(np.arange(12)) / 7
    rows = [f"{t!r},{x!r}" for t, x in zip(time.tolist(), values.tolist(), strict=True)]
    Path("data.csv").write_text("\n".join(["time,x", *rows]) + "\n")
    answers = [
        forecast("--output", "out.csv", "--samples-out", f"samples{suffix}")
        for suffix in (".csv", ".h5")
    ]
    assert "uneven" not in answers[0].stderr
    (series,) = answers[0].json["series"]
    ahead = series["time"]
    step = (time[-1] - time[0]) / 11
    assert np.allclose(np.diff([time[-1], *ahead]), step, rtol=1e-6, atol=2 * np.spacing(time[-1]))
    table = list(csv.DictReader(Path("out.csv").read_text().splitlines()))
    assert [float(row["time"]) for row in table] == ahead
    assert [float(row["median"]) for row in table] == series["variables"]["x"]["median"]
    with h5py.File("samples.h5") as file:
        assert file["time"][0].tolist() == ahead
        drawn = file["samples"][0]
    table = list(csv.DictReader(Path("samples.csv").read_text().splitlines()))
    assert [float(row["time"]) for row in table] == ahead * 3
    assert [float(row["x"]) for row in table] == np.ravel(drawn).tolist()

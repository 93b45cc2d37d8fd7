"""Times and values of results read back as the same numbers, in every format."""

import csv
from pathlib import Path

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
    ran = forecast("--output", "out.csv", "--samples-out", "samples.csv")
    assert "uneven" not in ran.stderr
    (series,) = ran.json["series"]
    ahead = series["time"]
    step = (time[-1] - time[0]) / 11
    assert np.allclose(np.diff([time[-1], *ahead]), step, rtol=1e-6, atol=2 * np.spacing(time[-1]))
    table = list(csv.DictReader(Path("out.csv").read_text().splitlines()))
    assert [float(row["time"]) for row in table] == ahead
    assert [float(row["median"]) for row in table] == series["variables"]["x"]["median"]
    table = list(csv.DictReader(Path("samples.csv").read_text().splitlines()))
    assert [float(row["time"]) for row in table] == ahead * 3
    drawn = np.array([float(row["x"]) for row in table]).reshape(3, 5)
    assert np.isfinite(drawn).all()

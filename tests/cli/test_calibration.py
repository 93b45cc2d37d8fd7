"""`--calibrate` and `--calibrated` through the real commands."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_runs

from lvlora.data.dataset import Dataset

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def words(run_lvlora, tmp_path, monkeypatch, tiny_folder):
    """Two files of simulated systems, and what makes their forecasts short."""
    monkeypatch.chdir(tmp_path)
    for name, seed in (("past.h5", 1), ("new.h5", 2)):
        few = f"-n 40 --n-steps 14 --duration 28 --seed {seed}"
        run_lvlora(["simulate", name, *few.split()], code=0)
    return [*tiny_runs.quick(tiny_folder("qwen2")), "--samples", "10"]


ASKED = ("--adapter", "none", "--split", "all", "--context", "10", "--horizon", "4", "--no-rivals")


@pytest.mark.slow
def test_intervals_cover_new_series_after_calibration(run_lvlora, words, unbounded):
    """A model with random weights is far off; its calibrated intervals are not."""
    ran = run_lvlora(["evaluate", "past.h5", *words, *ASKED, "--calibrate", "--json"], code=0)
    (file,) = Path("runs/calibrations").iterdir()
    assert str(file) in ran.stderr
    assert "calibrated by 40 series" in " ".join(ran.stderr.split())
    facts = json.loads(file.read_text())["facts"]
    assert (facts["series"], facts["samples"], facts["horizon"]) == (40, 10, 4)

    out = ["--calibrated", "--output", "table.csv"]
    ran = run_lvlora(["evaluate", "new.h5", *words, *ASKED, *out], code=0)
    with Path("table.csv").open() as stream:
        (model,) = csv.DictReader(stream)
    assert abs(float(model["coverage_0.8"]) - 0.8) > 0.1
    assert 0.72 < float(model["calibrated_coverage_0.8"]) < 0.88
    assert "calibrated" in ran.stdout
    assert float(model["nll"]) > 0

    plain = ["forecast", "new.h5", *words, "--adapter", "none", "--context", "10"]
    held = [*plain, "--holdout", "4", "--json"]
    without, widened = run_lvlora(held).json, run_lvlora([*held, "--calibrated"]).json
    assert abs(widened["scores"]["coverage"]["0.8"] - 0.8) < 0.1
    assert abs(without["scores"]["coverage"]["0.8"] - 0.8) > 0.1
    assert without["scores"]["crps"] != widened["scores"]["crps"]
    assert without["scores"]["mae"] == widened["scores"]["mae"]
    assert widened["calibration"]["series"] == 40
    for one, other in zip(without["series"], widened["series"], strict=True):
        for name in ("prey", "predator"):
            ours, theirs = other["variables"][name], one["variables"][name]
            assert ours["median"] == theirs["median"]
            assert min(ours["quantiles"]["0.1"]) >= 0
            assert ours["quantiles"]["0.9"] != theirs["quantiles"]["0.9"]

    ran = run_lvlora(
        [*plain, "--calibrated", "--horizon", "3", "--samples", "4", "-o", "o.csv"], code=0
    )
    assert "made with samples 10" in ran.stderr
    assert "calibrated intervals" in ran.stdout
    with Path("o.csv").open() as stream:
        assert all(float(r["0.1"]) <= float(r["0.9"]) for r in csv.DictReader(stream))
    ran = run_lvlora([*plain, "--calibrated", "--horizon", "5"], code=0)
    assert "made with 4 steps" in " ".join(ran.stderr.split())

    # a file that was changed names the command that makes it anew
    file.write_text(file.read_text().replace('"series": 40', '"series": 41'))
    ran = run_lvlora([*plain, "--calibrated", "--horizon", "4"], code=4)
    assert "lvlora evaluate DATA --calibrate" in " ".join(ran.stderr.split())


def test_a_calibration_of_other_data_is_refused(run_lvlora, words, unbounded):
    """A factor for platelets does not serve hares; each kind of data has its own."""
    waves = tiny_runs.dataset(6, n_steps=14)
    blood = Dataset(
        tuple(replace(s, values=s.values * [5e4, 2.0]) for s in waves),
        ("platelets", "temperature"),
        "blood",
    )
    tiny_runs.write_csv(Path("blood.csv"), blood)
    tiny_runs.write_csv(Path("animals.csv"), replace(waves, variables=("hare", "lynx")))
    options = ["evaluate", "blood.csv", *words, *ASKED, "--calibrate"]
    assert run_lvlora(options).exit_code == 0
    ahead = [*words, "--adapter", "none", "--calibrated", "--horizon", "3"]
    ran = run_lvlora(["forecast", "animals.csv", *ahead], code=4)
    message = " ".join(ran.stderr.split())
    assert "qwen2 zero-shot has no calibration for hare, lynx" in message
    assert "lvlora evaluate DATA --calibrate makes one" in message
    # what serves is named with its source, series, steps and samples
    ran = run_lvlora(["forecast", "blood.csv", *ahead], code=0)
    assert (
        "Intervals calibrated by 6 series of blood.csv (4 steps from 10), 10 samples each."
        in " ".join(ran.stderr.split())
    )
    ran = run_lvlora(["evaluate", "blood.csv", *words, *ASKED, "--calibrated"], code=0)
    assert "made on the series that are scored" in " ".join(ran.stderr.split())
    # written otherwise
    ran = run_lvlora(["forecast", "blood.csv", *ahead, "--decimals", "2"], code=4)
    assert "platelets, temperature with 2 decimals" in " ".join(ran.stderr.split())


def test_a_calibration_belongs_to_its_adapter(run_lvlora, words, tiny_folder):
    tiny_runs.write_csv(Path("train.csv"), tiny_runs.dataset(30))
    flags = tiny_runs.flags(tiny_folder("qwen2"), Path("runs"), validation=False)
    assert run_lvlora(["train", "train.csv", *flags]).exit_code == 0
    options = [*words, "--context", "6", "--horizon", "4", "--no-rivals"]
    ran = run_lvlora(["evaluate", "train.csv", *options, "--calibrate", "--no-zero-shot"], code=0)
    ahead = ["forecast", "train.csv", *words, "--calibrated", "--horizon", "3", "--json"]
    assert run_lvlora(ahead).json["calibration"]["split"] == "validation"
    # the plain model has none, and other weights are not covered by it
    ran = run_lvlora([*ahead, "--adapter", "none"], code=4)
    assert "has no calibration" in ran.stderr
    assert "--calibrate" in ran.stderr
    changed = tiny_runs.flags(tiny_folder("qwen2"), Path("runs"), validation=False, seed=5)
    assert run_lvlora(["train", "train.csv", *changed]).exit_code == 0
    ran = run_lvlora(ahead, code=4)
    assert "has no calibration" in ran.stderr


def test_one_long_series_is_calibrated_by_its_windows(run_lvlora, words, unbounded):
    long = tiny_runs.dataset(1, n_steps=60)
    tiny_runs.write_csv(Path("long.csv"), long)
    options = ["--adapter", "none", "--split", "all", "--windows", "8", "--context", "20"]
    options += ["--horizon", "4", "--no-rivals", "--calibrate"]
    ran = run_lvlora(["evaluate", "long.csv", *words, *options], code=0)
    assert "8 windows of 1 series" in " ".join(ran.stderr.split())
    ahead = [*words, "--adapter", "none", "--calibrated", "--horizon", "4", "--json"]
    ran = run_lvlora(["forecast", "long.csv", *ahead], code=0)
    assert "8 windows of 1 series" in " ".join(ran.stderr.split())
    facts = ran.json["calibration"]
    assert (facts["series"], facts["windows"]) == (1, 8)

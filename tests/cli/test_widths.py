"""The widths that a model's folder brings, and ``--as-drawn``, through the real commands."""

import csv
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny_runs

from lvlora.forecast.widths import FEATURES, NAME, Rule, Widths


def constant(number: float) -> Rule:
    ranges = dict.fromkeys(FEATURES, (-1.0, 1.0))
    return Rule(constant=number, rule=dict.fromkeys(FEATURES, 0.0), ranges=ranges)


def widths(number: float, pull: Rule | None = None) -> Widths:
    return Widths(**constant(number).model_dump(), pull=pull)


@pytest.fixture
def model(tmp_path, monkeypatch, tiny_folder, tiny_base) -> str:
    """A folder whose futures lie twice as far from their median as it draws them."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder("qwen2"), folder)
    widths(math.log(2)).save(folder / NAME, tiny_base().sha256)
    tiny_runs.write_csv(Path("data.csv"), tiny_runs.dataset(2, n_steps=14))
    return str(folder)


def words(model: str, *more: str) -> list[str]:
    plain = ["forecast", "data.csv", *tiny_runs.quick(model), "--adapter", "none"]
    return [*plain, "--samples", "9", "--holdout", "3", *more]


def _samples(name):
    """(2, 9, 3, 2) of two series."""
    return np.loadtxt(name, delimiter=",", skiprows=1, usecols=(3, 4)).reshape(2, 9, 3, 2)


@pytest.mark.usefixtures("unbounded")
def test_intervals_and_samples_are_widened_and_medians_stay(run_lvlora, model) -> None:
    drawn = run_lvlora(words(model, "--as-drawn", "--samples-out", "drawn.csv", "--json"))
    wide = run_lvlora(words(model, "--samples-out", "wide.csv", "--json"), code=0)
    assert drawn.json["model"]["widths"] is None
    assert len(wide.json["model"]["widths"]) == 64
    before, after = (_samples(name) for name in ("drawn.csv", "wide.csv"))
    median = np.median(before, axis=1, keepdims=True)
    np.testing.assert_allclose(after, np.maximum(median + 2 * (before - median), 0), atol=1e-9)
    for one, other in zip(drawn.json["series"], wide.json["series"], strict=True):
        for name in ("prey", "predator"):
            ours, theirs = other["variables"][name], one["variables"][name]
            assert ours["median"] == theirs["median"]
            # of nine draws the ends are the least and the largest
            median, high = np.array(theirs["median"]), np.array(theirs["quantiles"]["0.9"])
            assert ours["quantiles"]["0.9"] == pytest.approx(2 * high - median)
    errors = [ran.json["scores"] for ran in (drawn, wide)]
    assert errors[0]["mae"] == errors[1]["mae"]
    assert errors[0]["nll"] == errors[1]["nll"]
    assert errors[0]["crps"] != errors[1]["crps"]


@pytest.mark.usefixtures("unbounded")
def test_where_a_history_repeats_itself_medians_go_to_its_last_cycle(
    run_lvlora, model, tiny_base
) -> None:
    values = np.resize([1.5, 6.0, 2.5, 4.0], 23)
    lines = [f"{i},{v}" for i, v in enumerate(values)]
    Path("season.csv").write_text("\n".join(["time,hares", *lines]) + "\n")
    widths(0.0, constant(99.0)).save(Path(model) / NAME, tiny_base().sha256)
    options = words(model, "--json")
    options[1] = "season.csv"
    drawn, pulled = run_lvlora([*options, "--as-drawn"]), run_lvlora(options)
    assert pulled.exit_code == 0, pulled.stderr
    errors = [np.array(ran.json["scores"]["mae"]) for ran in (drawn, pulled)]
    assert errors[1] < 0.5 * errors[0]


def test_futures_that_are_drawn_otherwise_stay_and_that_is_said(run_lvlora, model) -> None:
    cold = ["--temperature", "0.5", "--json"]
    ran = run_lvlora(words(model, *cold))
    assert "for temperature 1 and top-p 1: futures stay as drawn" in " ".join(ran.stderr.split())
    assert ran.json["series"] == run_lvlora(words(model, *cold, "--as-drawn")).json["series"]


@pytest.mark.usefixtures("unbounded")
def test_an_evaluation_tells_the_two_apart(run_lvlora, model) -> None:
    options = ["evaluate", "data.csv", *tiny_runs.quick(model), "--adapter", "none"]
    options += "--samples 9 --split all --context 10 --horizon 4 --no-rivals".split()
    options += ["--output", "table.csv", "--overwrite"]
    rows = []
    for more in ([], ["--as-drawn"], []):
        run_lvlora([*options, *more], code=0)
        with Path("table.csv").open() as stream:
            rows += csv.DictReader(stream)
    assert rows[0]["mae"] == rows[1]["mae"]
    assert rows[0]["crps"] != rows[1]["crps"]
    assert rows[0]["crps"] == rows[2]["crps"]


def test_a_file_for_other_weights_is_refused(run_lvlora, model) -> None:
    path = Path(model) / NAME
    path.write_text(path.read_text().replace("0.69", "0.70", 1))
    ran = run_lvlora(words(model), code=4)
    message = " ".join(ran.stderr.split())
    assert "not what it was written with" in message
    assert "Delete the file" in message
    assert run_lvlora(words(model, "--as-drawn")).exit_code == 0

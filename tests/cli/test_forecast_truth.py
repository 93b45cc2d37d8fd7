"""`lvlora forecast --holdout`, the formats of drawn futures, gaps, memory: as a user has them."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import tiny_runs

from lvlora.flops.ledger import Ledger


@pytest.fixture
def words(tmp_path, monkeypatch, tiny_folder):
    monkeypatch.chdir(tmp_path)
    tiny_runs.write_csv(tmp_path / "data.csv", tiny_runs.dataset(2, n_steps=12))
    return ["data.csv", *tiny_runs.quick(tiny_folder("qwen2")), "--samples", "4"]


def _rows(path):
    with Path(path).open() as stream:
        return list(csv.DictReader(stream))


def test_what_is_held_out_is_forecast_and_compared(run_lvlora, words):
    ran = run_lvlora(["forecast", *words, "--holdout", "3", "--json", "-o", "o.csv"], code=0)
    answer = ran.json
    assert answer["horizon"] == 3
    data = tiny_runs.dataset(2, n_steps=12)
    errors = []
    for series, expected in zip(answer["series"], data, strict=True):
        assert series["time"] == [9, 10, 11]
        for v, name in enumerate(("prey", "predator")):
            assert series["truth"][name] == expected.values[9:, v].tolist()
            assert all(np.isfinite(series["nll"][name]))
            errors += np.abs(expected.values[9:, v] - series["variables"][name]["median"]).tolist()
    scores = answer["scores"]
    assert scores["mae"] == pytest.approx(np.mean(errors))
    nll = [x for s in answer["series"] for xs in s["nll"].values() for x in xs]
    assert scores["nll"] == pytest.approx(np.mean(nll))
    assert set(scores["coverage"]) == {"0.8"}
    assert (scores["n_values"], scores["nll_impossible"]) == (12, 0)
    rows = _rows("o.csv")
    assert len(rows) == 12
    assert float(rows[0]["truth"]) == pytest.approx(data.series[0].values[9, 0])
    assert float(rows[0]["nll"]) == pytest.approx(answer["series"][0]["nll"]["prey"][0])
    with Ledger.for_runs(Path("runs")) as ledger:
        (row,) = ledger.rows()
    assert row.spent.executed == answer["flops"]["executed"]
    planned = run_lvlora(["forecast", *words, "--holdout", "3", "--dry-run", "--json"]).json
    for convention, most in planned["flops_at_most"].items():
        assert 0 < answer["flops"][convention] <= most
    # the futures are those of the file without its end, and the likelihood costs what it costs
    plain = tiny_runs.write_csv(
        Path("cut.csv"), type(data)(tuple(s.steps(0, 9) for s in data), data.variables, data.source)
    )
    without = run_lvlora(
        ["forecast", plain, *words[1:], "--horizon", "3", "--json", "--no-hindcast"]
    ).json
    for one, other in zip(answer["series"], without["series"], strict=True):
        assert one["variables"] == other["variables"]
    assert without["flops"]["executed"] < answer["flops"]["executed"]
    assert "scores" not in without


def test_drawn_futures_are_those_of_the_median(run_lvlora, words):
    words = ["forecast", *words, "--horizon", "3", "--samples-out", "s.csv", "--json"]
    ran = run_lvlora(words, code=0)
    rows = _rows("s.csv")
    assert [r["id"] for r in rows] == ["s0"] * 12 + ["s1"] * 12
    assert [r["time"] for r in rows] == ["12", "13", "14"] * 8
    drawn = np.array([float(r["prey"]) for r in rows]).reshape(2, 4, 3)
    for samples, series in zip(drawn, ran.json["series"], strict=True):
        assert np.median(samples, axis=0).tolist() == series["variables"]["prey"]["median"]


def test_plain_forecasters_stand_beside_the_model(run_lvlora, words, every_rival):
    ran = run_lvlora(["forecast", *words, "--holdout", "3", "--json"])
    rivals = {r["name"]: r for r in ran.json["scores"]["rivals"]}
    # such short series show no season, so nobody repeats one
    assert "seasonal naive" not in rivals
    assert {"last value", "context mean", "exponential smoothing"} <= set(rivals)
    values = np.stack([s.values for s in tiny_runs.dataset(2, n_steps=12)])
    last = np.abs(values[:, 8:9] - values[:, 9:]).mean()
    mean = np.abs(values[:, :9].mean(axis=1, keepdims=True) - values[:, 9:]).mean()
    assert rivals["last value"]["mae"] == pytest.approx(last)
    assert rivals["last value"]["crps"] == pytest.approx(last)
    assert rivals["context mean"]["mae"] == pytest.approx(mean)
    shown = run_lvlora(["forecast", *words, "--holdout", "3"]).stdout
    table = [" ".join(line.split()) for line in shown.splitlines()]
    assert any(line.startswith(f"last value {last:#.3g}") for line in table), shown
    assert any(line.startswith("qwen2 zero-shot") for line in table)


@pytest.mark.slow
def test_series_that_the_adapter_was_trained_on_are_told_of(run_lvlora, words, tiny_folder):
    tiny_runs.write_csv(Path("train.csv"), tiny_runs.dataset(8))
    flags = tiny_runs.flags(tiny_folder("qwen2"), Path("runs"))
    assert run_lvlora(["train", "train.csv", *flags]).exit_code == 0
    run = Path("runs") / Path("runs/latest").read_text().strip()
    split = json.loads((run / "split.json").read_text())
    held = ["forecast", "train.csv", *words[1:], "--holdout", "3"]

    def heard(*more):
        ran = run_lvlora([*held, *more], code=0)
        return " ".join(ran.stderr.split())

    n = len(split["train"])
    adapter = ("--adapter", run)
    assert f"was trained on {n} of the 8 series" in heard(*adapter)
    assert "was trained on 1 of the 1" in heard(*adapter, "--series", split["train"][0])
    assert "was trained on" not in heard(*adapter, "--series", split["validation"][0])
    assert "was trained on" not in heard("--adapter", "none")
    assert run_lvlora(["train", "train.csv", *flags, "--split-seed", "5"]).exit_code == 0
    newest = f"runs/{Path('runs/latest').read_text().strip()}"
    assert "was trained on another split of this data" in heard("--adapter", newest)


def test_an_impossible_truth_is_said(run_lvlora, words):
    values = [[3.0 + t % 2] for t in range(8)] + [[-2.0], [4.0]]
    lines = [f"{t},{v[0]}" for t, v in enumerate(values)]
    Path("odd.csv").write_text("time,a\n" + "\n".join(lines) + "\n")
    ran = run_lvlora(["forecast", "odd.csv", *words[1:], "--holdout", "2", "--json"], code=0)
    scores = ran.json["scores"]
    assert scores["nll"] is None
    assert (scores["nll_impossible"], scores["n_values"]) == (1, 2)
    assert scores["nll_possible"] is not None
    ran = run_lvlora(["forecast", "odd.csv", *words[1:], "--holdout", "2"])
    assert "without 1 that the grammar cannot write" in " ".join(ran.stdout.split())


def test_a_history_with_gaps_is_filled(run_lvlora, words):
    rows = [f"{t},{'' if t % 4 == 1 else 3 + t % 3},{2 + t % 2}" for t in range(12)]
    Path("gaps.csv").write_text("time,a,b\n" + "\n".join(rows) + "\n")
    ran = run_lvlora(["forecast", "gaps.csv", *words[1:], "--holdout", "4", "--json"], code=0)
    (series,) = ran.json["series"]
    assert series["truth"]["a"][1] is None
    assert series["nll"]["a"][1] is None
    assert ran.json["scores"]["n_values"] == 7
    assert all(x is not None for x in series["variables"]["a"]["median"])
    assert "In place of 2 missing values the model reads numbers on a smooth curve" in ran.stderr


def test_memory_bounds_groups_and_changes_no_number(run_lvlora, words):
    words = [*words, "--horizon", "4", "--views", "1"]  # samples of one reading, that can be parted
    unbounded_memory = run_lvlora(["forecast", *words, "--json"])
    # a row of up to 256 places: 2 x 2 layers x 2 heads x 8 x 256 x 4 bytes
    parts = run_lvlora(["forecast", *words, "--json", "--max-memory", "130KiB"], code=0)
    assert parts.json["series"] == unbounded_memory.json["series"]
    assert parts.json["flops"]["executed"] != unbounded_memory.json["flops"]["executed"]
    ran = run_lvlora(["forecast", *words, "--horizon", "4", "--max-memory", "10KB"], code=2)
    assert "--max-memory 10,000" in ran.stderr
    ran = run_lvlora(["forecast", *words, "--max-memory", "two"], code=2)
    assert "2GiB" in ran.stderr


@pytest.mark.parametrize(
    ("text", "n"),
    [
        ("2GiB", 2 * 2**30),
        ("2 gib", 2 * 2**30),
        ("500MB", 500_000_000),
        ("1.5K", 1500),
        ("4096", 4096),
        ("3B", 3),
        ("1TiB", 2**40),
    ],
)
def test_sizes(text, n):
    from lvlora.forecast.settings import ForecastSettings

    assert ForecastSettings(data="x.csv", max_memory=text).max_memory == n


@pytest.mark.parametrize(("season", "named"), [("auto", "12"), ("none", "none"), ("6", "6")])
def test_mase_names_the_season_of_its_denominator(tmp_path, run_lvlora, season, named):
    file, steps = tmp_path / "wave.csv", np.arange(72)
    wave = 5 + np.sin(2 * np.pi * steps / 12) + 0.05 * np.random.default_rng(0).normal(size=72)
    file.write_text("t,y\n" + "\n".join(f"{t},{y:.4f}" for t, y in zip(steps, wave, strict=True)))
    command = ["forecast", file, "--holdout", "6", "--forecaster", "last-value"]
    command += ["--season", season, "--runs", tmp_path / "runs"]
    scores = run_lvlora([*command, "--json"]).json["scores"]
    lag = 1 if named == "none" else int(named)
    scale = np.abs(wave[lag:66] - wave[: 66 - lag]).mean()
    assert scores["mase_season"] == named
    assert scores["mase"] == pytest.approx(np.abs(wave[66:] - wave[65]).mean() / scale, rel=1e-3)
    words = "no season" if named == "none" else f"season {named}"
    assert f"MASE has {words}" in run_lvlora(command).stdout


def test_a_cheap_hindcast_names_the_plain_rival_that_was_nearer(run_lvlora, words):
    plain = [*words, "--horizon", "5"]
    bound = run_lvlora(["forecast", *plain, "--dry-run", "--json"]).json["flops_at_most"]
    result = run_lvlora(["forecast", *plain, "--json"]).json
    hindcast = result["hindcast"]
    assert hindcast["steps"] == 3  # a quarter of the history
    with Ledger.for_runs(Path("runs")) as ledger:
        (row,) = ledger.rows()
    assert row.spent.executed == result["flops"]["executed"] <= bound["executed"]
    # the same as the last steps held out
    held = run_lvlora(["forecast", *words, "--holdout", "3", "--json"]).json["scores"]
    assert hindcast["mae"] == held["mae"]
    assert (hindcast["rivals"], hindcast["nearer"]) == (held["rivals"], held["nearer"])
    assert hindcast["nearer"] is not None
    shown = run_lvlora(["forecast", *plain], code=0).stdout
    assert f"--forecaster {hindcast['nearer'].replace(' ', '-')}" in " ".join(shown.split())


def test_no_hindcast_is_made_where_it_is_unwanted_or_a_limit_leaves_no_room(run_lvlora, words):
    plain = [*words, "--horizon", "5"]
    without = run_lvlora(["forecast", *plain, "--no-hindcast", "--json"]).json
    bound = run_lvlora(["forecast", *plain, "--no-hindcast", "--dry-run", "--json"]).json
    limit = str(bound["flops_at_most"]["executed"])
    limited = run_lvlora(["forecast", *plain, "--max-flops", limit, "--json"], code=0).json
    for result in (without, limited):
        assert "hindcast" not in result
        assert result["flops"] == without["flops"]
    with_hindcast = run_lvlora(["forecast", *plain, "--json"]).json
    assert with_hindcast["series"] == without["series"]
    assert with_hindcast["flops"]["executed"] > without["flops"]["executed"]

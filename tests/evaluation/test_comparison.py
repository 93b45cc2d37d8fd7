"""Skill and win rates: who takes part, where there are none, and the numbers of fev itself."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scored import score_rival

from lvlora.data.answers import Interval
from lvlora.data.dataset import Dataset, Series
from lvlora.evaluation.comparison import (
    by_series,
    compare,
    difference,
    relative_errors,
    skills,
    win_rates,
)
from lvlora.evaluation.protocol import Protocol, Task, task
from lvlora.evaluation.scores import Entry, score_floor
from lvlora.forecast.rivals import ContextMean, LastValue, Rival, SeasonalNaive

LEVELS = (0.1, 0.5, 0.9)
FEV = json.loads((Path(__file__).parent / "fev_leaderboard.json").read_text(encoding="utf-8"))


def task_and_data(still: int = 0) -> tuple[Task, Dataset]:
    """Six waves of different scales, of which the first so many stand still in the history."""
    time, rng, series = np.arange(44.0), np.random.default_rng(0), []
    for i in range(6):
        values = np.sin(2 * np.pi * time[:, None] / (7 + i) + np.arange(2))
        values += rng.normal(0, 0.05, values.shape)
        values[:30] *= i >= still
        series.append(Series(f"s{i}", time, values * 10 ** (i / 2)))
    data = Dataset(tuple(series), ("a", "b"), "waves")
    return task(data, Protocol("all", 30, 14)), data


def table(of: tuple[Task, Dataset], *rivals: Rival) -> list[Entry]:
    entries = [score_rival(rival, *of, LEVELS) for rival in rivals]
    entries.append(score_floor(of[0], 2, LEVELS))
    compare(entries, 3)
    return entries


def test_skill_is_of_the_scaled_error_of_each_series() -> None:
    seasonal, last, floor = table(task_and_data(), SeasonalNaive(), LastValue())
    ratios = last.series_mase / seasonal.series_mase
    assert last.row.skill is not None
    assert last.row.skill.value == pytest.approx(1 - np.exp(np.log(ratios).mean()))
    assert last.row.skill.low < last.row.skill.value < last.row.skill.high < 0
    assert last.row.win_rate is not None
    assert last.row.win_rate.value == pytest.approx((ratios < 1).mean())
    assert floor.row.skill is floor.row.win_rate is None


def test_series_without_a_scale_take_no_part() -> None:
    seasonal, last, _ = table(task_and_data(still=2), SeasonalNaive(), LastValue())
    ratios = (last.series_mase / seasonal.series_mase)[2:]
    assert last.row.skill is not None
    assert last.row.skill.value == pytest.approx(1 - np.exp(np.log(ratios).mean()))
    nobody = table(task_and_data(still=6), SeasonalNaive(), LastValue())
    assert all(entry.row.skill is entry.row.win_rate is None for entry in nobody)


def test_without_seasonal_naive_skill_is_against_the_last_value() -> None:
    last, mean, _ = table(task_and_data(), LastValue(), ContextMean())
    assert last.row.skill == Interval(value=0, low=0, high=0)
    assert mean.row.skill is not None
    assert last.row.win_rate is not None
    assert mean.row.win_rate is not None
    assert last.row.win_rate.value + mean.row.win_rate.value == pytest.approx(1)
    alone, _ = table(task_and_data(), SeasonalNaive())
    assert alone.row.skill is not None
    assert alone.row.skill == Interval(value=0, low=0, high=0)
    assert alone.row.win_rate is None


def test_periods_are_those_of_the_histories() -> None:
    scored, _ = task_and_data(still=1)
    assert np.isnan(scored.periods[0]).all()
    np.testing.assert_allclose(scored.periods[1:, 0], np.arange(8, 13), rtol=0.05)
    (last, _) = table((scored, task_and_data()[1]), LastValue())
    steps = last.row.valid_steps
    assert 0 <= steps < 14


def test_windows_of_a_series_count_as_one_series() -> None:
    """Copies of every window are no more evidence than one."""
    rng = np.random.default_rng(5)
    ours, theirs = rng.normal(size=(2, 20))
    names = [f"s{i}" for i in range(20)]
    once = difference(ours, theirs, 1, names)
    assert once == difference(ours, theirs, 1)
    repeated = [n for n in names for _ in range(4)]
    again = difference(np.repeat(ours, 4), np.repeat(theirs, 4), 1, repeated)
    assert (again.low, again.high) == pytest.approx((once.low, once.high))


def test_the_numbers_are_fevs() -> None:
    """Values and both ends, with clipping and ties; made by scripts/make_fev_numbers.py."""
    ratios = relative_errors(np.array(FEV["errors"]), FEV["models"].index("seasonal_naive"))
    scores = zip(skills(ratios, FEV["seed"]), win_rates(ratios, FEV["seed"]), strict=True)
    ours = [[s.value, s.low, s.high, w.value, w.low, w.high] for s, w in scores]
    assert FEV["columns"][0] == "skill_score"
    assert FEV["columns"][3] == "win_rate"
    assert np.array(ours) == pytest.approx(np.array(FEV["leaderboard"]), abs=1e-9)


def test_a_perfect_baseline_leaves_no_gap() -> None:
    ratios = relative_errors(np.array([[0.0, 0.0, 2.0]]), 0)
    assert ratios.tolist() == [[1.0, 1.0, 100.0]]


def test_of_one_series_there_is_no_interval() -> None:
    first, second = win_rates(np.array([[1.0, 2.0]]))
    assert (first.value, second.value) == (1.0, 0.0)
    assert first.low is None
    assert first.high is None


def test_a_series_has_the_mean_of_its_windows() -> None:
    errors = np.array([[1.0, 2.0], [5.0, 1.0], [3.0, math.nan]])
    means = by_series(errors, ["b", "a", "b"])
    np.testing.assert_allclose(means, [[2.0, 2.0], [5.0, 1.0]])

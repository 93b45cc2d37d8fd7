"""Skill and win rate against the numbers of fev itself, and where it has none."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from lvlora.evaluation.comparison import by_series, relative_errors, skills, win_rates

FEV = json.loads((Path(__file__).parent / "fev_leaderboard.json").read_text(encoding="utf-8"))


def test_the_numbers_are_fevs() -> None:
    """Values and both ends, with clipping and ties; made by scripts/make_fev_numbers.py."""
    ratios = relative_errors(np.array(FEV["errors"]), FEV["models"].index("seasonal_naive"))
    result = zip(skills(ratios, FEV["seed"]), win_rates(ratios, FEV["seed"]), strict=True)
    ours = [[s.value, s.low, s.high, w.value, w.low, w.high] for s, w in result]
    assert FEV["columns"][0] == "skill_score"
    assert FEV["columns"][3] == "win_rate"
    assert np.array(ours) == pytest.approx(np.array(FEV["leaderboard"]), abs=1e-9)


def test_a_perfect_baseline_leaves_no_gap() -> None:
    ratios = relative_errors(np.array([[0.0, 0.0, 2.0]]), 0)
    assert ratios.tolist() == [[1.0, 1.0, 100.0]]


def test_one_series_and_one_forecaster_have_no_interval() -> None:
    (alone,) = win_rates(np.ones((4, 1)))
    assert alone.value is None
    first, second = win_rates(np.array([[1.0, 2.0]]))
    assert (first.value, second.value) == (1.0, 0.0)
    assert first.low is None
    assert first.high is None


def test_a_series_has_the_mean_of_its_windows() -> None:
    errors = np.array([[1.0, 2.0], [5.0, 1.0], [3.0, math.nan]])
    result = by_series(errors, ["b", "a", "b"])
    np.testing.assert_allclose(result, [[2.0, 2.0], [5.0, 1.0]])

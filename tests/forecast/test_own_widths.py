"""Widths from one's own data: the order statistic, the coverage, the refusals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlora.data.dataset import Series
from lvlora.errors import DataError, SettingsError
from lvlora.forecast.forecaster import Forecast
from lvlora.forecast.widths import calibrate, order_statistic


def test_the_order_statistic_is_that_of_the_definition():
    scores = np.array([3.0, 1.0, 9.0, 2.0, 5.0, 4.0, 8.0, 7.0, 6.0])
    assert [order_statistic(scores, level) for level in (0.8, 0.5, 0.9)] == [8, 5, 9]
    with pytest.raises(DataError) as caught:
        order_statistic(scores, 0.95)
    assert "19 at least" in caught.value.hint


@given(st.integers(4, 40), st.sampled_from([0.5, 0.8]), st.integers(0, 2**32))
def test_one_more_exchangeable_score_is_covered(n, level, seed):
    """Exactly: of all n + 1 scores, each in turn left out, at least that share is covered."""
    scores = np.round(np.random.default_rng(seed).standard_cauchy(n + 1), 1)  # with ties
    covered = [scores[i] <= order_statistic(np.delete(scores, i), level) for i in range(n + 1)]
    assert np.mean(covered) >= level - 1e-9


@pytest.mark.parametrize("spread", [0.3, 1.0, 3.0])
def test_intervals_cover_what_they_say(spread):
    """Samples too narrow, right, and too wide by a factor; some truths are missing."""
    rng = np.random.default_rng(3)
    n, shape = 400, (6, 2)
    unit = rng.choice([0.1, 1.0, 50.0], (n, 1, 1)) * np.linspace(1, 4, 6)[:, None] * [1.0, 5.0]
    truth = unit * rng.standard_normal((n, *shape))
    truth[::7, 2] = np.nan
    samples = spread * unit[:, None] * rng.standard_normal((n, 20, *shape))
    half = n // 2
    widths = calibrate(truth[:half], samples[:half], (0.1, 0.25, 0.5, 0.75, 0.9))
    past = Series("s", np.arange(10.0), np.resize([-1e5, 1e5], (10, 1)) * [1.0, 1.0])
    time = np.arange(10.0, 16.0)
    before = [Forecast("s", time, s, None, 10, history=past) for s in samples[half:]]
    after = [widths.apply(forecast) for forecast in before]
    known = ~np.isnan(truth[half:])
    for level in (0.5, 0.8):
        ends = [np.stack([f.quantile((1 + x * level) / 2) for f in after]) for x in (-1, 1)]
        inside = (truth[half:] >= ends[0]) & (truth[half:] <= ends[1])
        assert abs(inside[known].mean() - level) < 0.03
    for one, other in zip(before, after, strict=True):
        assert np.array_equal(one.median, other.median)


def test_forecasts_without_an_interval_are_refused():
    truth = np.zeros((9, 2, 1))
    for n_samples, quantiles in ((5, (0.5, 0.9)), (1, (0.1, 0.9))):
        with pytest.raises(SettingsError):
            calibrate(truth, np.zeros((9, n_samples, 2, 1)), quantiles)
    with pytest.raises(DataError):  # futures all alike, and elsewhere
        calibrate(truth, np.ones((9, 5, 2, 1)), (0.1, 0.9))

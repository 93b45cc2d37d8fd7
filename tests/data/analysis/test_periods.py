"""Peaks, periods, growth and lags of signals whose answers are known."""

import tracemalloc
from time import perf_counter

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lvlora.data.gaps import interpolated
from lvlora.data.periods import find_peaks, phase_lags

TIME = np.linspace(0, 200, 101)


def wave(period: float, delay: float = 0.0, time=TIME):
    return 2 + np.cos(2 * np.pi * (time - delay) / period)


@given(st.floats(12, 80), st.floats(0, 12))
def test_period_of_a_cosine(period, delay):
    peaks = find_peaks(TIME, wave(period, delay))
    if len(peaks) < 2:
        assert period > 50
        return
    assert peaks.period == pytest.approx(period, rel=0.01)
    assert peaks.period_samples == pytest.approx(period / 2, rel=0.01)


@given(st.floats(20, 60), st.floats(-0.45, 0.45))
@example(20.0, -0.109375)  # its first peak lies within half a smoothing window of the beginning
def test_lag_of_a_shifted_cosine_is_signed(period, fraction):
    first = find_peaks(TIME, wave(period, 5))
    second = find_peaks(TIME, wave(period, 5 + fraction * period))
    lags = phase_lags(first, second)
    assert len(lags)
    assert np.allclose(lags, fraction * period, atol=0.2)


@pytest.mark.parametrize("power", [1.2, 1.5])
def test_noisy_peaks_at_uneven_times_are_none_that_are_not_there(power):
    """The ends of a smoothed column go on a period away in time, not in samples."""
    rng = np.random.default_rng(0)
    for _ in range(100):
        n = int(rng.integers(60, 120))
        time = n * np.linspace(0, 1, n) ** power
        period, delay = rng.uniform(10, 20), rng.uniform(0, 10)
        values = wave(period, delay, time) + 0.1 * rng.normal(size=n)
        found = find_peaks(time, values).times
        off = np.abs((found - delay + period / 2) % period - period / 2)
        assert np.all(off < period / 4)


def test_variables_of_different_periods_have_no_lag():
    assert len(phase_lags(find_peaks(TIME, wave(24)), find_peaks(TIME, wave(36)))) == 0


def test_growth_is_the_log_slope_per_period():
    for rate in (-0.3, 0.0, 0.2):
        values = np.exp(rate * TIME / 20) * wave(20, 3)
        assert find_peaks(TIME, values).growth == pytest.approx(rate, abs=0.005)


def test_growth_needs_positive_peaks():
    assert np.isnan(find_peaks(TIME, wave(20) - 5).growth)
    assert np.isnan(find_peaks(TIME, wave(300)).growth)


def test_uneven_times_count_in_time_not_in_samples():
    time = np.sort(np.random.default_rng(0).uniform(0, 200, 400))
    peaks = find_peaks(time, wave(25, 0, time))
    assert peaks.period == pytest.approx(25, rel=0.02)


def test_ripples_are_no_peaks():
    values = wave(40) + 0.01 * np.cos(TIME * 1.5)
    assert find_peaks(TIME, values).period == pytest.approx(40, rel=0.02)


@pytest.mark.parametrize(
    "values", [np.ones(101), np.full(101, np.nan), np.arange(101.0), np.full(101, 1e100)]
)
def test_nothing_that_peaks(values):
    peaks = find_peaks(TIME, values)
    assert len(peaks) == 0
    assert np.isnan(peaks.period)
    assert len(phase_lags(peaks, find_peaks(TIME, wave(20)))) == 0


@pytest.mark.parametrize("factor", [1e100, 1e-300, -1.0])
def test_scale_does_not_matter(factor):
    expected = 40.0
    assert find_peaks(TIME, factor * wave(40, 10)).period == pytest.approx(expected, rel=0.01)


def test_unrelated_peaks_are_not_paired():
    """The second peaks once, the first often: only the nearest pair remains."""
    once = np.exp(-((TIME - 101) ** 2) / 50)
    lags = phase_lags(find_peaks(TIME, wave(20)), find_peaks(TIME, once))
    assert lags == pytest.approx([1], abs=0.2)


def test_gaps_are_filled_by_straight_lines_in_time():
    time = np.array([0.0, 1, 3, 4])
    values = np.array([[np.nan, 1], [1, np.nan], [np.nan, np.nan], [4, np.nan]])
    assert interpolated(time, values).tolist() == [[1, 1], [1, 1], [3, 1], [4, 1]]
    assert np.isnan(interpolated(time, np.full((4, 1), np.nan))).all()
    assert np.isnan(values[0, 0])


@pytest.mark.parametrize(
    "curve",
    [
        lambda t, rng: rng.normal(size=len(t)),
        lambda t, rng: rng.normal(size=len(t)).cumsum(),
        lambda t, rng: 0.1 * t + np.sin(t / 3),
        lambda t, rng: np.sin(t / 3) + 0.3 * rng.normal(size=len(t)),
    ],
)
def test_a_long_series_takes_time_and_memory_in_proportion(curve):
    time = np.arange(100_000.0)
    values = curve(time, np.random.default_rng(0))
    tracemalloc.start()
    begin = perf_counter()
    peaks = find_peaks(time, values)
    lags = phase_lags(peaks, peaks)
    took, (_, most) = perf_counter() - begin, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert np.all(lags == 0)
    assert took < 20
    assert most < 500 * len(time)

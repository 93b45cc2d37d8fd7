"""Noise and repetition of curves whose noise and period are known; none where there is no cycle."""

import numpy as np
import pytest
from scipy import signal

from lvlora.data.periods import find_peaks, noise_level, smoothed

SEEDS = range(40)


def drawn(make, n: int) -> list:
    """What `find_peaks` makes of a curve drawn with each seed: make(rng, times) -> values."""
    time = np.arange(float(n))
    return [find_peaks(time, make(np.random.default_rng(seed), time)) for seed in SEEDS]


def sine(rng, time, noise: float, period: float = 17.0):
    return 1.5 * np.sin(2 * np.pi * (time / period + rng.random())) + noise * rng.normal(
        size=len(time)
    )


@pytest.mark.parametrize("n", [50, 100, 400])
@pytest.mark.parametrize("noise", [0.0, 0.1, 0.2, 0.3])
def test_a_period_under_noise(noise, n):
    found = drawn(lambda rng, time: sine(rng, time, noise), n)
    periods = np.array([f.period_samples for f in found])
    assert np.median(periods) == pytest.approx(17, rel=0.05)
    assert np.mean(np.abs(periods / 17 - 1) < 0.05) >= 0.95
    assert np.median([f.confidence for f in found]) > 0.85


@pytest.mark.parametrize("period", [4, 7, 30])
def test_fast_and_slow_periods_under_noise(period):
    found = drawn(lambda rng, time: sine(rng, time, 0.3, period), 150)
    assert np.median([f.period_samples for f in found]) == pytest.approx(period, rel=0.05)


CYCLES = {
    "on a trend": lambda t: 0.1 * t + 1.5 * np.sin(2 * np.pi * t / 17),
    "growing": lambda t: np.exp(t / 200) * (3 + 1.5 * np.sin(2 * np.pi * t / 17)),
    "shrinking": lambda t: np.exp(-t / 100) * (3 + 3 * np.sin(2 * np.pi * t / 17)),
    "of sharp peaks": lambda t: 4 * np.exp(3 * (np.sin(2 * np.pi * t / 17) - 1)),
}


@pytest.mark.parametrize("name", CYCLES)
def test_cycles_of_any_shape_under_noise(name):
    found = drawn(lambda rng, time: CYCLES[name](time) + 0.2 * rng.normal(size=len(time)), 200)
    assert np.median([f.period_samples for f in found]) == pytest.approx(17, rel=0.05)


NO_CYCLE = {
    "white noise": lambda rng, t: rng.normal(size=len(t)),
    "a random walk": lambda rng, t: rng.normal(size=len(t)).cumsum(),
    "red noise": lambda rng, t: signal.lfilter([1], [1, -0.8], rng.normal(size=len(t) + 50))[50:],
    "a noisy trend": lambda rng, t: 0.1 * t + rng.normal(size=len(t)),
    "a random walk of logarithms": lambda rng, t: np.exp(0.1 * rng.normal(size=len(t)).cumsum()),
    "growth": lambda rng, t: np.exp(3 * t / len(t)) + 0.3 * rng.normal(size=len(t)),
    "decay": lambda rng, t: np.exp(-5 * t / len(t)) + 0.03 * rng.normal(size=len(t)),
    "a step": lambda rng, t: np.tanh(t / len(t) * 10 - 5) + 0.02 * rng.normal(size=len(t)),
}


@pytest.mark.parametrize("n", [20, 100, 1000])
@pytest.mark.parametrize("name", NO_CYCLE)
def test_what_has_no_cycle_has_no_period(name, n):
    found = drawn(NO_CYCLE[name], n)
    assert np.mean([np.isnan(f.period) for f in found]) >= 0.9
    assert np.median([f.confidence for f in found]) < 0.5


@pytest.mark.parametrize(("season", "n"), [(4, 80), (4, 200), (12, 60), (12, 190), (7, 100)])
def test_a_season_that_grows_on_a_trend(season, n):
    """As quarters of beer and months of drugs, whose periods were five seasons and two, or none."""

    def growing(rng, time):
        pattern = rng.normal(size=season)
        level = 2.5 * time / len(time) + 0.03 * rng.normal(size=len(time)).cumsum()
        within = 0.2 * (pattern - pattern.mean()) / pattern.std()
        return np.exp(level + within[time.astype(int) % season] + 0.03 * rng.normal(size=len(time)))

    periods = np.array([f.period_samples for f in drawn(growing, n)])
    # of four numbers drawn by chance some pairs are alike, and their season is two steps
    assert np.mean(np.abs(periods / season - 1) < 0.05) >= 0.85


def test_many_smooth_bumps_that_do_not_repeat_are_no_cycle():
    window = np.hanning(31)
    found = drawn(
        lambda rng, t: signal.oaconvolve(rng.normal(size=len(t) + 30), window, "valid"), 1000
    )
    assert all(np.isnan(f.period) for f in found)


def test_a_short_series_of_twenty_steps():
    assert drawn(lambda rng, t: sine(rng, t, 0.0, 6), 20)[0].period == pytest.approx(6, rel=0.02)
    seen = drawn(lambda rng, t: sine(rng, t, 0.2, 6), 20)
    assert np.nanmedian([f.period for f in seen]) == pytest.approx(6, rel=0.05)


@pytest.mark.parametrize("uneven", [False, True])
@pytest.mark.parametrize("sd", [0.01, 0.1, 1.0])
def test_the_noise_level(sd, uneven):
    rng = np.random.default_rng(2)
    time = np.arange(2000.0)
    if uneven:
        time = np.cumsum(rng.uniform(0.3, 1.7, 2000))
    values = 3 * np.sin(time / 9) + sd * rng.normal(size=2000)
    assert noise_level(time, values) == pytest.approx(sd, rel=0.1)


def test_no_noise_in_what_is_smooth_or_short():
    time = np.arange(200.0)
    assert noise_level(time, np.sin(time / 3)) < 0.01
    assert noise_level(time[:6], np.random.default_rng(0).normal(size=6)) == 0


@pytest.mark.parametrize("period", [8, 10.3, 20])
def test_smoothing_moves_no_peak_near_an_end(period):
    inside = np.arange(-20.0, 80)
    for delay in (0, 1, 2.4):
        wave = np.cos(2 * np.pi * (inside - delay) / period)
        whole = smoothed(wave, period / 2, (period, period))[0][20:60]
        assert smoothed(wave[20:60], period / 2, (period, period))[0] == pytest.approx(
            whole, abs=0.01
        )

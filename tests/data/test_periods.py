"""Peaks, periods, noise, growth and lags of curves whose answers are known."""

import json
import math
import tracemalloc
from pathlib import Path
from time import perf_counter

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import signal

from lvlora.data.gaps import interpolated
from lvlora.data.periods import (
    _smoothed,
    find_peaks,
    noise_level,
    phase_lags,
    seasons,
    seasons_used,
    whole_season,
)
from lvlora.evaluation import scores
from lvlora.forecast.rivals import default_rivals

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
        result = find_peaks(time, values).times
        off = np.abs((result - delay + period / 2) % period - period / 2)
        assert np.all(off < period / 4)


def test_growth_is_the_log_slope_per_period():
    for rate in (-0.3, 0.0, 0.2):
        values = np.exp(rate * TIME / 20) * wave(20, 3)
        assert find_peaks(TIME, values).growth == pytest.approx(rate, abs=0.005)
    # peaks below zero, and none, have no logarithms
    assert np.isnan(find_peaks(TIME, wave(20) - 5).growth)
    assert np.isnan(find_peaks(TIME, wave(300)).growth)


def test_neither_uneven_times_nor_ripples_nor_scale_matter():
    time = np.sort(np.random.default_rng(0).uniform(0, 200, 400))
    assert find_peaks(time, wave(25, 0, time)).period == pytest.approx(25, rel=0.02)
    rippled = wave(40) + 0.01 * np.cos(TIME * 1.5)
    assert find_peaks(TIME, rippled).period == pytest.approx(40, rel=0.02)
    for factor in (1e100, 1e-300, -1.0):
        assert find_peaks(TIME, factor * wave(40, 10)).period == pytest.approx(40, rel=0.01)


@pytest.mark.parametrize(
    "values", [np.ones(101), np.full(101, np.nan), np.arange(101.0), np.full(101, 1e100)]
)
def test_nothing_that_peaks(values):
    peaks = find_peaks(TIME, values)
    assert len(peaks) == 0
    assert np.isnan(peaks.period)
    assert len(phase_lags(peaks, find_peaks(TIME, wave(20)))) == 0


def test_unrelated_peaks_are_not_paired():
    """The second peaks once, the first often: only the nearest pair remains."""
    assert len(phase_lags(find_peaks(TIME, wave(24)), find_peaks(TIME, wave(36)))) == 0
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
    result = drawn(lambda rng, time: sine(rng, time, noise), n)
    periods = np.array([f.period_samples for f in result])
    assert np.median(periods) == pytest.approx(17, rel=0.05)
    assert np.mean(np.abs(periods / 17 - 1) < 0.05) >= 0.95
    assert np.median([f.confidence for f in result]) > 0.85


def test_three_cycles_in_twenty_steps_without_noise():
    assert drawn(lambda rng, time: sine(rng, time, 0.0, 6), 20)[0].period == pytest.approx(
        6, rel=0.02
    )


CYCLES = {
    "fast": (150, 4, lambda rng, t: sine(rng, t, 0.3, 4)),
    "of a week": (150, 7, lambda rng, t: sine(rng, t, 0.3, 7)),
    "slow": (150, 30, lambda rng, t: sine(rng, t, 0.3, 30)),
    "of three in twenty steps": (20, 6, lambda rng, t: sine(rng, t, 0.2, 6)),
    "on a trend": (200, 17, lambda rng, t: 0.1 * t + 1.5 * np.sin(2 * np.pi * t / 17)),
    "growing": (200, 17, lambda rng, t: np.exp(t / 200) * (3 + 1.5 * np.sin(2 * np.pi * t / 17))),
    "shrinking": (200, 17, lambda rng, t: np.exp(-t / 100) * (3 + 3 * np.sin(2 * np.pi * t / 17))),
    "of peaks": (200, 17, lambda rng, t: 4 * np.exp(3 * (np.sin(2 * np.pi * t / 17) - 1))),
}


@pytest.mark.parametrize("name", CYCLES)
def test_cycles_of_any_shape_under_noise(name):
    n, period, curve = CYCLES[name]
    noise = 0.2 if n == 200 else 0.0
    result = drawn(lambda rng, t: curve(rng, t) + noise * rng.normal(size=len(t)), n)
    # in twenty steps some draws show no period
    median = np.nanmedian if n == 20 else np.median
    assert median([f.period_samples for f in result]) == pytest.approx(period, rel=0.05)


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
    result = drawn(NO_CYCLE[name], n)
    assert np.mean([np.isnan(f.period) for f in result]) >= 0.9
    assert np.median([f.confidence for f in result]) < 0.5


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
    result = drawn(
        lambda rng, t: signal.oaconvolve(rng.normal(size=len(t) + 30), window, "valid"), 1000
    )
    assert all(np.isnan(f.period) for f in result)


@pytest.mark.parametrize("uneven", [False, True])
@pytest.mark.parametrize("sd", [0.01, 0.1, 1.0])
def test_the_noise_level(sd, uneven):
    rng = np.random.default_rng(2)
    time = np.arange(2000.0)
    if uneven:
        time = np.cumsum(rng.uniform(0.3, 1.7, 2000))
    values = 3 * np.sin(time / 9) + sd * rng.normal(size=2000)
    assert noise_level(time, values) == pytest.approx(sd, rel=0.1)


@pytest.mark.parametrize("period", [8, 10.3, 20])
def test_smoothing_moves_no_peak_near_an_end(period):
    inside = np.arange(-20.0, 80)
    for delay in (0, 1, 2.4):
        wave = np.cos(2 * np.pi * (inside - delay) / period)
        whole, _ = _smoothed(wave, period / 2, (period, period))
        part, _ = _smoothed(wave[20:60], period / 2, (period, period))
        assert part == pytest.approx(whole[20:60], abs=0.01)


def test_no_noise_in_what_is_smooth_or_short():
    time = np.arange(200.0)
    assert noise_level(time, np.sin(time / 3)) < 0.01
    assert noise_level(time[:6], np.random.default_rng(0).normal(size=6)) == 0


@pytest.mark.parametrize(
    ("periods", "expected"),
    [
        ([[12.0], [12.0]], "12"),
        ([[9.5, math.nan], [11.0, 10.0]], "9.5 to 11"),
        ([[9.5], [math.nan]], "9.5; none in 1 of 2"),
        ([[math.nan], [math.nan]], "none"),
    ],
)
def test_periods_of_several_series_in_a_cell(periods, expected):
    assert seasons_used(periods) == expected


def test_a_season_that_is_given_needs_a_history_that_holds_it():
    time = np.arange(20.0)
    history = np.sin(time)[:, None]
    assert seasons(time, history, 7).tolist() == [7.0]
    assert np.isnan(seasons(time, history, 20)).all()
    assert np.isnan(seasons(time, history, "none")).all()
    assert whole_season(math.nan) == 1


@pytest.mark.slow
def test_the_table_tells_the_season_beside_each_row(run_lvlora, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{t},{10 + 3 * math.sin(2 * math.pi * t / 12):.4f}\n" for t in range(72))
    Path("wave.csv").write_text(f"time,x\n{rows}")
    words = ["evaluate", "wave.csv", "--no-model", "--holdout", "6"]
    ran = run_lvlora(
        [*words, "--split", "all", "--samples", "3", "--season", "9", "--json"], code=0
    )
    table = json.loads(ran.stdout)["forecasters"]
    season = {row["name"]: row["season"] for row in table}
    assert season["seasonal naive"] == "9"
    assert season["last value"] == ""
    ran = run_lvlora(
        [*words, "--split", "all", "--samples", "3", "--json", "--out", "other"], code=0
    )
    (result,) = {
        row["season"]
        for row in json.loads(ran.stdout)["forecasters"]
        if row["name"] == "seasonal naive"
    }
    assert float(result) == pytest.approx(12, abs=0.5)


def test_without_a_season_skill_is_against_the_last_value(run_lvlora, tmp_path, monkeypatch):
    """And pooled quantiles learn from the training part where few series are scored."""
    monkeypatch.chdir(tmp_path)
    names = {"seasonal naive", "last value", "context mean", "pooled quantiles"}
    rivals = [rival for rival in default_rivals() if rival.name in names]
    monkeypatch.setattr(scores, "default_rivals", lambda season: rivals)
    rng = np.random.default_rng(0)
    rows = [
        f"s{k},{t},{x:.4f}"
        for k in range(12)
        for t, x in enumerate(rng.normal(size=30).cumsum().tolist())
    ]
    Path("walks.csv").write_text("\n".join(["id,time,x", *rows, ""]))
    words = ["evaluate", "walks.csv", "--no-model", "--context", "20", "--horizon", "5", "--json"]
    ran = run_lvlora([*words, "--samples", "3", "--limit", "1"], code=0)
    table = {row["name"]: row for row in json.loads(ran.stdout)["forecasters"]}
    assert "seasonal naive" not in table
    assert table["last value"]["skill"]["value"] == 0
    assert table["context mean"]["skill"]["value"] != 0
    assert "pooled quantiles" in table

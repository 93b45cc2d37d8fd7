"""Series to mix in: as long, as noisy and as full of gaps as the data, and no two alike."""

from dataclasses import replace

import numpy as np
import pytest

from lvlora.data.dataset import Dataset, Series
from lvlora.data.settings import SimulateSettings
from lvlora.data.simulate import MOST_STEPS, Likeness, noise_share, simulate


def made(likeness, n=12, seed=0):
    series = tuple(likeness.series(seed, i) for i in range(n))
    names = tuple(f"v{i}" for i in range(likeness.n_variables))
    return Dataset(series, names)


@pytest.mark.parametrize("noise", [0.0, 0.2, 0.6])
def test_they_are_as_noisy_and_as_full_of_gaps_as_what_they_are_like(noise):
    like = Likeness(2, 120, noise, 0.1)
    found = Likeness.to(made(like))
    assert (found.n_variables, found.n_steps) == (2, 120)
    assert found.noise == pytest.approx(noise, abs=0.08)
    assert found.gaps == pytest.approx(0.1, abs=0.02)


def test_noise_is_measured_of_what_is_known():
    rng = np.random.default_rng(0)
    wave = np.sin(np.arange(400) / 12)
    assert noise_share(wave) < 0.01
    for size in (0.2, 0.5, 1.0):
        expected = size / np.hypot(size, wave.std())
        assert noise_share(wave + rng.normal(0, size, 400)) == pytest.approx(expected, rel=0.15)
    assert noise_share(np.full(9, 3.7)) == 0
    assert noise_share(np.array([1.0, 2.0])) == 0


def test_noise_of_populations_is_that_of_their_logarithms():
    clean = simulate(SimulateSettings(n_series=8, seed=3))
    noisy = simulate(SimulateSettings(n_series=8, seed=3, noise=0.3))
    spreads = [np.log(s.values).std(axis=0) for s in clean]
    expected = 0.3 / np.hypot(0.3, np.median(spreads))
    assert Likeness.to(noisy).noise == pytest.approx(expected, abs=0.08)
    assert Likeness.to(clean).noise < 0.1
    # what is below zero has no logarithm, and noise all the same
    level = replace(noisy, series=tuple(replace(s, values=s.values - 9) for s in noisy))
    assert 0.1 < Likeness.to(level).noise < 0.9


@pytest.mark.parametrize("n_variables", [1, 2, 3, 5])
def test_any_number_of_variables(n_variables):
    data = made(Likeness(n_variables, 40, 0.0, 0.0), n=30)
    assert all(s.values.shape == (40, n_variables) and (s.values > 0).all() for s in data)
    # no variable is another one's copy
    for series in data:
        logs = np.log(series.values).T
        if n_variables > 1:
            assert np.abs(np.corrcoef(logs) - np.eye(n_variables)).max() < 0.9999
    # the first one is a prey in some, a predator in others: predators are fewer
    means = [s.values[:, 0].mean() for s in data]
    assert min(means) < 0.9 < 1.3 < max(means)


def test_a_series_is_a_function_of_seed_and_number():
    like = Likeness(1, 50, 0.3, 0.2)
    again = made(like, 6)
    for one, other in zip(made(like, 6), again, strict=True):
        assert np.array_equal(one.values, other.values, equal_nan=True)
        assert np.array_equal(one.time, other.time)
    assert not np.array_equal(like.series(0, 1).values, like.series(1, 1).values, equal_nan=True)
    assert len({float(np.nansum(s.values)) for s in again}) == 6


def test_long_series_and_empty_ones_are_no_obstacle():
    long = Dataset((Series("a", np.arange(4000.0), np.ones((4000, 1))),), ("x",))
    assert Likeness.to(long) == Likeness(1, MOST_STEPS, 0.0, 0.0)
    gaps = Dataset((Series("a", np.arange(5.0), np.full((5, 1), np.nan)),), ("x",))
    assert Likeness.to(gaps).gaps == 1
    series = Likeness.to(gaps).series(0, 0)
    assert np.isfinite(series.values).sum() == 1  # something to train on is left

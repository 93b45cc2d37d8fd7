"""Simulated data: reproducible, positive, like the published figures, and like other data."""

from dataclasses import replace

import numpy as np
import pytest

from lvlora.data.dataset import Dataset, Series
from lvlora.data.settings import SimulateSettings
from lvlora.data.simulate import (
    MOST_STEPS,
    SYSTEMS,
    Likeness,
    integrate,
    noise_share,
    observe,
    simulate,
    simulate_series,
)
from lvlora.errors import NumericalError, SettingsError


def test_defaults_come_near_the_published_means_percentiles_and_range():
    thousand = np.stack([s.values for s in simulate(SimulateSettings(n_series=1000, seed=7))])
    assert thousand.mean(axis=(0, 1)) == pytest.approx([1.698, 0.570], rel=0.05)
    percentiles = np.percentile(thousand, [1, 5, 50, 90, 95, 99, 99.7])
    published = [0.028, 0.099, 0.778, 2.528, 3.474, 5.958, 7.930]
    assert percentiles == pytest.approx(published, rel=0.15)
    assert thousand[:, 0].min() >= 0.8
    assert thousand[:, 0].max() <= 1.2
    assert thousand.min() > 0
    assert 9 < thousand.max() < 18


@pytest.mark.parametrize("system", sorted(SYSTEMS))
def test_a_series_does_not_depend_on_how_many_are_made(system):
    few = simulate(SimulateSettings(system=system, n_series=2, n_steps=20, seed=3))
    many = simulate(SimulateSettings(system=system, n_series=5, n_steps=20, seed=3))
    other = simulate(SimulateSettings(system=system, n_series=2, n_steps=20, seed=4))
    assert [s.id for s in many] == ["0", "1", "2", "3", "4"]
    for a, b in zip(few, many, strict=False):
        assert np.array_equal(a.values, b.values)
    assert few.sha256() != other.sha256()
    assert not np.array_equal(few.series[0].values, few.series[1].values)


def test_time_runs_from_zero_to_the_duration():
    dataset = simulate(SimulateSettings(n_series=1, n_steps=11, duration=5.0))
    assert np.allclose(dataset.series[0].time, np.linspace(0, 5, 11))
    assert dataset.variables == ("prey", "predator")


def test_classic_system_conserves_its_first_integral():
    """V = delta x - gamma ln x + beta y - alpha ln y is constant (Volterra 1926)."""
    p = {"alpha": 0.2, "beta": 0.4, "conversion": 0.5, "gamma": 0.15}
    time = np.linspace(0, 300, 200)
    x, y = integrate(SYSTEMS["lotka-volterra"], p, (1.0, 1.1), time).T
    integral = 0.2 * x - 0.15 * np.log(x) + 0.4 * y - 0.2 * np.log(y)
    assert np.ptp(integral) < 1e-6


@pytest.mark.parametrize("system", sorted(SYSTEMS))
def test_integration_agrees_with_another_method(system):
    from scipy.integrate import solve_ivp

    chosen, rng = SYSTEMS[system], np.random.default_rng(5)
    p = {name: rng.uniform(*ends) for name, ends in chosen.ranges.items()}
    time = np.linspace(0, 100, 30)

    def derivative(_t, state):
        return state * np.array(chosen.log_growth(state[0], state[1], p))

    reference = solve_ivp(derivative, (0, 100), [1.0, 0.9], "DOP853", time, rtol=1e-11, atol=1e-13)
    assert np.allclose(integrate(chosen, p, (1.0, 0.9), time), reference.y.T, rtol=1e-5)


def test_noise_is_log_normal_around_the_same_trajectory():
    clean = simulate(SimulateSettings(n_series=20)).series
    noisy = simulate(SimulateSettings(n_series=20, noise=0.1)).series
    logs = np.concatenate(
        [np.log(n.values / c.values).ravel() for n, c in zip(noisy, clean, strict=True)]
    )
    assert logs.std() == pytest.approx(0.1, rel=0.05)
    assert abs(logs.mean()) < 0.01


def test_gaps_take_the_share_asked_for_and_leave_the_rest_alone():
    clean = simulate(SimulateSettings(n_series=20)).series
    gappy = simulate(SimulateSettings(n_series=20, gaps=0.2)).series
    missing = np.stack([np.isnan(s.values) for s in gappy])
    assert missing.mean() == pytest.approx(0.2, abs=0.02)
    for g, c in zip(gappy, clean, strict=True):
        assert np.array_equal(g.values[~np.isnan(g.values)], c.values[~np.isnan(g.values)])


def test_no_variable_loses_all_its_values():
    observed = observe(np.ones((3, 2)), np.random.default_rng(0), gaps=0.999)
    assert np.isfinite(observed).any(axis=0).all()


def test_too_many_values_are_refused_before_any_work():
    with pytest.raises(SettingsError, match="limit"):
        simulate(SimulateSettings(n_series=10**6, n_steps=10**6))


def test_failed_draws_are_replaced_and_hopeless_ones_named():
    growth = SYSTEMS["lotka-volterra"]
    wild = replace(growth, log_growth=lambda x, y, p: (p["alpha"] * x, -1.0))
    time = np.linspace(0, 200, 10)  # x' = alpha x² explodes before t = 1 / (0.1 · 0.8)
    with pytest.raises(NumericalError) as caught:
        simulate_series(wild, time, seed=0, index=0)
    assert "duration" in caught.value.hint
    sometimes = replace(wild, ranges={"alpha": (-0.3, 0.3)})
    values = [simulate_series(sometimes, time, 0, i).values for i in range(8)]
    assert all(np.isfinite(v).all() for v in values)


def simulated(likeness, n=12, seed=0):
    series = tuple(likeness.series(seed, i) for i in range(n))
    names = tuple(f"v{i}" for i in range(likeness.n_variables))
    return Dataset(series, names)


@pytest.mark.parametrize("noise", [0.0, 0.2, 0.6])
def test_they_are_as_noisy_and_as_full_of_gaps_as_what_they_are_like(noise):
    like = Likeness(2, 120, noise, 0.1)
    result = Likeness.to(simulated(like))
    assert (result.n_variables, result.n_steps) == (2, 120)
    assert result.noise == pytest.approx(noise, abs=0.08)
    assert result.gaps == pytest.approx(0.1, abs=0.02)


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
    data = simulated(Likeness(n_variables, 40, 0.0, 0.0), n=30)
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
    again = simulated(like, 6)
    for one, other in zip(simulated(like, 6), again, strict=True):
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

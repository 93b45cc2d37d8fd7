"""Simulated data: reproducible, positive, and like the published figures of the coursework."""

import dataclasses

import numpy as np
import pytest

from lvlora.data.settings import SimulateSettings
from lvlora.data.simulate import (
    SYSTEMS,
    draw_parameters,
    integrate,
    observe,
    simulate,
    simulate_series,
)
from lvlora.errors import NumericalError, SettingsError


@pytest.fixture(scope="module")
def thousand() -> np.ndarray:
    """(1000, 100, 2): the default system, many times."""
    dataset = simulate(SimulateSettings(n_series=1000, seed=7))
    return np.stack([s.values for s in dataset])


def test_defaults_come_near_the_published_means(thousand):
    prey, predator = thousand.mean(axis=(0, 1))
    assert prey == pytest.approx(1.698, rel=0.05)
    assert predator == pytest.approx(0.570, rel=0.05)


@pytest.mark.parametrize(
    ("percent", "published"),
    [(1, 0.028), (5, 0.099), (50, 0.778), (90, 2.528), (95, 3.474), (99, 5.958), (99.7, 7.930)],
)
def test_defaults_come_near_the_published_percentiles(thousand, percent, published):
    assert np.percentile(thousand, percent) == pytest.approx(published, rel=0.15)


def test_defaults_start_and_stay_in_the_published_range(thousand):
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

    chosen = SYSTEMS[system]
    p = draw_parameters(chosen, np.random.default_rng(5))
    time = np.linspace(0, 100, 30)

    def derivative(_t, state):
        return state * np.array(chosen.log_growth(state[0], state[1], p))

    reference = solve_ivp(derivative, (0, 100), [1.0, 0.9], "DOP853", time, rtol=1e-11, atol=1e-13)
    assert np.allclose(integrate(chosen, p, (1.0, 0.9), time), reference.y.T, rtol=1e-5)


def test_parameters_stay_in_their_ranges():
    for system in SYSTEMS.values():
        for seed in range(50):
            drawn = draw_parameters(system, np.random.default_rng(seed))
            assert drawn.keys() == system.ranges.keys()
            assert all(low <= drawn[k] <= high for k, (low, high) in system.ranges.items())


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
    wild = dataclasses.replace(
        SYSTEMS["lotka-volterra"],
        log_growth=lambda x, y, p: (p["alpha"] * x, -1.0),
    )
    time = np.linspace(0, 200, 10)  # x' = alpha x² explodes before t = 1 / (0.1 · 0.8)
    with pytest.raises(NumericalError) as caught:
        simulate_series(wild, time, seed=0, index=0)
    assert "duration" in caught.value.hint
    sometimes = dataclasses.replace(wild, ranges={"alpha": (-0.3, 0.3)})
    values = [simulate_series(sometimes, time, 0, i).values for i in range(8)]
    assert all(np.isfinite(v).all() for v in values)

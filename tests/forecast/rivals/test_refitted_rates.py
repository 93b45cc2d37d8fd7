"""Rates fitted to simulated systems: what they find, forecast, refuse and cost."""

from dataclasses import replace

import numpy as np
import pytest

from lvlora.data.settings import SimulateSettings
from lvlora.data.simulate import SYSTEMS, System, simulate, simulate_series
from lvlora.forecast.rivals import RefittedRates
from lvlora.forecast.rivals.rates import integrated_with_changes, library
from lvlora.forecast.rivals.refitted_rates import STRETCH, collocated, fitted
from lvlora.forecast.rivals.standardising import Problem

TIME = np.linspace(0.0, 200.0, 100)


def mae(rival: RefittedRates, system: str, noise: float, n_variables: int = 2) -> float:
    """Mean error of forecasts from noisy histories, beside the truth without noise."""
    settings = SimulateSettings(n_series=4, seed=8001, system=system)
    clean, noisy = simulate(settings), simulate(settings.model_copy(update={"noise": noise}))
    errors = [
        np.abs(
            rival.forecast(c.time, s.values[:50, :n_variables]) - c.values[50:, :n_variables]
        ).mean()
        for s, c in zip(noisy, clean, strict=True)
    ]
    return float(np.mean(errors))


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_shooting_recovers_the_rates_that_made_a_series(noise):
    system = SYSTEMS["rosenzweig-macarthur"]
    fixed = {"alpha": 0.25, "beta": 0.4, "conversion": 0.6, "gamma": 0.15, "K": 9.0, "h": 0.15}
    ranges = {name: (value, value) for name, value in fixed.items()}
    series = simulate_series(replace(system, ranges=ranges), TIME, 3, 0, noise=noise)
    centre = np.log(series.values).mean(axis=0)
    logs = np.log(series.values) - centre
    families = [family for family in library(2, saturating=True) if family.prey == 0][:1]
    problem = Problem(TIME, logs, np.ones((100, 2), dtype=bool), np.empty((100, 0)))
    smooth = problem.smoothed()
    rates, starts = collocated(TIME, smooth, families), smooth[None, ::STRETCH]
    for weight in (1.0, 100.0):
        fit = fitted(rates, starts, problem, weight, 20)
        rates, starts = fit.rates, fit.starts
    coefficients, x = rates.coefficients[0], np.exp(centre)
    inferred = {
        "alpha": coefficients[0, 0],
        "beta": -coefficients[-1, 0] / x[1],
        "conversion": -coefficients[-2, 1] / coefficients[-1, 0] * x[1] / x[0],
        "gamma": -coefficients[0, 1],
        "K": -coefficients[0, 0] / coefficients[1, 0] * x[0],
        "h": np.exp(rates.log_h[0]) / x[0],
    }
    assert inferred == pytest.approx(fixed, rel=0.1 if noise else 1e-3)


def test_derivatives_are_those_of_the_solution():
    families = [f for f in library(3, saturating=True) if f.prey == 1][:1]
    (family,) = families
    rng = np.random.default_rng(0)
    logs = np.cumsum(rng.normal(0, 0.1, (30, 3)), axis=0)
    rates = collocated(np.arange(30.0), logs, families)
    steps = rng.uniform(0.5, 1.5, (5, 6))
    starts = logs[None, ::6]
    path, changes = integrated_with_changes(rates, starts, steps)
    small = 1e-6
    for k in range(family.n_parameters):
        change = np.zeros((1, rates.used.shape[1]))
        change[0, k] = small
        moved, _ = integrated_with_changes(rates.moved(change), starts, steps)
        assert np.allclose((moved - path) / small, changes[..., k], rtol=1e-3, atol=1e-4)
    for v in range(3):
        moved, _ = integrated_with_changes(rates, starts + small * np.eye(3)[v], steps)
        assert np.allclose((moved - path) / small, changes[..., v - 3], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("saturating", "system", "noise", "limit"),
    [
        pytest.param(True, "rosenzweig-macarthur", 0.0, 0.005, marks=pytest.mark.slow),
        (True, "rosenzweig-macarthur", 0.05, 0.038),
        (False, "self-limited", 0.0, 0.001),
        pytest.param(False, "lotka-volterra", 0.05, 0.038, marks=pytest.mark.slow),
    ],
)
def test_forecasts_go_on_as_the_truth(saturating, system, noise, limit):
    assert mae(RefittedRates(saturating=saturating), system, noise) < limit


@pytest.mark.slow
@pytest.mark.parametrize(("noise", "limit"), [(0.0, 0.015), (0.05, 0.09)])
def test_prey_alone_goes_on_by_a_hidden_second(noise, limit):
    assert mae(RefittedRates(saturating=True), "rosenzweig-macarthur", noise, 1) < limit


def test_a_system_outside_the_library_says_less():
    """Intervals of a type III response with an Allee effect are ten times as wide, at least."""

    def outside(x, y, p):
        eaten = 0.4 * x / (1 + 0.4 * x * x)
        allee = (x - p["A"]) / (x + p["A"])
        return 0.25 * (1 - x / 9) * allee - eaten * y, 0.5 * eaten * x - 0.15

    def width(system):
        series = simulate_series(system, TIME, 77, 1)
        made = RefittedRates(saturating=True).prediction(TIME, series.values[:50], 40, "a")
        assert made.samples is not None
        low, high = np.quantile(made.samples, [0.1, 0.9], axis=0)
        return np.mean((high - low) / series.values[:50].std(axis=0))

    other = System("outside", "", outside, {"A": (0.3, 0.3)})
    assert width(other) > 10 * width(SYSTEMS["rosenzweig-macarthur"])


def test_a_chain_of_three_species_goes_on():
    """Hastings & Powell (1991) without saturation: prey, predator and a predator of that."""
    from scipy.integrate import odeint

    def slope(logs, _t):
        x, y, z = np.exp(logs)
        return [0.3 - 0.1 * x - 0.3 * y, 0.2 * x - 0.15 - 0.2 * z, 0.2 * y - 0.1]

    values = np.exp(odeint(slope, np.log([1.0, 0.6, 0.8]), TIME, rtol=1e-9, atol=1e-9))
    future = RefittedRates(saturating=True).forecast(TIME, values[:60])
    assert np.abs(future - values[60:]).max() < 0.01


def test_gaps_and_uneven_times_are_taken_as_they_are():
    rng = np.random.default_rng(5)
    time = np.cumsum(rng.uniform(0.5, 3.5, 100))
    series = simulate_series(SYSTEMS["rosenzweig-macarthur"], time, 31, 0)
    history = series.values[:50].copy()
    history[rng.random(history.shape) < 0.15] = np.nan
    future = RefittedRates(saturating=True).forecast(time, history)
    assert np.abs(future - series.values[50:]).mean() < 0.01


@pytest.mark.parametrize(
    "history",
    [np.random.default_rng(0).random((5, 2)) + 0.1, np.full((30, 2), 3.0)],
    ids=["five steps", "constant"],
)
def test_what_shows_no_rates_goes_on_as_its_last_value(history):
    time = np.arange(len(history) + 8.0)
    for saturating in (False, True):
        future = RefittedRates(saturating=saturating).forecast(time, history)
        assert np.allclose(future, history[-1], rtol=1e-6)


def test_hindcasts_know_nothing_of_what_follows_them():
    """From the fit of the whole history, intervals of unknown systems were too sure."""
    (series,) = simulate(SimulateSettings(n_series=1, seed=4, noise=0.05)).series
    values = series.values[:48]
    other = values.copy()
    other[40:] *= 1.05
    rival = RefittedRates(saturating=False)
    (ours,) = rival.hindcasts(series.time[:52], values, None, [30])[1]
    (theirs,) = rival.hindcasts(series.time[:52], other, None, [30])[1]
    # the centre of the logarithms is the whole history's, and so are the families that are tried
    assert ours == pytest.approx(theirs, rel=1e-2)

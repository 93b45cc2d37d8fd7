"""Systems of ordinary differential equations, and curves with formulas, many series at a time.

Unlike `lvlora simulate` (one system at a time, adaptive integrator), pretraining draws hundreds of
thousands of systems, so all systems of a batch are integrated together by a fixed-step fourth-order
Runge-Kutta scheme in the logarithms; its error is far below the text's rounding.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from parameters import Array, Rng

from lvlora.data.simulate import INITIAL_RANGE, SYSTEMS

SEED_STEP = 200.0 / 99.0
"""Sampling interval of `lvlora simulate`'s default."""


def runge_kutta(rate: Callable[[Array], Array], state: Array, dt: Array, n_steps: int) -> Array:
    """(n, V) states to (n, n_steps, V) samples dt (n,) apart, in substeps of at most 0.25."""
    substeps = int(np.ceil(dt.max() / 0.25))
    h = (dt / substeps)[:, None]
    out = np.empty((state.shape[0], n_steps, state.shape[1]))
    out[:, 0] = state
    for t in range(1, n_steps):
        for _ in range(substeps):
            k1 = rate(state)
            k2 = rate(state + 0.5 * h * k1)
            k3 = rate(state + 0.5 * h * k2)
            k4 = rate(state + h * k3)
            state = state + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        out[:, t] = state
    return out


def _uniform(rng: Rng, n: int, low: float, high: float) -> Array:
    return rng.uniform(low, high, n)


def _time_steps(rng: Rng, n: int) -> Array:
    """Half the systems at the default interval, half anywhere from 0.5 to 4 time units."""
    return np.where(rng.random(n) < 0.6, SEED_STEP, rng.uniform(0.5, 4.0, n))


def predator_prey(rng: Rng, n: int, n_steps: int, kind: str) -> Array:
    """(n, n_steps, 2): Rosenzweig-MacArthur, self-limited, or classic Lotka-Volterra.

    Parameter ranges contain those of `lvlora simulate`, a bit wider; the kind "default" has
    exactly those, and its sampling interval.
    """
    if kind == "default":
        low_high = SYSTEMS["rosenzweig-macarthur"].ranges
        alpha, beta, gamma, conversion, capacity, h = (
            _uniform(rng, n, *low_high[name])
            for name in ("alpha", "beta", "gamma", "conversion", "K", "h")
        )
        delta, share_wide, dt = conversion * beta, 0.0, np.full(n, SEED_STEP)
    else:
        alpha, gamma = _uniform(rng, n, 0.08, 0.33), _uniform(rng, n, 0.08, 0.33)
        beta = _uniform(rng, n, 0.18, 0.55)
        delta = beta * _uniform(rng, n, 0.28, 0.75)
        capacity = np.full(n, np.inf) if kind == "classic" else _uniform(rng, n, 3.5, 16.0)
        h = _uniform(rng, n, 0.04, 0.24) if kind == "saturating" else np.zeros(n)
        share_wide, dt = 0.3, _time_steps(rng, n)
    wide = rng.random(n) < share_wide
    start = np.where(
        wide[:, None], np.exp(rng.normal(0, 0.6, (n, 2))), rng.uniform(*INITIAL_RANGE, (n, 2))
    )

    def rate(logs: Array) -> Array:
        x, y = np.exp(np.clip(logs, -40, 8)).T
        eaten = beta / (1 + h * x)
        return np.stack(
            [alpha * (1 - x / capacity) - eaten * y, delta / beta * eaten * x - gamma], 1
        )

    return np.exp(runge_kutta(rate, np.log(start), dt, n_steps))


def food_chain(rng: Rng, n: int, n_steps: int) -> Array:
    """(n, n_steps, 3): prey, predator, top predator with saturating responses (Hastings-Powell)."""
    r = _uniform(rng, n, 0.1, 0.3)
    a1, a2 = _uniform(rng, n, 0.2, 0.5), _uniform(rng, n, 0.05, 0.2)
    h1, h2 = _uniform(rng, n, 0.1, 0.6), _uniform(rng, n, 0.1, 0.6)
    m1, m2 = _uniform(rng, n, 0.05, 0.15), _uniform(rng, n, 0.01, 0.05)
    capacity = _uniform(rng, n, 2, 8)

    def rate(logs: Array) -> Array:
        x, y, z = np.exp(np.clip(logs, -40, 8)).T
        f1, f2 = a1 / (1 + h1 * x), a2 / (1 + h2 * y)
        return np.stack([r * (1 - x / capacity) - f1 * y, f1 * x - f2 * z - m1, f2 * y - m2], 1)

    start = np.log(rng.uniform(0.5, 1.5, (n, 3)))
    return np.exp(runge_kutta(rate, start, _time_steps(rng, n), n_steps))


def van_der_pol(rng: Rng, n: int, n_steps: int) -> Array:
    """(n, n_steps, 2), signed: relaxation oscillators, x'' = mu (1 - x^2) x' - w^2 x."""
    mu, w = _uniform(rng, n, 0.05, 1.5), _uniform(rng, n, 0.1, 0.8)

    def rate(s: Array) -> Array:
        x, v = s.T
        return np.stack([w * v, mu * w * (1 - np.clip(x, -5, 5) ** 2) * v - w * x], 1)

    return runge_kutta(rate, rng.normal(0, 1.5, (n, 2)), _time_steps(rng, n), n_steps)


def oscillation(rng: Rng, n: int, n_steps: int, n_variables: int) -> Array:
    """(n, n_steps, V): damped or growing sums of two sinusoids with trend, one phase a variable."""
    t = np.arange(n_steps)[None, :, None]

    def draw(low: float, high: float, shape: tuple[int, ...] = (1, 1)) -> Array:
        return rng.uniform(low, high, (n, *shape))

    period = np.exp(draw(np.log(4), np.log(60)))
    growth = np.where(rng.random((n, 1, 1)) < 0.5, draw(-0.03, 0.005), 0.0)
    per_variable = (1, n_variables)
    phase = draw(0, 2 * np.pi, per_variable)
    wave = draw(0.3, 1.5, per_variable) * np.sin(2 * np.pi * t / period + phase)
    second = np.where(rng.random((n, 1, 1)) < 0.5, draw(0, 0.6), 0.0)
    wave += second * np.sin(2 * np.pi * t / np.exp(draw(np.log(4), np.log(60))) + 2 * phase)
    trend = np.where(rng.random((n, 1, 1)) < 0.4, draw(-0.02, 0.02, per_variable), 0.0)
    level = np.where(rng.random((n, 1, 1)) < 0.7, draw(1.5, 4.0, per_variable), 0.0)
    return np.exp(growth * t) * wave + trend * t + level


def logistic_growth(rng: Rng, n: int, n_steps: int, n_variables: int) -> Array:
    """(n, n_steps, V): growth to, or decay from, a plateau."""
    t = np.arange(n_steps)[None, :, None]
    shape = (n, 1, n_variables)
    middle, width = rng.uniform(-10, n_steps, shape), rng.uniform(2, 25, shape)
    sign = rng.choice([-1.0, 1.0], shape)
    return rng.uniform(0.1, 1, shape) + rng.uniform(0.5, 4, shape) / (
        1 + np.exp(np.clip(-sign * (t - middle) / width, -50, 50))
    )

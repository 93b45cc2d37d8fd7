"""Linear and switching processes: random walks, noise around a mean, regimes, trends.

What can be foretold of them differs: of a random walk its last value, of white noise its mean, with
the width that the history shows (Box & Jenkins 1970, "Time Series Analysis").
"""

from __future__ import annotations

import numpy as np
from parameters import Array, Rng, innovations, log_uniform, sometimes

_BURN_IN = 30


def oscillating_levels(rng: Rng, n: int, n_steps: int, n_variables: int) -> Array:
    """(n, n_steps, V), signed: stochastic oscillators of order two, and random walks."""
    radius = np.where(rng.random((n, 1)) < 0.3, 1.0, rng.uniform(0.6, 0.995, (n, 1)))
    angle = np.where(rng.random((n, 1)) < 0.3, 0.0, 2 * np.pi / rng.uniform(4, 40, (n, 1)))
    a1, a2 = 2 * radius * np.cos(angle), -(radius**2)
    walk = rng.random((n, 1)) < 0.3
    a1, a2 = np.where(walk, radius, a1), np.where(walk, 0.0, a2)
    x = np.zeros((n, n_steps + 30, n_variables))
    noise = rng.normal(0, 1, x.shape)
    for i in range(2, n_steps + 30):
        x[:, i] = a1 * x[:, i - 1] + a2 * x[:, i - 2] + noise[:, i]
    x = x[:, 30:]
    return x + rng.choice([0.0, 3.0], (n, 1, 1)) * x.std(axis=1, keepdims=True)


def _autoregressive(shocks: Array, a1: Array, a2: Array) -> Array:
    """(n, T, V) shocks to x(t) = a1 x(t-1) + a2 x(t-2) + shock; coefficients (n, 1) or (n, V)."""
    x = np.zeros_like(shocks)
    for t in range(shocks.shape[1]):
        x[:, t] = shocks[:, t]
        if t > 0:
            x[:, t] += a1 * x[:, t - 1]
        if t > 1:
            x[:, t] += a2 * x[:, t - 2]
    return x


def log_walk(rng: Rng, n: int, n_steps: int, n_variables: int) -> Array:
    """(n, n_steps, V): random walks of the logs, half of them with a trend (Dennis et al. 1991).

    doi:10.2307/1943004: growth without density dependence, N' = N exp(mu + s z).
    """
    sd = log_uniform(rng, 0.01, 0.5, (n, 1, 1))
    trend = sometimes(rng, 0.5, rng.normal(0, 0.3, (n, 1, n_variables)) * np.minimum(sd, 0.1))
    steps = trend + sd * innovations(rng, n, n_steps, n_variables)
    return np.exp(np.clip(np.cumsum(steps, axis=1), -12, 12))


def level_walk(rng: Rng, n: int, n_steps: int, n_variables: int) -> Array:
    """(n, n_steps, V), signed: random walks, some far from zero, some with a trend."""
    trend = sometimes(rng, 0.4, rng.normal(0, 0.3, (n, 1, n_variables)))
    x = np.cumsum(trend + innovations(rng, n, n_steps, n_variables), axis=1)
    return x + sometimes(rng, 0.7, log_uniform(rng, 3, 100, (n, 1, n_variables)))


def white(rng: Rng, n: int, n_steps: int, n_variables: int) -> Array:
    """(n, n_steps, V): nothing but noise around a mean: log-normal, gamma, or Gaussian."""
    spread = log_uniform(rng, 0.02, 0.9, (n, 1, 1))
    shocks = innovations(rng, n, n_steps, n_variables)
    gamma = rng.gamma(np.broadcast_to(spread**-2, shocks.shape)) * spread**2
    kind = rng.random((n, 1, 1))
    gaussian = np.where(spread < 0.3, 1 + spread * shocks, spread * shocks)
    return np.select([kind < 0.5, kind < 0.75], [np.exp(spread * shocks), gamma], gaussian)


def log_autoregression(rng: Rng, n: int, n_steps: int, n_variables: int) -> Array:
    """(n, n_steps, V): the logs return to their mean, straight or over a cycle (order two)."""
    shape = (n, 1) if n_variables == 1 else (n, n_variables)
    radius = rng.uniform(0.2, 0.98, shape)
    turn = sometimes(rng, 0.5, 2 * np.pi / log_uniform(rng, 3, 30, (n, 1)))
    straight = np.broadcast_to(turn == 0, shape)
    a1 = np.where(straight, radius, 2 * radius * np.cos(turn))
    a2 = np.where(straight, 0.0, -(radius**2))
    x = _autoregressive(innovations(rng, n, n_steps + _BURN_IN, n_variables), a1, a2)
    x = x[:, _BURN_IN:] / np.maximum(x.std(axis=1, keepdims=True), 1e-9)
    return np.exp(log_uniform(rng, 0.03, 1.2, (n, 1, 1)) * x)


def regimes(rng: Rng, n: int, n_steps: int, n_variables: int) -> Array:
    """(n, n_steps, V): the mean jumps at random times (Hamilton 1989, doi:10.2307/1912559)."""
    jump = rng.random((n, n_steps, 1)) < 1 / log_uniform(rng, 12, 90, (n, 1, 1))
    height = jump * rng.normal(0, 1, (n, n_steps, n_variables))
    level = np.cumsum(height * log_uniform(rng, 0.3, 1.5, (n, 1, 1)), axis=1)
    # half of them come back to where they were before: two states
    back = np.where(np.cumsum(jump, axis=1) % 2 == 1, 1.0, 0.0) * rng.normal(0, 1, (n, 1, 1))
    level = np.where(rng.random((n, 1, 1)) < 0.5, level, back)
    shocks = innovations(rng, n, n_steps, n_variables)
    around = _autoregressive(shocks, sometimes(rng, 0.6, rng.uniform(0, 0.9, (n, 1))), np.zeros(1))
    return np.exp(np.clip(level + log_uniform(rng, 0.02, 0.5, (n, 1, 1)) * around, -12, 12))


def trend(rng: Rng, n: int, n_steps: int, n_variables: int) -> Array:
    """(n, n_steps, V): straight, exponential or bent trends with autocorrelated noise on them."""
    t = np.linspace(0, 1, n_steps)[None, :, None]
    shape = (n, 1, n_variables)
    slope, bend = rng.normal(0, 1.5, shape), sometimes(rng, 0.5, rng.normal(0, 1, shape))
    course = slope * t + bend * t**2
    shocks = innovations(rng, n, n_steps, n_variables)
    around = _autoregressive(shocks, sometimes(rng, 0.6, rng.uniform(0, 0.9, (n, 1))), np.zeros(1))
    course = course + log_uniform(rng, 0.01, 0.5, (n, 1, 1)) * around
    exponential = rng.random((n, 1, 1)) < 0.6
    return np.where(exponential, np.exp(np.clip(course, -10, 10)), 3 + course)


def lagged(rng: Rng, n: int, n_steps: int, n_variables: int) -> Array:
    """(n, n_steps, V): autoregressions of order 2 to 6, with roots anywhere; levels or logs.

    Half of them have a root of 1 as well, so that their changes are what returns to a mean.
    """
    order = 6
    radius = rng.uniform(0.3, 0.97, (n, order // 2)) * (
        np.arange(order // 2) < rng.integers(1, order // 2 + 1, (n, 1))
    )
    angle = np.where(rng.random(radius.shape) < 0.4, 0.0, rng.uniform(0, np.pi, radius.shape))
    coefficients = np.zeros((n, order + 1))
    coefficients[:, 0] = 1.0
    for k in range(order // 2):  # times 1 - 2 r cos(a) z + r² z²
        first, second = -2 * radius[:, k] * np.cos(angle[:, k]), radius[:, k] ** 2
        before = coefficients.copy()
        coefficients[:, 1:] += first[:, None] * before[:, :-1]
        coefficients[:, 2:] += second[:, None] * before[:, :-2]
    shocks = innovations(rng, n, n_steps + 60, n_variables)
    x = np.zeros_like(shocks)
    for t in range(shocks.shape[1]):
        x[:, t] = shocks[:, t]
        for lag in range(1, min(order, t) + 1):
            x[:, t] -= coefficients[:, lag, None] * x[:, t - lag]
    x = x[:, 60:] / np.maximum(x[:, 60:].std(axis=1, keepdims=True), 1e-9)
    summed = np.cumsum(x, axis=1) / 4
    x = np.where(rng.random((n, 1, 1)) < 0.5, summed, x)
    logs = np.exp(np.clip(log_uniform(rng, 0.05, 0.8, (n, 1, 1)) * x, -10, 10))
    levels = x + log_uniform(rng, 2, 30, (n, 1, 1))
    return np.where(rng.random((n, 1, 1)) < 0.6, logs, levels)

"""Stable seasonal ARIMA processes with superposed seasons, and bursts drawn at their rate.

Source: SarSim0 (Oreshkin et al. 2026, arXiv:2601.00970): poles inside the stability region,
seasons of several periods added up, and noise whose rate is the process, with heavy tails.
"""

from __future__ import annotations

import numpy as np
from parameters import Array, Rng, innovations, log_uniform, periods, sometimes

_POLE_PAIRS = 2
_BURN_IN = 110
"""More than two of the longest seasons."""


def seasonal_arima(rng: Rng, n: int, n_steps: int, n_variables: int) -> Array:
    """(n, n_steps, V): one or two seasonal processes, as levels, as logs or as a rate."""
    first = _process(rng, n, n_steps, n_variables)
    second = _process(rng, n, n_steps, n_variables)
    course = first + sometimes(rng, 0.4, rng.uniform(0.2, 1.0, (n, 1, 1))) * second
    course /= np.maximum(course.std(axis=1, keepdims=True), 1e-9)
    spread = log_uniform(rng, 0.05, 1.2, (n, 1, 1))
    logs = np.exp(np.clip(spread * course, -9, 9))
    signed = rng.random((n, 1, 1)) < 0.25
    levels = course + np.where(signed, 0.0, log_uniform(rng, 2, 40, (n, 1, 1)))
    kind = rng.random((n, 1, 1))
    return np.select([kind < 0.4, kind < 0.75], [levels, logs], _arrivals(rng, logs))


def _process(rng: Rng, n: int, n_steps: int, n_variables: int) -> Array:
    """(n, n_steps, V) of variance about 1: random poles, zeros, a season and differences."""
    total = n_steps + _BURN_IN
    shocks = innovations(rng, n, total, n_variables)
    shocks[:, 1:] += sometimes(rng, 0.4, rng.uniform(-0.9, 0.9, (n, 1, 1))) * shocks[:, :-1]
    course = _poles(rng, shocks)
    period = periods(rng, n)
    seasonal = rng.random((n, 1)) < 0.6
    # a first cycle of large shocks is a profile, which a pole near 1 repeats
    profile = seasonal[:, :, None] & (np.arange(total)[None, :, None] < period[:, None, None])
    course = course * np.where(profile, log_uniform(rng, 1, 30, (n, 1, 1)), 1.0)
    pole = np.where(rng.random((n, 1)) < 0.5, 1 - log_uniform(rng, 1e-4, 0.1, (n, 1)), 0.0)
    pole = np.where(pole > 0, pole, rng.uniform(0.2, 0.95, (n, 1))) * seasonal
    series = np.arange(n)
    for t in range(2, total):
        earlier = np.maximum(t - period, 0)
        course[:, t] += np.where(t >= period, 1.0, 0.0)[:, None] * pole * course[series, earlier]
    course = course[:, _BURN_IN:]
    course /= np.maximum(course.std(axis=1, keepdims=True), 1e-9)
    walk = np.cumsum(course - course.mean(axis=1, keepdims=True), axis=1)
    walk /= np.maximum(walk.std(axis=1, keepdims=True), 1e-9)
    return np.where(rng.random((n, 1, 1)) < 0.3, walk, course)


def _poles(rng: Rng, shocks: Array) -> Array:
    """Filter (n, T, V) shocks by up to two pairs of poles: complex ones, or two of one size."""
    course = shocks
    n = len(shocks)
    for pair in range(_POLE_PAIRS):
        present = rng.random((n, 1)) < (0.8 if pair == 0 else 0.4)
        radius = present * rng.beta(3, 1, (n, 1)) * 0.99
        angle = 2 * np.pi / log_uniform(rng, 2.2, 60, (n, 1))
        real = rng.random((n, 1)) < 0.5
        one = np.where(real, radius, 2 * radius * np.cos(angle))
        two = np.where(real, 0.0, -(radius**2))
        filtered = course.copy()
        for t in range(1, course.shape[1]):
            filtered[:, t] += one * filtered[:, t - 1]
            if t > 1:
                filtered[:, t] += two * filtered[:, t - 2]
        course = filtered
    return course


def _arrivals(rng: Rng, rate: Array) -> Array:
    """Counts or amounts that arrive at a rate: Poisson, clumped, or with Pareto's tail."""
    n = len(rate)
    mean = rate * log_uniform(rng, 0.2, 300, (n, 1, 1)) / rate.mean(axis=1, keepdims=True)
    clumping = log_uniform(rng, 0.3, 30, (n, 1, 1))
    clumped = mean * rng.gamma(np.broadcast_to(clumping, mean.shape)) / clumping
    tail = rng.uniform(1.5, 4, (n, 1, 1))
    heavy = mean * (tail - 1) * rng.pareto(np.broadcast_to(tail, mean.shape))
    kind = rng.random((n, 1, 1))
    mean = np.select([kind < 0.4, kind < 0.75], [mean, clumped], heavy)
    return rng.poisson(np.minimum(mean, 1e6)).astype(float)

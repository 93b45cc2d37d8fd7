"""Exponential smoothing run forwards: level, trend and season with random states and gains.

Source: the innovations form of Hyndman, Koehler, Ord & Snyder 2008, "Forecasting with Exponential
Smoothing", tables 2.2 and 2.3. The gains have the ranges that automatic fits give real series:
levels near 0 or near 1, small gains of trend and season, damping from 0.8 to 1.
"""

from __future__ import annotations

import numpy as np
from parameters import Array, Rng, innovations, log_uniform, periods, sometimes


def exponential_smoothing(rng: Rng, n: int, n_steps: int, n_variables: int) -> Array:
    """(n, n_steps, V): additive, of levels or of logs, or with a multiplied season and error."""
    kind = rng.random((n, 1, 1))
    additive = _run(rng, n, n_steps, n_variables, multiplied=False)
    multiplied = _run(rng, n, n_steps, n_variables, multiplied=True)
    # a trend of logs reaches over five decades
    jumps = np.diff(additive, axis=1).std(axis=1, keepdims=True)
    scale = np.minimum(log_uniform(rng, 0.01, 0.3, (n, 1, 1)), 0.6 / np.maximum(jumps, 1e-9))
    logs = np.exp(np.clip(additive * scale, -12, 12))
    signed = rng.random((n, 1, 1)) < 0.15
    levels = additive + np.where(signed, 0.0, log_uniform(rng, 3, 300, (n, 1, 1)))
    return np.select([kind < 0.3, kind < 0.7], [levels, logs], multiplied)


def _run(rng: Rng, n: int, n_steps: int, n_variables: int, *, multiplied: bool) -> Array:
    """(n, n_steps, V): errors of 1 around a level of 0, or relative errors around a level of 1."""
    unit = log_uniform(rng, 0.01, 0.4, (n, 1)) if multiplied else np.ones((n, 1))
    shape = (n, n_variables)
    sure = rng.random((n, 1))
    alpha = np.where(sure < 0.4, log_uniform(rng, 1e-3, 0.3, (n, 1)), rng.uniform(0.3, 1, (n, 1)))
    trending = rng.random((n, 1)) < 0.6
    beta = trending * np.minimum(alpha, sometimes(rng, 0.7, log_uniform(rng, 1e-4, 0.3, (n, 1))))
    phi = np.where(rng.random((n, 1)) < 0.5, 1.0, rng.uniform(0.8, 0.995, (n, 1)))
    seasonal = rng.random((n, 1)) < 0.6
    gamma = seasonal * sometimes(rng, 0.7, log_uniform(rng, 1e-4, 0.3, (n, 1)))
    period = periods(rng, n)
    season = _seasons(rng, n, n_variables, period) * seasonal[:, :, None]
    # a gain of 1 / period: the season stands out of the noise or hardly does
    season *= (unit * log_uniform(rng, 0.3, 10, (n, 1)))[:, :, None]
    season = np.exp(np.minimum(season, 3)) if multiplied else season
    level = np.ones(shape) if multiplied else np.zeros(shape)
    slope = trending * unit * rng.normal(0, 1, shape) * log_uniform(rng, 0.01, 0.6, (n, 1))
    errors = unit[:, :, None] * innovations(rng, n, n_steps, n_variables)
    out = np.empty((n, n_steps, n_variables))
    series = np.arange(n)
    for t in range(n_steps):
        place = t % period
        now = season[series, :, place]
        ahead = level + phi * slope
        if multiplied:
            error = np.maximum(errors[:, t], -0.9)
            ahead = np.maximum(ahead, 1e-3)
            out[:, t] = ahead * now * (1 + error)
            level, slope = ahead * (1 + alpha * error), phi * slope + beta * ahead * error
            season[series, :, place] = now * (1 + gamma * error)
        else:
            error = errors[:, t]
            out[:, t] = ahead + now + error
            level, slope = ahead + alpha * error, phi * slope + beta * error
            season[series, :, place] = now + gamma * error
    return np.minimum(out, 1e8)


def _seasons(rng: Rng, n: int, n_variables: int, period: np.ndarray) -> Array:
    """(n, V, longest period) profiles of variance 1: smooth, rough, or one peak."""
    longest = int(period.max(initial=2))
    rough = rng.normal(0, 1, (n, n_variables, longest))
    angle = 2 * np.pi * np.arange(longest) / period[:, None, None]
    angle = angle + rng.uniform(0, 2 * np.pi, (n, n_variables, 1))
    smooth = np.sin(angle) + rng.normal(0, 0.4, (n, n_variables, 1)) * np.sin(2 * angle)
    peak = 2 * np.exp(log_uniform(rng, 1, 12, (n, 1, 1)) * (np.cos(angle) - 1)) - 0.7
    kind = rng.random((n, 1, 1))
    return np.select([kind < 0.4, kind < 0.7], [smooth, rough], peak)

"""Seasons: cycles of a fixed number of steps, under trends and noise."""

from __future__ import annotations

import numpy as np
from parameters import Array, Rng, innovations, log_uniform, sometimes

_USUAL = np.array([4, 6, 7, 12, 24, 52])


def seasonal(rng: Rng, n: int, n_steps: int, n_variables: int) -> Array:
    """(n, n_steps, V): level, season and noise, multiplied or added (Holt 1957; Winters 1960).

    The season is a sum of three harmonics or one sharp peak (von Mises); the level is a random
    walk, with a trend in half of the series; the season's height may drift.
    """
    t = np.arange(n_steps)[None, :, None]
    usual = rng.choice(_USUAL, (n, 1, 1), p=[0.2, 0.05, 0.1, 0.45, 0.1, 0.1])
    period = np.where(rng.random((n, 1, 1)) < 0.8, usual, log_uniform(rng, 3, 60, (n, 1, 1)))
    angle = 2 * np.pi * t / period + rng.uniform(0, 2 * np.pi, (n, 1, n_variables))
    wave = np.sin(angle)
    for k in (2, 3):
        phase = rng.uniform(0, 2 * np.pi, (n, 1, n_variables))
        height = sometimes(rng, 0.6, rng.uniform(0, 0.8 / k, (n, 1, n_variables)))
        wave = wave + height * np.sin(k * angle + phase)
    sharpness = log_uniform(rng, 1, 12, (n, 1, 1))
    peak = 2 * np.exp(sharpness * (np.cos(angle) - 1)) - 1
    wave = np.where(rng.random((n, 1, 1)) < 0.3, peak, wave)
    drift = np.cumsum(rng.normal(0, 0.02, (n, n_steps, 1)), axis=1)
    wave = wave * np.exp(sometimes(rng, 0.3, drift))
    slope = sometimes(rng, 0.5, rng.normal(0, 0.01, (n, 1, n_variables)))
    wander = sometimes(rng, 0.6, log_uniform(rng, 0.005, 0.1, (n, 1, 1)))
    level = slope * t + wander * np.cumsum(innovations(rng, n, n_steps, n_variables), axis=1)
    noise = sometimes(rng, 0.9, log_uniform(rng, 0.01, 0.4, (n, 1, 1)))
    course = level + log_uniform(rng, 0.05, 1.5, (n, 1, 1)) * wave
    course = course + noise * innovations(rng, n, n_steps, n_variables)
    multiplied = np.exp(np.clip(course, -10, 10))
    added = sometimes(rng, 0.7, log_uniform(rng, 1.5, 20, (n, 1, 1))) + course
    return np.where(rng.random((n, 1, 1)) < 0.6, multiplied, added)

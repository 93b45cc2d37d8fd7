"""Cycles of no particular equation: whatever comes round again, to be read from its own past.

A model that is shown the orbits of a few equations alone forecasts other cycles far worse than
their repetition does. Here the course of a cycle is drawn at random, so that nothing but the
history tells it.
"""

from __future__ import annotations

import numpy as np
from parameters import Array, Rng, log_uniform, sometimes

_HARMONICS = 8


def cycles(rng: Rng, n: int, n_steps: int, n_variables: int) -> Array:
    """(n, n_steps, V): a random periodic function of a phase that runs on evenly, or nearly so.

    The function is a random Fourier series of up to eight harmonics whose heights fall off as a
    random power, bent by an exponential (spikes, populations) or a hyperbolic tangent (plateaus,
    relaxation). Its period is 4 to 80 steps, no whole number of them. In a third of the series
    the phase wanders, in a third the height grows or dies away.
    """
    t = np.arange(n_steps)[None, :]
    period = log_uniform(rng, 4, 80, (n, 1))
    wander = sometimes(rng, 0.33, log_uniform(rng, 0.003, 0.08, (n, 1)))
    turns = t / period + np.cumsum(
        wander * rng.normal(0, 1, (n, n_steps)) / np.sqrt(period), axis=1
    )
    k = np.arange(1, _HARMONICS + 1)
    fall = rng.uniform(0.7, 3.0, (n, 1, 1))
    shape = (n, n_variables, _HARMONICS)
    height = rng.normal(0, 1, shape) * k**-fall
    # of a variable's first harmonic there always is something, so that it has this period
    height[:, :, 0] = rng.choice([-1, 1], shape[:2]) * rng.uniform(0.5, 1.5, shape[:2])
    angle = 2 * np.pi * turns[:, :, None, None] * k + rng.uniform(0, 2 * np.pi, (n, 1, *shape[1:]))
    wave = (height[:, None] * np.sin(angle)).sum(axis=-1)
    wave = wave / wave.std(axis=1, keepdims=True)
    bend = rng.random((n, 1, 1))
    strength = rng.uniform(0.3, 2.0, (n, 1, n_variables))
    wave = np.where(bend < 0.45, np.exp(np.clip(strength * wave, -8, 4)), wave)
    wave = np.where(bend > 0.8, np.tanh(2 * strength * wave), wave)
    growth = np.exp(sometimes(rng, 0.33, rng.uniform(-2, 0.7, (n, 1, 1))) * t[..., None] / n_steps)
    level = sometimes(rng, 0.4, rng.uniform(1.0, 4.0, (n, 1, n_variables)))
    return np.asarray(wave * growth + level * np.abs(wave).max(axis=1, keepdims=True))

"""Epidemics and pulses: long quiet, short bursts."""

from __future__ import annotations

import numpy as np
from parameters import Array, Rng, log_uniform, sometimes


def epidemics(rng: Rng, n: int, n_steps: int) -> Array:
    """(n, n_steps, 1) counts of new cases: a time-series SIR model with seasons and chance.

    I' ~ negative binomial with mean beta(t) S I^0.97, S' = S + births - I' (Finkenstädt & Grenfell
    2000, doi:10.1111/1467-9876.00187), infections from outside, and a share of cases reported.
    """
    people = log_uniform(rng, 3e3, 3e6, n)
    births = people * log_uniform(rng, 3e-4, 5e-3, n)
    susceptible, sick = (
        people * rng.uniform(0.03, 0.12, n),
        people * log_uniform(rng, 1e-4, 1e-2, n),
    )
    contagion = 1 / (people * rng.uniform(0.04, 0.08, n))
    strength = sometimes(rng, 0.7, rng.uniform(0.05, 0.5, n))
    season = 2 * np.pi / rng.choice([12.0, 24.0, 26.0, 52.0], n)
    from_outside, clumping = log_uniform(rng, 0.05, 20, n), log_uniform(rng, 3, 300, n)
    out = np.empty((n, n_steps + 60))
    for t in range(n_steps + 60):
        rate = contagion * (1 + strength * np.cos(season * t))
        mean = np.minimum(rate * susceptible * sick**0.97 + from_outside, 0.9 * susceptible + 1)
        sick = np.minimum(rng.poisson(mean * rng.gamma(clumping) / clumping), susceptible)
        susceptible = susceptible + births - sick
        out[:, t] = sick
    first = np.where(rng.random(n) < 0.7, 60, 0)
    out = np.take_along_axis(out, first[:, None] + np.arange(n_steps), axis=1)
    return rng.binomial(out.astype(np.int64), rng.uniform(0.1, 1, (n, 1))).astype(float)[..., None]


def pulses(rng: Rng, n: int, n_steps: int) -> Array:
    """(n, n_steps, 1): bursts at random times that die away over a baseline (shot noise).

    Campbell (1909); as outbreaks of pests with a random trigger.
    """
    burst = rng.random((n, n_steps)) < 1 / log_uniform(rng, 6, 60, (n, 1))
    heights = burst * np.exp(rng.normal(0, 1, (n, n_steps)) * rng.uniform(0.1, 1, (n, 1)))
    kept, rising = (
        rng.uniform(0.1, 0.95, (n, 1)),
        sometimes(rng, 0.5, rng.uniform(0.2, 0.8, (n, 1))),
    )
    level, pending = np.zeros((n, 1)), np.zeros((n, 1))
    out = np.empty((n, n_steps))
    for t in range(n_steps):
        pending = pending + heights[:, t : t + 1]
        level = kept * level + (1 - rising) * pending
        pending = rising * pending
        out[:, t] = level[:, 0]
    base = sometimes(rng, 0.8, log_uniform(rng, 0.01, 0.5, (n, 1)))
    wobble = np.exp(rng.normal(0, 1, out.shape) * log_uniform(rng, 0.02, 0.5, (n, 1)))
    return ((base + out) * wobble)[..., None]

"""What climbs or falls without coming back: growth at a rate that hardly changes, and its noise.

Series of economies and of spreading populations go on as they went: the next steps are the last
value and the rate, times the steps. How well the rate is known is in the history: how much it
wanders (Harvey 1989, "Forecasting, Structural Time Series Models and the Kalman Filter", the local
linear trend) and how much of each step is noise.
"""

from __future__ import annotations

import numpy as np
from parameters import Array, Rng, innovations, log_uniform, sometimes


def climbs(rng: Rng, n: int, n_steps: int, n_variables: int) -> Array:
    """(n, n_steps, V): local linear trends of the levels or of the logs.

    Each step adds a rate and a shock of 0.05 to 5 times it. The rate itself wanders (a walk, or
    around its mean), is lost by and by (damped: Gardner & McKenzie 1985), turns, or stays.
    """
    shape = (n, 1, n_variables)
    rate = np.where(rng.random(shape) < 0.75, 1.0, -1.0) * np.exp(rng.normal(0, 0.3, shape))
    wander = sometimes(rng, 0.6, log_uniform(rng, 0.01, 0.5, (n, 1, 1)))
    kept = np.where(rng.random((n, 1, 1)) < 0.6, 1.0, 1 - log_uniform(rng, 0.01, 0.2, (n, 1, 1)))
    deviation = np.zeros((n, n_steps, n_variables))
    pushes = wander * innovations(rng, n, n_steps, n_variables)
    for t in range(1, n_steps):
        deviation[:, t] = kept[:, 0] * deviation[:, t - 1] + pushes[:, t]
    t = np.arange(n_steps)[None, :, None]
    lost = sometimes(rng, 0.25, log_uniform(rng, 0.01, 0.1, (n, 1, 1)))
    turns = rng.integers(n_steps // 4, 4 * n_steps, (n, 1, 1))
    sign = np.where(t < turns, 1.0, rng.choice([-1.0, 0.0, 0.4, 2.0], (n, 1, 1)))
    rates = (rate + deviation) * np.exp(-lost * t) * sign
    shocks = log_uniform(rng, 0.05, 5.0, (n, 1, 1)) * innovations(rng, n, n_steps, n_variables)
    course = np.cumsum(rates + shocks, axis=1)
    # what was noted beside it, and does not stay
    course += sometimes(rng, 0.4, log_uniform(rng, 0.1, 3.0, (n, 1, 1))) * rng.normal(
        0, 1, course.shape
    )
    grown = np.exp(np.clip(course * log_uniform(rng, 0.005, 0.08, (n, 1, 1)), -10, 10))
    start = np.where(rng.random((n, 1, 1)) < 0.3, 0.0, log_uniform(rng, 2, 300, (n, 1, 1)))
    return np.where(rng.random((n, 1, 1)) < 0.5, grown, start + course)

"""Stochastic differential equations: populations whose environment shakes them between samples.

The logarithms make a Runge-Kutta step of the drift and then a Gaussian one of the noise (splitting;
Kloeden & Platen 1992, "Numerical Solution of Stochastic Differential Equations", chapter 14), a few
times between two samples.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from oscillators import SEED_STEP
from parameters import Array, Rng, log_uniform, sometimes

_STEP = 0.5
"""Longest step of the integration; the drift's fastest rates are about 1."""


def integrate(
    rng: Rng,
    rate: Callable[[Array, Array], Array],
    logs: Array,
    dt: Array,
    n_steps: int,
    noise: Array,
    demographic: Array,
) -> Array:
    """(n, n_steps, V) populations, samples dt (n,) apart.

    Args:
        rate: logs (n, V) and the times (n, 1) to their derivatives.
        noise: (n, 1) standard deviation of the log after one time unit.
        demographic: (n, 1) the same for a population of 1; the variance is inverse to it.
    """
    substeps = int(np.ceil(dt.max() / _STEP))
    h = (dt / substeps)[:, None]
    out = np.empty((len(logs), n_steps, logs.shape[1]))
    time = np.zeros_like(h)
    for t in range(n_steps):
        out[:, t] = logs
        for _ in range(substeps):
            k1 = rate(logs, time)
            k2 = rate(logs + 0.5 * h * k1, time + 0.5 * h)
            k3 = rate(logs + 0.5 * h * k2, time + 0.5 * h)
            k4 = rate(logs + h * k3, time + h)
            size = np.sqrt(noise**2 + np.minimum(demographic**2 * np.exp(-logs), 0.25))
            logs = logs + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
            logs = np.clip(logs + size * np.sqrt(h) * rng.normal(0, 1, logs.shape), -14, 8)
            time = time + h
    return np.exp(out)


def predator_prey(rng: Rng, n: int, n_steps: int) -> Array:
    """(n, n_steps, 2): Rosenzweig-MacArthur with process noise, some driven by seasons.

    Where its equilibrium is stable, noise keeps up quasi-cycles (Nisbet & Gurney 1976,
    doi:10.1038/263319a0); seasons move the prey's growth (Rinaldi et al. 1993,
    doi:10.1007/BF02460899).
    """
    alpha, gamma = rng.uniform(0.08, 0.4, n), rng.uniform(0.08, 0.33, n)
    beta, gain = rng.uniform(0.18, 0.55, n), rng.uniform(0.28, 0.75, n)
    capacity, h = log_uniform(rng, 1.5, 16, n), sometimes(rng, 0.7, rng.uniform(0.04, 0.3, n))
    dt = np.where(rng.random(n) < 0.5, SEED_STEP, rng.uniform(0.5, 4.0, n))
    forcing = sometimes(rng, 0.25, rng.uniform(0.1, 0.9, n))
    season = 2 * np.pi / (dt * log_uniform(rng, 3, 24, n))

    def rate(logs: Array, time: Array) -> Array:
        x, y = np.exp(np.clip(logs, -40, 8)).T
        eaten = beta / (1 + h * x)
        growth = alpha * (1 + forcing * np.sin(season * time[:, 0]) - x / capacity)
        return np.stack([growth - eaten * y, gain * eaten * x - gamma], 1)

    start = np.log(np.exp(rng.normal(0, 0.5, (n, 2))))
    noise = sometimes(rng, 0.9, log_uniform(rng, 0.005, 0.15, (n, 1)))
    demographic = sometimes(rng, 0.4, log_uniform(rng, 0.005, 0.1, (n, 1)))
    return integrate(rng, rate, start, dt, n_steps, noise, demographic)


def community(rng: Rng, n: int, n_steps: int, n_variables: int) -> Array:
    """(n, n_steps, V): competitors, mutualists and their enemies, Lotka-Volterra with noise.

    d log N_i / dt = r_i (1 - sum_j A_ij N_j) with A_ii = 1; a third of the communities are ruled
    by a cycle of who beats whom (May & Leonard 1975, doi:10.1137/0129022).
    """
    r = rng.uniform(0.1, 0.9, (n, n_variables))
    matrix = rng.normal(0.3, 0.35, (n, n_variables, n_variables)) / max(1, n_variables - 1) ** 0.5
    steps = np.arange(n_variables)
    ahead = (steps[None, :] - steps[:, None]) % n_variables
    cyclic = np.where(ahead == 1, 1.0, 0.0) * rng.uniform(1.0, 1.8, (n, 1, 1))
    cyclic = cyclic + np.where(ahead > 1, 1.0, 0.0) * rng.uniform(0.1, 0.8, (n, 1, 1))
    matrix = np.where(rng.random((n, 1, 1)) < 0.33, cyclic, np.maximum(matrix, -0.15))
    matrix[:, steps, steps] = 1.0

    def rate(logs: Array, _: Array) -> Array:
        sizes = np.exp(np.clip(logs, -40, 3))
        return r * (1 - np.einsum("nij,nj->ni", matrix, sizes)) + 1e-4 / (sizes + 1e-3)

    dt = rng.uniform(0.5, 4.0, n)
    noise = sometimes(rng, 0.7, log_uniform(rng, 0.005, 0.2, (n, 1)))
    return integrate(
        rng, rate, rng.normal(-0.7, 0.7, r.shape), dt, n_steps, noise, np.zeros((n, 1))
    )

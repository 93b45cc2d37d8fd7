"""Ornstein-Uhlenbeck processes whose mean, pull and noise switch with a hidden Markov state.

Source: regime switching of Hamilton 1989 (doi:10.2307/1912559), in continuous time as TempoPFN
draws it (Moroshan et al. 2025, arXiv:2510.25502).
"""

from __future__ import annotations

import numpy as np
from parameters import Array, Rng, innovations, log_uniform, sometimes

_STATES = 3


def switching(rng: Rng, n: int, n_steps: int, n_variables: int) -> Array:
    """(n, n_steps, V): two or three states, each held for 8 to 200 steps; levels or logs.

    A step of one time unit is exact: x' = m + (x - m) exp(-a) + s z (1 - exp(-2 a))^(1/2).
    """
    mean = rng.normal(0, 2, (n, _STATES, n_variables))
    memory = np.exp(-log_uniform(rng, 0.02, 1.5, (n, _STATES, 1)))
    noise = log_uniform(rng, 0.05, 1.5, (n, _STATES, 1)) * np.sqrt(1 - memory**2)
    leave = 1 / log_uniform(rng, 8, 200, (n, _STATES))
    n_states = np.where(rng.random(n) < 0.6, 2, _STATES)
    state = rng.integers(0, n_states)
    shocks = innovations(rng, n, n_steps, n_variables)
    x = mean[np.arange(n), state].copy()
    out = np.empty((n, n_steps, n_variables))
    series = np.arange(n)
    for t in range(n_steps):
        leaving = rng.random(n) < leave[series, state]
        state = np.where(leaving, (state + rng.integers(1, n_states)) % n_states, state)
        now = mean[series, state]
        x = now + (x - now) * memory[series, state] + noise[series, state] * shocks[:, t]
        out[:, t] = x
    logs = np.exp(np.clip(log_uniform(rng, 0.1, 1.0, (n, 1, 1)) * out, -9, 9))
    levels = out + sometimes(rng, 0.7, log_uniform(rng, 4, 60, (n, 1, 1)))
    return np.where(rng.random((n, 1, 1)) < 0.5, logs, levels)

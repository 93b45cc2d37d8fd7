"""Series whose first column is known ahead: what drives them, or the time between their steps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from parameters import Array, Rng, innovations, log_uniform, sometimes

_FINER = 2
"""Steps of a system for each step that is noted, on average at most."""


def driven(rng: Rng, n: int, n_steps: int) -> Array:
    """(n, n_steps, 2): a driver such as temperature, and a population that follows it.

    The driver is a season, a red noise, or both. The population's log returns to its level
    (Gompertz 1825; Dennis et al. 2006, doi:10.1890/0012-9615(2006)76[323:EDDPNA]2.0.CO;2) and is
    moved by the driver, at once or a step later; in a third of the series it follows it directly.
    """
    t = np.arange(n_steps + 1)[None, :]
    period = np.where(
        rng.random((n, 1)) < 0.6,
        rng.choice([4, 7, 12, 24, 52], (n, 1)),
        log_uniform(rng, 3, 60, (n, 1)),
    )
    season = np.sin(2 * np.pi * t / period + rng.uniform(0, 2 * np.pi, (n, 1)))
    keeps = rng.uniform(0, 0.95, (n, 1))
    shocks = innovations(rng, n, n_steps + 1, 1)[:, :, 0]
    red = np.zeros((n, n_steps + 1))
    new = np.sqrt(1 - keeps**2) * shocks
    for step in range(1, n_steps + 1):
        red[:, step] = keeps[:, 0] * red[:, step - 1] + new[:, step]
    share = rng.choice([0.0, 0.3, 0.7, 1.0], (n, 1), p=[0.25, 0.25, 0.25, 0.25])
    driver = np.sqrt(1 - share) * season + np.sqrt(share) * red
    late = rng.random((n, 1)) < 0.3
    felt = np.where(late, driver[:, :-1], driver[:, 1:])
    strength = rng.choice([-1.0, 1.0], (n, 1)) * log_uniform(rng, 0.05, 1.0, (n, 1))
    strength = sometimes(rng, 0.85, strength)
    noise = log_uniform(rng, 0.01, 0.4, (n, 1)) * innovations(rng, n, n_steps, 1)[:, :, 0]
    returns = np.where(rng.random((n, 1)) < 0.35, 1.0, rng.uniform(0.05, 0.9, (n, 1)))
    log = np.zeros((n, n_steps))
    now = rng.normal(0, 0.3, n)
    for step in range(n_steps):
        now = (1 - returns[:, 0]) * now + strength[:, 0] * felt[:, step] + noise[:, step]
        log[:, step] = now
    unit, level = log_uniform(rng, 0.2, 5, (n, 1)), rng.choice([0.0, 1.5, 3.0], (n, 1))
    return np.stack([unit * (driver[:, 1:] + level), np.exp(np.clip(log, -8, 8))], axis=2)


def told_times(simulate: Callable[[Rng, int, int], Array]) -> Callable[[Rng, int, int], Array]:
    """Return a generator of uneven steps of a system, with the time since the last before them."""

    def draw(rng: Rng, n: int, n_steps: int) -> Array:
        """(n, n_steps, 1 + V)."""
        fine = simulate(rng, n, _FINER * n_steps)
        out = []
        for values in fine:
            at = np.sort(rng.choice(len(values), n_steps, replace=False))
            if rng.random() < 0.3:  # nearly even
                at = np.arange(n_steps) + np.cumsum(rng.random(n_steps) < 0.1)
                at = np.minimum(at, len(values) - 1)
            spans = np.diff(at, prepend=at[0] - 1).astype(float)
            spans = spans * float(log_uniform(rng, 0.2, 3, 1)[0])
            out.append(np.column_stack([spans, values[at]]))
        return np.array(out)

    return draw

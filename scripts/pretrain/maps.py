"""Populations from one season to the next: density dependence with process noise.

All are iterated in the logarithms, in units of the carrying capacity: a map says what a log
population x becomes, and each step a shock is added (environmental noise, some of it reddened:
Ripa & Lundberg 1996, doi:10.1098/rspb.1996.0256; demographic noise, whose variance is inverse to
the population: Lande, Engen & Saether 2003, "Stochastic Population Dynamics", chapter 1).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from parameters import Array, Rng, log_uniform, sometimes

_LONGEST_TRANSIENT = 40
_LOWEST, _HIGHEST = -14.0, 8.0


def iterate(
    rng: Rng,
    following: Callable[[Array, Array], Array],
    n: int,
    n_steps: int,
    n_variables: int = 1,
    *,
    always_noisy: bool = False,
) -> Array:
    """(n, n_steps, V) populations; two thirds of the series have forgotten how they began.

    Args:
        following: the logs (n, V) now and a step before to those of the next step.
        always_noisy: maps that say nothing without noise; a seventh of the others has none.
    """
    environmental = log_uniform(rng, 0.02, 0.8, (n, 1))
    if not always_noisy:
        environmental = sometimes(rng, 0.85, environmental)
    redness = sometimes(rng, 0.3, rng.uniform(0.1, 0.8, (n, 1)))
    demographic = sometimes(rng, 0.3, log_uniform(rng, 0.01, 0.3, (n, 1)))
    demographic = np.where(environmental > 0, demographic, 0.0)
    n_all = n_steps + _LONGEST_TRANSIENT
    out = np.empty((n, n_all, n_variables))
    logs = before = rng.normal(-0.3, 0.8, (n, n_variables))
    shock = np.zeros((n, n_variables))
    for t in range(n_all):
        out[:, t] = logs
        shock = redness * shock + np.sqrt(1 - redness**2) * rng.normal(0, 1, shock.shape)
        size = np.sqrt(environmental**2 + np.minimum(demographic**2 * np.exp(-logs), 1.0))
        moved = np.clip(following(logs, before) + size * shock, _LOWEST, _HIGHEST)
        logs, before = moved, logs
    first = np.where(rng.random(n) < 0.67, _LONGEST_TRANSIENT, 0)
    at = first[:, None] + np.arange(n_steps)
    return np.exp(np.take_along_axis(out, at[:, :, None], axis=1))


def ricker(rng: Rng, n: int, n_steps: int) -> Array:
    """N' = N exp(r (1 - N)), from slow return over cycles to chaos (Ricker 1954)."""
    r = rng.uniform(0.05, 3.0, (n, 1))
    return iterate(rng, lambda x, _: x + r * (1 - np.exp(x)), n, n_steps)


def gompertz(rng: Rng, n: int, n_steps: int) -> Array:
    """log N' = b log N + noise: a first-order autoregression of the logs (Dennis et al. 2006)."""
    b = np.where(
        rng.random((n, 1)) < 0.85, rng.uniform(0.2, 1, (n, 1)), rng.uniform(-0.8, 0.2, (n, 1))
    )
    return iterate(rng, lambda x, _: b * x, n, n_steps, always_noisy=True)


def theta_logistic(rng: Rng, n: int, n_steps: int) -> Array:
    """N' = N exp(r (1 - N^theta)) (Gilpin & Ayala 1973, doi:10.1073/pnas.70.12.3590)."""
    theta = log_uniform(rng, 0.2, 5, (n, 1))
    r = np.minimum(rng.uniform(0.05, 2, (n, 1)), 2.6 / theta)
    return iterate(rng, lambda x, _: x + r * (1 - np.exp(theta * x)), n, n_steps)


def hassell(rng: Rng, n: int, n_steps: int) -> Array:
    """N' = l N / (1 + a N)^b (Hassell 1975, doi:10.2307/3863); Beverton-Holt where b is 1."""
    growth = log_uniform(rng, 1.05, 20, (n, 1))
    b = sometimes(rng, 0.6, log_uniform(rng, 0.5, 6, (n, 1)), otherwise=1.0)
    a = growth ** (1 / b) - 1  # the equilibrium is 1
    return iterate(rng, lambda x, _: x + np.log(growth) - b * np.log1p(a * np.exp(x)), n, n_steps)


def moran(rng: Rng, n: int, n_steps: int) -> Array:
    """Quasi-cycles: log N' = a1 log N + a2 log N(t-1) + noise.

    Moran (1953, doi:10.1071/ZO9530163) found a1 = 1.41 and a2 = -0.77 for lynx; here the period is
    3 to 25 steps, and a cycle is forgotten after a few or hardly ever.
    """
    radius, period = rng.uniform(0.5, 0.99, (n, 1)), log_uniform(rng, 3, 25, (n, 1))
    a1, a2 = 2 * radius * np.cos(2 * np.pi / period), -(radius**2)
    return iterate(rng, lambda x, b: a1 * x + a2 * b, n, n_steps, always_noisy=True)


def delayed(rng: Rng, n: int, n_steps: int) -> Array:
    """N' = N exp(r (1 - (1 - w) N - w N(t-1))) (Turchin 1990, doi:10.1038/344660a0)."""
    r, w = rng.uniform(0.1, 1.8, (n, 1)), rng.uniform(0.3, 1, (n, 1))
    r = np.minimum(r, 1.25 / w)
    return iterate(rng, lambda x, b: x + r * (1 - (1 - w) * np.exp(x) - w * np.exp(b)), n, n_steps)


def host_parasitoid(rng: Rng, n: int, n_steps: int) -> Array:
    """(n, n_steps, 2): hosts, and parasitoids whose attacks are aggregated.

    May (1978, doi:10.2307/4142), with Beddington's self-limited hosts (1975,
    doi:10.1038/255058a0).
    """
    r, attack = rng.uniform(0.3, 2, n), log_uniform(rng, 1.3, 6, n)
    k = log_uniform(rng, 0.4, 5, n)

    def following(x: Array, _: Array) -> Array:
        hosts, parasitoids = np.exp(x).T
        escaped = -k * np.log1p(attack * parasitoids / k)
        caught = np.log(np.maximum(-np.expm1(escaped), 1e-12))
        return np.stack([x[:, 0] + r * (1 - hosts) + escaped, x[:, 0] + caught], 1)

    return iterate(rng, following, n, n_steps, 2)

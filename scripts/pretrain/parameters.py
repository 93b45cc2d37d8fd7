"""Random parameters of many series at once: an array (n, …) holds one draw for each series."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Rng = np.random.Generator


def log_uniform(rng: Rng, low: float, high: float, shape: int | tuple[int, ...]) -> Array:
    """Uniform in the logarithm: as often from 0.01 to 0.1 as from 0.1 to 1."""
    return np.exp(rng.uniform(np.log(low), np.log(high), shape))


def sometimes(rng: Rng, share: float, values: Array, otherwise: float = 0.0) -> Array:
    """``values`` of so large a share of the series (first axis), of the others ``otherwise``."""
    chosen = rng.random((len(values), *([1] * (values.ndim - 1)))) < share
    return np.where(chosen, values, otherwise)


def innovations(rng: Rng, n: int, n_steps: int, n_variables: int) -> Array:
    """(n, n_steps, V) random shocks of variance 1, of some series heavy-tailed or shared.

    Three tenths of the series have Student's t with 3 to 10 degrees of freedom (rare large
    shocks); what the variables of a series have in common is a share drawn for each series.
    """
    shape = (n, n_steps, n_variables)
    common = np.sqrt(sometimes(rng, 0.5, rng.uniform(0, 0.9, (n, 1, 1))))
    shocks = common * rng.normal(0, 1, (n, n_steps, 1))
    shocks = shocks + np.sqrt(1 - common**2) * rng.normal(0, 1, shape)
    freedom = rng.uniform(3, 10, (n, 1, 1))
    heavy = np.sqrt((freedom - 2) / rng.chisquare(np.broadcast_to(freedom, (n, n_steps, 1))))
    return np.asarray(shocks * np.where(rng.random((n, 1, 1)) < 0.3, heavy, 1.0))


_USUAL_PERIODS = (4, 7, 12, 24)


def periods(rng: Rng, n: int) -> NDArray[np.int64]:
    """(n,) steps of a season, 2 to 50: three fifths are those of quarters, weeks, years or days."""
    usual = rng.choice(_USUAL_PERIODS, n, p=[0.25, 0.2, 0.45, 0.1])
    return np.where(rng.random(n) < 0.6, usual, rng.integers(2, 51, n))

"""Integrals along a history, from which coefficients of equations are regressed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from lvlora.series.dataset import FloatArray
from lvlora.series.rivals.parts.families import Family
from lvlora.series.rivals.parts.linear import column_sizes, product, solved
from lvlora.series.rivals.parts.rates import Rates, Systems

_NODES = 4  # of the quadrature within a step: exact to degree 7
_LOG_H = tuple(np.log(np.geomspace(0.03, 3.0, 9)))
_MARGINS = (0.05, 0.3, 1.0)
"""Of the fastest growth without a hidden second, beyond what is seen, in ranges of growth."""
_HIDDEN_H = (0.0, 0.1, 0.3)
_RIDGE = 1e-7
"""Penalty, relative to the mean square of each term."""


def step_integrals(
    time: FloatArray, values: FloatArray, terms: Callable[[FloatArray, FloatArray], FloatArray]
) -> FloatArray:
    """Return (T - 1, P) integrals of terms over each step, along a cubic spline.

    Integrals and not derivatives: Messenger & Bortz (2021), doi:10.1137/20M1343166. By
    Gauss-Legendre quadrature.

    Args:
        time: (T,) increasing; values: (T, V).
        terms: (T - 1, N) times and (T - 1, N, V) values on the spline to (T - 1, N, P).
    """
    from scipy.interpolate import CubicSpline

    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    steps = np.diff(time)
    at = time[:-1, None] + steps[:, None] * (nodes + 1) / 2
    there = terms(at, CubicSpline(time, values)(at))
    return np.asarray(steps[:, None] * np.einsum("k,tkp->tp", weights / 2, there))


def collocated(time: FloatArray, logs: FloatArray, families: Sequence[Family]) -> Systems:
    """Return systems whose rates, integrated along smooth logarithms, add up to their changes.

    Coefficients by least squares; h is the best of some.

    Args:
        time: (T,) increasing; logs: (T, V).
    """
    change = np.diff(logs, axis=0)
    width = max(int(family.terms.sum()) for family in families)
    systems = []
    for family in families:
        fits = []
        for log_h in _LOG_H if family.prey >= 0 else (0.0,):
            blank = Systems(np.zeros((1, *family.terms.shape)), np.array([log_h]), (family,), width)
            integrals = step_integrals(time, logs, partial(_terms, Rates(blank)))
            coefficients = _regressed(integrals, change, family.terms)
            error = float(np.sum((product(integrals, coefficients) - change) ** 2))
            fits.append((error, replace(blank, coefficients=coefficients[None])))
        systems.append(min(fits, key=lambda fit: fit[0])[1])
    return joined(systems)


def joined(parts: Sequence[Systems]) -> Systems:
    """Return several batches of systems as one."""
    return Systems(
        np.concatenate([part.coefficients for part in parts]),
        np.concatenate([part.log_h for part in parts]),
        tuple(family for part in parts for family in part.families),
        parts[0].width,
    )


def hidden_seconds(time: FloatArray, logs: FloatArray) -> list[FloatArray]:
    """Return (T, 1) logarithms of what may have eaten a prey, up to their level.

    A prey grows at r = a - y / (1 + h x), of which r is seen. Each of some a, above all r, and of
    some h makes a hidden y.

    Args:
        time: (T,) increasing; logs: (T, 1) smooth.
    """
    from scipy.interpolate import CubicSpline

    growth = CubicSpline(time, logs)(time, 1)
    width = float(np.ptp(growth)) or 1.0
    seconds = []
    for margin in _MARGINS:
        for h in _HIDDEN_H:
            eaten = (growth.max() + margin * width - growth) * (1 + h * np.exp(logs))
            seconds.append(np.log(eaten) - np.log(eaten).mean())
    return seconds


def _terms(rates: Rates, _time: FloatArray, logs: FloatArray) -> FloatArray:
    """(..., F) terms of one system at (..., V) logarithms."""
    terms, _ = rates.terms(logs.reshape(1, -1, logs.shape[-1]))
    return terms.reshape(*logs.shape[:-1], -1)


def _regressed(x: FloatArray, y: FloatArray, terms: NDArray[np.bool_]) -> FloatArray:
    """(F, V) coefficients of (n, V) changes, each variable's on terms of its own."""
    size = column_sizes(x)
    x = x / size
    gram, right = product(x.T, x), product(x.T, y)
    used = terms.T
    systems = np.where(used[:, :, None] & used[:, None, :], gram, 0.0)
    systems = systems + len(x) * _RIDGE * np.eye(len(gram))
    solution = solved(systems, np.where(used, right.T, 0.0)[..., None])[..., 0]
    return np.asarray(solution.T / size[:, None])

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
    return Systems(
        np.concatenate([s.coefficients for s in systems]),
        np.concatenate([s.log_h for s in systems]),
        tuple(families),
        width,
    )


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

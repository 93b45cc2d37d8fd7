"""Linear systems, matrix products and monomials; their FLOPs are counted here, and only here.

A product (m x n)(n x p) counts 2mnp FLOPs executed and mp(2n - 1) in the coursework convention
(docs/flops.md); a system of p unknowns with v right sides counts its elimination,
p(p - 1)(4p + 1)/6, and its two substitutions, v(2p² - p), in both (Golub & Van Loan, Matrix
Computations, 3.1 and 3.2). Functions of single elements, roots of distances, sorting and scaling
are not counted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import combinations_with_replacement
from math import comb

import numpy as np
from numpy.typing import NDArray

from lvlora.answers import NOTHING, Price
from lvlora.data.dataset import FloatArray

_NODES = 4  # of the quadrature within a step: exact to degree 7


@dataclass
class Tally:
    """FLOPs counted so far, in both conventions."""

    price: Price = NOTHING


_tally: ContextVar[Tally | None] = ContextVar("tally", default=None)


@contextlib.contextmanager
def counting() -> Iterator[Tally]:
    """Count what is done inside the block; an outer count does not include it."""
    token = _tally.set(tally := Tally())
    try:
        yield tally
    finally:
        _tally.reset(token)


def _count(executed: int, coursework: int) -> None:
    if (tally := _tally.get()) is not None:
        tally.price += Price(executed, coursework)


def count_product(m: int, n: int, p: int, times: int = 1) -> None:
    """Count ``times`` products (m x n)(n x p) that are done in another way than `product`."""
    _count(times * 2 * m * n * p, times * m * p * (2 * n - 1))


def product(a: FloatArray, b: FloatArray) -> FloatArray:
    """(..., m, n) times (..., n, p)."""
    result: FloatArray = np.matmul(a, b)
    count_product(a.shape[-2], a.shape[-1], b.shape[-1], result[..., 0, 0].size)
    return result


def solved(systems: FloatArray, right: FloatArray) -> FloatArray:
    """Solutions (..., p, v) of systems (..., p, p) with right sides (..., p, v).

    A system that is singular in this arithmetic has a solution of NaN, alone.
    """
    p, v = right.shape[-2:]
    flops = systems[..., 0, 0].size * (p * (p - 1) * (4 * p + 1) // 6 + v * (2 * p * p - p))
    _count(flops, flops)
    try:
        return np.asarray(np.linalg.solve(systems, right))
    except np.linalg.LinAlgError:
        if systems.ndim == 2:
            return np.full(right.shape, np.nan)
        right = np.broadcast_to(right, (*systems.shape[:-2], p, v))
        return np.stack([solved(a, b) for a, b in zip(systems, right, strict=True)])


def normal_equations(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return column sizes (p,), and X'X (p, p) and X'Y (p, v) of columns at equal size.

    So a penalty is a share of the mean square of a column.
    """
    size = np.sqrt(np.mean(x**2, axis=0))
    size = np.where(size > 0, size, 1.0)
    scaled = x / size
    return size, product(scaled.T, scaled), product(scaled.T, y)


def ridge(x: FloatArray, y: FloatArray, penalties: FloatArray) -> FloatArray:
    """Return coefficients (C, p, v) of ridge regressions of (n, v) on (n, p), one a penalty (C,).

    The first column, of ones, is not penalised.
    """
    size, gram, right = normal_equations(x, y)
    shrunk = np.ones(x.shape[1])
    shrunk[0] = 1e-6  # not zero, so that no other column of ones makes a singular system
    systems = gram + (len(x) * penalties)[:, None, None] * np.diag(shrunk)
    solution = solved(systems, np.broadcast_to(right, (len(penalties), *right.shape)))
    return np.asarray(solution / size[:, None])


def on_some_terms(
    gram: FloatArray, right: FloatArray, penalty: FloatArray, used: NDArray[np.bool_]
) -> FloatArray:
    """Return coefficients (..., p) of penalised regressions, each on the terms that it uses.

    Args:
        gram: (p, p); penalty: (p, p), or one for each (..., p, p).
        right, used: (..., p); coefficients that are not used are zero.
    """
    both = used[..., :, None] & used[..., None, :]
    systems = np.where(both, gram, 0.0) + penalty
    return solved(systems, np.where(used, right, 0.0)[..., None])[..., 0]


Monomials = list[tuple[int, ...]]
"""Products of variables, each by the positions of its factors; 1 is ()."""


def monomials(n_variables: int, degree: int) -> Monomials:
    """All products of up to ``degree`` variables, shorter ones first."""
    numbers = range(n_variables)
    return [c for d in range(degree + 1) for c in combinations_with_replacement(numbers, d)]


def n_monomials(n_variables: int, degree: int) -> int:
    return comb(n_variables + degree, degree)


def evaluated(values: FloatArray, products: Monomials) -> FloatArray:
    """(..., V) to (..., P); a factor of every product must be among the products before it."""
    table: dict[tuple[int, ...], FloatArray] = {(): np.ones(values.shape[:-1])}
    for factors in products[1:]:
        table[factors] = table[factors[:-1]] * values[..., factors[-1]]
    return np.stack([table[factors] for factors in products], axis=-1)


def runge_kutta(
    slope: Callable[[FloatArray, int], FloatArray], state: FloatArray, step: FloatArray | float
) -> FloatArray:
    """Take a step of the classic method of fourth order.

    Args:
        slope: of a state at the beginning (0), the middle (1) or the end (2) of the step.
    """
    a = slope(state, 0)
    b = slope(state + step / 2 * a, 1)
    c = slope(state + step / 2 * b, 1)
    d = slope(state + step * c, 2)
    return np.asarray(state + step / 6 * (a + 2 * b + 2 * c + d))


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

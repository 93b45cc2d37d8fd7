"""Linear systems, matrix products and monomials, with their FLOPs counted as they are done.

A product (m x n)(n x p) counts 2mnp FLOPs executed and mp(2n - 1) in the coursework convention
(docs/flops.md); a system of p unknowns with v right sides counts its elimination,
p(p - 1)(4p + 1)/6, and its two substitutions, v(2p² - p), in both (Golub & Van Loan, Matrix
Computations, 3.1 and 3.2). Functions of single elements, roots of distances, sorting and scaling
are not counted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import combinations_with_replacement
from math import comb

import numpy as np

from lvlora.answers import Price
from lvlora.data.dataset import FloatArray


@dataclass
class Tally:
    """FLOPs counted so far, in both conventions."""

    executed: int = 0
    coursework: int = 0

    @property
    def price(self) -> Price | None:
        """Both counts; None where nothing was counted."""
        return Price(self.executed, self.coursework) if self.executed else None


_tally: ContextVar[Tally] = ContextVar("tally")


@contextlib.contextmanager
def counting() -> Iterator[Tally]:
    """Count what is done inside the block; an outer count does not include it."""
    token = _tally.set(Tally())
    try:
        yield _tally.get()
    finally:
        _tally.reset(token)


def _count(executed: int, coursework: int) -> None:
    if (tally := _tally.get(None)) is not None:
        tally.executed += executed
        tally.coursework += coursework


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


def column_sizes(x: FloatArray) -> FloatArray:
    """(p,) root mean square of each column of (n, p); 1 for a column of zeros."""
    size = np.sqrt(np.mean(x**2, axis=0))
    return np.where(size > 0, size, 1.0)


def ridge(x: FloatArray, y: FloatArray, penalties: FloatArray) -> FloatArray:
    """Coefficients of ridge regressions of the same data, one a penalty.

    Columns are taken at equal size, so that a penalty is a share of the mean square of a column;
    the first column, of ones, is not penalised.

    Args:
        x: (n, p), its first column ones.
        y: (n, v).
        penalties: (C,).

    Returns:
        (C, p, v).
    """
    size = column_sizes(x)
    scaled = x / size
    gram, right = product(scaled.T, scaled), product(scaled.T, y)
    shrunk = np.ones(x.shape[1])
    shrunk[0] = 1e-6  # not zero, so that no column of ones beside it makes a singular system
    systems = gram + (len(x) * penalties)[:, None, None] * np.diag(shrunk)
    solution: FloatArray = solved(systems, np.broadcast_to(right, (len(penalties), *right.shape)))
    return solution / size[:, None]


Monomials = list[tuple[int, ...]]
"""Products of variables, each by the positions of its factors; 1 is ()."""


def monomials(n_variables: int, degree: int) -> Monomials:
    """All products of up to ``degree`` variables."""
    return [
        factors
        for d in range(degree + 1)
        for factors in combinations_with_replacement(range(n_variables), d)
    ]


def n_monomials(n_variables: int, degree: int) -> int:
    """The number of `monomials`."""
    return comb(n_variables + degree, degree)


def evaluated(values: FloatArray, products: Monomials) -> FloatArray:
    """(..., V) to (..., P); a factor of every product must be among the products before it."""
    table: dict[tuple[int, ...], FloatArray] = {(): np.ones(values.shape[:-1])}
    for factors in products[1:]:
        table[factors] = table[factors[:-1]] * values[..., factors[-1]]
    return np.stack([table[factors] for factors in products], axis=-1)

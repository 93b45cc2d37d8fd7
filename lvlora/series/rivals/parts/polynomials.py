"""Monomials of several variables."""

from __future__ import annotations

from itertools import combinations_with_replacement
from math import comb

import numpy as np

from lvlora.series.dataset import FloatArray

Monomials = list[tuple[int, ...]]


def monomials(n_variables: int, degree: int) -> Monomials:
    """All products of up to ``degree`` variables, each by the positions of its factors; 1 is ()."""
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

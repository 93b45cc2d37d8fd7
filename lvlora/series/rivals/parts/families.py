"""The library of shapes that per-capita rates may have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lvlora.series.rivals.parts.polynomials import monomials

_MOST_FOR_CURVES = 4
"""Variables beyond which rates are linear: other shapes have too many coefficients."""


@dataclass(frozen=True)
class Family:
    """One shape of rates of V variables.

    Attributes:
        terms: (F, V) the terms that each variable's rate has: `monomials` of degree `degree`, and
            after them each variable's level over 1 + h times that of the prey.
        prey: the variable in which those saturate; -1 where there are none.
    """

    terms: NDArray[np.bool_]
    prey: int = -1

    @property
    def n_parameters(self) -> int:
        """Coefficients, and h where there is one."""
        return int(self.terms.sum()) + (self.prey >= 0)

    @property
    def n_unknowns(self) -> int:
        """Parameters, and a start of each variable that has rates."""
        return self.n_parameters + int(self.terms.any(axis=0).sum())


def degree(n_variables: int) -> int:
    """The degree of the monomials among the terms of so many variables."""
    return 2 if n_variables <= _MOST_FOR_CURVES else 1


def library(n_variables: int, *, saturating: bool) -> list[Family]:
    """Return linear and quadratic families, then saturating ones, the plainest of each first.

    One variable is the prey of a hidden second in some, and alone in others: all are families of
    two.
    """
    if n_variables == 1:
        return _of_one(saturating=saturating)
    families = [Family(terms) for terms in _polynomial(n_variables)]
    if saturating and degree(n_variables) == 2:
        for prey in range(n_variables):
            families.extend(Family(terms, prey) for terms in _saturating(n_variables, prey))
    return families


def _of_one(*, saturating: bool) -> list[Family]:
    """Families of a prey and a hidden second."""
    linear = np.zeros_like(_quadratic(2))
    linear[:2, 0] = True
    square = linear.copy()
    square[monomials(2, 2).index((0, 0)), 0] = True
    none = np.zeros(2, dtype=bool)
    prey = np.array([True, False])
    hunted = (_linear(2, none), _linear(2, prey), _curved(2, 0))
    families = [Family(terms) for terms in (linear, square, *hunted)]
    if saturating:
        families.extend(Family(terms, 0) for terms in _saturating(2, 0))
    return families


def _linear(n: int, own: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(F, V) a constant, the other variables, and its own level for the variables in ``own``."""
    terms = np.zeros((len(monomials(n, degree(n))) + n, n), dtype=bool)
    terms[0] = True
    terms[1 : n + 1] = ~np.eye(n, dtype=bool) | np.diag(own)
    return terms


def _polynomial(n: int) -> Iterator[NDArray[np.bool_]]:
    """Lotka-Volterra, with one variable limiting itself, with all; quadratic in one, in all."""
    one = np.eye(n, dtype=bool)
    yield _linear(n, np.zeros(n, dtype=bool))
    yield _linear(n, np.ones(n, dtype=bool))
    if degree(n) == 2:
        yield from (_linear(n, one[prey]) for prey in range(n))
        yield from (_curved(n, prey) for prey in range(n))
        yield _quadratic(n)


def _curved(n: int, prey: int) -> NDArray[np.bool_]:
    """Rates that saturate in a prey, to second order."""
    products = monomials(n, 2)
    terms = _linear(n, np.arange(n) == prey)
    for other in range(n):
        pair = (min(prey, other), max(prey, other))
        terms[products.index(pair), prey] = other != prey
        terms[products.index((prey, prey)), other] = other != prey
    return terms


def _quadratic(n: int) -> NDArray[np.bool_]:
    terms = _linear(n, np.ones(n, dtype=bool))
    terms[:-n] = True
    return terms


def _saturating(n: int, prey: int) -> Iterator[NDArray[np.bool_]]:
    """Rosenzweig & MacArthur (1963), doi:10.1086/282272; then with all limiting themselves."""
    others = np.arange(n) != prey
    for own in (~others, np.ones(n, dtype=bool)):
        terms = _linear(n, own)
        terms[1 : n + 1, prey] = ~others
        terms[1 + prey, others] = False
        terms[-n:, prey] = others
        terms[-n + prey, others] = True
        yield terms

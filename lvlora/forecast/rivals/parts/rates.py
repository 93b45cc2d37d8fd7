"""Per-capita growth rates, and how their solutions depend on coefficients and starting values.

The logarithm of each variable grows at a rate that is a sum of terms of all levels:

    d log x_v / dt = sum over f of C[f, v] t_f(x)

Terms are the monomials up to some degree and, after them, each level x_k / (1 + h x_j), which
saturates in a prey j. Many such systems are evaluated and integrated at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lvlora.data.dataset import FloatArray
from lvlora.forecast.rivals.parts.algebra import evaluated, monomials, product

FAR = 8.0
"""Logarithms at which a path is lost, from the history's mean."""
_BOUNDS_OF_LOG_H = (-7.0, 4.0)
SUBSTEPS = 2
"""Runge-Kutta steps in each step of a history."""
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


@dataclass(frozen=True)
class Systems:
    """B systems of V equations.

    Attributes:
        coefficients: (B, F, V); zero where a family has no such term.
        log_h: (B,) logarithms of h; ignored where nothing saturates.
        families: B families.
        width: coefficients of the family with the most.
    """

    coefficients: FloatArray
    log_h: FloatArray
    families: tuple[Family, ...]
    width: int

    def only(self, which: NDArray[np.intp]) -> Systems:
        """Some of the systems."""
        families = tuple(self.families[i] for i in which)
        return Systems(self.coefficients[which], self.log_h[which], families, self.width)

    def copy(self) -> Systems:
        """The same systems, with arrays of their own."""
        return replace(self, coefficients=self.coefficients.copy(), log_h=self.log_h.copy())


class Rates:
    """The right-hand sides of `Systems`, with their derivatives.

    Parameters of a system are its coefficients and the logarithm of its h, padded to the
    longest: (B, P), with the logarithm last.
    """

    def __init__(self, systems: Systems) -> None:
        self.systems = systems
        n_batch, n_variables = len(systems.families), systems.coefficients.shape[-1]
        self._products = monomials(n_variables, degree(n_variables))
        # (F, V) the power of each level in each term, saturated levels last
        counts = [[factors.count(v) for v in range(n_variables)] for factors in self._products]
        self._powers = np.concatenate([np.array(counts, dtype=np.float64), np.eye(n_variables)])
        prey = np.array([family.prey for family in systems.families])
        self._saturates = prey >= 0
        self._prey = np.maximum(prey, 0)[:, None, None]
        self._at_prey = (np.arange(n_variables) == self._prey).astype(np.float64)
        self.used = np.zeros((n_batch, systems.width + 1), dtype=bool)
        self._term = np.zeros((n_batch, systems.width), dtype=np.intp)
        self._variable = np.zeros((n_batch, systems.width), dtype=np.intp)
        for i, family in enumerate(systems.families):
            terms, variables = np.nonzero(family.terms)
            self.used[i, : len(terms)] = True
            self._term[i, : len(terms)], self._variable[i, : len(terms)] = terms, variables
        self.used[:, -1] = self._saturates
        at_variable = self._variable[:, None, :] == np.arange(n_variables)[:, None]
        self._at_variable = (at_variable & self.used[:, None, :-1]).astype(np.float64)[:, None]

    def moved(self, steps: FloatArray) -> Systems:
        """The systems after (B, P) changes of their parameters, log h within its bounds."""
        coefficients = self.systems.coefficients.copy()
        batch = np.arange(len(steps))[:, None]
        changes = steps[:, :-1] * self.used[:, :-1]
        np.add.at(coefficients, (batch, self._term, self._variable), changes)
        log_h = np.clip(self.systems.log_h + steps[:, -1] * self.used[:, -1], *_BOUNDS_OF_LOG_H)
        return replace(self.systems, coefficients=coefficients, log_h=log_h)

    def terms(self, logs: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(B, S, F) terms at (B, S, V) logarithms, and (B, S, 1) the saturated share h x q."""
        levels = np.exp(np.clip(logs, -FAR, FAR))
        eaten = np.take_along_axis(levels, np.broadcast_to(self._prey, (*logs.shape[:2], 1)), 2)
        eaten = eaten * (np.exp(self.systems.log_h) * self._saturates)[:, None, None]
        free = 1 / (1 + eaten)
        terms = np.concatenate([evaluated(levels, self._products), levels * free], axis=-1)
        return terms, eaten * free

    def slopes(self, logs: FloatArray) -> FloatArray:
        """(B, S, V) rates at (B, S, V) logarithms."""
        return product(self.terms(logs)[0], self.systems.coefficients)

    def sensitive(self, logs: FloatArray, change: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Rates, and how they change.

        Args:
            logs: (B, S, V); change: (B, S, V, P + Q) of ``logs`` with the parameters and with Q
                other quantities.

        Returns:
            (B, S, V) and (B, S, V, P + Q).
        """
        terms, share = self.terms(logs)
        n_products = len(self._products)
        parts = terms[..., None] * self.systems.coefficients[:, None]
        slope = parts.sum(axis=2)
        saturated = parts[:, :, n_products:].sum(axis=2) * share
        jacobian = product(np.swapaxes(parts, 2, 3), self._powers)
        jacobian = jacobian - saturated[..., None] * self._at_prey[:, :, None, :]
        result = product(jacobian, change)
        n_coefficients = self._term.shape[1]
        at = np.broadcast_to(self._term[:, None], (*terms.shape[:2], n_coefficients))
        terms_used = np.take_along_axis(terms, at, 2)
        result[..., :n_coefficients] += self._at_variable * terms_used[:, :, None]
        result[..., n_coefficients] -= saturated
        return slope, result


def integrated(rates: Rates, start: FloatArray, steps: FloatArray) -> FloatArray:
    """(B, K, V) logarithms after each of K steps of these lengths, from (B, V) on."""
    state = start[:, None]
    path = np.empty((len(start), len(steps), start.shape[1]))
    for k, step in enumerate(steps / SUBSTEPS):
        for _ in range(SUBSTEPS):
            a = rates.slopes(state)
            b = rates.slopes(state + step / 2 * a)
            c = rates.slopes(state + step / 2 * b)
            d = rates.slopes(state + step * c)
            state = np.clip(state + step / 6 * (a + 2 * b + 2 * c + d), -FAR, FAR)
        path[:, k] = state[:, 0]
    return path


def integrated_with_changes(
    rates: Rates, start: FloatArray, steps: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Solutions of S stretches of each system, and their derivatives: those of the scheme itself.

    Args:
        start: (B, S, V); steps: (S, K) lengths of the K steps of each stretch.

    Returns:
        (B, S, K + 1, V) from the start on, and (B, S, K + 1, V, P + V) its derivatives by the
        parameters and by the stretch's own start.
    """
    n_batch, n_stretches, n_variables = start.shape
    n_parameters = rates.used.shape[1]
    state = start
    change = np.zeros((*start.shape, n_parameters + n_variables))
    change[..., n_parameters:] = np.eye(n_variables)
    n_steps = steps.shape[1]
    path = np.empty((n_batch, n_stretches, n_steps + 1, n_variables))
    changes = np.empty((*path.shape, n_parameters + n_variables))
    path[:, :, 0], changes[:, :, 0] = state, change
    for k in range(n_steps):
        step = steps[:, k, None] / SUBSTEPS
        wide = step[..., None]
        for _ in range(SUBSTEPS):
            a, by_a = rates.sensitive(state, change)
            b, by_b = rates.sensitive(state + step / 2 * a, change + wide / 2 * by_a)
            c, by_c = rates.sensitive(state + step / 2 * b, change + wide / 2 * by_b)
            d, by_d = rates.sensitive(state + step * c, change + wide * by_c)
            state = np.clip(state + step / 6 * (a + 2 * b + 2 * c + d), -FAR, FAR)
            change = change + wide / 6 * (by_a + 2 * by_b + 2 * by_c + by_d)
        path[:, :, k + 1], changes[:, :, k + 1] = state, change
    return path, changes


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
    hunted = (_linear(2, [False, False]), _linear(2, [True, False]), _curved(2, 0))
    families = [Family(terms) for terms in (linear, square, *hunted)]
    if saturating:
        families.extend(Family(terms, 0) for terms in _saturating(2, 0))
    return families


def _linear(n: int, own: Sequence[bool] | NDArray[np.bool_]) -> NDArray[np.bool_]:
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

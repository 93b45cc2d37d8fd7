"""Per-capita growth rates, and how their solutions depend on coefficients and starting values.

The logarithm of each variable grows at a rate that is a sum of terms of all levels:

    d log x_v / dt = sum over f of C[f, v] t_f(x)

Terms are the monomials up to some degree and, after them, each level x_k / (1 + h x_j), which
saturates in a prey j. Many such systems are evaluated and integrated at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lvlora.data.dataset import FloatArray
from lvlora.forecast.rivals.algebra import evaluated, monomials, product, runge_kutta

_FAR = 8.0
"""Logarithms at which a path is lost, from the history's mean."""
_BOUNDS_OF_LOG_H = (-7.0, 4.0)
_SUBSTEPS = 2
"""Runge-Kutta steps in each step of a history."""
_MOST_FOR_CURVES = 4
"""Variables beyond which rates are linear: other shapes have too many coefficients."""

Terms = NDArray[np.bool_]
"""(F, V) the terms that each variable's rate has: monomials, then saturated levels."""


@dataclass(frozen=True)
class Family:
    """One shape of rates of V variables."""

    terms: Terms
    prey: int = -1
    """The variable in which levels saturate; -1 where none do."""

    @property
    def n_parameters(self) -> int:
        """Coefficients, and h where there is one."""
        return int(self.terms.sum()) + (self.prey >= 0)

    @property
    def n_unknowns(self) -> int:
        """Parameters, and a start of each variable that has rates."""
        return self.n_parameters + int(self.terms.any(axis=0).sum())


class Rates:
    """The right-hand sides of B systems of V equations, with their derivatives.

    Parameters of a system are its coefficients, padded to the width of the longest family, and the
    logarithm of its h: (B, P). Coefficients (B, F, V) are zero where a family has no such term;
    log h (B,) is ignored where nothing saturates.
    """

    def __init__(
        self, coefficients: FloatArray, log_h: FloatArray, families: Sequence[Family], width: int
    ) -> None:
        self.coefficients, self.log_h, self.families = coefficients, log_h, families
        self.width = width
        n_batch, n_variables = len(families), coefficients.shape[-1]
        self._products = monomials(n_variables, _degree(n_variables))
        # (F, V) the power of each level in each term, saturated levels last
        counts = [[factors.count(v) for v in range(n_variables)] for factors in self._products]
        self._powers = np.concatenate([np.array(counts, dtype=np.float64), np.eye(n_variables)])
        prey = np.array([family.prey for family in families])
        self._saturates = prey >= 0
        self._prey = np.maximum(prey, 0)[:, None, None]
        self._at_prey = (np.arange(n_variables) == self._prey).astype(np.float64)
        self.used = np.zeros((n_batch, width + 1), dtype=bool)
        self._term, self._variable = np.zeros((2, n_batch, width), dtype=np.intp)
        for i, family in enumerate(families):
            terms, variables = np.nonzero(family.terms)
            self.used[i, : len(terms)] = True
            self._term[i, : len(terms)], self._variable[i, : len(terms)] = terms, variables
        self.used[:, -1] = self._saturates
        at_variable = self._variable[:, None, :] == np.arange(n_variables)[:, None]
        self._at_variable = (at_variable & self.used[:, None, :-1]).astype(np.float64)[:, None]

    def only(self, which: NDArray[np.intp]) -> Rates:
        """Some of the systems."""
        families = [self.families[i] for i in which]
        return Rates(self.coefficients[which], self.log_h[which], families, self.width)

    def moved(self, steps: FloatArray) -> Rates:
        """The systems after (B, P) changes of their parameters, log h within its bounds."""
        coefficients = self.coefficients.copy()
        batch = np.arange(len(steps))[:, None]
        changes = steps[:, :-1] * self.used[:, :-1]
        np.add.at(coefficients, (batch, self._term, self._variable), changes)
        log_h = np.clip(self.log_h + steps[:, -1] * self.used[:, -1], *_BOUNDS_OF_LOG_H)
        return Rates(coefficients, log_h, self.families, self.width)

    def terms(self, logs: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(B, S, F) terms at (B, S, V) logarithms, and (B, S, 1) the saturated share h x q."""
        levels = np.exp(np.clip(logs, -_FAR, _FAR))
        eaten = np.take_along_axis(levels, np.broadcast_to(self._prey, (*logs.shape[:2], 1)), 2)
        eaten = eaten * (np.exp(self.log_h) * self._saturates)[:, None, None]
        free = 1 / (1 + eaten)
        terms = np.concatenate([evaluated(levels, self._products), levels * free], axis=-1)
        return terms, eaten * free

    def slopes(self, logs: FloatArray) -> FloatArray:
        """(B, S, V) rates at (B, S, V) logarithms."""
        return product(self.terms(logs)[0], self.coefficients)

    def sensitive(self, paths: FloatArray) -> FloatArray:
        """Rates, and how they change.

        Args:
            paths: (B, S, V, P + Q + 1) changes of logarithms with the parameters and with Q other
                quantities, then the logarithms themselves.
        """
        # contiguous: the layout decides the last bit of an exponential and of a product
        logs, change = np.ascontiguousarray(paths[..., -1]), np.ascontiguousarray(paths[..., :-1])
        terms, share = self.terms(logs)
        parts = terms[..., None] * self.coefficients[:, None]
        saturated = parts[:, :, len(self._products) :].sum(axis=2) * share
        jacobian = product(np.swapaxes(parts, 2, 3), self._powers)
        jacobian = jacobian - saturated[..., None] * self._at_prey[:, :, None, :]
        result = np.empty_like(paths)
        result[..., :-1] = product(jacobian, change)
        at = np.broadcast_to(self._term[:, None], (*terms.shape[:2], self.width))
        terms_used = np.take_along_axis(terms, at, 2)
        result[..., : self.width] += self._at_variable * terms_used[:, :, None]
        result[..., self.width] -= saturated
        result[..., -1] = parts.sum(axis=2)
        return result


def joined(parts: Sequence[Rates]) -> Rates:
    """Return all systems as one batch."""
    coefficients = np.concatenate([part.coefficients for part in parts])
    log_h = np.concatenate([part.log_h for part in parts])
    families = [family for part in parts for family in part.families]
    return Rates(coefficients, log_h, families, parts[0].width)


def integrated(rates: Rates, start: FloatArray, steps: FloatArray) -> FloatArray:
    """(B, K, V) logarithms after each of K steps of these lengths, from (B, V) on."""
    state = start[:, None]
    path = np.empty((len(start), len(steps), start.shape[1]))
    for k, step in enumerate(steps / _SUBSTEPS):
        for _ in range(_SUBSTEPS):
            state = runge_kutta(lambda logs, _: rates.slopes(logs), state, step)
            state = np.clip(state, -_FAR, _FAR)
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
    n_variables = start.shape[-1]
    by_parameters = np.zeros((*start.shape, rates.width + 1))
    by_start = np.broadcast_to(np.eye(n_variables), (*start.shape, n_variables))
    state = np.concatenate([by_parameters, by_start, start[..., None]], axis=-1)
    states = [state]
    for lengths in steps.T:
        for _ in range(_SUBSTEPS):
            step = lengths[:, None, None] / _SUBSTEPS
            state = runge_kutta(lambda paths, _: rates.sensitive(paths), state, step)
            state[..., -1] = np.clip(state[..., -1], -_FAR, _FAR)
        states.append(state)
    every = np.stack(states, axis=2)
    return every[..., -1], every[..., :-1]


def _degree(n_variables: int) -> int:
    """The degree of the monomials among the terms of so many variables."""
    return 2 if n_variables <= _MOST_FOR_CURVES else 1


def library(n_variables: int, *, saturating: bool) -> list[Family]:
    """Return linear and quadratic families, then saturating ones, the plainest of each first.

    One variable is the prey of a hidden second in some, and alone in others: all are families of
    two.
    """
    n, n_prey, all_of = n_variables, n_variables, np.ones(n_variables, dtype=bool)
    if n_variables == 1:
        n, n_prey = 2, 1
        alone = np.zeros_like(_quadratic(n))
        alone[:2, 0] = True
        limited = alone.copy()
        limited[monomials(n, 2).index((0, 0)), 0] = True
        shapes = [alone, limited, _linear(n, [False, False]), _linear(n, [True, False])]
        shapes.append(_curved(n, 0))
    else:
        # Lotka-Volterra, with all variables limiting themselves, with one; quadratic in one, in all
        shapes = [_linear(n, ~all_of), _linear(n, all_of)]
        if _degree(n) == 2:
            shapes += [_linear(n, np.arange(n) == prey) for prey in range(n)]
            shapes += [_curved(n, prey) for prey in range(n)]
            shapes.append(_quadratic(n))
    families = [Family(terms) for terms in shapes]
    if saturating and _degree(n) == 2:
        for prey in range(n_prey):
            families += [Family(terms, prey) for terms in _saturating(n, prey)]
    return families


def _linear(n: int, limiting: Sequence[bool] | NDArray[np.bool_]) -> Terms:
    """A constant, the other variables, and the own level of variables that limit themselves."""
    terms = np.zeros((len(monomials(n, _degree(n))) + n, n), dtype=bool)
    terms[0] = True
    terms[1 : n + 1] = ~np.eye(n, dtype=bool) | np.diag(limiting)
    return terms


def _curved(n: int, prey: int) -> Terms:
    """Rates that saturate in a prey, to second order."""
    products = monomials(n, 2)
    terms = _linear(n, np.arange(n) == prey)
    for other in range(n):
        pair = (min(prey, other), max(prey, other))
        terms[products.index(pair), prey] = other != prey
        terms[products.index((prey, prey)), other] = other != prey
    return terms


def _quadratic(n: int) -> Terms:
    terms = _linear(n, np.ones(n, dtype=bool))
    terms[:-n] = True
    return terms


def _saturating(n: int, prey: int) -> list[Terms]:
    """Rosenzweig & MacArthur (1963), doi:10.1086/282272; then with all limiting themselves."""
    others = np.arange(n) != prey
    shapes = [_linear(n, ~others), _linear(n, np.ones(n, dtype=bool))]
    for terms in shapes:
        terms[1 : n + 1, prey] = ~others
        terms[1 + prey, others] = False
        terms[-n:, prey] = others
        terms[-n + prey, others] = True
    return shapes

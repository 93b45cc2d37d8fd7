"""SINDy: the differential equations of one history, found among polynomials."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from lvlora.data.dataset import FloatArray
from lvlora.forecast.rivals.algebra import (
    Monomials,
    evaluated,
    monomials,
    n_monomials,
    normal_equations,
    on_some_terms,
    product,
    runge_kutta,
    solved,
    step_integrals,
)
from lvlora.forecast.rivals.contract import ChosenOnHistory, grouped
from lvlora.forecast.rivals.standardising import Problem

_RIDGES = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
_THRESHOLDS = (0.0, 0.01, 0.03, 0.1)
_ROUNDS = 10  # of thresholding; two or three are usual
_SUBSTEPS = 4  # of the integration in each step of the history
_FAR = 8.0
"""Units (of logarithms, or spreads) from the mean at which a path is lost."""


class Setting(NamedTuple):
    """How equations are inferred."""

    smooth: bool
    """In the smoothed history."""
    degree: int
    ridge: float
    """Penalty, relative to the mean square of each term."""
    threshold: float
    """Terms below this share of the largest are left out."""


class Sindy(ChosenOnHistory):
    """Brunton, Proctor & Kutz (2016), doi:10.1073/pnas.1517384113, in integral form.

    Messenger & Bortz (2021), doi:10.1137/20M1343166, on why integrals and not derivatives: over
    each step of the history, the change of a variable is the integral of its right-hand side along
    a cubic spline. Coefficients by ridge regression with sequential thresholding; degree, penalty,
    threshold and smoothing are chosen. The equations are integrated from the last value by the
    classic Runge-Kutta method, times as they are. Known columns are further variables of the
    right-hand sides, along a cubic spline of their own.

    On levels dx/dt is a polynomial of the variables; on rates d(log x)/dt is, for positive data.
    """

    even = False
    uses_known = True
    trials = (0.5, 0.75)

    def __init__(self, *, on_rates: bool) -> None:
        """``on_rates``: per-capita rates; else levels."""
        self.name = "sindy on rates" if on_rates else "sindy on levels"
        self.on_logs = self.needs_positive = on_rates
        self.unit = not on_rates  # a polynomial of x is none of a power of x
        self._degrees = (1, 2, 3) if on_rates else (2, 3, 4)

    def settings(self, n_known: int, n_variables: int, n_inputs: int) -> list[Setting]:
        """See `ChosenOnHistory.settings`; at most twice as many terms as steps."""
        if n_known < 4:
            return []
        return [
            Setting(smooth, degree, penalty, threshold)
            for smooth in (False, True)
            for degree in self._degrees
            if degree == self._degrees[0]
            or n_monomials(n_variables + n_inputs, degree) <= 2 * n_known
            for penalty in _RIDGES
            for threshold in _THRESHOLDS
        ]

    def continued(self, problem: Problem, settings: Sequence[Setting]) -> FloatArray:
        n_variables = problem.values.shape[1]
        n_terms = n_variables + problem.inputs.shape[1]
        products = monomials(n_terms, max(s.degree for s in settings))
        courses = {s.smooth: problem.smoothed() if s.smooth else problem.values for s in settings}
        terms = {at: self._integrals(problem, course, products) for at, course in courses.items()}
        start = np.stack([courses[s.smooth][-1] for s in settings])
        weights = np.zeros((len(settings), len(products), n_variables))
        for (smooth, degree), which in grouped(settings, lambda s: (s.smooth, s.degree)).items():
            used = n_monomials(n_terms, degree)
            weights[which, :used] = sparse(
                terms[smooth][:, :used],
                np.diff(courses[smooth], axis=0),
                np.array([settings[i].ridge for i in which]),
                np.array([settings[i].threshold for i in which]),
            )
        return self._integrated(weights, products, start, problem)

    def _terms(self, values: FloatArray, inputs: FloatArray, products: Monomials) -> FloatArray:
        """(..., V) values and (..., K) known columns to (..., P) terms."""
        levels = np.exp(np.clip(values, -_FAR, _FAR)) if self.on_logs else values
        return evaluated(np.concatenate([levels, inputs], axis=-1), products)

    def _integrals(self, problem: Problem, values: FloatArray, products: Monomials) -> FloatArray:
        """(T - 1, P) integrals of the terms over each step."""
        return step_integrals(
            problem.time[: len(values)],
            values,
            lambda at, x: self._terms(x, _inputs_at(problem, at), products),
        )

    def _integrated(
        self, weights: FloatArray, products: Monomials, start: FloatArray, problem: Problem
    ) -> FloatArray:
        """(C, H, V) solutions of C systems at the times ahead, from the values at the last."""
        time = problem.time[problem.n_known - 1 :]
        # known columns at the ends and in the middle of every substep
        shares = np.arange(2 * _SUBSTEPS + 1) / (2 * _SUBSTEPS)
        quadrature = _inputs_at(problem, time[:-1, None] + np.diff(time)[:, None] * shares)

        def slope(inputs: FloatArray, state: FloatArray, at: int) -> FloatArray:
            same = np.broadcast_to(inputs[at], (len(state), inputs.shape[1]))
            return product(self._terms(state, same, products)[:, None, :], weights)[:, 0]

        path = np.empty((len(start), len(time) - 1, start.shape[1]))
        state = start
        for k, step in enumerate(np.diff(time) / _SUBSTEPS):
            for i in range(0, 2 * _SUBSTEPS, 2):
                along = partial(slope, quadrature[k, i : i + 3])
                state = np.clip(runge_kutta(along, state, step), -_FAR, _FAR)
            path[:, k] = state
        return path


def _inputs_at(problem: Problem, at: FloatArray) -> FloatArray:
    """(..., K) known columns at any times."""
    from scipy.interpolate import CubicSpline

    if not problem.inputs.shape[1]:
        return np.empty((*at.shape, 0))
    return np.asarray(CubicSpline(problem.time, problem.inputs)(at))


def sparse(
    x: FloatArray, y: FloatArray, penalties: FloatArray, thresholds: FloatArray
) -> FloatArray:
    """Sequentially thresholded ridge regressions of the same data.

    Terms are compared at equal size: a coefficient times the root mean square of its term.

    Args:
        x: (n, P); y: (n, V); penalties, thresholds: (C,).

    Returns:
        (C, P, V).
    """
    size, gram, right = normal_equations(x, y)
    penalty = (len(x) * penalties)[:, None, None] * np.eye(x.shape[1])
    coefficients = solved(gram + penalty, np.broadcast_to(right, (len(penalties), *right.shape)))
    # from here on each variable of each regression has terms of its own: C V systems
    coefficients = np.swapaxes(coefficients, 1, 2)
    right = np.broadcast_to(right.T, coefficients.shape)
    active = np.ones(coefficients.shape, dtype=bool)
    cut = thresholds[:, None, None]
    for _ in range(_ROUNDS):
        large = np.abs(coefficients) >= cut * np.abs(coefficients).max(axis=2, keepdims=True)
        fewer = active & (large | ~np.isfinite(coefficients))
        changed = np.any(fewer != active, axis=(1, 2))
        if not changed.any():
            break
        active = fewer
        coefficients[changed] = on_some_terms(
            gram, right[changed], penalty[changed, None], active[changed]
        )
    coefficients = np.swapaxes(coefficients, 1, 2)
    return np.asarray(coefficients / size[:, None])

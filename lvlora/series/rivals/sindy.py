"""SINDy: the differential equations of one history, found among polynomials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lvlora.series.dataset import Dataset, FloatArray
from lvlora.series.rivals.parts.choosing import ChosenOnHistory, positive
from lvlora.series.rivals.parts.linear import column_sizes, product, solved
from lvlora.series.rivals.parts.polynomials import Monomials, evaluated, monomials, n_monomials
from lvlora.series.rivals.parts.smoothing import smoothed
from lvlora.series.rivals.parts.standardising import Problem

_RIDGES = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
_THRESHOLDS = (0.0, 0.01, 0.03, 0.1)
_NODES = 4  # of the quadrature within a step: exact to degree 7
_ROUNDS = 10  # of thresholding; two or three are usual
_SUBSTEPS = 4  # of the integration in each step of the history
_FAR = 8.0
"""Units (of logarithms, or spreads) from the mean at which a path is lost."""


@dataclass(frozen=True)
class Setting:
    """How equations are found.

    Attributes:
        smooth: in the smoothed history.
        degree: of the polynomials; ridge: penalty, relative to the mean square of each term.
        threshold: terms below this share of the largest are left out.
    """

    smooth: bool
    degree: int
    ridge: float
    threshold: float


class Sindy(ChosenOnHistory):
    """Brunton, Proctor & Kutz (2016), doi:10.1073/pnas.1517384113, in integral form.

    Messenger & Bortz (2021), doi:10.1137/20M1343166, on why integrals and not derivatives: over
    each step of the history, the change of a variable is the integral of its right-hand side along
    a cubic spline through the (smoothed) values. Coefficients by ridge regression with sequential
    thresholding; degree, penalty, threshold and smoothing are chosen on the history, forecast from
    a half and from three quarters of it. The equations are integrated from the last value by the
    classic Runge-Kutta method, times as they are.

    On levels dx/dt is a polynomial of the variables; on rates d(log x)/dt is, for positive data.
    """

    even = False
    trials = (0.5, 0.75)

    def __init__(self, *, on_rates: bool) -> None:
        """``on_rates``: per-capita rates; else levels."""
        self.name = "sindy on rates" if on_rates else "sindy on levels"
        self.on_logs = on_rates
        self.unit = not on_rates  # a polynomial of x is none of a power of x
        self._degrees = (1, 2, 3) if on_rates else (2, 3, 4)

    def applies(self, dataset: Dataset) -> bool:
        """Positive data, on rates; any, on levels."""
        return not self.on_logs or positive(dataset)

    def settings(self, n_known: int, n_variables: int) -> list[Setting]:
        """See `ChosenOnHistory.settings`; at most twice as many terms as steps."""
        if n_known < 4:
            return []
        return [
            Setting(smooth, degree, penalty, threshold)
            for smooth in (False, True)
            for degree in self._degrees
            if degree == self._degrees[0] or n_monomials(n_variables, degree) <= 2 * n_known
            for penalty in _RIDGES
            for threshold in _THRESHOLDS
        ]

    def continued(self, problem: Problem, settings: Sequence[Setting]) -> FloatArray:
        """See `ChosenOnHistory.continued`."""
        n_known, n_variables = problem.values.shape
        products = monomials(n_variables, max(s.degree for s in settings))
        weights = np.zeros((len(settings), len(products), n_variables))
        start = np.empty((len(settings), n_variables))
        for smooth in dict.fromkeys(s.smooth for s in settings):
            values = problem.values
            if smooth:
                values = smoothed(problem.time[:n_known], values)
            start[[i for i, s in enumerate(settings) if s.smooth == smooth]] = values[-1]
            terms = self._integrals(problem.time[:n_known], values, products)
            for degree in dict.fromkeys(s.degree for s in settings if s.smooth == smooth):
                which = [
                    i for i, s in enumerate(settings) if (s.smooth, s.degree) == (smooth, degree)
                ]
                used = n_monomials(n_variables, degree)
                weights[which, :used] = sparse(
                    terms[:, :used],
                    np.diff(values, axis=0),
                    np.array([settings[i].ridge for i in which]),
                    np.array([settings[i].threshold for i in which]),
                )
        return self._integrated(weights, products, start, problem.time[n_known - 1 :])

    def _terms(self, values: FloatArray, products: Monomials) -> FloatArray:
        """(..., V) values to (..., P) terms."""
        levels = np.exp(np.clip(values, -_FAR, _FAR)) if self.on_logs else values
        return evaluated(levels, products)

    def _integrals(self, time: FloatArray, values: FloatArray, products: Monomials) -> FloatArray:
        """(T - 1, P) integrals of the terms over each step, by Gauss-Legendre quadrature."""
        from scipy.interpolate import CubicSpline

        nodes, weights = np.polynomial.legendre.leggauss(_NODES)
        steps = np.diff(time)
        at = time[:-1, None] + steps[:, None] * (nodes + 1) / 2
        terms = self._terms(CubicSpline(time, values)(at), products)
        return np.asarray(steps[:, None] * np.einsum("k,tkp->tp", weights / 2, terms))

    def _integrated(
        self, weights: FloatArray, products: Monomials, start: FloatArray, time: FloatArray
    ) -> FloatArray:
        """(C, H, V) solutions of C systems at ``time[1:]``, from their values at ``time[0]``."""

        def slope(state: FloatArray) -> FloatArray:
            return product(self._terms(state, products)[:, None, :], weights)[:, 0]

        path = np.empty((len(start), len(time) - 1, start.shape[1]))
        state = start
        for k, step in enumerate(np.diff(time) / _SUBSTEPS):
            for _ in range(_SUBSTEPS):
                a = slope(state)
                b = slope(state + step / 2 * a)
                c = slope(state + step / 2 * b)
                d = slope(state + step * c)
                state = np.clip(state + step / 6 * (a + 2 * b + 2 * c + d), -_FAR, _FAR)
            path[:, k] = state
        return path


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
    size = column_sizes(x)
    x = x / size
    gram, right = product(x.T, x), product(x.T, y)
    penalty = (len(x) * penalties)[:, None, None] * np.eye(x.shape[1])
    found = solved(gram + penalty, np.broadcast_to(right, (len(penalties), *right.shape)))
    # from here on each variable of each regression has terms of its own: C V systems
    found, right = np.swapaxes(found, 1, 2), np.broadcast_to(right.T, (len(found), *right.T.shape))
    kept = np.ones(found.shape, dtype=bool)
    cut = thresholds[:, None, None] * np.ones(found.shape)
    for _ in range(_ROUNDS):
        large = np.abs(found) >= cut * np.abs(found).max(axis=2, keepdims=True)
        fewer = kept & (large | ~np.isfinite(found))
        changed = np.any(fewer != kept, axis=(1, 2))
        if not changed.any():
            break
        kept = fewer
        both = kept[changed, :, :, None] & kept[changed, :, None, :]
        systems = np.where(both, gram, 0.0) + penalty[changed, None]
        targets = np.where(kept[changed], right[changed], 0.0)
        found[changed] = solved(systems, targets[..., None])[..., 0]
    found = np.swapaxes(found, 1, 2)
    return np.asarray(found / size[:, None])

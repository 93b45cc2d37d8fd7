"""Per-capita rates of one history, refitted along its course and averaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lvlora.data.dataset import Dataset, FloatArray
from lvlora.data.gaps import complete
from lvlora.forecast.rivals.contract import PointAndPast, Refitted
from lvlora.forecast.rivals.parts.fitting import (
    STRETCH,
    Fit,
    collocated,
    fitted,
    hidden_seconds,
    joined,
)
from lvlora.forecast.rivals.parts.futures import astray, guarded
from lvlora.forecast.rivals.parts.rates import Family, library
from lvlora.forecast.rivals.parts.standardising import Problem, standardised

_MOST_VARIABLES = 8
_WEIGHTS = (1.0, 10.0, 100.0, 1000.0)
"""Weights of the gaps between stretches against the residuals; one fit follows the other."""
_ROUNDS = 12
_N_STARTS = 3
"""Fits of each family that are followed beyond the first weight."""
_FLOOR = 1e-4
"""Root mean square of the residuals of logarithms below which no fit is better than another."""
_ASTRAY = 10.0
"""Weight of the share of a forecast that the guard cuts, in the logarithm of an error."""
_NEGLIGIBLE = 1e-4
"""Families of less weight take no part in hindcasts."""
_HIGHEST_LOG = 700.0


class RefittedRates(Refitted):
    """Differential equations d(log x)/dt from a small library, fitted to one history.

    Coefficients are regressed from a smoothed history first (`collocated`), as SINDy's are. Noise
    biases these, so all are fitted again to the values themselves, along solutions of the equations
    (`fitted`). Families are weighted by exp(-BIC / 2) (Burnham & Anderson 2002, chapter 6) and
    their forecasts averaged; a family loses weight by the share of its forecast that the guard
    would cut. The library has linear and quadratic rates, and such that saturate in one variable
    (`library`). One variable may have a hidden second, which starts from what its growth lacks
    (`hidden_seconds`). The forecast is guarded (`guarded`). A history of too few values
    for any family goes on as its last value.
    """

    max_samples = 150
    needs_positive = True

    def __init__(self, *, saturating: bool) -> None:
        """``saturating``: with rates that saturate in a prey; else linear and quadratic ones."""
        self.name = "refitted rates" if saturating else "refitted quadratic rates"
        self._saturating = saturating

    def refusal(self, dataset: Dataset) -> str:
        """See `Rival.refusal`: more than eight variables, or a value that is not positive."""
        if len(dataset.variables) > _MOST_VARIABLES:
            return f"it takes at most {_MOST_VARIABLES} variables"
        return super().refusal(dataset)

    def hindcasts(
        self, time: FloatArray, history: FloatArray, known: FloatArray | None, at: Sequence[int]
    ) -> PointAndPast:
        """See `Rival.hindcasts`; hindcasts are fitted to what came before them alone."""
        n_known = len(history)
        filled = complete(time, history)
        families = self._families(history)
        if not families or np.any(filled <= 0):
            return np.repeat(filled[-1:], len(time) - n_known, axis=0), []
        problem = standardised(time, history, unit=False, even=False).problem
        centre = np.log(filled).mean(axis=0)

        def ahead(fit: Fit, of: Problem) -> tuple[FloatArray, FloatArray]:
            n = of.n_known
            paths = fit.continued(of.time, n)[..., : len(centre)] + centre
            levels = np.exp(np.minimum(paths, _HIGHEST_LOG))
            weights = _weights(fit, int(of.known.sum()), astray(levels, filled[:n]))
            bounded = guarded(levels, filled[:n])
            return np.asarray(np.einsum("b,bhv->hv", weights, bounded)), weights

        with np.errstate(all="ignore"):
            fit = _fitted(problem, families)
            point, weights = ahead(fit, problem)
            likely = [fit.systems.families[i] for i in np.flatnonzero(weights >= _NEGLIGIBLE)]
            parts = [problem.cut(n) for n in at]
            return point, [ahead(_fitted(part, likely), part)[0] for part in parts]

    def _families(self, history: FloatArray) -> list[Family]:
        """Those with at most half as many unknowns as values."""
        n_values = int(np.sum(~np.isnan(history)))
        families = library(history.shape[1], saturating=self._saturating)
        return [family for family in families if 2 * family.n_unknowns <= n_values]


def _fitted(problem: Problem, families: Sequence[Family]) -> Fit:
    """The families fitted to a history, the best fit of each."""
    past, smooth = problem.time[: problem.n_known], problem.smoothed()
    courses = [smooth]
    if smooth.shape[1] == 1:
        courses = [np.hstack([smooth, second]) for second in hidden_seconds(past, smooth)]
        blank = np.zeros_like(smooth)
        values, known = np.hstack([problem.values, blank]), np.hstack([problem.known, blank > 0])
        problem = replace(problem, values=values, known=known)
    systems = joined([collocated(past, course, families) for course in courses])
    starts = np.repeat([course[::STRETCH] for course in courses], len(families), axis=0)
    fit = fitted(systems, starts, problem, _WEIGHTS[0], _ROUNDS).best(_N_STARTS)
    for weight in _WEIGHTS[1:]:
        fit = fitted(fit.systems, fit.starts, problem, weight, _ROUNDS)
    return fit.best(1)


def _weights(fit: Fit, n_values: int, astray: FloatArray) -> FloatArray:
    """(B,) of families: exp(-BIC / 2), with forecasts that go astray counted as errors."""
    unknowns = np.array([family.n_unknowns for family in fit.systems.families])
    error = np.log(fit.error / n_values + _FLOOR**2) + _ASTRAY * astray
    criterion = n_values * error + unknowns * np.log(n_values)
    criterion = np.where(np.isfinite(criterion), criterion, np.inf)
    if not np.isfinite(criterion.min()):
        return np.full(len(criterion), 1 / len(criterion))
    weights = np.exp((criterion.min() - criterion) / 2)
    return np.asarray(weights / weights.sum())

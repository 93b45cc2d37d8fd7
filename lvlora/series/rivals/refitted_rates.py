"""Per-capita rates of one history, refitted along its course and averaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lvlora.series.dataset import Dataset, FloatArray
from lvlora.series.rivals.contract import Refitted, complete, guarded
from lvlora.series.rivals.parts.choosing import positive
from lvlora.series.rivals.parts.collocation import collocated
from lvlora.series.rivals.parts.families import Family, library
from lvlora.series.rivals.parts.shooting import STRETCH, Fit, Observed, fitted
from lvlora.series.rivals.parts.smoothing import smoothed
from lvlora.series.rivals.parts.standardising import Problem, standardised

_MOST_VARIABLES = 8
_WEIGHTS = (1.0, 10.0, 100.0, 1000.0)
"""Of the gaps between stretches, beside those to the values; one fit follows the other."""
_WEIGHTS_AGAIN = _WEIGHTS[-2:]  # from a fit nearby
_ROUNDS = 12
_FLOOR = 1e-4
"""Root mean square of the residuals of logarithms below which no fit is better than another."""
_ASTRAY = 10.0
"""Weight of the share of a forecast that the guard cuts, in the logarithm of an error."""
_HIGHEST_LOG = 700.0


class RefittedRates(Refitted):
    """Differential equations d(log x)/dt from a small library, fitted to one history.

    Coefficients are regressed from a smoothed history first (`collocated`), as SINDy's are. Noise
    biases these, so all are fitted again to the values themselves, along solutions of the equations
    (`fitted`). Families are weighted by exp(-BIC / 2) (Burnham & Anderson 2002, chapter 6) and
    their forecasts averaged; a family loses weight by the share of its forecast that the guard
    would cut. The library has linear and quadratic rates, and such that saturate in one variable
    (`library`). The forecast is guarded (`contract.guarded`). A history of too few values for any
    family goes on as its last value.
    """

    max_samples = 200

    def __init__(self, *, saturating: bool) -> None:
        """``saturating``: with rates that saturate in a prey; else linear and quadratic ones."""
        self.name = "refitted rates" if saturating else "refitted quadratic rates"
        self._saturating = saturating

    def applies(self, dataset: Dataset) -> bool:
        """Two to eight variables, all values positive."""
        return 2 <= len(dataset.variables) <= _MOST_VARIABLES and positive(dataset)

    def refit(
        self,
        time: FloatArray,
        history: FloatArray,
        origins: Sequence[int],
        known: FloatArray | None = None,
    ) -> tuple[FloatArray, list[FloatArray]]:
        """See `Refitted.refit`; each hindcast's fit begins at that of the whole history."""
        n_known = len(history)
        filled = complete(time, history)
        families = self._families(history)
        if not families or np.any(filled <= 0):
            return np.repeat(filled[-1:], len(time) - n_known, axis=0), []
        problem = standardised(time, history, unit=False, even=False).problem
        past, centre = problem.time[:n_known], np.log(filled).mean(axis=0)

        def ahead(fit: Fit, known: NDArray[np.bool_], time: FloatArray, n: int) -> FloatArray:
            paths = fit.continued(time, n) + centre
            return _average(np.exp(np.minimum(paths, _HIGHEST_LOG)), filled[:n], fit, known)

        with np.errstate(all="ignore"):
            fit, observed = _first_fit(problem, families)
            hindcasts = []
            for n in origins:
                seen = observed.known & (np.arange(n_known) < n)[:, None]
                again = _refitted(fit, replace(observed, known=seen), _WEIGHTS_AGAIN)
                hindcasts.append(ahead(again, seen, past, n))
            return ahead(fit, observed.known, problem.time, n_known), hindcasts

    def _families(self, history: FloatArray) -> list[Family]:
        """Those with at most half as many unknowns as values."""
        n_variables = history.shape[1]
        n_values = int(np.sum(~np.isnan(history)))
        return [
            family
            for family in library(n_variables, saturating=self._saturating)
            if 2 * (family.n_parameters + n_variables) <= n_values
        ]


def _first_fit(problem: Problem, families: Sequence[Family]) -> tuple[Fit, Observed]:
    """The families fitted to the whole history, and what they were fitted to."""
    past = problem.time[: problem.n_known]
    logs = smoothed(past, problem.values)
    known = np.broadcast_to(problem.known, (len(families), *problem.known.shape))
    observed = Observed(past, problem.values, known)
    starts = np.broadcast_to(logs[::STRETCH], (len(families), *logs[::STRETCH].shape))
    nothing = np.zeros(len(families))
    fit = Fit(collocated(past, logs, families), starts, nothing)
    return _refitted(fit, observed, _WEIGHTS), observed


def _refitted(fit: Fit, observed: Observed, weights: Sequence[float]) -> Fit:
    for weight in weights:
        fit = fitted(fit.systems, fit.starts, observed, weight, _ROUNDS)
    return fit


def _average(
    levels: FloatArray, filled: FloatArray, fit: Fit, known: NDArray[np.bool_]
) -> FloatArray:
    """(H, V) the guarded forecasts (B, H, V) of all families, weighted."""
    kept = guarded(levels, filled)
    astray = np.mean(~np.isclose(kept, levels, rtol=1e-9, atol=0.0), axis=(1, 2))
    n_values = known.sum(axis=(1, 2))
    unknowns = np.array([family.n_parameters for family in fit.systems.families]) + known.shape[2]
    badness = np.log(fit.error / n_values + _FLOOR**2) + _ASTRAY * astray
    criterion = n_values * badness + unknowns * np.log(n_values)
    criterion = np.where(np.isfinite(criterion), criterion, np.inf)
    if not np.isfinite(criterion.min()):
        return np.repeat(filled[-1:], len(levels[0]), axis=0)
    weights = np.exp((criterion.min() - criterion) / 2)
    return np.asarray(np.einsum("b,bhv->hv", weights / weights.sum(), kept))

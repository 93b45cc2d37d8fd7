"""Per-capita rates of one history, refitted along its course and averaged.

Integral collocation gives a start, multiple shooting the fit: the history is cut into stretches,
each with a start of its own; residuals are the gaps to the known values and, weighted, those
between the end of a stretch and the start of the next. Short stretches cannot lose the phase, and
a rising weight draws them together into one solution (van Domselaar & Hemker 1975; Bock 1983,
doi:10.1007/978-1-4684-7324-7_7). Least squares by the method of Levenberg and Marquardt (Marquardt
1963, doi:10.1137/0111030), for many systems at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lvlora.data.dataset import Dataset, FloatArray
from lvlora.forecast.rivals.algebra import (
    normal_equations,
    on_some_terms,
    product,
    solved,
    step_integrals,
)
from lvlora.forecast.rivals.contract import PointAndPast, Refitted
from lvlora.forecast.rivals.futures import astray, guarded
from lvlora.forecast.rivals.rates import (
    Family,
    Rates,
    integrated,
    integrated_with_changes,
    joined,
    library,
)
from lvlora.forecast.rivals.standardising import Problem, standardised

STRETCH = 6
"""Steps of a stretch."""
_DAMPING, _MOST_DAMPING = 1e-2, 1e8
_SLACK = 1e-3
"""Relative gain below which a fit has come to rest."""
_LOG_H = tuple(np.log(np.geomspace(0.03, 3.0, 9)))
_MARGINS = (0.05, 0.3, 1.0)
"""Margins of the fastest growth without a hidden second, in ranges of the growth seen."""
_HIDDEN_H = (0.0, 0.1, 0.3)
_RIDGE = 1e-7
"""Penalty, relative to the mean square of each term."""
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
    (`_hidden_seconds`). A history of too few values for any family goes on as its last value.
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
        scaled = standardised(time, history, unit=False, even=False)
        problem, filled = scaled.problem, scaled.filled
        n_values = int(np.sum(~np.isnan(history)))
        families = library(history.shape[1], saturating=self._saturating)
        families = [family for family in families if 2 * family.n_unknowns <= n_values]
        if not families or np.any(filled <= 0):
            return np.repeat(filled[-1:], problem.n_ahead, axis=0), []
        centre = np.log(filled).mean(axis=0)

        def ahead(fit: Fit, of: Problem) -> tuple[FloatArray, FloatArray]:
            n = of.n_known
            paths = fit.continued(of.time, n)[..., : len(centre)] + centre
            levels = np.exp(np.minimum(paths, _HIGHEST_LOG))
            weights = _weights(fit, int(of.known.sum()), astray(levels, filled[:n]))
            bounded = guarded(levels, filled[:n])
            return np.asarray(np.einsum("b,bhv->hv", weights, bounded)), weights

        with np.errstate(all="ignore"):
            fit = _best_of(problem, families)
            point, weights = ahead(fit, problem)
            likely = np.flatnonzero(weights >= _NEGLIGIBLE).tolist()
            likely_families = [fit.rates.families[i] for i in likely]
            parts = [problem.cut(n) for n in at]
            return point, [ahead(_best_of(part, likely_families), part)[0] for part in parts]


def _best_of(problem: Problem, families: Sequence[Family]) -> Fit:
    """The families fitted to a history, the best fit of each."""
    past, smooth = problem.time[: problem.n_known], problem.smoothed()
    courses = [smooth]
    if smooth.shape[1] == 1:
        courses = _hidden_seconds(past, smooth)
        blank = np.zeros_like(smooth)
        values, known = np.hstack([problem.values, blank]), np.hstack([problem.known, blank > 0])
        problem = replace(problem, values=values, known=known)
    rates = joined([collocated(past, course, families) for course in courses])
    starts = np.repeat([course[::STRETCH] for course in courses], len(families), axis=0)
    fit = fitted(rates, starts, problem, _WEIGHTS[0], _ROUNDS).best(_N_STARTS)
    for weight in _WEIGHTS[1:]:
        fit = fitted(fit.rates, fit.starts, problem, weight, _ROUNDS)
    return fit.best(1)


def _weights(fit: Fit, n_values: int, astray: FloatArray) -> FloatArray:
    """(B,) of families: exp(-BIC / 2), with forecasts that go astray counted as errors."""
    unknowns = np.array([family.n_unknowns for family in fit.rates.families])
    error = np.log(fit.error / n_values + _FLOOR**2) + _ASTRAY * astray
    criterion = n_values * error + unknowns * np.log(n_values)
    criterion = np.where(np.isfinite(criterion), criterion, np.inf)
    if not np.isfinite(criterion.min()):
        return np.full(len(criterion), 1 / len(criterion))
    weights = np.exp((criterion.min() - criterion) / 2)
    return np.asarray(weights / weights.sum())


def _hidden_seconds(time: FloatArray, logs: FloatArray) -> list[FloatArray]:
    """(T, 2) logarithms of a prey and of what may have eaten it, up to their level.

    A prey grows at r = a - y / (1 + h x), of which r is seen. Each of some a, above all r, and of
    some h makes a hidden y.
    """
    from scipy.interpolate import CubicSpline

    growth = CubicSpline(time, logs)(time, 1)
    width = float(np.ptp(growth)) or 1.0
    courses = []
    for margin in _MARGINS:
        for h in _HIDDEN_H:
            eaten = (growth.max() + margin * width - growth) * (1 + h * np.exp(logs))
            courses.append(np.hstack([logs, np.log(eaten) - np.log(eaten).mean()]))
    return courses


def collocated(time: FloatArray, logs: FloatArray, families: Sequence[Family]) -> Rates:
    """Return rates that, integrated along smooth logarithms, add up to their changes.

    Coefficients by least squares; h is the best of some.

    Args:
        time: (T,) increasing; logs: (T, V).
    """
    change = np.diff(logs, axis=0)
    width = max(int(family.terms.sum()) for family in families)

    def regressed(family: Family, log_h: float) -> tuple[float, Rates]:
        rates = Rates(np.zeros((1, *family.terms.shape)), np.array([log_h]), [family], width)

        def terms(_time: FloatArray, at: FloatArray) -> FloatArray:
            return rates.terms(at.reshape(1, -1, at.shape[-1]))[0].reshape(*at.shape[:-1], -1)

        integrals = step_integrals(time, logs, terms)
        size, gram, right = normal_equations(integrals, change)
        penalty = len(change) * _RIDGE * np.eye(len(gram))
        coefficients = on_some_terms(gram, right.T, penalty, family.terms.T).T / size[:, None]
        error = float(np.sum((product(integrals, coefficients) - change) ** 2))
        return error, Rates(coefficients[None], rates.log_h, [family], width)

    best = []
    for family in families:
        fits = [regressed(family, log_h) for log_h in (_LOG_H if family.prey >= 0 else (0.0,))]
        best.append(min(fits, key=lambda fit: fit[0])[1])
    return joined(best)


@dataclass(frozen=True)
class Fit:
    """B systems and the starts of their stretches."""

    rates: Rates
    starts: FloatArray
    """(B, S, V)."""
    cost: FloatArray
    """(B,) sum of squares, weighted gaps between stretches included."""
    error: FloatArray
    """(B,) sum of squares of the known values."""

    def best(self, n_each: int) -> Fit:
        """The fits of least cost, at most so many of each family."""
        families = self.rates.families
        places: list[int] = []
        for i in np.argsort(self.cost, kind="stable").tolist():
            if sum(families[j] is families[i] for j in places) < n_each:
                places.append(i)
        at = np.array(sorted(places))
        return Fit(self.rates.only(at), self.starts[at], self.cost[at], self.error[at])

    def continued(self, time: FloatArray, n_known: int) -> FloatArray:
        """(B, H, V) solutions at the times after the first ``n_known``."""
        stretch = (n_known - 1) // STRETCH
        begin = stretch * STRETCH
        path = integrated(self.rates, self.starts[:, stretch], np.diff(time[begin:]))
        return path[:, n_known - 1 - begin :]


def fitted(rates: Rates, starts: FloatArray, problem: Problem, weight: float, n_rounds: int) -> Fit:
    """Refit rates and starts (B, S, V) to logarithms with one weight of the joints."""
    n_known = problem.n_known
    steps = _stretches(np.diff(problem.time[:n_known]), n_known)
    logs = _stretches(problem.values, n_known)
    known = _stretches(problem.known.astype(np.float64), n_known)
    residuals, jacobian = _linearised(rates, starts, steps, logs, known, weight)
    cost = _squares(residuals)
    damping = np.full(len(starts), _DAMPING)
    active = np.arange(len(starts))
    # changed below; copies are in C's order, which decides the last bit of a product
    rates = Rates(rates.coefficients.copy(), rates.log_h.copy(), rates.families, rates.width)
    starts = starts.copy()
    for _ in range(n_rounds):
        active = active[np.isfinite(cost[active]) & (damping[active] < _MOST_DAMPING)]
        if not len(active):
            break
        step = _step(residuals[active], jacobian[active], damping[active])
        n_starts = starts[0].size
        trial = rates.only(active).moved(step[:, :-n_starts])
        trial_starts = starts[active] + step[:, -n_starts:].reshape(starts[active].shape)
        new_residuals, new_jacobian = _linearised(trial, trial_starts, steps, logs, known, weight)
        new_cost = _squares(new_residuals)
        better = new_cost < cost[active]
        rest = better & (new_cost > (1 - _SLACK) * cost[active])
        which = active[better]
        rates.coefficients[which] = trial.coefficients[better]
        rates.log_h[which] = trial.log_h[better]
        starts[which] = trial_starts[better]
        residuals[which], jacobian[which] = new_residuals[better], new_jacobian[better]
        cost[which] = new_cost[better]
        damping[active] = np.where(better, damping[active] / 10, damping[active] * 5)
        active = active[~rest]
    return Fit(rates, starts, cost, _squares(residuals[:, : known.size]))


def _stretches(values: FloatArray, n_known: int) -> FloatArray:
    """(S, K, ...) values of the K steps of each stretch; zeros beyond the end."""
    n_stretches = -(-n_known // STRETCH)
    full = np.zeros((n_stretches * STRETCH, *values.shape[1:]))
    full[: len(values)] = values
    return full.reshape(n_stretches, STRETCH, *values.shape[1:])


def _squares(residuals: FloatArray) -> FloatArray:
    squares = np.sum(residuals**2, axis=1)
    return np.where(np.isfinite(squares), squares, np.inf)


def _step(residuals: FloatArray, jacobian: FloatArray, damping: FloatArray) -> FloatArray:
    """(B, U) damped Gauss-Newton steps, each unknown at equal size."""
    turned = np.swapaxes(jacobian, 1, 2)
    gram = product(turned, jacobian)
    size = np.sqrt(np.einsum("buu->bu", gram))
    size = np.where(size > 0, size, 1.0)
    gram = gram / size[:, :, None] / size[:, None, :]
    gram = gram + damping[:, None, None] * np.eye(gram.shape[1])
    right = product(turned, -residuals[..., None]) / size[..., None]
    step = solved(gram, right)[..., 0] / size
    return np.where(np.isfinite(step), step, 0.0)


def _linearised(
    rates: Rates,
    starts: FloatArray,
    steps: FloatArray,
    logs: FloatArray,
    known: FloatArray,
    weight: float,
) -> tuple[FloatArray, FloatArray]:
    """(B, N) residuals and (B, N, P + S V) their derivatives; known values first, then joints."""
    n_batch, n_stretches, n_variables = starts.shape
    with np.errstate(all="ignore"):
        path, changes = integrated_with_changes(rates, starts, steps)
    n_parameters = rates.used.shape[1]
    n_unknowns = n_parameters + n_stretches * n_variables
    by_value = np.zeros((n_batch, n_stretches, STRETCH, n_variables, n_unknowns))
    by_joint = np.zeros((n_batch, n_stretches, n_variables, n_unknowns))
    by_value[..., :n_parameters] = changes[:, :, :-1, :, :n_parameters] * known[..., None]
    by_joint[..., :n_parameters] = weight * changes[:, :, -1, :, :n_parameters]
    for s in range(n_stretches):
        own = slice(n_parameters + s * n_variables, n_parameters + (s + 1) * n_variables)
        by_start = changes[:, s, ..., n_parameters:]
        by_value[:, s, ..., own] = by_start[:, :-1] * known[s, ..., None]
        by_joint[:, s, :, own] = weight * by_start[:, -1]
        if s:
            by_joint[:, s - 1, :, own] -= weight * np.eye(n_variables)
    values = (path[:, :, :-1] - logs) * known
    joints = weight * (path[:, :-1, -1] - starts[:, 1:])
    parts = (by_value, by_joint[:, :-1])
    residuals = np.concatenate([values.reshape(n_batch, -1), joints.reshape(n_batch, -1)], axis=1)
    jacobian = np.concatenate([p.reshape(n_batch, -1, n_unknowns) for p in parts], axis=1)
    return residuals, np.where(np.isfinite(jacobian), jacobian, 0.0)

"""Fitting rates to a history: integral collocation for a start, then multiple shooting.

The history is cut into stretches, each with a start of its own; residuals are the gaps to the known
values and, weighted, those between the end of a stretch and the start of the next. Short stretches
cannot lose the phase, and a rising weight draws them together into one solution (van Domselaar &
Hemker 1975; Bock 1983, doi:10.1007/978-1-4684-7324-7_7). Least squares by the method of Levenberg
and Marquardt (Marquardt 1963, doi:10.1137/0111030), for many systems at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lvlora.data.dataset import FloatArray
from lvlora.forecast.rivals.parts.algebra import column_sizes, product, solved
from lvlora.forecast.rivals.parts.rates import (
    Family,
    Rates,
    Systems,
    integrated,
    integrated_with_changes,
)
from lvlora.forecast.rivals.parts.standardising import Problem

STRETCH = 6
"""Steps of a stretch."""
_DAMPING = 1e-2
_MOST_DAMPING = 1e8
_SLACK = 1e-3
"""Relative gain below which a fit has come to rest."""
_NODES = 4  # of the quadrature within a step: exact to degree 7
_LOG_H = tuple(np.log(np.geomspace(0.03, 3.0, 9)))
_MARGINS = (0.05, 0.3, 1.0)
"""Margins of the fastest growth without a hidden second, in ranges of the growth seen."""
_HIDDEN_H = (0.0, 0.1, 0.3)
_RIDGE = 1e-7
"""Penalty, relative to the mean square of each term."""


def step_integrals(
    time: FloatArray, values: FloatArray, terms: Callable[[FloatArray, FloatArray], FloatArray]
) -> FloatArray:
    """Return (T - 1, P) integrals of terms over each step, along a cubic spline.

    Integrals and not derivatives: Messenger & Bortz (2021), doi:10.1137/20M1343166. By
    Gauss-Legendre quadrature.

    Args:
        time: (T,) increasing; values: (T, V).
        terms: (T - 1, N) times and (T - 1, N, V) values on the spline to (T - 1, N, P).
    """
    from scipy.interpolate import CubicSpline

    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    steps = np.diff(time)
    at = time[:-1, None] + steps[:, None] * (nodes + 1) / 2
    there = terms(at, CubicSpline(time, values)(at))
    return np.asarray(steps[:, None] * np.einsum("k,tkp->tp", weights / 2, there))


def collocated(time: FloatArray, logs: FloatArray, families: Sequence[Family]) -> Systems:
    """Return systems whose rates, integrated along smooth logarithms, add up to their changes.

    Coefficients by least squares; h is the best of some.

    Args:
        time: (T,) increasing; logs: (T, V).
    """
    change = np.diff(logs, axis=0)
    width = max(int(family.terms.sum()) for family in families)

    def fitted_at(family: Family, log_h: float) -> tuple[float, Systems]:
        blank = Systems(np.zeros((1, *family.terms.shape)), np.array([log_h]), (family,), width)
        rates = Rates(blank)

        def terms(_time: FloatArray, at: FloatArray) -> FloatArray:
            flat, _ = rates.terms(at.reshape(1, -1, at.shape[-1]))
            return flat.reshape(*at.shape[:-1], -1)

        integrals = step_integrals(time, logs, terms)
        coefficients = _regressed(integrals, change, family.terms)
        error = float(np.sum((product(integrals, coefficients) - change) ** 2))
        return error, replace(blank, coefficients=coefficients[None])

    best = []
    for family in families:
        fits = [fitted_at(family, log_h) for log_h in (_LOG_H if family.prey >= 0 else (0.0,))]
        best.append(min(fits, key=lambda fit: fit[0])[1])
    return joined(best)


def _regressed(x: FloatArray, y: FloatArray, terms: NDArray[np.bool_]) -> FloatArray:
    """(F, V) coefficients of (n, V) changes, each variable's on terms of its own."""
    size = column_sizes(x)
    x = x / size
    gram, right = product(x.T, x), product(x.T, y)
    used = terms.T
    systems = np.where(used[:, :, None] & used[:, None, :], gram, 0.0)
    systems = systems + len(x) * _RIDGE * np.eye(len(gram))
    solution = solved(systems, np.where(used, right.T, 0.0)[..., None])[..., 0]
    return np.asarray(solution.T / size[:, None])


def joined(parts: Sequence[Systems]) -> Systems:
    """Return several batches of systems as one."""
    return Systems(
        np.concatenate([part.coefficients for part in parts]),
        np.concatenate([part.log_h for part in parts]),
        tuple(family for part in parts for family in part.families),
        parts[0].width,
    )


def hidden_seconds(time: FloatArray, logs: FloatArray) -> list[FloatArray]:
    """Return (T, 1) logarithms of what may have eaten a prey, up to their level.

    A prey grows at r = a - y / (1 + h x), of which r is seen. Each of some a, above all r, and of
    some h makes a hidden y.

    Args:
        time: (T,) increasing; logs: (T, 1) smooth.
    """
    from scipy.interpolate import CubicSpline

    growth = CubicSpline(time, logs)(time, 1)
    width = float(np.ptp(growth)) or 1.0
    seconds = []
    for margin in _MARGINS:
        for h in _HIDDEN_H:
            eaten = (growth.max() + margin * width - growth) * (1 + h * np.exp(logs))
            seconds.append(np.log(eaten) - np.log(eaten).mean())
    return seconds


@dataclass(frozen=True)
class Fit:
    """Systems and the starts of their stretches.

    Attributes:
        starts: (B, S, V).
        cost: (B,) sum of squares, weighted gaps between stretches included.
        error: (B,) sum of squares of the known values.
    """

    systems: Systems
    starts: FloatArray
    cost: FloatArray
    error: FloatArray

    def best(self, n_each: int) -> Fit:
        """The fits of least cost, at most so many of each family."""
        families = self.systems.families
        places: list[int] = []
        for i in np.argsort(self.cost, kind="stable").tolist():
            if sum(families[j] is families[i] for j in places) < n_each:
                places.append(i)
        at = np.array(sorted(places))
        return Fit(self.systems.only(at), self.starts[at], self.cost[at], self.error[at])

    def continued(self, time: FloatArray, n_known: int) -> FloatArray:
        """(B, H, V) solutions at the times after the first ``n_known``."""
        stretch = (n_known - 1) // STRETCH
        begin = stretch * STRETCH
        path = integrated(Rates(self.systems), self.starts[:, stretch], np.diff(time[begin:]))
        return path[:, n_known - 1 - begin :]


def fitted(
    systems: Systems, starts: FloatArray, problem: Problem, weight: float, n_rounds: int
) -> Fit:
    """Systems refitted with one weight of the joints, from where they are.

    Args:
        starts: (B, S, V).
        problem: the history, of logarithms.
    """
    n_known = problem.n_known
    steps = _stretches(np.diff(problem.time[:n_known]), n_known)
    logs = _stretches(problem.values, n_known)
    known = _stretches(problem.known.astype(np.float64), n_known)
    residuals, jacobian = _linearised(Rates(systems), starts, steps, logs, known, weight)
    cost = _squares(residuals)
    damping = np.full(len(starts), _DAMPING)
    active = np.arange(len(starts))
    for _ in range(n_rounds):
        active = active[np.isfinite(cost[active]) & (damping[active] < _MOST_DAMPING)]
        if not len(active):
            break
        step = _step(residuals[active], jacobian[active], damping[active])
        rates, n_starts = Rates(systems.only(active)), starts[0].size
        trial = rates.moved(step[:, :-n_starts])
        trial_starts = starts[active] + step[:, -n_starts:].reshape(starts[active].shape)
        new_residuals, new_jacobian = _linearised(
            Rates(trial), trial_starts, steps, logs, known, weight
        )
        new_cost = _squares(new_residuals)
        better = new_cost < cost[active]
        rest = better & (new_cost > (1 - _SLACK) * cost[active])
        which = active[better]
        systems, starts = systems.copy(), starts.copy()
        systems.coefficients[which] = trial.coefficients[better]
        systems.log_h[which] = trial.log_h[better]
        starts[which] = trial_starts[better]
        residuals[which], jacobian[which] = new_residuals[better], new_jacobian[better]
        cost[which] = new_cost[better]
        damping[active] = np.where(better, damping[active] / 10, damping[active] * 5)
        active = active[~rest]
    return Fit(systems, starts, cost, _squares(residuals[:, : known.size]))


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

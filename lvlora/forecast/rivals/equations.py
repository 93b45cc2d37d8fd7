"""Predator-prey equations fitted to one history and integrated further, and the best of them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from lvlora.data.dataset import Dataset, FloatArray
from lvlora.data.gaps import complete
from lvlora.data.periods import find_peaks
from lvlora.forecast.rivals.contract import PointAndPast, Prediction, Refitted, Rival
from lvlora.forecast.rivals.futures import guarded

Derivative = Callable[[FloatArray, float], tuple[float, float]]

_LOWEST, _HIGHEST = -9.0, 5.0
"""Bounds of the logarithms of the parameters, in units where populations and times are near 1."""
_GOOD_FIT = 0.02
"""Root mean square of the log residuals below which no other start is tried."""
_AGREEMENT = 0.01
"""Two starts whose errors differ by less than this share have found the same fit."""
_MAX_EVALUATIONS = 40
_MAX_EVALUATIONS_ON_THE_WAY = 12  # a shorter stretch only has to lead to the next one
_FAR = 50.0  # |log population| beyond which a trajectory counts as lost


class EquationFit(Refitted):
    """Least squares on the logarithms of both populations, then integration over the horizon.

    Times and populations are first scaled to the period and the means of the history, so units
    do not matter. A fit goes from the first few samples to ever longer stretches, which keeps it
    from losing the phase. Last, residuals are weighted by exp(-age / period): where the equations
    are only nearly right, the recent cycle is what the future follows. Another start is tried
    until a fit is within 2 % or two agree; the best is kept. Parameters and initial state are all
    free. The forecast is guarded (`guarded`).

    Data must be two variables, prey first, all positive.
    """

    max_samples = 300
    needs_positive = True

    def __init__(self, name: str, n_parameters: int) -> None:
        self.name = name
        self._n = n_parameters

    def refusal(self, dataset: Dataset) -> str:
        """See `Rival.refusal`: other than two variables, or a value that is not positive."""
        if len(dataset.variables) != 2:
            return "it needs two variables"
        return super().refusal(dataset)

    def hindcasts(
        self, time: FloatArray, history: FloatArray, known: FloatArray | None, at: Sequence[int]
    ) -> PointAndPast:
        """See `Rival.hindcasts`. A history that cannot be fitted goes on as its mean.

        Each hindcast's fit begins at that of the whole history.
        """
        n_known = len(history)
        filled = complete(time, history)
        mean = np.repeat(filled.mean(axis=0)[None], len(time) - n_known, axis=0)
        if history.shape[1] != 2 or np.any(filled <= 0) or n_known < 4:
            return mean, []
        level = np.log(filled).mean(axis=0)
        scaled = (time - time[0]) / _time_unit(time[:n_known], filled)
        logs = np.log(history) - level
        best, least = np.empty(0), math.inf
        for start in self._starts(scaled[:n_known], np.log(filled) - level):
            parameters = start
            for n in (*(n for n in (8, 15, 30, 60, 120, 240) if n < n_known), n_known):
                parameters = self._least(parameters, scaled[:n], logs[:n])
            parameters = self._refined(parameters, scaled[:n_known], logs)
            error = self._error(parameters, scaled[:n_known], logs)
            agreed = abs(error - least) < _AGREEMENT * least < math.inf
            if error < least:
                best, least = parameters, error
            if agreed or least < _GOOD_FIT:
                break
        if not math.isfinite(least):
            return mean, []

        def ahead(parameters: FloatArray, first: int, last: int) -> FloatArray:
            path = self._path(parameters, scaled[:last])[first:]
            with np.errstate(over="ignore"):
                return guarded(np.exp(np.minimum(path, _FAR) + level), filled[:first])

        refits = [(self._refined(best, scaled[:n], logs[:n]), n) for n in at]
        return ahead(best, n_known, len(time)), [ahead(refit, n, n_known) for refit, n in refits]

    def _starts(self, time: FloatArray, logs: FloatArray) -> Iterator[FloatArray]:
        """Logarithms of alpha, beta, delta, gamma[, 1/K[, h]], then the two initial logs."""
        for limit, saturation in ((0.1, 0.1), (0.02, 0.02), (0.3, 0.5)):
            slopes = self._by_slopes(time, logs, limit, saturation)
            for rates in (slopes, np.ones(4)) if limit == 0.1 else (np.ones(4),):
                every = np.log(np.concatenate([rates, [limit, saturation]]))[: self._n]
                start = np.clip(every, _LOWEST + 1, _HIGHEST - 1)
                yield np.concatenate([start, np.clip(logs[0], -_HIGHEST, _HIGHEST)])

    def _by_slopes(
        self, time: FloatArray, logs: FloatArray, limit: float, saturation: float
    ) -> FloatArray:
        """alpha, beta, delta, gamma by non-negative regression of the log slopes on the levels."""
        from scipy.optimize import nnls

        x, y = np.exp(np.clip(logs, -_FAR, _FAR)).T
        limit, saturation = limit * (self._n > 4), saturation * (self._n > 5)
        slope = np.gradient(logs, time, axis=0)
        eaten = 1 / (1 + saturation * x)
        growth, _ = nnls(np.column_stack([1 - limit * x, -y * eaten]), slope[:, 0])
        gain, _ = nnls(np.column_stack([x * eaten, -np.ones_like(x)]), slope[:, 1])
        return np.asarray(np.maximum(np.concatenate([growth, gain]), 1e-2))

    def _error(self, parameters: FloatArray, time: FloatArray, logs: FloatArray) -> float:
        """Root mean square residual, the recent cycle's above all."""
        recent = _recency(time)
        gap = (self._path(parameters, time) - logs) ** 2 * recent**2
        return float(np.sqrt(np.nansum(gap) / np.sum(recent**2 * ~np.isnan(logs))))

    def _refined(self, parameters: FloatArray, time: FloatArray, logs: FloatArray) -> FloatArray:
        """The fit nearby that follows the recent cycle."""
        return self._least(parameters, time, logs, _recency(time), _MAX_EVALUATIONS)

    def _least(
        self,
        parameters: FloatArray,
        time: FloatArray,
        logs: FloatArray,
        weights: FloatArray | float = 1.0,
        n_evaluations: int = _MAX_EVALUATIONS_ON_THE_WAY,
    ) -> FloatArray:
        """Weighted least squares from one start, with at most ``n_evaluations``."""
        from scipy.optimize import least_squares

        known = ~np.isnan(logs)
        if known.sum() < 4:
            return parameters

        def residuals(p: FloatArray) -> FloatArray:
            return np.asarray((weights * (self._path(p, time) - logs))[known])

        bounds = (_LOWEST, _HIGHEST)
        fit = least_squares(residuals, parameters, bounds=bounds, max_nfev=n_evaluations)
        return np.asarray(fit.x)

    def _path(self, parameters: FloatArray, time: FloatArray) -> FloatArray:
        """(T, 2) log populations from the first sample on; far away where they are lost."""
        from scipy.integrate import ODEintWarning, odeint

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ODEintWarning)
            derivative, start = self._derivative(parameters), parameters[self._n :]
            path = odeint(derivative, start, time, rtol=1e-6, atol=1e-6, mxstep=500)
        return np.clip(np.where(np.isfinite(path), path, _FAR), -_FAR, _FAR)

    def _derivative(self, parameters: FloatArray) -> Derivative:
        exp = math.exp
        alpha, beta, delta, gamma = np.exp(parameters[:4]).tolist()
        limit = exp(parameters[4]) if self._n > 4 else 0.0
        saturation = exp(parameters[5]) if self._n > 5 else 0.0

        def derivative(state: FloatArray, _t: float) -> tuple[float, float]:
            # most of a fit's time is spent here, and plain numbers are the fastest
            log_x, log_y = state.tolist()
            x, y = exp(_FAR if log_x > _FAR else log_x), exp(_FAR if log_y > _FAR else log_y)
            eaten = 1.0 / (1.0 + saturation * x)
            return alpha * (1.0 - limit * x) - beta * y * eaten, delta * x * eaten - gamma

        return derivative


def _time_unit(time: FloatArray, history: FloatArray) -> float:
    """A period / (2 pi), or a quarter of the history where it has no period."""
    periods = [find_peaks(time, column).period for column in history.T]
    known = [p for p in periods if p > 0]
    return float(np.mean(known) / (2 * np.pi)) if known else float(time[-1] - time[0]) / 4


def _recency(time: FloatArray) -> FloatArray:
    """(T, 1) weights that fall by e in a period of 2 pi."""
    return np.asarray(np.exp(-(time[-1] - time) / (2 * np.pi))[:, None])


def lotka_volterra() -> EquationFit:
    """x' = x (alpha - beta y), y' = y (delta x - gamma)."""
    return EquationFit("lotka-volterra fit", 4)


def self_limited() -> EquationFit:
    """x' = x (alpha - beta y - alpha x / K), y' = y (delta x - gamma)."""
    return EquationFit("self-limited lotka-volterra fit", 5)


def rosenzweig_macarthur() -> EquationFit:
    """x' = x (alpha - beta y / (1 + h x) - alpha x / K), y' = y (delta x / (1 + h x) - gamma)."""
    return EquationFit("rosenzweig-macarthur fit", 6)


class BestEquations(Rival):
    """One of several families of equations, chosen for each series.

    Each is fitted to the first three quarters of the history and forecasts the last one; that with
    the least mean absolute error of logarithms is fitted to all of it. What the others are told,
    which family the data come from, this one has to find out.
    """

    name = "best fitted equations"
    takes_part = False

    def __init__(self) -> None:
        self._fits = (lotka_volterra(), self_limited(), rosenzweig_macarthur())

    def refusal(self, dataset: Dataset) -> str:
        """See `Rival.refusal`: all families take the same data."""
        return self._fits[0].refusal(dataset)

    def forecast(self, time: FloatArray, history: FloatArray) -> FloatArray:
        return self._best(time, history).forecast(time, history)

    def prediction(
        self, time: FloatArray, history: FloatArray, *others: Any, **named: Any
    ) -> Prediction:
        """See `Rival.prediction`; with the family chosen for the whole history."""
        return self._best(time, history).prediction(time, history, *others, **named)

    def _best(self, time: FloatArray, history: FloatArray) -> EquationFit:
        n_known = len(history)
        n_seen = n_known - max(1, n_known // 4)
        filled = complete(time, history)
        if n_seen < 2 or np.any(filled <= 0):
            return self._fits[0]
        known = ~np.isnan(history[n_seen:])

        def error(fit: EquationFit) -> float:
            ahead = fit.forecast(time[:n_known], history[:n_seen])
            tiny = np.finfo(float).tiny
            gaps = np.abs(np.log(np.maximum(ahead, tiny)) - np.log(filled[n_seen:]))
            return float(np.sum(gaps * known))

        return min(self._fits, key=error)

"""Exponential smoothing: level, damped trend and season of each variable by itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lvlora.data.dataset import FloatArray
from lvlora.forecast.rivals.contract import EachByItself, Variable

_FEWEST = 6
_LONGEST_SEASON = 60
_EVALUATIONS = 80
_LEAST_DAMPING, _MOST_DAMPING = 0.8, 0.98
_START = {"level": -0.5, "trend": -2.0, "damping": 0.5, "season": -2.0}
"""Search parameters from which a fit starts."""


class _Model(NamedTuple):
    """One fitted model in the form of a state space."""

    transition: FloatArray
    """(k, k) of the state."""
    gain: FloatArray
    """(k,) of an error."""
    row: FloatArray
    """(k,) that reads the level."""
    state: FloatArray
    """(k,) after the last step."""
    spread: float
    """Standard deviation of one-step errors."""
    criterion: float
    """AICc."""

    def ahead(self, errors: FloatArray) -> FloatArray:
        """(S, H) futures from (S, H) standard normal errors; without errors the point forecast."""
        states = np.repeat(self.state[None], len(errors), axis=0)
        steps = np.empty_like(errors)
        for h in range(errors.shape[1]):
            error = self.spread * errors[:, h]
            steps[:, h] = states @ self.row + error
            states = states @ self.transition.T + error[:, None] * self.gain
        return steps


def smoothed_exponentially(values: FloatArray, season: int = 1) -> _Model:
    """Choose among ETS(A, N or Ad, N or A) by AICc; see Hyndman et al. (2008).

    Parameters are least squares of one-step errors of complete values (T,) at even steps. These are
    linear in the initial state, which is therefore solved for and not searched. A season (in steps,
    1 for none) takes two of itself and two steps more.
    """
    seasonal = [1] if season < 2 or len(values) < 2 * season + 2 else [1, season]
    models = [_fitted(values, trend, m) for m in seasonal for trend in (False, True)]
    return min(models, key=lambda model: model.criterion)


def _fitted(values: FloatArray, trend: bool, season: int) -> _Model:
    from scipy.optimize import minimize

    names = ["level", *(["trend", "damping"] if trend else []), *(["season"] if season > 1 else [])]
    start = np.array([_START[name] for name in names])

    def loss(search: FloatArray) -> float:
        return _one_step(values, *_matrices(names, search, season))[0]

    best = minimize(loss, start, method="Nelder-Mead", options={"maxfev": _EVALUATIONS})
    matrices = _matrices(names, np.asarray(best.x), season)
    squares, state = _one_step(values, *matrices)
    n = len(values)
    k = len(names) + 1 + trend + (season - 1) + 1
    degrees = n - k - 1
    likelihood = n * math.log(max(squares / n, 1e-300))
    criterion = likelihood + 2 * k + 2 * k * (k + 1) / degrees if degrees > 0 else math.inf
    return _Model(*matrices, state, math.sqrt(squares / max(n - len(names) - 1, 1)), criterion)


def _matrices(
    names: Sequence[str], search: FloatArray, season: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Transition, gain and reading row of the state: level, trend, then the season's steps."""
    shares = dict(zip(names, 1 / (1 + np.exp(-np.clip(search, -30, 30))), strict=True))
    level = float(shares["level"])
    trend, n_season = "trend" in shares, season if season > 1 else 0
    k = 1 + trend + n_season
    transition, gain, row = np.zeros((k, k)), np.zeros(k), np.zeros(k)
    transition[0, 0] = row[0] = 1.0
    gain[0] = level
    if trend:
        damping = _LEAST_DAMPING + (_MOST_DAMPING - _LEAST_DAMPING) * float(shares["damping"])
        transition[0, 1] = transition[1, 1] = row[1] = damping
        gain[1] = level * float(shares["trend"])
    if n_season:
        first = 1 + trend
        row[first] = 1.0
        for i in range(n_season):  # what was first becomes last
            transition[first + i, first + (i + 1) % n_season] = 1.0
        gain[k - 1] = (1 - level) * float(shares["season"])
    return transition, gain, row


def _one_step(
    values: FloatArray, transition: FloatArray, gain: FloatArray, row: FloatArray
) -> tuple[float, FloatArray]:
    """The sum of squared errors from the best initial state, and the last state."""
    k = len(gain)
    # first column: the state from nothing; the others: what an initial state becomes
    states = np.concatenate([np.zeros((k, 1)), np.eye(k)], axis=1)
    reduced = transition - np.outer(gain, row)
    readings, later = np.empty((len(values), 1 + k)), np.empty_like(states)
    # a search spends its time here: half as much where nothing is allocated
    for reading, gained in zip(readings, np.multiply.outer(values, gain), strict=True):
        np.dot(row, states, out=reading)
        np.dot(reduced, states, out=later)
        later[:, 0] += gained
        states, later = later, states
    errors, effects = values - readings[:, 0], readings[:, 1:]
    initial = np.linalg.lstsq(effects, errors, rcond=1e-9)[0]
    squares = float(np.sum((errors - effects @ initial) ** 2))
    return squares, states[:, 0] + states[:, 1:] @ initial


class ExponentialSmoothing(EachByItself):
    """Additive exponential smoothing on logarithms of what is positive (Holt 1957, Winters 1960).

    With or without a damped trend and the variable's season, by AICc. Futures are drawn from the
    model with normal errors.
    """

    name = "exponential smoothing"
    uses_season = True
    fewest = _FEWEST

    def longest_season(self, n_steps: int) -> int:
        return min(_LONGEST_SEASON, (n_steps - 2) // 2)

    def continued(self, of: Variable, n_samples: int, rng: np.random.Generator) -> FloatArray:
        errors = rng.standard_normal((1 + n_samples, of.n_ahead))
        errors[0] = 0.0
        return smoothed_exponentially(of.values, of.season).ahead(errors)

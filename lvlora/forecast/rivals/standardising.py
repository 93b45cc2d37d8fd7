"""Histories scaled to order one and back, and smoothed by as much as they ask for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lvlora.data.dataset import FloatArray
from lvlora.data.gaps import complete

_EVEN = 1e-2
"""Steps that differ from their mean by no more than this share of it are even."""
_FLAT = 1e-12
"""A spread that is less than this share of the values is rounding."""
_STRENGTHS = 10.0 ** np.arange(-6, 6.01, 0.25)
_FEWEST = 6  # samples: fewer are not smoothed


@dataclass(frozen=True)
class Problem:
    """A history of T steps to continue by H steps."""

    time: FloatArray
    """(T + H,) from 0 on; a step of the history is 1 in the mean."""
    values: FloatArray
    """(T, V) the history, complete."""
    known: NDArray[np.bool_]
    """(T, V) False where a value was missing."""
    inputs: FloatArray
    """(T + H, K) columns whose future is known, of order one; K may be 0."""

    @property
    def n_known(self) -> int:
        return len(self.values)

    @property
    def n_ahead(self) -> int:
        return len(self.time) - len(self.values)

    def cut(self, n_known: int) -> Problem:
        """Return the problem to continue the first ``n_known`` steps to the end of the history."""
        n = self.n_known
        return Problem(self.time[:n], self.values[:n_known], self.known[:n_known], self.inputs[:n])

    def smoothed(self) -> FloatArray:
        """Return smooth values (T, V) near the history's.

        Least squares with a penalty on second divided differences (Whittaker 1923; Eilers 2003,
        doi:10.1021/ac034173t), which for close samples is the cubic smoothing spline; its strength,
        for each variable, by generalised cross-validation (Craven & Wahba 1979,
        doi:10.1007/BF01404567).
        """
        n = self.n_known
        if n < _FEWEST:
            return self.values
        roughness, basis = _basis(np.ascontiguousarray(self.time[:n]).tobytes())
        coordinates = basis.T @ self.values
        shrinkage = 1 / (1 + _STRENGTHS[:, None] * roughness)
        residual = (1 - shrinkage) ** 2 @ coordinates**2
        freedom = np.maximum(1 - shrinkage.sum(axis=1) / n, 1e-6)
        best = np.argmin(residual / freedom[:, None] ** 2, axis=0)
        return np.asarray(basis @ (shrinkage[best].T * coordinates))


@lru_cache(32)
def _basis(times: bytes) -> tuple[FloatArray, FloatArray]:
    """Roughness (T,) and eigenvectors (T, T) of the penalty: the same for all series alike."""
    time = np.frombuffer(times)
    first = np.diff(np.eye(len(time)), axis=0) / np.diff(time)[:, None]
    second = 2 * np.diff(first, axis=0) / (time[2:] - time[:-2])[:, None]
    roughness, basis = np.linalg.eigh(second.T @ second)
    return np.maximum(roughness, 0.0), basis


@dataclass(frozen=True)
class Standardised:
    """A history as a `Problem`, and the way back from it."""

    problem: Problem
    filled: FloatArray
    """(T, V) the complete history in original units."""
    time_ahead: FloatArray
    """(H,) in the problem's units, whose own times are others where its steps were made even."""
    centre: FloatArray
    """(V,) taken off the scaled values or logarithms."""
    spread: FloatArray
    """(V,) divided by, then."""
    logs: NDArray[np.bool_]
    """(V,) whose logarithms were taken."""
    size: FloatArray
    """(V,) divided by, where no logarithms were taken."""

    def back(self, ahead: FloatArray) -> FloatArray:
        """(..., H, V) in original units, at the times ahead; not guarded."""
        time, n_known = self.problem.time, self.problem.n_known
        if not np.array_equal(time[n_known:], self.time_ahead):
            is_finite = np.isfinite(ahead).all(axis=(-2, -1), keepdims=True)
            ahead = np.where(is_finite, ahead, 0.0)
            last = self.problem.values[-1]
            start = np.broadcast_to(last, (*ahead.shape[:-2], 1, len(last)))
            path = np.concatenate([start, ahead], axis=-2)
            ahead = np.where(is_finite, _at(time[n_known - 1 :], path, self.time_ahead), np.nan)
        with np.errstate(all="ignore"):
            levels = ahead * self.spread + self.centre
            return np.where(self.logs, np.exp(levels), levels * self.size)


def standardised(
    time: FloatArray,
    history: FloatArray,
    logs: bool = True,
    unit: bool = True,
    even: bool = True,
    inputs: FloatArray | None = None,
) -> Standardised:
    """Return a history of mean 0.

    Args:
        time: (T + H,), history: (T, V): see `Rival.forecast`.
        logs: take the logarithms of each variable that is positive throughout.
        unit: give each variable variance 1.
        even: interpolate to even steps, where they are not.
        inputs: (T + H, K) columns whose future is known.
    """
    n_known = len(history)
    filled = complete(time, history)
    positive = np.all(filled > 0, axis=0) & logs
    size = np.abs(filled).max(axis=0)  # first, or squares overflow
    size = np.where(size > 0, size, 1.0)
    values = np.where(positive, np.log(np.where(positive, filled, 1.0)), filled / size)
    centre, spread = values.mean(axis=0), values.std(axis=0)
    flat = spread <= _FLAT * np.maximum(np.abs(centre), 1.0)
    spread = np.where(flat | (not unit), 1.0, spread)
    values = np.where(flat, 0.0, (values - centre) / spread)
    step = (time[n_known - 1] - time[0]) / max(n_known - 1, 1)
    scaled = (time - time[0]) / (step if step > 0 else 1.0)
    known_ahead = np.empty((len(time), 0)) if inputs is None else _inputs(time, inputs, n_known)
    problem = Problem(scaled, values, ~np.isnan(history), known_ahead)
    if even:
        problem = _evened(problem)
    return Standardised(problem, filled, scaled[n_known:], centre, spread, positive, size)


def _inputs(time: FloatArray, inputs: FloatArray, n_known: int) -> FloatArray:
    """Known columns without gaps, of the history's mean 0 and variance 1."""
    filled = complete(time, inputs)
    past = filled[:n_known]
    spread = past.std(axis=0)
    flat = spread <= _FLAT * np.maximum(np.abs(past).max(axis=0), 1.0)
    return np.asarray((filled - past.mean(axis=0)) / np.where(flat, 1.0, spread))


def _evened(problem: Problem) -> Problem:
    """The same problem at times 0, 1, 2, … as far as its horizon goes."""
    time, n_known, n_ahead = problem.time, problem.n_known, problem.n_ahead
    if n_known < 3 or np.all(np.abs(np.diff(time) - 1) <= _EVEN):
        return replace(problem, time=np.arange(float(len(time))))
    steps = np.arange(float(n_known))
    n_steps = int(np.ceil(min(time[-1] - steps[-1], 4.0 * n_ahead + 1)))
    values = _at(time[:n_known], problem.values, steps)
    known = _at(time[:n_known], problem.known.astype(np.float64), steps) > 0.5
    all_steps = np.arange(float(n_known + max(n_steps, 1)))
    return Problem(all_steps, values, known, _at(time, problem.inputs, all_steps))


def _at(time: FloatArray, values: FloatArray, times: FloatArray) -> FloatArray:
    """(..., T, V) at other times, (..., A, V), by monotone cubics; held beyond the ends."""
    from scipy.interpolate import PchipInterpolator

    inside = np.clip(times, time[0], time[-1])
    return np.asarray(PchipInterpolator(time, values, axis=-2)(inside))

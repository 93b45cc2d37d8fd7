"""Rivals that learn the next step from the last few, and apply that over and over."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lvlora.data.dataset import FloatArray
from lvlora.forecast.rivals.algebra import (
    count_product,
    evaluated,
    monomials,
    n_monomials,
    product,
    ridge,
    solved,
)
from lvlora.forecast.rivals.contract import ChosenOnHistory, grouped
from lvlora.forecast.rivals.standardising import Problem

_FAR = 10.0  # spreads from the mean: a path that gets there is lost
_NEIGHBOURS = (1, 2, 4, 8)
_THETAS = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
_RIDGES_OF_S_MAP = (1e-8, 1e-6, 1e-4, 1e-2)
_NEAR = 1e-12

Step = Callable[[FloatArray], FloatArray]
"""(C, k V) delay vectors, one for each of C maps, to (C, V) changes."""


Setting = tuple[bool, int, Any]
"""Whether a map is learnt from the smoothed history, the k steps that it sees, and options."""


class DelayMap(ChosenOnHistory):
    """x(t + 1) = x(t) + f(x(t), …, x(t - k + 1)) with all variables, from one history.

    One that uses known columns has those of the steps t + 1 and t among the arguments of f.
    """

    n_lags: tuple[int, ...] = (1, 2, 3)
    """Numbers k to choose from."""

    @abstractmethod
    def options(self, n_lags: int, n_known: int, n_variables: int, n_inputs: int) -> Sequence[Any]:
        """The method's own settings for a number of lags; empty where there are too many lags.

        Delay vectors have ``n_inputs`` further columns.
        """

    @abstractmethod
    def learnt(self, states: FloatArray, changes: FloatArray, options: Sequence[Any]) -> Step:
        """One map for each of C settings.

        Args:
            states: (n, k V + 2 K) delay vectors, the newest step first, then known columns.
            changes: (n, V) from each to the next step.
        """

    def settings(self, n_known: int, n_variables: int, n_inputs: int) -> list[Setting]:
        return [
            (smooth, n_lags, options)
            for smooth in (False, True)
            for n_lags in self.n_lags
            if n_known - n_lags >= 2
            for options in self.options(n_lags, n_known, n_variables, 2 * n_inputs)
        ]

    def continued(self, problem: Problem, settings: Sequence[Setting]) -> FloatArray:
        n_known, n_variables = problem.values.shape
        ahead = np.full((len(settings), problem.n_ahead, n_variables), np.nan)
        # of each step but the first: its known columns, and those of the step before
        inputs = np.concatenate([problem.inputs[1:], problem.inputs[:-1]], axis=1)
        for (smooth, n_lags), which in grouped(settings, lambda s: s[:2]).items():
            if n_known - n_lags < 1:
                continue
            values = problem.smoothed() if smooth else problem.values
            states = delays(values, n_lags)
            seen = np.concatenate([states[:-1], inputs[n_lags - 1 : n_known - 1]], axis=1)
            changes = np.diff(values, axis=0)[n_lags - 1 :]
            step = self.learnt(seen, changes, [settings[i][2] for i in which])
            state = np.repeat(states[-1:], len(which), axis=0)
            for h in range(problem.n_ahead):
                repeated = np.repeat(inputs[[n_known - 1 + h]], len(which), axis=0)
                change = step(np.concatenate([state, repeated], axis=1))
                now = np.clip(state[:, :n_variables] + change, -_FAR, _FAR)
                ahead[which, h] = now
                state = np.concatenate([now, state[:, :-n_variables]], axis=1)
        return ahead


def delays(values: FloatArray, n_lags: int) -> FloatArray:
    """(T - k + 1, k V): k steps ending at each step from the k-th on, the newest first."""
    windows = np.lib.stride_tricks.sliding_window_view(values, n_lags, axis=0)
    return np.asarray(windows[:, :, ::-1].transpose(0, 2, 1).reshape(len(windows), -1))


class ContextParroting(DelayMap):
    """Zhang & Gilpin (2025), "Context parroting", arXiv:2505.11349, with simplex neighbours.

    The last D steps of all variables are the query. Among all earlier stretches of D steps the
    nearest (Euclidean) are taken, weighted by exp(-distance / nearest distance) (Sugihara & May
    1990, doi:10.1038/344734a0); what followed them comes next, either as values or as changes.
    D, the number of neighbours, which of the two is copied, and smoothing are chosen.
    """

    name = "context parroting"
    speed = "quick"
    n_lags = (1, 2, 3, 4, 6, 8)

    def options(
        self, n_lags: int, n_known: int, n_variables: int, n_inputs: int
    ) -> list[tuple[int, bool]]:
        """Neighbours, and whether changes are copied."""
        fits = [n for n in _NEIGHBOURS if n <= max(1, n_known - n_lags)]
        return [(n, changes) for n in fits for changes in (False, True)]

    def learnt(
        self, states: FloatArray, changes: FloatArray, options: Sequence[tuple[int, bool]]
    ) -> Step:
        n_variables = changes.shape[1]
        n_neighbours = np.array([n for n, _ in options])
        copies = np.array([as_changes for _, as_changes in options])
        most = min(int(n_neighbours.max()), len(states))

        def step(state: FloatArray) -> FloatArray:
            distance = _distances(state, states)
            nearest = np.argsort(distance, axis=1, kind="stable")[:, :most]
            near = np.take_along_axis(distance, nearest, axis=1)
            unit = np.maximum(near[:, :1], np.finfo(float).tiny)
            weights = np.exp(-np.minimum(near / unit, 700.0))
            weights *= np.arange(most) < n_neighbours[:, None]
            weights /= weights.sum(axis=1, keepdims=True)
            change = np.sum(weights[:, :, None] * changes[nearest], axis=1)
            where = np.sum(weights[:, :, None] * states[nearest, :n_variables], axis=1)
            count_product(2 * n_variables, most, 1, len(state))
            there = where - state[:, :n_variables]
            return np.asarray(np.where(copies[:, None], change, change + there))

        return step


def _distances(state: FloatArray, states: FloatArray) -> FloatArray:
    """(C, n) Euclidean distances of C states from n others."""
    count_product(len(state) * len(states), states.shape[1], 1)
    return np.asarray(np.sqrt(np.sum((state[:, None] - states) ** 2, axis=2)))


class SMap(DelayMap):
    """Sugihara (1994), "Nonlinear forecasting for the classification of natural time series".

    doi:10.1098/rsta.1994.0106. The change of all variables is linear in their last E steps, by
    least squares whose rows have weights exp(-theta d / mean d), where d is the distance of a
    state from the present one. theta 0 is an autoregression, a large one sees neighbours only.
    theta, E, a small ridge and smoothing are chosen.
    """

    name = "s-map"
    n_lags = (1, 2, 3, 4)

    def options(
        self, n_lags: int, n_known: int, n_variables: int, n_inputs: int
    ) -> list[tuple[float, float]]:
        """theta and the ridge; states need more steps than a map has coefficients, or nearly."""
        if n_lags > 1 and n_lags * n_variables + 1 > n_known - n_lags:
            return []
        return [(theta, penalty) for theta in _THETAS for penalty in _RIDGES_OF_S_MAP]

    def learnt(
        self, states: FloatArray, changes: FloatArray, options: Sequence[tuple[float, float]]
    ) -> Step:
        theta, penalty = np.array(options).T
        n, n_variables = changes.shape
        x = np.hstack([np.ones((n, 1)), states])
        n_terms = x.shape[1]
        # each state's share of the normal equations, (n, terms (terms + variables))
        targets = np.hstack([x, changes])
        shares = (x[:, :, None] * targets[:, None, :]).reshape(n, -1)
        ridges = penalty[:, None, None] * np.eye(n_terms)

        def step(state: FloatArray) -> FloatArray:
            distance = _distances(state, states)
            mean = np.maximum(distance.mean(axis=1, keepdims=True), _NEAR)
            # each row of the regression gets the weight, so its square enters with the weight's
            weights = np.exp(-2 * theta[:, None] * distance / mean)
            weights /= weights.sum(axis=1, keepdims=True)
            normal = product(weights, shares).reshape(-1, n_terms, n_terms + n_variables)
            coefficients = solved(normal[..., :n_terms] + ridges, normal[..., n_terms:])
            now = np.hstack([np.ones((len(state), 1)), state])
            return product(now[:, None, :], coefficients)[:, 0]

        return step


class Nvar(DelayMap):
    """Gauthier, Bollt, Griffith & Barbosa (2021), "Next generation reservoir computing".

    doi:10.1038/s41467-021-25801-2. The change of all variables is a polynomial of degree 2 or 3 of
    their last one to three steps and of known columns, by ridge regression (arXiv:2505.00846 on why
    it is needed). Lags, degree, penalty and smoothing are chosen.
    """

    name = "nvar"
    uses_known = True
    degrees: tuple[int, ...] = (2, 3)
    ridges: tuple[float, ...] = (1e-10, 1e-8, 1e-6, 1e-4, 1e-3, 1e-2, 1e-1)

    def options(
        self, n_lags: int, n_known: int, n_variables: int, n_inputs: int
    ) -> list[tuple[int, float]]:
        """Degree and penalty; at most about 1.5 times as many products as steps."""
        return [
            (degree, penalty)
            for degree in self.degrees
            if n_monomials(n_lags * n_variables + n_inputs, degree) <= 1.5 * n_known + 10
            for penalty in self.ridges
        ]

    def learnt(
        self, states: FloatArray, changes: FloatArray, options: Sequence[tuple[int, float]]
    ) -> Step:
        products = monomials(states.shape[1], max(degree for degree, _ in options))
        weights = np.zeros((len(options), len(products), changes.shape[1]))
        features = evaluated(states, products)
        for degree, which in grouped(options, lambda each: each[0]).items():
            used = n_monomials(states.shape[1], degree)
            penalties = np.array([options[i][1] for i in which])
            weights[which, :used] = ridge(features[:, :used], changes, penalties)

        def step(state: FloatArray) -> FloatArray:
            return product(evaluated(state, products)[:, None, :], weights)[:, 0]

        return step


class VectorAutoregression(Nvar):
    """VAR(p): every variable is a linear function of the last p values of all of them.

    Lütkepohl (2005), New Introduction to Multiple Time Series Analysis. By ridge regression; order,
    penalty and smoothing are chosen.
    """

    name = "var on logs"
    speed = "quick"
    n_lags = (1, 2, 3, 4, 6, 8, 10, 12)
    degrees = (1,)
    ridges = (1e-8, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)

"""Rivals that learn the next step from the last few, and apply that over and over."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lvlora.series.dataset import FloatArray
from lvlora.series.rivals.parts.choosing import ChosenOnHistory
from lvlora.series.rivals.parts.smoothing import smoothed
from lvlora.series.rivals.parts.standardising import Problem

_FAR = 10.0  # spreads from the mean: a path that gets there is lost

Step = Callable[[FloatArray], FloatArray]
"""(C, k V) delay vectors, one for each of C maps, to (C, V) changes."""


@dataclass(frozen=True)
class Setting:
    """How a map is learnt.

    Attributes:
        smooth: from the smoothed history (`smoothing.smoothed`).
        n_lags: k, the steps that it sees.
        own: what is particular to the method.
    """

    smooth: bool
    n_lags: int
    own: Any


class DelayMap(ChosenOnHistory):
    """x(t + 1) = x(t) + f(x(t), …, x(t - k + 1)) with all variables, from one history.

    One that uses known columns has those of the steps t + 1 and t among the arguments of f.

    Attributes:
        n_lags: numbers k to choose from.
    """

    n_lags: tuple[int, ...] = (1, 2, 3)

    @abstractmethod
    def own_settings(
        self, n_lags: int, n_known: int, n_variables: int, n_inputs: int
    ) -> Sequence[Any]:
        """The method's own settings for a number of lags; empty where there are too many lags.

        Args:
            n_inputs: further columns of a delay vector.
        """

    @abstractmethod
    def learnt(self, states: FloatArray, changes: FloatArray, own: Sequence[Any]) -> Step:
        """One map for each of C settings.

        Args:
            states: (n, k V + 2 K) delay vectors, the newest step first, then known columns.
            changes: (n, V) what each changed by.
        """

    def settings(self, n_known: int, n_variables: int, n_inputs: int = 0) -> list[Setting]:
        """See `ChosenOnHistory.settings`."""
        return [
            Setting(smooth, n_lags, own)
            for smooth in (False, True)
            for n_lags in self.n_lags
            if n_known - n_lags >= 2
            for own in self.own_settings(n_lags, n_known, n_variables, 2 * n_inputs)
        ]

    def continued(self, problem: Problem, settings: Sequence[Any]) -> FloatArray:
        """See `ChosenOnHistory.continued`."""
        n_known, n_variables = problem.values.shape
        ahead = np.full((len(settings), problem.n_ahead, n_variables), np.nan)
        for smooth, n_lags in dict.fromkeys((s.smooth, s.n_lags) for s in settings):
            if n_known - n_lags < 1:
                continue
            values = smoothed(problem.time[:n_known], problem.values) if smooth else problem.values
            which = [i for i, s in enumerate(settings) if (s.smooth, s.n_lags) == (smooth, n_lags)]
            states = delays(values, n_lags)
            own = [settings[i].own for i in which]
            # of each step but the first: its known columns, and those of the step before
            inputs = np.concatenate([problem.inputs[1:], problem.inputs[:-1]], axis=1)
            seen = np.concatenate([states[:-1], inputs[n_lags - 1 : n_known - 1]], axis=1)
            step = self.learnt(seen, np.diff(values, axis=0)[n_lags - 1 :], own)
            state = np.repeat(states[-1:], len(which), axis=0)
            for h in range(problem.n_ahead):
                given = np.repeat(inputs[[n_known - 1 + h]], len(which), axis=0)
                change = step(np.concatenate([state, given], axis=1))
                now = np.clip(state[:, :n_variables] + change, -_FAR, _FAR)
                ahead[which, h] = now
                state = np.concatenate([now, state[:, :-n_variables]], axis=1)
        return ahead


def delays(values: FloatArray, n_lags: int) -> FloatArray:
    """(T - k + 1, k V): k steps ending at each step from the k-th on, the newest first."""
    windows = np.lib.stride_tricks.sliding_window_view(values, n_lags, axis=0)
    vectors: FloatArray = windows[:, :, ::-1].transpose(0, 2, 1).reshape(len(windows), -1)
    return vectors

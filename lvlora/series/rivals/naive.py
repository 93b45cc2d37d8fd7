"""Forecasts without a model: the last value, the mean, the last cycle.

Knows: one history. Does not know: other series, equations.
"""

from __future__ import annotations

import numpy as np

from lvlora.series.dataset import FloatArray
from lvlora.series.periods import find_peaks
from lvlora.series.rivals.contract import Untrained, complete


class LastValue(Untrained):
    """The last value goes on."""

    name = "last value"

    def forecast(self, time: FloatArray, history: FloatArray) -> FloatArray:
        """See `Rival.forecast`."""
        n_steps = len(time) - len(history)
        return np.repeat(complete(time, history)[-1:], n_steps, axis=0)


class ContextMean(Untrained):
    """The mean of the history, over its known values."""

    name = "context mean"

    def forecast(self, time: FloatArray, history: FloatArray) -> FloatArray:
        """See `Rival.forecast`."""
        known = ~np.isnan(history)
        total = np.where(known, history, 0.0).sum(axis=0)
        mean = total / np.maximum(known.sum(axis=0), 1)
        return np.repeat(mean[None], len(time) - len(history), axis=0)


class SeasonalNaive(Untrained):
    """The last cycle repeats.

    The period, in samples, is the mean of those of the variables that have one (`find_peaks`,
    which sees through mild noise and finds none where the history does not repeat itself);
    between samples values are interpolated. Without a period it is the last value.
    """

    name = "seasonal naive"

    def forecast(self, time: FloatArray, history: FloatArray) -> FloatArray:
        """See `Rival.forecast`."""
        n_steps = len(time) - len(history)
        filled = complete(time, history)
        period = season(time[: len(history)], filled)
        if not period < len(history):
            return np.repeat(filled[-1:], n_steps, axis=0)
        ahead = np.arange(1, n_steps + 1)
        at = len(history) - 1 + ahead - np.ceil(ahead / period) * period
        steps = np.arange(len(history))
        return np.column_stack([np.interp(at, steps, column) for column in filled.T])


def season(time: FloatArray, history: FloatArray) -> float:
    """Period of a complete history (T, V) in samples, NaN if no variable has one."""
    periods = [find_peaks(time, column).period_samples for column in history.T]
    known = [p for p in periods if p >= 2]
    return float(np.mean(known)) if known else float("nan")

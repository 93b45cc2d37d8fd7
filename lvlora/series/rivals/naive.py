"""Forecasts without a model: the last value, the mean, the last cycle."""

from __future__ import annotations

import numpy as np

from lvlora.series.analysis.periods import alike, find_peaks
from lvlora.series.dataset import FloatArray
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

    Each variable has its own period, in samples (`seasons`); between samples values are
    interpolated. Without a period it is the last value.
    """

    name = "seasonal naive"

    def forecast(self, time: FloatArray, history: FloatArray) -> FloatArray:
        """See `Rival.forecast`."""
        n_steps = len(time) - len(history)
        filled = complete(time, history)
        ahead, steps = np.arange(1, n_steps + 1), np.arange(len(history))
        columns = []
        for column, period in zip(filled.T, seasons(time[: len(history)], filled), strict=True):
            back = np.ceil(ahead / period) * period if period < len(history) else ahead
            columns.append(np.interp(len(history) - 1 + ahead - back, steps, column))
        return np.column_stack(columns)


def seasons(time: FloatArray, history: FloatArray) -> FloatArray:
    """(V,) period of each variable of a complete history (T, V) in samples, NaN if it has none.

    From `find_peaks`, which sees through mild noise and finds none where a variable does not
    repeat itself. Periods that are nearly equal are of one cycle, and their mean is nearer to it
    than each; so is that of all for a variable without one, if they are nearly equal.
    """
    found = np.array([find_peaks(time, column).period_samples for column in history.T])
    known = found[found >= 2]
    periods = np.full(len(found), np.nan)
    for v, own in enumerate(found.tolist()):
        same = known[alike(known, own)] if own >= 2 else known
        if len(same) and alike(same.max(), same.min()):
            periods[v] = same.mean()
        elif own >= 2:
            periods[v] = own
    return periods


def season(time: FloatArray, history: FloatArray) -> float:
    """The mean of the `seasons` of a history's variables, NaN if none has one."""
    periods = seasons(time, history)
    known = periods[~np.isnan(periods)]
    return float(known.mean()) if len(known) else float("nan")

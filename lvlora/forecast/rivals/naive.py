"""Forecasts without a model: the last value, the mean, the last cycle; and what rounding costs."""

from __future__ import annotations

import numpy as np

from lvlora.data.dataset import Dataset, FloatArray
from lvlora.data.gaps import complete
from lvlora.data.periods import seasons, seasons_of
from lvlora.forecast.rivals.contract import Rival


class LastValue(Rival):
    """The last value goes on."""

    name = "last value"
    speed = "instant"

    def forecast(self, time: FloatArray, history: FloatArray) -> FloatArray:
        n_steps = len(time) - len(history)
        return np.repeat(complete(time, history)[-1:], n_steps, axis=0)


class ContextMean(Rival):
    """The mean of the history, over its known values."""

    name = "context mean"
    speed = "instant"

    def forecast(self, time: FloatArray, history: FloatArray) -> FloatArray:
        known = ~np.isnan(history)
        total = np.where(known, history, 0.0).sum(axis=0)
        mean = total / np.maximum(known.sum(axis=0), 1)
        return np.repeat(mean[None], len(time) - len(history), axis=0)


class SeasonalNaive(Rival):
    """The last cycle repeats.

    Each variable has its own period, in samples (`seasons`); between samples values are
    interpolated. A variable without a period goes on as its last value; where no series has one,
    there is no such forecaster.
    """

    name = "seasonal naive"
    speed = "instant"
    uses_season = True

    def refusal(self, dataset: Dataset) -> str:
        """See `Rival.refusal`: no series has a season."""
        if any(np.isfinite(seasons_of(history, self.season)).any() for history in dataset):
            return ""
        return "no season found (--season N names one)"

    def forecast(self, time: FloatArray, history: FloatArray) -> FloatArray:
        n_steps = len(time) - len(history)
        filled = complete(time, history)
        ahead, steps = np.arange(1, n_steps + 1), np.arange(len(history))
        columns = []
        periods = seasons(time[: len(history)], filled, self.season)
        for column, period in zip(filled.T, periods, strict=True):
            back = np.ceil(ahead / period) * period if period < len(history) else ahead
            columns.append(np.interp(len(history) - 1 + ahead - back, steps, column))
        return np.column_stack(columns)


ROUNDING_FLOOR = "rounding floor"
"""Row of the truth `as_written`: no forecaster that writes can be better."""


def as_written(
    truth: FloatArray, decimals: int, scale: FloatArray, offset: FloatArray | float = 0.0
) -> FloatArray:
    """Return values (…, V) as they read after writing; NaN stays NaN.

    Args:
        decimals: digits after the point in the text.
        scale, offset: (V,) the text has (value - offset) / scale.
    """
    return np.asarray(np.round((truth - offset) / scale, decimals) * scale + offset)

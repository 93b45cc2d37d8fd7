"""What a rival is, and the guard that keeps every rival's forecast within reason.

Knows: histories and horizons as arrays. Does not know: any method of forecasting.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from lvlora.series.dataset import Dataset, FloatArray
from lvlora.series.gaps import interpolated

KIND = "rival"
GUARD_RANGES = 1.0
"""A forecast may leave the range of its history by this many widths of that range."""


class Rival(Protocol):
    """A forecaster that is no language model. Deterministic: the same input, the same forecast.

    Attributes:
        name: what tables call it.
        kind: "rival", or "floor" for what no forecaster can beat.
    """

    name: str
    kind: str

    def applies(self, dataset: Dataset) -> bool:
        """Whether it can forecast such data at all; if not, it is left out of the table."""
        ...

    def fit(self, train: Dataset, context: int, horizon: int) -> None:
        """Learn from whole training series, if it learns anything; call it before `forecast`."""
        ...

    def forecast(self, time: FloatArray, history: FloatArray) -> FloatArray:
        """The future of one series.

        Args:
            time: (T + H,) times of history and horizon.
            history: (T, V) in original units, NaN where missing.

        Returns:
            (H, V) finite.
        """
        ...


class Untrained:
    """The part of a rival that needs no training and forecasts any data."""

    kind = KIND

    def applies(self, dataset: Dataset) -> bool:
        """Always."""
        return True

    def fit(self, train: Dataset, context: int, horizon: int) -> None:
        """There is nothing to learn."""


def complete(time: FloatArray, history: FloatArray) -> FloatArray:
    """(T, V) history without gaps: linear interpolation; 0 for a variable with no value at all."""
    filled = interpolated(time[: len(history)], history)
    return np.where(np.isnan(filled), 0.0, filled)


def guarded(forecast: FloatArray, history: FloatArray) -> FloatArray:
    """A forecast that cannot blow up.

    Each variable stays within the range of its complete history, widened by `GUARD_RANGES` times
    its width on both sides, and does not become negative if the history is not. What is not
    finite becomes the last value.
    """
    low, high = history.min(axis=0), history.max(axis=0)
    margin = GUARD_RANGES * (high - low)
    floor = np.where(low >= 0, np.maximum(low - margin, 0.0), low - margin)
    finite = np.where(np.isfinite(forecast), forecast, history[-1])
    bounded: FloatArray = np.clip(finite, floor, high + margin)
    return bounded


def to_logs(history: FloatArray) -> tuple[FloatArray, bool]:
    """The logarithms and True if every value is positive, else the values and False."""
    positive = bool(np.all(history > 0))
    return (np.log(history) if positive else history), positive


def from_logs(values: FloatArray, were_logs: bool) -> FloatArray:
    """The inverse of `to_logs`; overflow becomes infinity, for `guarded` to mend."""
    if not were_logs:
        return values
    with np.errstate(over="ignore"):
        levels: FloatArray = np.exp(values)
    return levels

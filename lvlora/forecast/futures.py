"""What a forecast is: samples of a series' future, their quantiles, and the same as a table.

Knows: arrays, times, scales. Does not know: models, texts, files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lvlora.series.dataset import FloatArray
from lvlora.text.scaling import Scale

_DIGITS = 12
"""Significant digits of a time."""


@dataclass(frozen=True)
class Forecast:
    """The futures of one series.

    Attributes:
        series: its id.
        time: (H,) continues the history's time.
        samples: (S, H, V) in original units.
        scale: that was used; context: steps of history that the model saw.
    """

    series: str
    time: FloatArray
    samples: FloatArray
    scale: Scale
    context: int

    @property
    def median(self) -> FloatArray:
        """(H, V): the pointwise median of the samples; the point forecast."""
        return np.asarray(np.median(self.samples, axis=0), dtype=np.float64)

    @property
    def mean(self) -> FloatArray:
        """(H, V)."""
        return np.asarray(self.samples.mean(axis=0), dtype=np.float64)

    def quantile(self, level: float) -> FloatArray:
        """(H, V): an empirical quantile with linear interpolation."""
        return np.asarray(np.quantile(self.samples, level, axis=0), dtype=np.float64)


def continue_time(time: FloatArray, horizon: int) -> FloatArray:
    """(H,) the median interval of the history, repeated; without the noise of binary fractions."""
    interval = float(np.median(np.diff(time))) if len(time) > 1 else 1.0
    future: FloatArray = time[-1] + interval * np.arange(1, horizon + 1)
    size = float(np.abs(future).max(initial=0.0))
    rounded: FloatArray = np.round(future, _DIGITS - math.ceil(math.log10(size or 1.0)))
    # times that a rounding would make equal (seconds since an epoch, in tiny steps) stay
    return rounded if np.all(np.diff(rounded, prepend=time[-1]) > 0) else future


def to_rows(
    forecasts: Sequence[Forecast], variables: Sequence[str], levels: Sequence[float],
    time_name: str = "time",
) -> list[dict[str, Any]]:  # fmt: skip
    """A long table: one row a series, time and variable, with median, mean and quantiles."""
    rows: list[dict[str, Any]] = []
    for forecast in forecasts:
        quantiles = {level: forecast.quantile(level) for level in levels}
        median, mean = forecast.median, forecast.mean
        for h, t in enumerate(forecast.time):
            for v, variable in enumerate(variables):
                rows.append(
                    {
                        "id": forecast.series,
                        time_name: float(t),
                        "variable": variable,
                        "median": float(median[h, v]),
                        "mean": float(mean[h, v]),
                        **{f"{level:g}": float(q[h, v]) for level, q in quantiles.items()},
                    }
                )
    return rows

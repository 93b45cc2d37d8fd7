"""Missing values: filled in by straight lines, or left out of a mean."""

from __future__ import annotations

import numpy as np

from lvlora.series.dataset import FloatArray


def interpolated(time: FloatArray, values: FloatArray) -> FloatArray:
    """(T, V) with each NaN replaced by linear interpolation in time, per variable.

    Before the first and after the last known value that value is held. A variable without any
    known value stays NaN.
    """
    filled = np.array(values, dtype=np.float64)
    for column in filled.T:
        known = np.isfinite(column)
        if known.any() and not known.all():
            column[~known] = np.interp(time[~known], time[known], column[known])
    return filled


def mean_known(values: FloatArray, axes: tuple[int, ...] | None = None) -> FloatArray:
    """Mean over axes (all by default) of what is not NaN; NaN where nothing is left."""
    present = ~np.isnan(values)
    count = present.sum(axis=axes)
    total = np.where(present, values, 0.0).sum(axis=axes)
    mean: FloatArray = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return mean

"""Bounds of a future, from what its history makes possible.

A text may grow by two digits, so that a draw can be a hundred times the history's largest value.
A few such draws leave the median where it is and make mean, quantiles and CRPS useless.
"""

from __future__ import annotations

import numpy as np

from lvlora.data.dataset import FloatArray


def least_values(values: FloatArray) -> FloatArray:
    """(V,) 0 of the variables that were never negative in (T, V), -inf of the others."""
    return np.where((values < 0).any(axis=0), -np.inf, 0.0)


def bounds_of_future(values: FloatArray, horizon: int) -> tuple[FloatArray, FloatArray]:
    """(V,) least and largest values of H steps after a history (T, V).

    A future leaves the range of its history by no more than that range once more, and by more in
    proportion where the horizon is longer than the history. Where the history went on to new
    records in its second half, as a trend does, the future may go on as fast; positive values that
    never paused in growing may grow by the same factor. A constant stays what it is.

    Variables without a value have no bounds.
    """
    highest = np.array([_highest(column[np.isfinite(column)], horizon) for column in values.T])
    lowest = np.array([-_highest(-column[np.isfinite(column)], horizon) for column in values.T])
    return np.maximum(lowest, least_values(values)), highest


def _highest(known: FloatArray, horizon: int) -> float:
    """The largest value that may follow (T,) known ones."""
    if not len(known):
        return np.inf
    top = float(known.max())
    with np.errstate(over="ignore"):  # beyond float64 there is no bound
        margin = (top - float(known.min())) * max(1.0, horizon / max(1, len(known) - 1))
        records = np.maximum.accumulate(known)[len(known) // 2 :]
        lag = min(horizon, len(records) - 1)
        if lag < 1:
            return top + margin
        before, after = records[:-lag], records[lag:]
        highest = top + float((after - before).max()) * horizon / lag
        if known.min() > 0:
            growth = np.float64((after / before).min()) ** (horizon / lag)
            highest = max(highest, float(top * growth))
        return float(highest + margin)

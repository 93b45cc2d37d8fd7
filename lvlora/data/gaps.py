"""Missing values: filled in by straight lines or monotone cubics, or left out of a mean."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lvlora.data.dataset import FloatArray, Series

LONGEST_FILLED = 8
"""Steps: longer gaps, of which a curve through their ends says little, are told to a model."""


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


def bridged(time: FloatArray, values: FloatArray, longest: int | None = None) -> FloatArray:
    """(T, V) with the gaps between known values filled by monotone cubics, per variable.

    Fritsch & Butland 1984, doi:10.1137/0905021: nothing is larger or smaller than its neighbours
    are. Whole numbers stay whole. NaN before the first and after the last known value.

    Args:
        longest: steps of a gap that is filled, at most.
    """
    filled = np.array(values, dtype=np.float64)
    for column, wanted in zip(filled.T, in_short(filled, longest).T, strict=True):
        if not wanted.any():
            continue
        known = column[np.isfinite(column)]
        interpolated = at_times(time, column, time[wanted])
        column[wanted] = (
            np.round(interpolated) if (known == np.round(known)).all() else interpolated
        )
    return filled


def without_short(series: Series) -> Series:
    """A series with its short gaps bridged, as a model reads it."""
    if not np.isnan(series.values).any():
        return series
    return replace(series, values=bridged(series.time, series.values, LONGEST_FILLED))


def n_short(series: Iterable[Series]) -> int:
    """How many values `without_short` fills in."""
    return sum(int(in_short(s.values, LONGEST_FILLED).sum()) for s in series)


def note_on_filled(n: int, reads: str) -> str:
    """Say that n values were filled in.

    Args:
        reads: who has them: "the model reads", "the text has".
    """
    values = "1 missing value" if n == 1 else f"{n:,} missing values"
    return f"In place of {values} {reads} numbers on a smooth curve through the values around them."


def at_times(time: FloatArray, values: FloatArray, others: FloatArray) -> FloatArray:
    """One variable (T,) at other times, on monotone cubics between known values; NaN outside."""
    from scipy.interpolate import PchipInterpolator

    there = np.isfinite(values)
    if there.sum() < 2:
        return np.where(np.isin(others, time[there]), values[there].sum(), np.nan)
    # by a power of two, so that slopes of very large values are finite and no bit changes
    unit = 2.0 ** np.frexp(np.abs(values[there]).max())[1].clip(-1000, 1000)
    known = values[there] / unit
    with np.errstate(all="ignore"):  # slopes of very small ones: no slope, as they should be
        interpolated = PchipInterpolator(time[there], known, extrapolate=False)(others)
    line = np.interp(others, time[there], known, left=np.nan, right=np.nan)
    return np.asarray(np.where(np.isfinite(interpolated), interpolated, line) * unit)


def in_short(values: FloatArray, longest: int | None) -> NDArray[np.bool_]:
    """(T, V) what is missing between two known values, at most so many steps in a row."""
    there, n_steps = np.isfinite(values), len(values)
    steps = np.arange(n_steps)[:, None]
    before = np.maximum.accumulate(np.where(there, steps, -1))
    after = np.minimum.accumulate(np.where(there, steps, n_steps)[::-1])[::-1]
    short = after - before - 1 <= (n_steps if longest is None else longest)
    inside: NDArray[np.bool_] = ~there & (before >= 0) & (after < n_steps) & short
    return inside


def mean_known(values: FloatArray, axes: tuple[int, ...] | None = None) -> FloatArray:
    """Mean over axes (all by default) of what is not NaN; NaN where nothing is left."""
    present = ~np.isnan(values)
    count = present.sum(axis=axes)
    total = np.where(present, values, 0.0).sum(axis=axes)
    mean: FloatArray = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return mean


def complete(time: FloatArray, history: FloatArray) -> FloatArray:
    """(T, V) history without gaps: on monotone cubics between known values.

    At its ends the nearest known value is held; 0 for a variable with no value at all.
    """
    past = time[: len(history)]
    filled = interpolated(past, bridged(past, history))
    return np.where(np.isnan(filled), 0.0, filled)

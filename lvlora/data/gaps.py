"""Even, absent and uneven steps of a data set; missing values filled in, or left out of a mean."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lvlora.data.answers import AbsentStep, TimeSteps
from lvlora.data.dataset import Dataset, FloatArray, Series
from lvlora.data.dates import written

EVEN = 1e-3
"""Share of a step by which a time may be off, since tables round times."""

_MOST_ABSENT = 0.5
"""Largest share of absent steps; with more, the data do not lie on the grid."""


def usual_step(time: FloatArray) -> float:
    """The median of a history's steps; of two middle ones the lower, which really occurs."""
    return float(np.quantile(np.diff(time), 0.5, method="lower"))


def are_even(time: FloatArray, tolerance: float, step: float | None = None) -> bool:
    """Whether all steps are as long (default: the usual one), but for a share of it and rounding.

    A hundredth of a second in Julian dates differs by more than `EVEN`: float64 has no more digits.
    """
    if len(time) < 2:
        return True
    length = usual_step(time) if step is None else step
    off = np.abs(np.diff(time) - length)
    return bool(np.all(off <= tolerance * length + _resolution(time)))


def _resolution(time: FloatArray) -> float:
    """The rounding error of a difference of two times, at most."""
    return 2 * float(np.spacing(np.abs(time).max()))


def find_steps(series: Sequence[Series]) -> TimeSteps:
    """Look at the times of all series, each of at least two.

    Each series has its own grid, of its usual step. Steps are absent where every series lies on
    its grid and no more than half as many are absent as are there.
    """
    are_shared = all(s.time is series[0].time for s in series)
    distinct = series[:1] if are_shared else series
    steps = [np.diff(s.time) for s in distinct]
    every = np.concatenate(steps)
    calendar, median = series[0].calendar, float(np.median(every))
    is_even = all(are_even(s.time, EVEN, median) for s in distinct)
    result = TimeSteps(
        unit=None if calendar is None else calendar.unit,
        median=median,
        least=every.min(),
        most=every.max(),
        steps=sum(map(len, series)),
        uneven=not is_even,
        absent=0,
        inserted=False,
        first_absent=None,
    )
    if is_even:
        return result
    n_absent, first = 0, None
    for s, lengths in zip(distinct, steps, strict=True):
        step = usual_step(s.time)
        with np.errstate(over="ignore", invalid="ignore"):  # steps of any size
            missing = np.round(lengths / step) - 1
            off = np.abs(lengths - (missing + 1) * step)
        is_near = off <= EVEN * step + _resolution(s.time)
        if not np.all((missing >= 0) & (missing <= len(s)) & is_near):
            return result
        n_absent += int(missing.sum())
        if first is None and missing.any():
            at = int(np.flatnonzero(missing)[0])
            time = s.time[at : at + 1] + lengths[at] / (missing[at] + 1)
            first = AbsentStep(series=s.id, time=written(calendar, time)[0])
    n_absent *= len(series) if are_shared else 1
    if n_absent > _MOST_ABSENT * result.steps:
        return result
    return result.model_copy(update={"uneven": False, "absent": n_absent, "first_absent": first})


def insert_absent(series: Series) -> Series:
    """The series with a row of missing values for each step that its grid lacks."""
    steps = np.diff(series.time)
    counts = np.round(steps / usual_step(series.time)).astype(np.int64)
    if np.all(counts == 1):
        return series
    # each step is cut into as many as it spans; the last time has none after it
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    time = np.repeat(series.time[:-1], counts) + within * np.repeat(steps / counts, counts)
    time = np.append(time, series.time[-1])
    there = np.append(within == 0, True)
    time[there] = series.time

    def spread(rows: FloatArray) -> FloatArray:
        result = np.full((len(time), rows.shape[1]), np.nan)
        result[there] = rows
        return result

    values, known = spread(series.values), series.known
    if known is not None:
        known = np.concatenate([spread(known[: len(series)]), known[len(series) :]])
    return replace(series, time=time, values=values, absent=~there, known=known)


def with_steps(dataset: Dataset, *, insert: bool) -> Dataset:
    """The data set that says how it is sampled, in `Dataset.time_steps` and its warnings.

    A table gets rows for absent steps by ``insert``; an array keeps its shape.
    """
    steps, series = find_steps(dataset.series), dataset.series
    if insert and steps.absent:
        series = tuple(insert_absent(s) for s in series)
        steps = steps.model_copy(update={"inserted": True})
    warning = steps.warning(len(series))
    warnings = (*dataset.warnings, *([f"{dataset.source}: {warning}"] if warning else []))
    return replace(dataset, series=series, time_steps=steps, warnings=warnings)


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
    are. Whole numbers stay whole. NaN in gaps of more than ``longest`` steps, before the first and
    after the last known value.
    """
    filled = np.array(values, dtype=np.float64)
    for column, wanted in zip(filled.T, in_short(filled, longest).T, strict=True):
        if wanted.any():
            known = column[np.isfinite(column)]
            are_whole = (known == np.round(known)).all()
            curve = at_times(time, column, time[wanted])
            column[wanted] = np.round(curve) if are_whole else curve
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
    """Say that n values were filled in, as "the model reads" or "the text has" them."""
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
    return np.asarray(~there & (before >= 0) & (after < n_steps) & short)


def mean_known(values: FloatArray, axes: tuple[int, ...] | None = None) -> FloatArray:
    """Mean over axes (all by default) of what is not NaN; NaN where nothing is left."""
    present = ~np.isnan(values)
    count = present.sum(axis=axes)
    total = np.where(present, values, 0.0).sum(axis=axes)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))


def complete(time: FloatArray, history: FloatArray) -> FloatArray:
    """(T, V) history without gaps: on monotone cubics between known values.

    At its ends the nearest known value is held; 0 for a variable with no value at all.
    """
    past = time[: len(history)]
    filled = interpolated(past, bridged(past, history))
    return np.where(np.isnan(filled), 0.0, filled)

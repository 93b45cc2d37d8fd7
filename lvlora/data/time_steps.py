"""How a data set is sampled: even steps, missing ones, uneven ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

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
    """Whether all steps are as long, but for a share of one and the resolution of float64.

    A hundredth of a second in Julian dates differs by more than `EVEN`: float64 has no more digits.

    Args:
        tolerance: a share of the step.
        step: default: the usual one.
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
    """Look at the times of all series.

    Each series has its own grid, of its usual step. Steps are absent where every series lies on
    its grid and no more than half as many are absent as are there.

    Args:
        series: at least one, each of at least two strictly increasing times.
    """
    shared = all(s.time is series[0].time for s in series)
    looked_at = series[:1] if shared else series
    steps = [np.diff(s.time) for s in looked_at]
    every = np.concatenate(steps)
    calendar = series[0].calendar
    median = float(np.median(every))
    record = TimeSteps(
        unit=None if calendar is None else calendar.unit,
        median=median,
        least=every.min(),
        most=every.max(),
        steps=sum(map(len, series)),
        uneven=False,
        absent=0,
        inserted=False,
        first_absent=None,
    )
    if all(are_even(s.time, EVEN, median) for s in looked_at):
        return record
    uneven = record.model_copy(update={"uneven": True})
    n_absent, first = 0, None
    for s, own in zip(looked_at, steps, strict=True):
        step = usual_step(s.time)
        with np.errstate(over="ignore", invalid="ignore"):  # steps of any size
            missing = np.round(own / step) - 1
            off = np.abs(own - (missing + 1) * step)
        if not np.all(
            (missing >= 0) & (missing <= len(s)) & (off <= EVEN * step + _resolution(s.time))
        ):
            return uneven
        n_absent += int(missing.sum())
        if first is None and missing.any():
            at = int(np.flatnonzero(missing)[0])
            time = s.time[at : at + 1] + own[at] / (missing[at] + 1)
            first = AbsentStep(series=s.id, time=written(calendar, time)[0])
    n_absent *= len(series) if shared else 1
    if n_absent > _MOST_ABSENT * record.steps:
        return uneven
    return record.model_copy(update={"absent": n_absent, "first_absent": first})


def insert_absent(series: Series) -> Series:
    """The series with a row of missing values for each step that its grid lacks."""
    own = np.diff(series.time)
    counts = np.round(own / usual_step(series.time)).astype(np.int64)
    if np.all(counts == 1):
        return series
    # each step is cut into as many as it spans; the last time has none after it
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    time = np.repeat(series.time[:-1], counts) + within * np.repeat(own / counts, counts)
    time = np.append(time, series.time[-1])
    there = np.append(within == 0, True)
    time[there] = series.time
    values = np.full((len(time), series.values.shape[1]), np.nan)
    values[there] = series.values
    known = series.known
    if known is not None:
        past = np.full((len(time), known.shape[1]), np.nan)
        past[there] = known[: len(series)]
        known = np.concatenate([past, known[len(series) :]])
    return replace(series, time=time, values=values, absent=~there, known=known)


def with_steps(dataset: Dataset, *, insert: bool) -> Dataset:
    """The data set that says how it is sampled, in `Dataset.time_steps` and its warnings.

    Args:
        insert: rows for absent steps, as a table may lack them; an array keeps its shape.
    """
    steps, series = find_steps(dataset.series), dataset.series
    if insert and steps.absent:
        series = tuple(insert_absent(s) for s in series)
        steps = steps.model_copy(update={"inserted": True})
    warning = steps.warning(len(series))
    warnings = (*dataset.warnings, *([f"{dataset.source}: {warning}"] if warning else []))
    return replace(dataset, series=series, time_steps=steps, warnings=warnings)

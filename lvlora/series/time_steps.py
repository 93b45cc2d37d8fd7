"""How a data set is sampled: even steps, missing ones, uneven ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lvlora.series import answers
from lvlora.series.dataset import Dataset, FloatArray, Series
from lvlora.series.dates import Calendar, text_of, written

EVEN = 1e-3
"""Share of a step by which a time may be off, since tables round times."""

_MOST_ABSENT = 0.5
"""Largest share of absent steps; with more, the data do not lie on the grid."""


@dataclass(frozen=True)
class TimeSteps:
    """The steps of a data set.

    Attributes:
        usual, least, most: median, shortest and longest time between neighbours that were given.
        n_steps: that were given; n_absent: that are not there, though the others lie on their grid.
        first_absent: (series, time) of the first of them.
        uneven: the times lie on no grid, so nobody can say what is absent.
        inserted: rows of missing values stand for what is absent.
    """

    usual: float
    least: float
    most: float
    n_steps: int
    n_absent: int = 0
    first_absent: tuple[str, float] | None = None
    uneven: bool = False
    inserted: bool = False

    def as_answer(self, calendar: Calendar | None) -> answers.TimeSteps:
        """The same as part of an answer."""
        first = None
        if self.first_absent is not None:
            name, time = self.first_absent
            first = answers.AbsentStep(series=name, time=written(calendar, np.array([time]))[0])
        return answers.TimeSteps(
            unit=None if calendar is None else calendar.unit,
            least=self.least,
            most=self.most,
            uneven=self.uneven,
            absent=self.n_absent,
            inserted=self.inserted,
            first_absent=first,
        )

    def sentence(self, calendar: Calendar | None, n_series: int) -> str:
        """Return a warning for whoever trusts a model with these data; empty where all is even."""
        if self.first_absent is not None:
            name, time = self.first_absent
            of = f" of series '{name}'" if n_series > 1 else ""
            one = self.n_absent == 1
            what = f"{'a row' if one else 'rows'} of missing values {'stands' if one else 'stand'}"
            what += " for it" if one else " for them"
            if not self.inserted:
                what = "no row stands for it" if one else "no rows stand for them"
            are = "step is" if one else "steps are"
            return (
                f"{self.n_absent:,} time {are} absent beside {self.n_steps:,} that are there (the "
                f"first: {text_of(calendar, time)}{of}); {what}"
            )
        if self.uneven:
            usual, least, most = (_length(calendar, x) for x in (self.usual, self.least, self.most))
            return f"the time steps are uneven ({least} to {most}, median {usual})"
        return ""


def _length(calendar: Calendar | None, step: float) -> str:
    return f"{step:.6g}" if calendar is None else calendar.length(step)


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
    found = TimeSteps(
        float(np.median(every)), float(every.min()), float(every.max()), sum(map(len, series))
    )
    if all(are_even(s.time, EVEN, found.usual) for s in looked_at):
        return found
    n_absent, first = 0, None
    for s, own in zip(looked_at, steps, strict=True):
        step = usual_step(s.time)
        with np.errstate(over="ignore", invalid="ignore"):  # steps of any size
            missing = np.round(own / step) - 1
            off = np.abs(own - (missing + 1) * step)
        if not np.all(
            (missing >= 0) & (missing <= len(s)) & (off <= EVEN * step + _resolution(s.time))
        ):
            return replace(found, uneven=True)
        n_absent += int(missing.sum())
        if first is None and missing.any():
            at = int(np.flatnonzero(missing)[0])
            first = (s.id, float(s.time[at] + own[at] / (missing[at] + 1)))
    n_absent *= len(series) if shared else 1
    if n_absent > _MOST_ABSENT * found.n_steps:
        return replace(found, uneven=True)
    return replace(found, n_absent=n_absent, first_absent=first)


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
    found = find_steps(dataset.series)
    series = dataset.series
    if insert and found.n_absent:
        series = tuple(insert_absent(s) for s in series)
        found = replace(found, inserted=True)
    said = found.sentence(dataset.calendar, len(series))
    warnings = (*dataset.warnings, *([f"{dataset.source}: {said}"] if said else []))
    return replace(dataset, series=series, time_steps=found, warnings=warnings)

"""What a model is asked of one history: which steps, at which times, beside which known columns.

Uneven steps are told, as a known column of the time since the last step; or the history is
interpolated to even ones, its future forecast there, and read off at the wanted times. Short gaps
are filled in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from lvlora.forecast.forecast import continue_time
from lvlora.series.dataset import FloatArray, Series
from lvlora.series.gaps import at_times, n_short, said_of_short, without_short
from lvlora.series.known import known_ahead
from lvlora.series.time_steps import are_even, intervals, usual_step

TimesRead = Literal["told", "resampled", "ignored"]
"""How uneven steps are read; told is told of even ones, too."""

GapsRead = Literal["told", "filled"]
"""How missing values of a history are read: as such, or filled in where few follow one another."""

AUTO: TimesRead = "resampled"
"""What wins without an adapter that was trained otherwise (docs/notes/log/2026-11-results.md)."""
AUTO_GAPS: GapsRead = "filled"
"""What wins (docs/notes/log/2026-11-results.md)."""
_EVEN = 0.05
"""Of a step: how far steps may be from the usual one, and be taken for even."""
_MOST_STEPS = 4
"""Even steps for each uneven one, at most."""


@dataclass(frozen=True)
class Asked:
    """A question to a model.

    Attributes:
        history: its last steps, (T, V) values, at even times if it was resampled.
        known: (T + H, K) known columns of these steps and of those to forecast.
        time: (H,) times of the steps to forecast.
        wanted: (W,) times that were asked for; ``time`` where nothing was resampled.
    """

    history: Series
    known: FloatArray
    time: FloatArray
    wanted: FloatArray

    @property
    def horizon(self) -> int:
        """H."""
        return len(self.time)

    @property
    def resampled(self) -> bool:
        """The steps are others than those that were asked for."""
        return self.time is not self.wanted

    def at_wanted(self, values: FloatArray) -> FloatArray:
        """(..., H, V) futures at the times that were asked for, (..., W, V).

        By monotone cubics from the last step of the history on; missing where the nearest step is.
        """
        if not self.resampled:
            return values
        from scipy.interpolate import PchipInterpolator

        shape = (*values.shape[:-2], 1, values.shape[-1])
        last = np.broadcast_to(self.history.values[-1], shape)
        path = np.concatenate([last, values], axis=-2)
        time = np.concatenate([self.history.time[-1:], self.time])
        gaps = np.isnan(path)
        inside = np.clip(self.wanted, time[0], time[-1])
        found: FloatArray = PchipInterpolator(time, _filled(path), axis=-2)(inside)
        nearest = np.abs(inside[:, None] - time[1:]).argmin(axis=1) + 1
        return np.where(gaps[..., nearest, :], np.nan, found)


def times_ahead(history: Series, horizon: int) -> FloatArray:
    """(H,) the times of its next steps: those that are known, then at its usual step.

    Raises:
        DataError: dates beyond the year 9999.
    """
    if history.ahead is None:
        return continue_time(history.time, horizon, history.calendar)
    known = history.ahead[:horizon]
    if len(known) == horizon:
        return known
    whole = np.concatenate([history.time, known])
    return np.concatenate([known, continue_time(whole, horizon - len(known), history.calendar)])


def ask(
    history: Series,
    horizon: int,
    context: int | None,
    times: TimesRead | None,
    gaps: GapsRead | None = None,
) -> Asked:
    """The question for a number of steps.

    Args:
        context: use only this many last steps.
        times: how uneven steps are read; None for `AUTO`.
        gaps: how missing values are read; None for `AUTO_GAPS`. Those of a history that is
            resampled are always filled in.

    Raises:
        DataError: a known column is not known at every step; dates beyond the year 9999.
    """
    wanted = times_ahead(history, horizon)
    time = np.concatenate([history.time, wanted])
    known = known_ahead(history, horizon)
    past = _last(history, context)
    start = len(history) - len(past)
    if times == "told" or (AUTO == "told" and times is None and not are_even(time, _EVEN)):
        known = np.column_stack([intervals(time), known])
    elif (times or AUTO) == "resampled" and len(past) > 1 and not are_even(time[start:], _EVEN):
        return _resampled(past, known[start:], wanted)
    if (gaps or AUTO_GAPS) == "filled":
        past = without_short(past)
    return Asked(past, known[start:], wanted, wanted)


def how_read(
    histories: Sequence[Series], times: TimesRead | None, horizon: int, context: int | None = None
) -> str:
    """A sentence that says what is made of uneven steps; empty where all are even.

    Args:
        context: only so many last steps are read.
    """
    if not any(is_uneven(_last(h, context), horizon) for h in histories):
        return ""
    return {
        "told": "Time steps are uneven: the model is told the time since the last step, as a first "
        "column.",
        "resampled": "Time steps are uneven: the model reads even ones, between which the data are "
        "interpolated, and its forecast is read off at the wanted times.",
        "ignored": "Time steps are uneven: the model takes them as consecutive.",
    }[times or AUTO]


def how_bridged(
    histories: Sequence[Series],
    times: TimesRead | None,
    gaps: GapsRead | None,
    horizon: int,
    context: int | None = None,
) -> str:
    """A sentence that says what is made of missing values; empty where nothing is filled in.

    A history that is resampled is filled in whatever ``gaps`` says: `how_read` tells of it.

    Args:
        context: only so many last steps are read.
    """
    if (gaps or AUTO_GAPS) != "filled":
        return ""
    resampled = (times or AUTO) == "resampled"
    read = (_last(h, context) for h in histories)
    n = n_short(h for h in read if not (resampled and is_uneven(h, horizon)))
    return said_of_short(n, "the model reads")


def _last(history: Series, context: int | None) -> Series:
    return history.steps(max(0, len(history) - (context or len(history))), len(history))


def is_uneven(history: Series, horizon: int = 0) -> bool:
    """Whether its steps, or those to its next ones, are of different lengths."""
    time = np.concatenate([history.time, times_ahead(history, horizon)])
    return not are_even(time, _EVEN)


def _resampled(history: Series, known: FloatArray, wanted: FloatArray) -> Asked:
    """The history at even steps that end with it, and as many ahead as lead to the wanted times."""
    last, span = history.time[-1], history.time[-1] - history.time[0]
    ahead = float(wanted[-1] - last) if len(wanted) else 0.0
    step = max(
        usual_step(history.time),
        span / (_MOST_STEPS * len(history)),
        ahead / (_MOST_STEPS * max(1, len(wanted))),
    )
    past = last - step * np.arange(int(span / step + 1e-9), -1, -1)
    future = last + step * np.arange(1, max(1, math.ceil(ahead / step - 1e-9)) + 1)
    values = np.column_stack([at_times(history.time, v, past) for v in history.values.T])
    whole = np.concatenate([history.time, wanted])
    even = np.concatenate([past, future])
    columns = [at_times(whole, k, np.minimum(even, whole[-1])) for k in known.T]
    return Asked(
        replace(history, time=past, values=values, absent=None, known=None, ahead=None),
        np.column_stack(columns) if columns else np.empty((len(even), 0)),
        future,
        wanted,
    )


def _filled(path: FloatArray) -> FloatArray:
    """(..., T, V) with the last known value in place of missing ones; first the next, or 0."""
    if not np.isnan(path).any():
        return path
    out = np.moveaxis(path, -2, -1).reshape(-1, path.shape[-2]).copy()
    steps = np.arange(out.shape[1])
    for row in out:
        there = np.flatnonzero(~np.isnan(row))
        row[:] = np.interp(steps, there, row[there]) if len(there) else 0.0
    return np.moveaxis(out.reshape(*path.shape[:-2], path.shape[-1], path.shape[-2]), -1, -2)

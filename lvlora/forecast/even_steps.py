"""Steps of one history as a model reads them: at even times, gaps bridged, beside known columns.

The text has no times. So a history at uneven ones is interpolated to even ones, its future forecast
there, and read off at the wanted times: three to six times as near as taking its steps for
consecutive or telling their lengths (docs/notes/log/2026-11-results.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lvlora.data.dataset import FloatArray, Series
from lvlora.data.gaps import are_even, at_times, n_short, note_on_filled, usual_step, without_short
from lvlora.data.known import known_ahead
from lvlora.forecast.forecast import continue_time

_EVEN = 0.05
"""Share of a step by which even steps may differ from the usual one."""
_MOST_STEPS = 4
"""Even steps for each uneven one, at most."""


@dataclass(frozen=True)
class EvenSteps:
    """A history and the steps to forecast, all at even times.

    Attributes:
        history: its last steps, (T, V) values.
        known: (T + H, K) known columns of these steps and of those to forecast.
        time: (H,) times of the steps to forecast.
        wanted: (W,) times of the forecast; ``time`` where nothing was resampled.
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
        """Whether the steps are others than those of the forecast."""
        return self.time is not self.wanted

    def at_wanted(self, values: FloatArray) -> FloatArray:
        """(..., H, V) futures at the wanted times, (..., W, V).

        By monotone cubics from the last step of the history on, where that is known.
        """
        if not self.resampled:
            return values
        from scipy.interpolate import PchipInterpolator

        shape = (*values.shape[:-2], 1, values.shape[-1])
        last = np.broadcast_to(self.history.values[-1], shape)
        last = np.where(np.isnan(last), values[..., :1, :], last)
        path = np.concatenate([last, values], axis=-2)
        time = np.concatenate([self.history.time[-1:], self.time])
        inside = np.clip(self.wanted, time[0], time[-1])
        return np.asarray(PchipInterpolator(time, path, axis=-2)(inside))


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
    all_times = np.concatenate([history.time, known])
    return np.concatenate([known, continue_time(all_times, horizon - len(known), history.calendar)])


def even_steps(history: Series, horizon: int, context: int | None = None) -> EvenSteps:
    """Return a history and so many steps ahead as a model reads them.

    Args:
        context: use only this many last steps.

    Raises:
        DataError: a known column is not known at every step; dates beyond the year 9999.
    """
    wanted = times_ahead(history, horizon)
    time = np.concatenate([history.time, wanted])
    known = known_ahead(history, horizon)
    past = history.last_steps(context)
    start = len(history) - len(past)
    if len(past) > 1 and not are_even(time[start:], _EVEN):
        return _resampled(past, known[start:], wanted)
    return EvenSteps(without_short(past), known[start:], wanted, wanted)


def interpolated(
    histories: Sequence[Series], horizon: int, context: int | None = None
) -> list[str]:
    """Return sentences about the values that are read in place of the histories' own, if any.

    Args:
        context: only so many last steps are read.
    """
    read = [h.last_steps(context) for h in histories]
    even = [h for h in read if are_even(np.concatenate([h.time, times_ahead(h, horizon)]), _EVEN)]
    notes = []
    if len(even) < len(read):
        notes.append(
            "Time steps are uneven: the model reads even ones, between which the data are "
            "interpolated, and its forecast is read off at the wanted times."
        )
    n_filled = n_short(even)
    return [*notes, note_on_filled(n_filled, "the model reads")] if n_filled else notes


def _resampled(history: Series, known: FloatArray, wanted: FloatArray) -> EvenSteps:
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
    all_times = np.concatenate([history.time, wanted])
    even = np.concatenate([past, future])
    columns = [at_times(all_times, k, np.minimum(even, all_times[-1])) for k in known.T]
    return EvenSteps(
        replace(history, time=past, values=values, absent=None, known=None, ahead=None),
        np.column_stack(columns) if columns else np.empty((len(even), 0)),
        future,
        wanted,
    )

"""The season of a series: one rule for seasonal forecasters, scaled errors and `--season`.

The rule is that of ``lvlora analyze`` (`find_peaks`), unless the user names a period or none.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np

from lvlora.data.dataset import FloatArray, Series
from lvlora.data.gaps import complete
from lvlora.data.periods import alike, find_peaks
from lvlora.settings.base import Season

_PERIODS: dict[bytes, float] = {}
"""A hash of times and values -> `find_peaks`' period in samples."""
_MOST_PERIODS = 10_000


def seasons(time: FloatArray, history: FloatArray, season: Season = "auto") -> FloatArray:
    """(V,) period of each variable of a complete history in steps, NaN where it has none.

    Periods that are nearly equal belong to one cycle, and their mean is nearer to it than each. A
    variable without a period takes that mean, too, if all others are nearly equal.
    """
    n_steps, n_variables = history.shape
    if season == "none":
        return np.full(n_variables, np.nan)
    if season != "auto":
        return np.full(n_variables, float(season) if season < n_steps else math.nan)
    periods = np.array([_period(time, column) for column in history.T])
    known = periods[periods >= 2]
    shared = np.full(n_variables, np.nan)
    for v, own in enumerate(periods.tolist()):
        same = known[alike(known, own)] if own >= 2 else known
        if len(same) and alike(same.max(), same.min()):
            shared[v] = same.mean()
        elif own >= 2:
            shared[v] = own
    return shared


def _period(time: FloatArray, column: FloatArray) -> float:
    """The period of a column in samples; each seasonal forecaster asks for that of the same."""
    key = hashlib.blake2b(time.tobytes() + column.tobytes()).digest()
    period = _PERIODS.get(key)
    if period is None:
        if len(_PERIODS) >= _MOST_PERIODS:
            _PERIODS.clear()
        period = _PERIODS[key] = find_peaks(time, column).period_samples
    return period


def seasons_of(history: Series, season: Season = "auto") -> FloatArray:
    """(V,) `seasons` of a history with its gaps."""
    return seasons(history.time, complete(history.time, history.values), season)


def whole_season(period: float) -> int:
    """The whole number of steps nearest to a period; 1 without one.

    >>> whole_season(11.6), whole_season(float("nan"))
    (12, 1)
    """
    return max(round(period), 1) if math.isfinite(period) else 1


def seasons_used(periods: Sequence[Sequence[float]]) -> str:
    """The periods of several series, a row each, for a cell of a table.

    >>> nan = float("nan")
    >>> seasons_used([[12.0], [12.0]]), seasons_used([[9.5], [11.0], [nan]]), seasons_used([[nan]])
    ('12', '9.5 to 11; none in 1 of 3', 'none')
    """
    seen = [[period for period in row if math.isfinite(period)] for row in periods]
    known = [period for row in seen for period in row]
    if not known:
        return "none"
    ends = dict.fromkeys(f"{end:.4g}" for end in (min(known), max(known)))
    without = sum(not row for row in seen)
    return " to ".join(ends) + (f"; none in {without} of {len(seen)}" if without else "")

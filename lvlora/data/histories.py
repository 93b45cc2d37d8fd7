"""Where series are cut into what a forecaster sees and what it is asked: the one place.

Evaluations, validation during training and ``--holdout`` all cut their series here, so that nothing
of a future can reach a forecast.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from lvlora.data.dataset import Dataset, Series

LEAST_HISTORY = 2
"""Steps of a history that a forecast from the end of a series needs at least."""


@dataclass(frozen=True)
class Cut:
    """The history of a forecaster, (T, V), and its future, (H, V)."""

    history: Series
    future: Series


def cut(series: Series, at: int, horizon: int) -> Cut:
    """The first ``at`` steps, and up to ``horizon`` after them.

    The history's arrays are its own: views would lead to what comes next. Of that it has the times
    and the columns that are known.
    """
    past = series.steps(0, at)
    absent = None if past.absent is None else past.absent.copy()
    known = None if past.known is None else past.known.copy()
    history = replace(
        past, time=past.time.copy(), values=past.values.copy(), absent=absent, known=known
    )
    return Cut(history, series.steps(at, at + horizon))


def last_windows(
    series: Series, horizon: int, n_windows: int = 1, stride: int = 1, context: int | None = None
) -> list[Cut]:
    """Forecasts from rolling origins: the last ends with the series, each other ``stride`` earlier.

    >>> import numpy as np
    >>> ten = Series("a", np.arange(10.0), np.zeros((10, 1)))
    >>> [len(c.history) for c in last_windows(ten, horizon=2, n_windows=3, stride=2)]
    [4, 6, 8]

    Args:
        horizon: steps of each future.
        n_windows: origins.
        context: steps of each history; None for all that came before, `LEAST_HISTORY` at least.

    Returns:
        the cuts, the earliest first; none where the series is too short for all of them.
    """
    last = len(series) - horizon
    first = last - (n_windows - 1) * stride
    if first < (LEAST_HISTORY if context is None else context):
        return []
    cuts = []
    for origin in range(first, last + 1, stride):
        begin = 0 if context is None else origin - context
        cuts.append(cut(series.steps(begin, origin + horizon), origin - begin, horizon))
    return cuts


def learnable(train: Dataset, histories: Iterable[Series], before: float | None = None) -> Dataset:
    """Return the series to learn from: of series that are forecast only the histories.

    Args:
        train: the training part.
        histories: of all series that are forecast, in that part or in others; of several histories
            of one series the shortest counts.
        before: a time from which nothing may be learnt, of any series; None for no such time.

    Returns:
        the training series, and the histories that are not of them.
    """
    forecast: dict[str, Series] = {}
    for history in histories:
        other = forecast.get(history.id)
        if other is None or len(history) < len(other):
            forecast[history.id] = history
    known = {s.id for s in train}
    others = [history for name, history in forecast.items() if name not in known]
    series = [*(forecast.get(s.id, s) for s in train), *others]
    if before is not None:
        cuts = [(s, int(np.searchsorted(s.time, before))) for s in series]
        series = [s.steps(0, n) for s, n in cuts if n]
    return replace(train, series=tuple(series))

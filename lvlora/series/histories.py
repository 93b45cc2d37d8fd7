"""Where series are cut into what a forecaster sees and what it is asked: the one place.

Knows: steps. Does not know: scales, forecasters, who asks. Evaluations, validation during training
and ``--holdout`` all cut their series here, so that nothing of a future can reach a forecast.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from lvlora.series.dataset import Dataset, Series


@dataclass(frozen=True)
class Cut:
    """What a forecaster is given, (T, V), and what came next, (H, V)."""

    history: Series
    future: Series


def cut(series: Series, at: int, horizon: int) -> Cut:
    """The first ``at`` steps, and up to ``horizon`` after them.

    The history's arrays are its own: views would lead to what comes next.
    """
    past = series.steps(0, at)
    absent = None if past.absent is None else past.absent.copy()
    history = replace(past, time=past.time.copy(), values=past.values.copy(), absent=absent)
    return Cut(history, series.steps(at, at + horizon))


def learnable(train: Dataset, histories: Iterable[Series]) -> Dataset:
    """What a forecaster may learn from: of series that are forecast only the histories.

    Args:
        train: the training part.
        histories: of all series that are forecast, in that part or in others.
    """
    forecast = {history.id: history for history in histories}
    return replace(train, series=tuple(forecast.get(s.id, s) for s in train))

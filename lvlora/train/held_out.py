"""Validation by steps: what is held out of the ends of series where there are too few of them.

A split by series needs series to hold out. Of one to a few the adapter is chosen by how well it
forecasts their own last steps, which it was not trained on.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lvlora.errors import SettingsError
from lvlora.series.dataset import Dataset, Series
from lvlora.series.histories import Cut, last_windows
from lvlora.settings.training import LearningSettings

FEW_SERIES = 8
"""Fewer are validated by steps where nothing is asked for."""

_SHARE = 4
"""One part in so many of a series of middle length is held out, within these limits."""
_LEAST, _MOST = 4, 100
_WINDOWS = 6
"""Forecasts that a validation makes at least: several of each series where there are fewer."""


def steps_of(settings: LearningSettings, dataset: Dataset) -> int:
    """Steps to hold out at the end of each series; 0: whole series are held out, or nothing is.

    Raises:
        SettingsError: all series are too short for what is asked for.
    """
    asked = settings.validation_steps
    if not settings.validation:
        return 0
    if asked is None:
        if len(dataset) >= FEW_SERIES or not len(dataset):
            return 0
        typical = int(np.median([len(s) for s in dataset])) // _SHARE
        asked = min(max(typical, _LEAST), _MOST)
        return asked if any(_is_long_enough(s, asked) for s in dataset) else 0
    if asked and not any(_is_long_enough(s, asked) for s in dataset):
        longest = max((len(s) for s in dataset), default=0)
        raise SettingsError(
            f"--validation-steps {asked}: no series has twice as many steps, the longest {longest}",
            f"At most --validation-steps {longest // 2}; 0 holds out whole series."
            if longest > 1
            else "--validation-steps 0 holds out whole series.",
        )
    return asked


def trained_on(part: Dataset, n_steps: int) -> Dataset:
    """The series without the steps that are held out; too short ones stay whole."""
    if not n_steps:
        return part
    kept = tuple(s.steps(0, len(s) - n_steps) if _is_long_enough(s, n_steps) else s for s in part)
    return replace(part, series=kept)


def scored_of(part: Dataset, n_steps: int, n_series: int) -> Dataset:
    """The first series of which steps are held out, whole."""
    long_enough = [s.id for s in part if _is_long_enough(s, n_steps)]
    return part.select(long_enough[:n_series])


def windows_of(part: Dataset, n_steps: int, most: int) -> list[Cut]:
    """Forecasts of the held-out steps: one of each series, or several after one another.

    Args:
        most: steps of a history and its future together.
    """
    n_windows = min(-(-_WINDOWS // len(part)), n_steps)
    horizon = n_steps // n_windows
    cuts = [each for series in part for each in last_windows(series, horizon, n_windows, horizon)]
    return [
        replace(c, history=c.history.steps(max(0, len(c.history) + horizon - most), len(c.history)))
        for c in cuts
    ]


def _is_long_enough(series: Series, n_steps: int) -> bool:
    return len(series) >= 2 * n_steps

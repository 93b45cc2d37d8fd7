"""validation.json: what validation forecast, the truth, and what plain rivals make of it.

The forecasts are those of the last validation whose adapter was kept, and of the one before
training; nothing is forecast for the file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lvlora import durable
from lvlora.errors import DataError
from lvlora.series.dataset import Dataset, FloatArray, Series
from lvlora.series.rivals import quick_rivals
from lvlora.train.answers import Gain

_MOST_SERIES = 32
"""Forecasts of the first ones are kept; errors of all."""
_MOST_TRAINING = 200
"""Series that a rival learns from: more would take longer than a person waits for a page."""
_DIGITS = 7


@dataclass(frozen=True, eq=False)
class Scored:
    """The series whose forecasts validation scores.

    Attributes:
        histories, futures: of n series, the futures H steps long.
        variables, time_name: as in the data set.
        held_out: steps at the end of each series that were not trained on, where the futures are
            windows of these; 0: the series were not.
    """

    histories: Sequence[Series]
    futures: Sequence[Series]
    variables: tuple[str, ...]
    time_name: str
    held_out: int = 0

    def errors(self, point: FloatArray) -> FloatArray:
        """(n, H, V) absolute errors of forecasts, NaN where the truth is not known."""
        truth = np.stack([f.values for f in self.futures])
        return np.asarray(np.abs(point - truth))

    def facts(self) -> dict[str, Any]:
        """What is the same in every validation of a run, as JSON."""
        calendar = self.histories[0].calendar if self.histories else None
        return {
            "schema_version": 1,
            **({} if calendar is None else {"calendar": calendar.to_dict()}),
            **({"held_out": self.held_out} if self.held_out else {}),
            "variables": list(self.variables),
            "time": self.time_name,
            "series_scored": len(self.histories),
            "series": [
                {
                    "id": history.id,
                    "history_time": _times(history),
                    "history": _plain(history.values),
                    "time": _times(future),
                    "truth": _plain(future.values),
                }
                for history, future in islice(
                    zip(self.histories, self.futures, strict=True), _MOST_SERIES
                )
            ],
        }


def keep(path: Path, scored: Scored, point: FloatArray, name: str, step: int) -> None:
    """Write what a validation forecast; what is said of another one of the same series stays.

    Args:
        point: (n, H, V) its forecasts.
        name: ``before`` training, or of the adapter that is ``kept``.

    Raises:
        LvloraError: the file cannot be written.
    """
    facts = scored.facts()
    errors = scored.errors(point)
    said = {
        "step": step,
        "mae": _plain(np.nanmean(errors)),
        "series_mae": [_plain(np.nanmean(e)) for e in errors],
        "forecasts": _plain(point[:_MOST_SERIES]),
    }
    _write(path, {**facts, **_said_of_the_same(path, facts), name: said})


def gain_of(path: Path) -> Gain | None:
    """How much smaller the MAE of the kept adapter is than that of the model before training.

    None where the file does not say.
    """
    try:
        found = durable.read_json_object(path, 2**28)
        before, kept = (
            np.array(found[name]["series_mae"], dtype=float) for name in ("before", "kept")
        )
    except (DataError, KeyError, TypeError, ValueError):
        return None
    if before.shape != kept.shape or before.ndim != 1:
        return None
    return gain_in(before, kept, "windows" if found.get("held_out") else "series")


def gain_in(before: FloatArray, after: FloatArray, of: Literal["series", "windows"]) -> Gain | None:
    """How much smaller ``after`` is in the mean, (n,) errors each; NaN where there is none.

    The interval is Student's, of the mean of paired differences: percentiles of resampled means are
    too narrow for a few. None where nothing can be compared.
    """
    from scipy.stats import t

    gains = before - after
    gains = gains[np.isfinite(gains)]
    if not len(gains):
        return None
    mean, low, high = float(gains.mean()), None, None
    if len(gains) > 1:
        reach = float(t.ppf(0.975, len(gains) - 1) * gains.std(ddof=1) / np.sqrt(len(gains)))
        low, high = mean - reach, mean + reach
    return Gain(mean=mean, low=low, high=high, n=len(gains), of=of)


def add_rivals(path: Path, scored: Scored, train: Dataset) -> None:
    """Let the rivals that are fast forecast the same futures, and write their errors.

    A rival that cannot forecast such data is left out. Without a file there is nothing to add to.

    Args:
        train: what they may learn from.

    Raises:
        LvloraError: the file cannot be written.
    """
    facts = scored.facts()
    said = _said_of_the_same(path, facts)
    if "rivals" in said or not said:
        return
    some = train.select([s.id for s in train][:_MOST_TRAINING])
    horizon = len(scored.futures[0])
    context = min(map(len, scored.histories))
    rows = []
    for rival in quick_rivals():
        if rival.refusal(some):
            continue
        try:
            rival.fit(some, context, horizon)
            point = [
                rival.forecast(np.concatenate([h.time, f.time]), h.values)
                for h, f in zip(scored.histories, scored.futures, strict=True)
            ]
        except (ArithmeticError, ValueError):  # never at the cost of a run that is done
            continue
        rows.append({"name": rival.name, "mae": _plain(np.nanmean(scored.errors(np.stack(point))))})
    _write(path, {**facts, **said, "rivals": rows})


def _said_of_the_same(path: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What the file says beyond ``facts``, if it is about the same series."""
    try:
        before = durable.read_json_object(path, 2**28)
    except DataError:
        return {}
    same = all(before.get(key) == value for key, value in facts.items())
    return {k: v for k, v in before.items() if k not in facts} if same else {}


def _write(path: Path, content: Mapping[str, Any]) -> None:
    durable.write_text(path, json.dumps(content) + "\n")


def _times(series: Series) -> Any:
    """Times as JSON; those of dates in full, for a minute has more digits than a plain number."""
    return _plain(series.time) if series.calendar is None else series.time.tolist()


def _plain(values: Any) -> Any:
    """Numbers as JSON, to seven digits; None for what is not finite."""
    if isinstance(values, np.ndarray) and values.ndim:
        return [_plain(value) for value in values]
    return float(f"{values:.{_DIGITS}g}") if math.isfinite(values) else None

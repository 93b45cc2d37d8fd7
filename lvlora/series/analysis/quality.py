"""Is a data set what it seems: copies, gaps, negatives, constants, uneven sampling; its statistics.

Knows: values and times. Does not know: dynamics, files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from lvlora.series.dataset import Dataset, FloatArray
from lvlora.series.time_steps import EVEN, find_steps

PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
_SHOWN = 20


@dataclass(frozen=True)
class Quality:
    """What was found. Lists of ids hold the first 20.

    Attributes:
        shortest, longest: numbers of samples of a series.
        missing, negative, zero: numbers of values.
        n_duplicates: series whose times and values equal an earlier one's; ``duplicates`` are
            (id, earlier id).
        n_constant: pairs of series and variable that never change, or have no value at all;
            ``constant`` are (id, variable).
        regular: every series is sampled at even steps (to `EVEN`), all at the same one.
        interval: median time between samples.
        same_times: all series have the same times.
        time_steps: shortest and longest step, how many are absent, the first of those.
    """

    n_series: int
    n_variables: int
    shortest: int
    longest: int
    n_values: int
    missing: int
    negative: int
    zero: int
    n_duplicates: int
    duplicates: tuple[tuple[str, str], ...]
    n_constant: int
    constant: tuple[tuple[str, str], ...]
    regular: bool
    interval: float
    same_times: bool
    time_steps: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        plain = asdict(self)
        for name in ("duplicates", "constant"):
            plain[name] = [list(pair) for pair in plain[name]]
        return plain


def check_quality(dataset: Dataset) -> Quality:
    """Look for what would mislead an analysis or a training; nothing is changed.

    Args:
        dataset: at least one series of at least two samples; rows that a reader put in don't count.
    """
    found = dataset.time_steps or find_steps(dataset.series)
    calendar = dataset.calendar
    dataset = replace(dataset, series=tuple(s.given() for s in dataset))
    seen: dict[bytes, str] = {}
    duplicates, constant = [], []
    for series in dataset:
        digest = hashlib.sha256(series.time.tobytes() + (series.values + 0.0).tobytes()).digest()
        earlier = seen.setdefault(digest, series.id)
        if earlier != series.id:
            duplicates.append((series.id, earlier))
        for name, column in zip(dataset.variables, series.values.T, strict=True):
            known = column[~np.isnan(column)]
            if len(known) == 0 or known.min() == known.max():
                constant.append((series.id, name))
    steps = [np.diff(s.time) for s in dataset]
    interval = float(np.median(np.concatenate(steps)))
    lengths = [len(s) for s in dataset]
    first = dataset.series[0].time
    return Quality(
        n_series=len(dataset),
        n_variables=len(dataset.variables),
        shortest=min(lengths),
        longest=max(lengths),
        n_values=sum(s.values.size for s in dataset),
        missing=sum(int(np.isnan(s.values).sum()) for s in dataset),
        negative=sum(int((s.values < 0).sum()) for s in dataset),
        zero=sum(int((s.values == 0).sum()) for s in dataset),
        n_duplicates=len(duplicates),
        duplicates=tuple(duplicates[:_SHOWN]),
        n_constant=len(constant),
        constant=tuple(constant[:_SHOWN]),
        regular=all(bool(np.all(np.abs(d - interval) <= EVEN * interval)) for d in steps),
        interval=interval,
        same_times=all(np.array_equal(s.time, first) for s in dataset),
        time_steps=found.to_dict(calendar),
    )


def summarize(values: FloatArray) -> dict[str, Any]:
    """Count, mean, standard deviation (of the population), extremes and percentiles of what is
    not NaN; None where nothing is left."""
    known = values[~np.isnan(values)]
    if not len(known):
        nothing: dict[str, Any] = dict.fromkeys(("mean", "sd", "min", "max"))
        return {"count": 0, **nothing, "percentiles": {str(p): None for p in PERCENTILES}}
    return {
        "count": len(known),
        "mean": float(known.mean()),
        "sd": float(known.std()),
        "min": float(known.min()),
        "max": float(known.max()),
        "percentiles": {
            str(p): float(q)
            for p, q in zip(PERCENTILES, np.percentile(known, PERCENTILES), strict=True)
        },
    }


def summary(dataset: Dataset) -> Mapping[str, dict[str, Any]]:
    """`summarize` of all values of each variable."""
    return {
        name: summarize(np.concatenate([s.values[:, v] for s in dataset]))
        for v, name in enumerate(dataset.variables)
    }

"""Whether a data set is what it seems (copies, gaps, uneven sampling), and its statistics."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np

from lvlora.series.answers import Quality, Summary
from lvlora.series.dataset import Dataset, FloatArray
from lvlora.series.time_steps import EVEN, are_even, find_steps

PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
_SHOWN = 20


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
    interval = float(np.median(np.concatenate([np.diff(s.time) for s in dataset])))
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
        duplicates=duplicates[:_SHOWN],
        n_constant=len(constant),
        constant=constant[:_SHOWN],
        regular=all(are_even(s.time, EVEN, interval) for s in dataset),
        interval=interval,
        same_times=all(np.array_equal(s.time, first) for s in dataset),
        time_steps=found.as_answer(calendar),
    )


def summarize(values: FloatArray) -> Summary:
    """Statistics of what is not NaN; None where nothing is left."""
    known = values[~np.isnan(values)]
    if not len(known):
        nothing = dict.fromkeys(map(str, PERCENTILES))
        return Summary(count=0, mean=None, sd=None, min=None, max=None, percentiles=nothing)
    levels = np.percentile(known, PERCENTILES)
    return Summary(
        count=len(known),
        mean=known.mean(),
        sd=known.std(),
        min=known.min(),
        max=known.max(),
        percentiles={str(p): q for p, q in zip(PERCENTILES, levels, strict=True)},
    )


def summary(dataset: Dataset) -> dict[str, Summary]:
    """`summarize` of all values of each variable."""
    return {
        name: summarize(np.concatenate([s.values[:, v] for s in dataset]))
        for v, name in enumerate(dataset.variables)
    }

"""Forecasters compared: by kind of dynamics, and pair by pair on the same series.

Knows: entries of a table. Does not know: how they forecast, terminals, figures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lvlora.forecast.evaluation import Difference, Entry, Task
from lvlora.series.dataset import FloatArray
from lvlora.series.metrics import absolute_errors, mean_known

_RESAMPLES = 2000


def compare(entries: Sequence[Entry], seed: int = 0) -> None:
    """Set each entry's MAE minus each model's, with the paired 95 % interval of a bootstrap.

    Series are drawn with replacement (Efron 1979, doi:10.1214/aos/1176344552), the same ones for
    both of a pair. The interval tells how much the choice of series matters; it does not tell
    what another training seed would do.

    Args:
        seed: of the draws.
    """
    for model in [e for e in entries if e.kind == "model"]:
        for entry in entries:
            if entry is not model:
                entry.against[model.name] = difference(
                    entry.scores.series_mae, model.scores.series_mae, seed
                )


def difference(ours: FloatArray, theirs: FloatArray, seed: int = 0) -> Difference:
    """Mean of ``ours - theirs`` over series, (n,) each; series that either lacks are left out."""
    gaps = ours - theirs
    gaps = gaps[~np.isnan(gaps)]
    if not len(gaps):
        return Difference(math.nan, math.nan, math.nan)
    mean = float(gaps.mean())
    if len(gaps) < 2:
        return Difference(mean, math.nan, math.nan)
    rng = np.random.default_rng(seed)
    picks: NDArray[np.int64] = rng.integers(0, len(gaps), (_RESAMPLES, len(gaps)))
    low, high = np.percentile(gaps[picks].mean(axis=1), [2.5, 97.5])
    return Difference(mean, float(low), float(high))


def by_cluster(entries: Sequence[Entry], given: Task, clusters: Mapping[str, str]) -> list[str]:
    """Set each entry's MAE within each cluster of similar dynamics.

    Args:
        clusters: id of a series -> name of its cluster.

    Returns:
        names of the clusters that have a series here, the largest first.
    """
    labels = np.array([clusters[name] for name in given.ids])
    names, sizes = np.unique(labels, return_counts=True)
    order = [str(names[i]) for i in np.argsort(-sizes, kind="stable")]
    for entry in entries:
        errors = absolute_errors(given.truth, entry.point)
        for name in order:
            entry.per_cluster[name] = float(mean_known(errors[labels == name]))
    return order

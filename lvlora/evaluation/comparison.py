"""Forecasters compared: by kind of dynamics, pair by pair, and all with all on the same series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lvlora.data.dataset import FloatArray
from lvlora.data.gaps import mean_known
from lvlora.data.metrics.measures import Difference
from lvlora.data.metrics.scores import absolute_errors
from lvlora.data.metrics.skill import by_series, relative_errors, skills, win_rates
from lvlora.evaluation.protocol import Task
from lvlora.evaluation.scores import Entry
from lvlora.forecast.rivals import LastValue, SeasonalNaive

_RESAMPLES = 2000


def compare(entries: Sequence[Entry], seed: int = 0, series: Sequence[str] | None = None) -> None:
    """Set each entry's MAE minus each model's, its skill and win rate, with their 95 % intervals.

    Series are drawn with replacement (Efron 1979, doi:10.1214/aos/1176344552), the same ones for
    both of a pair, and each with all of its windows. The interval tells how much the choice of
    series matters; it does not tell what another training seed would do.

    Args:
        seed: of the draws.
        series: names of the series that the entries' errors are of, where some have several
            windows.
    """
    for model in [e for e in entries if e.kind == "model"]:
        for entry in entries:
            if entry is not model:
                entry.against[model.name] = difference(
                    entry.scores.series_mae, model.scores.series_mae, seed, series
                )
    _rank(entries, seed, series)


def _rank(entries: Sequence[Entry], seed: int, series: Sequence[str] | None) -> None:
    """Set skill (see `skill_baseline`) and win rate, by the scaled error of each series.

    The rounding floor knows the truth, and takes no part; nor do series without a scale.
    """
    ranked = [e for e in entries if e.kind != "floor"]
    if not ranked:
        return
    errors = np.stack([e.scores.series_mase for e in ranked], axis=1)
    if series is not None:
        errors = by_series(errors, series)
    errors = errors[np.isfinite(errors).all(axis=1)]
    if not len(errors):
        return
    names = [e.name for e in ranked]
    baseline = skill_baseline(names)
    if baseline is not None:
        errors = relative_errors(errors, names.index(baseline))
        for entry, skill in zip(ranked, skills(errors, seed), strict=True):
            entry.skill = skill
    if len(ranked) > 1:
        for entry, rate in zip(ranked, win_rates(errors, seed), strict=True):
            entry.win_rate = rate


def skill_baseline(names: Sequence[str]) -> str | None:
    """Return whose errors skill is relative to: without a season, those of the last value."""
    return next((name for name in (SeasonalNaive.name, LastValue.name) if name in names), None)


def difference(
    ours: FloatArray,
    theirs: FloatArray,
    seed: int = 0,
    series: Sequence[str] | None = None,
    resamples: int = _RESAMPLES,
) -> Difference:
    """Mean of ``ours - theirs`` over series, (n,) each; series that either lacks are left out.

    Args:
        series: n names, where several are windows of one series, which counts once.
        resamples: of the series, for the interval.
    """
    gaps = ours - theirs
    if series is not None:
        gaps = by_series(gaps, series)
    gaps = gaps[~np.isnan(gaps)]
    if not len(gaps):
        return Difference(mean=None, low=None, high=None)
    mean = float(gaps.mean())
    if len(gaps) < 2:
        return Difference(mean=mean, low=None, high=None)
    rng = np.random.default_rng(seed)
    picks: NDArray[np.int64] = rng.integers(0, len(gaps), (resamples, len(gaps)))
    low, high = np.percentile(gaps[picks].mean(axis=1), [2.5, 97.5])
    return Difference(mean=mean, low=float(low), high=float(high))


def by_cluster(entries: Sequence[Entry], given: Task, clusters: Mapping[str, str]) -> list[str]:
    """Set each entry's MAE within each cluster of similar dynamics.

    Args:
        clusters: id of a series -> name of its cluster.

    Returns:
        names of the clusters that have a series here, the largest first.
    """
    labels = np.array([clusters[name] for name in given.of_series])
    names, sizes = np.unique(labels, return_counts=True)
    order = [str(names[i]) for i in np.argsort(-sizes, kind="stable")]
    for entry in entries:
        errors = absolute_errors(given.truth, entry.point)
        for name in order:
            entry.per_cluster[name] = float(mean_known(errors[labels == name]))
    return order

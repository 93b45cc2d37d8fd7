"""Forecasters compared: by kind of dynamics, pair by pair, and all with all on the same series.

Skill and win rate are as the package fev computes them for its leaderboards (Shchur et al. 2025,
fev-bench, arXiv:2509.26468), where a series takes the place of a task.

Shapes: n series, M forecasters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lvlora.data.answers import Difference, Interval
from lvlora.data.dataset import FloatArray
from lvlora.data.gaps import mean_known
from lvlora.evaluation.protocol import Task
from lvlora.evaluation.scores import Entry
from lvlora.forecast.rivals.naive import LastValue, SeasonalNaive

_RESAMPLES = 2000


def compare(entries: Sequence[Entry], seed: int = 0, series: Sequence[str] | None = None) -> None:
    """Add to each row its MAE minus each model's, its skill and its win rate.

    Their 95 % intervals draw series with replacement (Efron 1979, doi:10.1214/aos/1176344552), the
    same ones for both of a pair, and each with all of its windows. An interval tells how much the
    choice of series matters; it does not tell what another training seed would do.

    Skill and win rate are of the scaled error of each series. The rounding floor knows the truth
    and takes no part; nor do series without a scale.

    Args:
        seed: of the draws.
        series: names of the series that the entries' errors are of, where some have several
            windows.
    """
    models = [e for e in entries if e.row.kind == "model"]
    for entry in entries:
        ours = entry.series_mae
        gaps = {
            model.row.name: difference(ours, model.series_mae, seed, series)
            for model in models
            if model is not entry
        }
        entry.add(mae_minus=gaps)
    ranked = [e for e in entries if e.row.kind != "floor"]
    errors = np.stack([e.series_mase for e in ranked], axis=1)
    if series is not None:
        errors = by_series(errors, series)
    errors = errors[np.isfinite(errors).all(axis=1)]
    if not len(errors):
        return
    names = [e.row.name for e in ranked]
    baseline = skill_baseline(names)
    if baseline is not None:
        errors = relative_errors(errors, names.index(baseline))
        for entry, skill in zip(ranked, skills(errors, seed), strict=True):
            entry.add(skill=skill)
    if len(ranked) > 1:
        for entry, rate in zip(ranked, win_rates(errors, seed), strict=True):
            entry.add(win_rate=rate)


def skill_baseline(names: Sequence[str]) -> str | None:
    """Return whose errors skill is relative to: without a season, those of the last value."""
    return next((name for name in (SeasonalNaive.name, LastValue.name) if name in names), None)


def difference(
    ours: FloatArray,
    theirs: FloatArray,
    seed: int = 0,
    series: Sequence[str] | None = None,
) -> Difference:
    """Mean of ``ours - theirs`` over series, (n,) each; series that either lacks are left out.

    Args:
        series: n names, where several are windows of one series, which counts once.
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
    picks: NDArray[np.int64] = rng.integers(0, len(gaps), (_RESAMPLES, len(gaps)))
    low, high = np.percentile(gaps[picks].mean(axis=1), [2.5, 97.5])
    return Difference(mean=mean, low=float(low), high=float(high))


def by_cluster(entries: Sequence[Entry], task: Task, clusters: Mapping[str, str]) -> dict[str, int]:
    """Add to each row its MAE within each cluster of similar dynamics.

    Args:
        clusters: id of a series -> name of its cluster.

    Returns:
        name of each cluster that has a series here -> its histories, the largest first.
    """
    labels = np.array([clusters[name] for name in task.of_series])
    sizes = dict(Counter(sorted(labels.tolist())).most_common())
    for entry in entries:
        errors = np.abs(task.truth - entry.point)
        entry.add(per_cluster={n: float(mean_known(errors[labels == n])) for n in sizes})
    return sizes


LEAST_RATIO, MOST_RATIO = 1e-2, 100.0
"""Errors relative to the baseline's are clipped to these: no single series decides."""

_RANK_RESAMPLES = 1000


def by_series(errors: FloatArray, series: Sequence[str]) -> FloatArray:
    """(N, …) mean errors of N series, from those of n windows (n, …) of them; NaN is left out.

    Windows of one series are no independent draws: what is resampled is the series, with all of its
    windows (a block bootstrap, Künsch 1989, doi:10.1214/aos/1176347265, with a series as the
    block), and fev gives a task with several windows their mean error.

    Args:
        series: n names; series are in the order of their first window.
    """
    place = {name: i for i, name in enumerate(dict.fromkeys(series))}
    if len(place) == len(series):
        return errors
    rows = np.array([place[name] for name in series])
    return np.stack([mean_known(errors[rows == i], (0,)) for i in range(len(place))])


def relative_errors(errors: FloatArray, baseline: int) -> FloatArray:
    """(n, M) errors over those of one forecaster, clipped; 1 where both are zero.

    Args:
        errors: (n, M), not negative, finite.
        baseline: the column to divide by.
    """
    below = errors[:, [baseline]]
    zero = below == 0
    with np.errstate(over="ignore"):  # it is clipped
        ratios = errors / np.where(zero, 1.0, below)
    ratios = np.where(zero, np.where(errors == 0, 1.0, np.inf), ratios)
    return np.clip(ratios, LEAST_RATIO, MOST_RATIO)


def skills(ratios: FloatArray, seed: int = 0) -> list[Interval]:
    """M skills: 1 - the geometric mean over series of `relative_errors`; 0 for the baseline."""
    return _intervals(np.log(ratios), lambda means: 1.0 - np.exp(means), seed)


def win_rates(errors: FloatArray, seed: int = 0) -> list[Interval]:
    """M shares of pairs (another forecaster, a series) in which each has the smaller error.

    A tie counts half.
    """
    n_others = errors.shape[1] - 1
    won = np.empty_like(errors)
    for m, ours in enumerate(errors.T):
        smaller, tied = ours[:, None] < errors, ours[:, None] == errors
        # it ties with itself
        won[:, m] = (smaller.sum(axis=1) + 0.5 * (tied.sum(axis=1) - 1)) / n_others
    return _intervals(won, lambda means: means, seed)


def _intervals(
    values: FloatArray, finish: Callable[[FloatArray], FloatArray], seed: int
) -> list[Interval]:
    """Bootstrap a function of the means over series of (n, M) values; percentiles of resamples."""
    n = len(values)
    estimate = finish(values.mean(axis=0))
    if n < 2:
        return [Interval(value=x, low=None, high=None) for x in estimate.tolist()]
    rng = np.random.default_rng(seed)
    picks = rng.integers(0, n, (_RANK_RESAMPLES, n))
    counts = np.stack([np.bincount(row, minlength=n) for row in picks])
    resampled = finish(counts @ values / n)
    low, high = np.quantile(resampled, [0.025, 0.975], axis=0)
    ends = zip(estimate.tolist(), low.tolist(), high.tolist(), strict=True)
    return [Interval(value=value, low=low, high=high) for value, low, high in ends]

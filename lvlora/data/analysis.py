"""Everything that `analyze` reports: quality, statistics, periods, phase, clusters, the split."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lvlora.data import answers
from lvlora.data.answers import Cluster, Quality, Summary
from lvlora.data.dataset import Dataset, FloatArray
from lvlora.data.gaps import EVEN, are_even, find_steps, interpolated, mean_known
from lvlora.data.periods import find_peaks, phase_lags
from lvlora.data.settings import AnalyzeSettings
from lvlora.data.splits import Split, split_of

PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
STEADY_GROWTH = 0.01
"""Peaks that change by less than 1 % a period are called sustained."""
_STRATA = 4
_MAX_SILHOUETTE_SERIES = 2_000
_SHOWN = 20
"""Duplicates and constants that are listed."""


@dataclass(frozen=True)
class Dynamics:
    """Measurements on n series with V variables, (n, V); NaN where there is nothing to measure.

    Periods, confidences and growth are those of `Peaks`; amplitudes are largest minus smallest
    value, initial and final the first and last known ones. Of the first two variables are
    correlations (n,) and n arrays of lags, one for each pair of peaks (`phase_lags`).
    """

    periods: FloatArray
    periods_samples: FloatArray
    confidences: FloatArray
    growth: FloatArray
    amplitudes: FloatArray
    lags: tuple[FloatArray, ...]
    correlations: FloatArray
    initial: FloatArray
    final: FloatArray

    @property
    def pair_lags(self) -> FloatArray:
        """(m,) the lags of all pairs of peaks of all series."""
        return np.concatenate(self.lags)

    @property
    def pair_fractions(self) -> FloatArray:
        """(m,) the same over the first variable's (else the second's) period in that series."""
        period = self.periods[:, 0]
        if self.periods.shape[1] > 1:
            period = np.where(np.isnan(period), self.periods[:, 1], period)
        return np.concatenate([lags / p for lags, p in zip(self.lags, period, strict=True)])


def measure(dataset: Dataset) -> Dynamics:
    """The dynamics of each series; missing values are interpolated linearly for it."""
    filled = [interpolated(s.time, s.values) for s in dataset]
    pairs = zip(dataset, filled, strict=True)
    peaks = [[find_peaks(s.time, column) for column in values.T] for s, values in pairs]
    return Dynamics(
        periods=np.array([[p.period for p in row] for row in peaks]),
        periods_samples=np.array([[p.period_samples for p in row] for row in peaks]),
        confidences=np.array([[p.confidence for p in row] for row in peaks]),
        growth=np.array([[p.growth for p in row] for row in peaks]),
        amplitudes=np.array([np.ptp(values, axis=0) for values in filled]),
        lags=tuple(phase_lags(*row[:2]) if len(row) > 1 else np.empty(0) for row in peaks),
        correlations=np.array([_correlation(s.values) for s in dataset]),
        initial=np.array([[_first(c) for c in s.values.T] for s in dataset]),
        final=np.array([[_first(c[::-1]) for c in s.values.T] for s in dataset]),
    )


def _correlation(values: FloatArray) -> float:
    """Pearson's, of the first two variables where both are known; NaN if one is constant."""
    known = values[np.isfinite(values[:, :2]).all(axis=1), :2]
    if known.shape[1] < 2 or len(known) < 2 or not np.all(np.ptp(known, axis=0) > 0):
        return float("nan")
    scaled = (known - known.mean(axis=0)) / np.ptp(known, axis=0)
    return float(np.corrcoef(scaled.T)[0, 1])


def _first(column: FloatArray) -> float:
    known = column[np.isfinite(column)]
    return float(known[0]) if len(known) else float("nan")


@dataclass(frozen=True)
class Clustering:
    """Clusters from the largest to the smallest."""

    clusters: tuple[Cluster, ...]
    labels: NDArray[np.int64]
    """(n,) position of each series' cluster."""
    examples: tuple[int, ...]
    """Positions of the series nearest to the centres."""
    silhouette: float
    """Mean silhouette, -1 … 1 (Rousseeuw 1987); NaN for fewer than two clusters."""


def cluster(dataset: Dataset, dynamics: Dynamics, n_clusters: int, seed: int) -> Clustering:
    """Return clusters of similar dynamics.

    KMeans (sklearn, ten starts) on features scaled to mean 0 and variance 1: the period of a
    series (mean over the variables that have one), each variable's largest value and mean, and the
    correlation and mean lag of the first two variables. What a series lacks counts as 0: no
    oscillation is a kind of dynamics, not a gap. Fewer clusters come out when there are fewer
    different series. The silhouette of more than 2,000 series is that of a random 2,000.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score
    from sklearn.preprocessing import StandardScaler

    by_name = _features(dataset, dynamics)
    features = np.nan_to_num(np.column_stack(list(by_name.values())), nan=0.0)
    n = len(features)
    scaled = StandardScaler().fit_transform(features)
    # equal series may differ by rounding after scaling
    distinct = len(np.unique(np.round(scaled, 9), axis=0))
    k = min(n_clusters, distinct)
    model = KMeans(k, n_init=10, random_state=seed % 2**32).fit(scaled)
    order = np.argsort(-np.bincount(model.labels_, minlength=k), kind="stable")
    labels = np.argsort(order)[model.labels_].astype(np.int64)
    silhouette = float("nan")
    if 2 <= k < n:
        sample = _MAX_SILHOUETTE_SERIES if n > _MAX_SILHOUETTE_SERIES else None
        silhouette = float(
            silhouette_score(scaled, labels, sample_size=sample, random_state=seed % 2**32)
        )
    clusters: list[Cluster] = []
    examples = []
    for position, label in enumerate(order):
        members = np.flatnonzero(labels == position)
        gap = np.sum((scaled[members] - model.cluster_centers_[label]) ** 2, axis=1)
        name = _name(members, dynamics)
        taken = sum(c.name == name or c.name.startswith(f"{name} ") for c in clusters)
        examples.append(int(members[np.argmin(gap)]))
        clusters.append(
            Cluster(
                name=f"{name} {taken + 1}" if taken else name,
                size=len(members),
                share=len(members) / n,
                features=dict(zip(by_name, features[members].mean(0), strict=True)),
                example=dataset.series[examples[-1]].id,
            )
        )
    return Clustering(tuple(clusters), labels, tuple(examples), silhouette)


def strata(dataset: Dataset, seed: int) -> Clustering:
    """Clusters of which a stratified split has nearly the same share in each part."""
    return cluster(dataset, measure(dataset), _STRATA, seed)


def _features(dataset: Dataset, dynamics: Dynamics) -> dict[str, FloatArray]:
    """The features by name, (n,) each; NaN where a series lacks one."""
    known = [np.where(np.isfinite(s.values), s.values, np.nan) for s in dataset]
    largest = np.array([np.fmax.reduce(values, axis=0) for values in known])
    mean = np.array([mean_known(values, (0,)) for values in known])
    names = dataset.variables
    features = {"period": mean_known(dynamics.periods, (1,))}
    features |= {f"maximum {name}": largest[:, v] for v, name in enumerate(names)}
    features |= {f"mean {name}": mean[:, v] for v, name in enumerate(names)}
    if len(names) > 1:
        features["correlation"] = dynamics.correlations
        lags = [lags.mean() if len(lags) else np.nan for lags in dynamics.lags]
        features["phase lag"] = np.array(lags)
    return features


def _name(members: NDArray[np.int64], dynamics: Dynamics) -> str:
    """Words for a cluster: what its peaks do, how large and how slow next to the whole set."""
    period, amplitude = dynamics.periods[:, 0], dynamics.amplitudes[:, 0]
    if np.isnan(period[members]).mean() > 0.5:
        return "no oscillation"
    words = []
    usual = max(median_known(amplitude), np.finfo(float).tiny)
    ratio = median_known(amplitude[members]) / usual
    words.append("large" if ratio > 1.25 else "small" if ratio < 0.8 else "")
    ratio = median_known(period[members]) / median_known(period)
    words.append("slow" if ratio > 1.25 else "fast" if ratio < 0.8 else "")
    rate = median_known(dynamics.growth[members, 0])
    words.append(
        "growing" if rate > STEADY_GROWTH else "damped" if rate < -STEADY_GROWTH else "sustained"
    )
    return ", ".join(word for word in words if word) + " oscillation"


@dataclass(frozen=True)
class Analysis:
    """The answer of `analyze`, and the arrays that figures are drawn from."""

    answer: answers.Analyze
    dynamics: Dynamics
    clustering: Clustering
    split: Split


def analyze(dataset: Dataset, settings: AnalyzeSettings) -> Analysis:
    """Describe a data set; nothing is drawn or written."""
    dynamics, variables = measure(dataset), dataset.variables
    clustering = cluster(dataset, dynamics, settings.clusters, settings.seed)
    split = split_of(dataset, settings)
    lags = dynamics.pair_lags
    summary, periods, amplitudes, initial_final = {}, {}, {}, {}
    for v, name in enumerate(variables):
        period, growth = dynamics.periods[:, v], dynamics.growth[:, v]
        summary[name] = summarize(np.concatenate([s.values[:, v] for s in dataset]))
        periods[name] = answers.Period(
            mean_time=_mean(period),
            median_time=median_known(period),
            mean_samples=_mean(dynamics.periods_samples[:, v]),
            n_series=int(np.isfinite(period).sum()),
            confidence=_mean(dynamics.confidences[:, v]),
        )
        amplitudes[name] = answers.Amplitude(
            mean=_mean(dynamics.amplitudes[:, v]),
            median_growth_per_period=median_known(growth),
            growing=float(np.mean(growth > STEADY_GROWTH)),
            shrinking=float(np.mean(growth < -STEADY_GROWTH)),
        )
        initial_final[name] = answers.InitialFinal(
            initial=summarize(dynamics.initial[:, v]), final=summarize(dynamics.final[:, v])
        )
    answer = answers.Analyze(
        source=dataset.source,
        sha256=dataset.sha256(),
        variables=list(variables),
        quality=check_quality(dataset),
        summary=summary,
        periods=periods,
        amplitudes=amplitudes,
        phase_lag=answers.PhaseLag(
            mean_time=_mean(lags),
            median_time=median_known(lags),
            fraction_of_period=_mean(dynamics.pair_fractions),
            n_pairs=len(lags),
            of=list(variables[:2][::-1]) if len(variables) > 1 else [],
        ),
        clusters=list(clustering.clusters),
        silhouette=clustering.silhouette,
        initial_final=initial_final,
        split=answers.SplitSizes(
            train=len(split.train),
            validation=len(split.validation),
            test=len(split.test),
            seed=split.seed,
            stratified=settings.stratify,
            sha256=split.sha256,
        ),
    )
    return Analysis(answer, dynamics, clustering, split)


def _mean(values: FloatArray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def median_known(values: FloatArray) -> float:
    """The median of what is finite; NaN where nothing is."""
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")


def check_quality(dataset: Dataset) -> Quality:
    """What would mislead an analysis or a training; rows that a reader put in don't count."""
    steps = dataset.time_steps or find_steps(dataset.series)
    dataset = replace(dataset, series=tuple(s.as_recorded() for s in dataset))
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
        time_steps=steps,
    )


def summarize(values: FloatArray) -> Summary:
    """Statistics of what is not NaN; None where nothing is left."""
    known = values[~np.isnan(values)]
    sample = known if len(known) else np.array([np.nan])
    levels = np.percentile(sample, PERCENTILES)
    return Summary(
        count=len(known),
        mean=sample.mean(),
        sd=sample.std(),
        min=sample.min(),
        max=sample.max(),
        percentiles={str(p): q for p, q in zip(PERCENTILES, levels, strict=True)},
    )

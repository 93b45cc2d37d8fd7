"""Kinds of dynamics: KMeans over standardised features, named by what is measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lvlora.data.answers import Cluster
from lvlora.data.dataset import FloatArray, Series
from lvlora.numbers import binned

STEADY_GROWTH = 0.01
"""Peaks that change by less than 1 % a period are called sustained."""

_MAX_SILHOUETTE_SERIES = 2_000
_COURSE = 16
"""Parts of an example's course, for a line of text."""


@dataclass(frozen=True)
class Clustering:
    """Clusters from the largest to the smallest.

    Attributes:
        labels: (n,) position of each series' cluster.
        examples: positions of the series nearest to the centres.
        silhouette: mean silhouette, -1 … 1 (Rousseeuw 1987); NaN for fewer than two clusters.
    """

    clusters: tuple[Cluster, ...]
    labels: NDArray[np.int64]
    examples: tuple[int, ...]
    silhouette: float


def find_clusters(
    series: Sequence[Series],
    features: FloatArray,
    names: Sequence[str],
    n_clusters: int,
    seed: int,
    *,
    period: FloatArray,
    amplitude: FloatArray,
    growth: FloatArray,
) -> Clustering:
    """KMeans (sklearn, ten starts) on features scaled to mean 0 and variance 1.

    Fewer clusters come out when there are fewer different series. The silhouette of more than
    2,000 series is that of a random 2,000.

    Args:
        series: n.
        features: (n, F) finite.
        names: F names.
        period, amplitude, growth: (n,) what clusters are named by; NaN where a series has none.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score
    from sklearn.preprocessing import StandardScaler

    n = len(features)
    scaled = StandardScaler().fit_transform(features)
    # equal series may differ by rounding after scaling
    distinct = len(np.unique(np.round(scaled, 9), axis=0))
    k = min(n_clusters, distinct)
    model = KMeans(k, n_init=10, random_state=seed % 2**32).fit(scaled)
    sizes = np.bincount(model.labels_, minlength=k)
    order = np.argsort(-sizes, kind="stable")
    labels = np.argsort(order)[model.labels_].astype(np.int64)
    silhouette = float("nan")
    if 2 <= k < n:
        silhouette = float(
            silhouette_score(
                scaled,
                labels,
                sample_size=_MAX_SILHOUETTE_SERIES if n > _MAX_SILHOUETTE_SERIES else None,
                random_state=seed % 2**32,
            )
        )
    clusters: list[Cluster] = []
    examples = []
    for position, label in enumerate(order):
        members = np.flatnonzero(labels == position)
        gap = np.sum((scaled[members] - model.cluster_centers_[label]) ** 2, axis=1)
        name = _name(members, period, amplitude, growth)
        taken = sum(c.name == name or c.name.startswith(f"{name} ") for c in clusters)
        examples.append(int(members[np.argmin(gap)]))
        example = series[examples[-1]]
        clusters.append(
            Cluster(
                name=f"{name} {taken + 1}" if taken else name,
                size=len(members),
                share=len(members) / n,
                features=dict(zip(names, features[members].mean(0), strict=True)),
                example=example.id,
                course=[*binned(example.values[:, 0].tolist(), _COURSE)],
            )
        )
    return Clustering(tuple(clusters), labels, tuple(examples), silhouette)


def _name(
    members: NDArray[np.int64], period: FloatArray, amplitude: FloatArray, growth: FloatArray
) -> str:
    """Words for a cluster: what its peaks do, how large and how slow next to the whole set."""
    if np.isnan(period[members]).mean() > 0.5:
        return "no oscillation"
    words = []
    ratio = _median(amplitude[members]) / max(_median(amplitude), np.finfo(float).tiny)
    words.append("large" if ratio > 1.25 else "small" if ratio < 0.8 else "")
    ratio = _median(period[members]) / _median(period)
    words.append("slow" if ratio > 1.25 else "fast" if ratio < 0.8 else "")
    rate = _median(growth[members])
    words.append(
        "growing" if rate > STEADY_GROWTH else "damped" if rate < -STEADY_GROWTH else "sustained"
    )
    return ", ".join(word for word in words if word) + " oscillation"


def _median(values: FloatArray) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else float("nan")

"""All that is said of a data set: quality, statistics, periods, phase, clusters, its split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lvlora.series import answers
from lvlora.series.analysis.clusters import STEADY_GROWTH, Clustering
from lvlora.series.analysis.dynamics import Dynamics, cluster, measure
from lvlora.series.analysis.quality import check_quality, summarize, summary
from lvlora.series.dataset import Dataset, FloatArray
from lvlora.series.splits import Split, split_ids
from lvlora.settings.data import AnalyzeSettings


@dataclass(frozen=True)
class Analysis:
    """The answer of `analyze`, and the arrays that figures are drawn from."""

    answer: answers.Analyze
    dynamics: Dynamics
    clustering: Clustering
    split: Split


def analyze(dataset: Dataset, settings: AnalyzeSettings) -> Analysis:
    """Describe a data set; draws and writes nothing.

    Args:
        settings: ``clusters`` (how many), ``seed``, and those of the split.
    """
    dynamics = measure(dataset)
    clustering = cluster(dataset, dynamics, settings.clusters, settings.seed)
    strata = clustering.labels.tolist() if settings.stratify else None
    split = split_ids(dataset, settings.split_seed, strata)
    answer = answers.Analyze(
        source=dataset.source,
        sha256=dataset.sha256(),
        variables=list(dataset.variables),
        quality=check_quality(dataset),
        summary=summary(dataset),
        periods={name: _period(dynamics, v) for v, name in enumerate(dataset.variables)},
        amplitudes={name: _amplitude(dynamics, v) for v, name in enumerate(dataset.variables)},
        phase_lag=_phase_lag(dynamics, dataset.variables),
        clusters=[
            answers.Cluster(
                name=c.name,
                size=c.size,
                share=c.share,
                features=dict(c.features),
                example=dataset.series[c.example].id,
            )
            for c in clustering.clusters
        ],
        silhouette=clustering.silhouette,
        initial_final={
            name: answers.InitialFinal(
                initial=summarize(dynamics.initial[:, v]), final=summarize(dynamics.final[:, v])
            )
            for v, name in enumerate(dataset.variables)
        },
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


def _period(dynamics: Dynamics, v: int) -> answers.Period:
    periods = dynamics.periods[:, v]
    return answers.Period(
        mean_time=_mean(periods),
        median_time=_median(periods),
        mean_samples=_mean(dynamics.periods_samples[:, v]),
        n_series=int(np.isfinite(periods).sum()),
        confidence=_mean(dynamics.confidences[:, v]),
    )


def _amplitude(dynamics: Dynamics, v: int) -> answers.Amplitude:
    growth = dynamics.growth[:, v]
    return answers.Amplitude(
        mean=_mean(dynamics.amplitudes[:, v]),
        median_growth_per_period=_median(growth),
        growing=_share(growth > STEADY_GROWTH),
        shrinking=_share(growth < -STEADY_GROWTH),
    )


def _phase_lag(dynamics: Dynamics, variables: tuple[str, ...]) -> answers.PhaseLag:
    lags = dynamics.pair_lags
    return answers.PhaseLag(
        mean_time=_mean(lags),
        median_time=_median(lags),
        fraction_of_period=_mean(dynamics.pair_fractions),
        n_pairs=len(lags),
        of=list(variables[:2][::-1]) if len(variables) > 1 else [],
    )


def _mean(values: FloatArray) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def _median(values: FloatArray) -> float | None:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else None


def _share(flags: Any) -> float:
    return float(np.mean(flags))

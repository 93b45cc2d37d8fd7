"""All that is said of a data set: quality, statistics, periods, phase, clusters, its split."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np

from lvlora.data import answers
from lvlora.data.answers import Quality, Summary
from lvlora.data.clusters import (
    STEADY_GROWTH,
    Clustering,
    Dynamics,
    cluster,
    measure,
    median_known,
)
from lvlora.data.dataset import Dataset, FloatArray
from lvlora.data.gaps import EVEN, are_even, find_steps
from lvlora.data.settings import AnalyzeSettings
from lvlora.data.splits import Split, split_of


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


PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
_SHOWN = 20


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

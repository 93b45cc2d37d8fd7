"""Measurements on each series, and the kinds of dynamics that follow from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lvlora.data.analysis.clusters import Clustering, find_clusters
from lvlora.data.analysis.periods import find_peaks, phase_lags
from lvlora.data.dataset import Dataset, FloatArray, Series
from lvlora.data.gaps import interpolated, mean_known


@dataclass(frozen=True)
class Dynamics:
    """Measurements on n series with V variables; NaN where there is nothing to measure.

    Attributes:
        periods: (n, V) mean distance between peaks, in time units.
        periods_samples: (n, V) the same in samples.
        confidences: (n, V) how sure the period is, or that there is none: `Peaks.confidence`.
        growth: (n, V) log-slope of the peaks' heights per period.
        amplitudes: (n, V) largest minus smallest value.
        lags: n arrays, one lag for each pair of peaks of the first two variables (`phase_lags`).
        correlations: (n,) between the first two variables.
        initial, final: (n, V) first and last known values.
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
    def series_lags(self) -> FloatArray:
        """(n,) mean lag of each series in time units."""
        return np.array([lags.mean() if len(lags) else np.nan for lags in self.lags])

    @property
    def pair_lags(self) -> FloatArray:
        """(m,) the lags of all pairs of peaks of all series."""
        return np.concatenate(self.lags) if self.lags else np.empty(0)

    @property
    def pair_fractions(self) -> FloatArray:
        """(m,) the same over the first variable's (else the second's) period in that series."""
        period = self.periods[:, 0]
        if self.periods.shape[1] > 1:
            period = np.where(np.isnan(period), self.periods[:, 1], period)
        shares = [lags / p for lags, p in zip(self.lags, period, strict=True)]
        return np.concatenate(shares) if shares else np.empty(0)


def measure(dataset: Dataset) -> Dynamics:
    """The dynamics of each series; missing values are interpolated linearly for it."""
    measured = [_of_variables(s) for s in dataset]
    return Dynamics(
        periods=np.array([m[0] for m in measured]),
        periods_samples=np.array([m[1] for m in measured]),
        confidences=np.array([m[2] for m in measured]),
        growth=np.array([m[3] for m in measured]),
        amplitudes=np.array([m[4] for m in measured]),
        lags=tuple(m[5] for m in measured),
        correlations=np.array([_correlation(s.values) for s in dataset]),
        initial=np.array([[_first(c) for c in s.values.T] for s in dataset]),
        final=np.array([[_first(c[::-1]) for c in s.values.T] for s in dataset]),
    )


_Row = list[float]


def _of_variables(series: Series) -> tuple[_Row, _Row, _Row, _Row, _Row, FloatArray]:
    """Periods, the same in samples, confidences, growth, amplitudes of the variables; the lags."""
    filled = interpolated(series.time, series.values)
    peaks = [find_peaks(series.time, column) for column in filled.T]
    return (
        [p.period for p in peaks],
        [p.period_samples for p in peaks],
        [p.confidence for p in peaks],
        [p.growth for p in peaks],
        [float(np.ptp(column)) for column in filled.T],
        phase_lags(*peaks[:2]) if len(peaks) > 1 else np.empty(0),
    )


def _correlation(values: FloatArray) -> float:
    """Pearson's, of the first two variables where both are known; NaN if one is constant."""
    if values.shape[1] < 2:
        return float("nan")
    known = values[np.isfinite(values[:, :2]).all(axis=1), :2]
    if len(known) < 2:
        return float("nan")
    span = np.ptp(known, axis=0)
    if not np.all(span > 0):
        return float("nan")
    scaled = (known - known.mean(axis=0)) / span
    return float(np.corrcoef(scaled.T)[0, 1])


def _first(column: FloatArray) -> float:
    known = column[np.isfinite(column)]
    return float(known[0]) if len(known) else float("nan")


def cluster(dataset: Dataset, dynamics: Dynamics, n_clusters: int, seed: int) -> Clustering:
    """Clusters of similar dynamics, for analysis and for stratified splits.

    Features of a series: its period (mean over the variables that have one), each variable's
    largest value and mean, and the correlation and mean lag of the first two variables. What a
    series lacks counts as 0: no oscillation is a kind of dynamics, not a gap.
    """
    known = [np.where(np.isfinite(s.values), s.values, np.nan) for s in dataset]
    largest = np.array([np.where(np.isnan(k), -np.inf, k).max(axis=0) for k in known])
    mean = np.array([mean_known(k, (0,)) for k in known])
    period = mean_known(dynamics.periods, (1,))
    columns = [period, *np.where(np.isfinite(largest), largest, np.nan).T, *mean.T]
    names = [
        "period",
        *(f"maximum {name}" for name in dataset.variables),
        *(f"mean {name}" for name in dataset.variables),
    ]
    if len(dataset.variables) > 1:
        columns += [dynamics.correlations, dynamics.series_lags]
        names += ["correlation", "phase lag"]
    return find_clusters(
        dataset.series,
        np.nan_to_num(np.column_stack(columns), nan=0.0),
        names,
        n_clusters,
        seed,
        period=period,
        amplitude=dynamics.amplitudes[:, 0],
        growth=dynamics.growth[:, 0],
    )

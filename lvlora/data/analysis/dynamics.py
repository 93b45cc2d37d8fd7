"""Measurements on each series: periods, growth, amplitudes, lags, correlations, ends."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lvlora.data.analysis.periods import find_peaks, phase_lags
from lvlora.data.dataset import Dataset, FloatArray
from lvlora.data.gaps import interpolated


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
    filled = [interpolated(s.time, s.values) for s in dataset]
    peaks = [
        [find_peaks(s.time, column) for column in values.T]
        for s, values in zip(dataset, filled, strict=True)
    ]

    def of_peaks(name: str) -> FloatArray:
        return np.array([[getattr(of_variable, name) for of_variable in row] for row in peaks])

    return Dynamics(
        periods=of_peaks("period"),
        periods_samples=of_peaks("period_samples"),
        confidences=of_peaks("confidence"),
        growth=of_peaks("growth"),
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


def median_known(values: FloatArray) -> float:
    """The median of what is finite; NaN where nothing is."""
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")

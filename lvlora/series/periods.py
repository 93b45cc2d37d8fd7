"""Oscillations of one trajectory: peaks, period, growth of the peaks, lag between two variables.

Knows: one or two columns of numbers and their times. Does not know: data sets, species.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lvlora.series.dataset import FloatArray

PROMINENCE = 0.05
"""A peak must stand out from its surroundings by this share of the variable's range.

Less counts ripples, more loses the last peaks of a damped oscillation. Noise of a similar size
makes peaks of its own: periods of very noisy data come out too short.
"""


@dataclass(frozen=True)
class Peaks:
    """The local maxima of one variable.

    Attributes:
        positions: (k,) in samples from 0, refined between samples.
        times: (k,) the same in time units.
        heights: (k,) of the samples nearest to them.
    """

    positions: FloatArray
    times: FloatArray
    heights: FloatArray

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def period(self) -> float:
        """Mean distance between neighbouring peaks in time units; NaN below two peaks."""
        return _mean_step(self.times)

    @property
    def period_samples(self) -> float:
        """The same in samples."""
        return _mean_step(self.positions)

    @property
    def growth(self) -> float:
        """Slope of the logarithm of the peaks' heights, per period; NaN if it has none.

        0.01 means that each peak is 1 % higher than the one before. Least squares over all peaks.
        """
        if len(self) < 2 or not np.all(self.heights > 0):
            return float("nan")
        return float(np.polyfit(np.arange(len(self)), np.log(self.heights), 1)[0])


def _mean_step(values: FloatArray) -> float:
    return float((values[-1] - values[0]) / (len(values) - 1)) if len(values) > 1 else float("nan")


def find_peaks(time: FloatArray, values: FloatArray) -> Peaks:
    """The peaks of one variable, without those at its ends.

    scipy's `find_peaks` with `PROMINENCE`; each peak is moved to the vertex of the parabola
    through it and its two neighbours.

    Args:
        time: (T,) increasing.
        values: (T,) finite, or all NaN, which has no peaks.
    """
    from scipy import signal

    span = float(np.ptp(values)) if len(values) else 0.0
    if not span > 0:
        empty = np.empty(0)
        return Peaks(empty, empty, empty)
    scaled = (values - values.min()) / span
    at, _ = signal.find_peaks(scaled, prominence=PROMINENCE)
    before, here, after = scaled[at - 1], scaled[at], scaled[at + 1]
    curvature = before - 2 * here + after
    flat = curvature == 0
    shift = np.where(flat, 0.0, 0.5 * (before - after) / np.where(flat, 1.0, curvature))
    positions = at + np.clip(shift, -0.5, 0.5)
    times = np.interp(positions, np.arange(len(time)), time)
    return Peaks(positions, times, values[at])


def phase_lags(first: Peaks, second: Peaks) -> FloatArray:
    """How long after each peak of one variable the other peaks, in time units; negative: before.

    A peak of the first and one of the second belong together if each is the other's nearest and
    they are at most half a period apart.

    Returns:
        (m,) one lag for each pair, in order of time; empty if there is no period.
    """
    period = first.period if len(first) > 1 else second.period
    if not len(first) or not len(second) or not period > 0:
        return np.empty(0)
    distance = second.times[None, :] - first.times[:, None]
    nearest = np.argmin(np.abs(distance), axis=1)
    mutual = np.argmin(np.abs(distance), axis=0)[nearest] == np.arange(len(first))
    lags = distance[np.arange(len(first)), nearest]
    pairs: FloatArray = lags[mutual & (np.abs(lags) <= period / 2)]
    return pairs

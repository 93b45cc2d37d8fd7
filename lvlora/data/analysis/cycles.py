"""Whether a curve repeats itself, after how many samples, how surely, and how noisy it is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lvlora.data.dataset import FloatArray

ENOUGH_AGREEMENT = 0.7
"""Agreement with itself that a random walk reaches in one of forty windows, at any length."""
_LONGEST, _OVERLAP = 2 / 3, 10
"""The longest period that is looked for, of the samples, and the fewest samples that then lie over
others: of fewer, noise agrees as well."""
_FIRST = 0.8
"""The first lag that agrees as well as this share of the best is the period, not its double."""
_SHORTEST_FOR_NOISE = 7
_AGREEMENT_OF_CHANGES = 0.65
"""Agreement of the changes of a curve, which white noise and random walks never reach, from which
their period is the curve's season."""
_SEASONS = 3
"""Seasons that the samples hold at least."""


@dataclass(frozen=True)
class Repetition:
    """The lag at which a curve agrees best with itself.

    Attributes:
        period: in samples, refined between them; NaN if no lag agrees better than chance would.
        agreement: -1 … 1 at that lag, or that of the best lag if there is no period.
    """

    period: float
    agreement: float


def noise_level(time: FloatArray, values: FloatArray) -> float:
    """Standard deviation of what is not smooth in a column, in its own units.

    Each sample is held against the cubic through its two neighbours on either side; a robust
    standard deviation (median over 0.6745) of the scaled residuals. After Gasser, Sroka &
    Jennen-Steinmetz (1986), doi:10.1093/biomet/73.3.625, with cubics, which leave fast cycles in
    the curve rather than in the noise. Zero below seven samples.

    Args:
        time: (T,) increasing, evenly spaced or not; values: (T,) finite.
    """
    n = len(values)
    if n < _SHORTEST_FOR_NOISE:
        return 0.0
    steps = (time - time[0]) * ((n - 1) / (time[-1] - time[0]))
    here = steps[2:-2]
    near = [slice(0, n - 4), slice(1, n - 3), slice(3, n - 1), slice(4, n)]
    residual, scale = -values[2:-2], np.ones(n - 4)
    for i, place in enumerate(near):
        weight = np.ones(n - 4)
        for other in near[:i] + near[i + 1 :]:
            weight *= (here - steps[other]) / (steps[place] - steps[other])
        residual = residual + weight * values[place]
        scale += weight**2
    return float(np.median(np.abs(residual) / np.sqrt(scale)) / 0.6745)


def largest_of_noise(n: int) -> float:
    """How far the largest of n standard normal numbers lies from zero, nearly: sqrt(2 ln n)."""
    return math.sqrt(2 * math.log(max(n, 2)))


def agreement(level: FloatArray) -> FloatArray:
    """(T,) how well a column without trend agrees with itself after each lag, -1 … 1.

    The normalised square difference function of McLeod & Wyvill (2005), "A smarter way to find
    pitch": twice the product of the overlapping parts over the sum of their squares. Growing and
    shrinking cycles agree with themselves nearly as well as steady ones. By Fourier transforms:
    time and memory are linear, but for a logarithm.
    """
    from scipy import signal

    n = len(level)
    # by a power of two, which changes no digit: squares of large values would overflow
    level = np.ldexp(level, -np.frexp(np.abs(level).max(initial=0.0))[1])
    products = signal.correlate(level, level, mode="full", method="fft")[n - 1 :]
    energy = np.concatenate([[0.0], np.cumsum(level**2)])
    lags = np.arange(n)
    both = energy[n - lags] + energy[n] - energy[lags]
    agreements: FloatArray = np.where(both > 0, 2 * products / np.where(both > 0, both, 1.0), 0.0)
    return agreements


def repetition(agreements: FloatArray) -> Repetition:
    """The period that the agreements of a column show above noise.

    The best lags of the stretches of positive agreement after the first change of sign are its
    candidates. One counts if its agreement is at least `ENOUGH_AGREEMENT`, or beyond the largest
    that so many samples of red noise would reach (standard error of an autocorrelation by
    Bartlett 1946, doi:10.2307/2983611, for a first-order autoregression).

    Args:
        agreements: (T,) see `agreement`.
    """
    n = len(agreements)
    top = min(int(n * _LONGEST), n - _OVERLAP) + 1
    negative = np.flatnonzero(agreements < 0)
    if not len(negative) or negative[0] >= top:
        return Repetition(math.nan, 0.0)
    above = agreements > 0
    above[: negative[0]] = False
    edges = np.flatnonzero(np.diff(np.concatenate([[False], above, [False]]).astype(np.int8)))
    best = [a + int(np.argmax(agreements[a:b])) for a, b in edges.reshape(-1, 2).tolist()]
    lags = np.array([lag for lag in best if 2 <= lag < top], dtype=np.int64)
    if not len(lags):
        return Repetition(math.nan, 0.0)
    memory = min(max(float(agreements[1]), 0.0), 0.999)
    error = np.sqrt((1 + memory**2) / (1 - memory**2) / (n - lags))
    least = np.minimum(ENOUGH_AGREEMENT, largest_of_noise(n) * error)
    strong = lags[agreements[lags] > least]
    if not len(strong):
        return Repetition(math.nan, float(agreements[lags].max()))
    first = strong[np.flatnonzero(agreements[strong] >= _FIRST * agreements[strong].max())[0]]
    return Repetition(
        float(first + vertex(agreements, np.array([first]))[0]), float(agreements[first])
    )


def season(values: FloatArray) -> Repetition:
    """The period at which a curve's changes agree, whatever its trend.

    Changes of logarithms where all values are positive: a season that grows with the level repeats
    itself there, and no trend hides it. Of a lag and its multiples, which agree equally well up to
    the noise, the lag is the period.

    Args:
        values: (T,) at even times.
    """
    changes = np.diff(np.log(values) if values.min() > 0 else values)
    agreements = agreement(changes - changes.mean())
    top = len(values) // _SEASONS + 1
    negative = np.flatnonzero(agreements[:top] < 0)
    if not len(negative):
        return Repetition(math.nan, 0.0)
    lags = np.arange(max(int(negative[0]), 2), top)
    is_peak = agreements[lags] >= np.maximum(agreements[lags - 1], agreements[lags + 1])
    lags = lags[is_peak]
    if not len(lags):
        return Repetition(math.nan, 0.0)
    best = int(lags[np.argmax(agreements[lags])])
    agreed = float(agreements[best])
    if agreed < _AGREEMENT_OF_CHANGES:
        return Repetition(math.nan, agreed)
    error = 2 / math.sqrt(len(changes))
    as_good = lags[(agreements[lags] >= agreed - error) & (best % lags == 0)]
    first = int(as_good[0])
    period = first + float(vertex(agreements, np.array([first]))[0])
    return Repetition(period, float(agreements[first]))


def vertex(values: FloatArray, at: NDArray[np.int64]) -> FloatArray:
    """(k,) how far the vertex of the parabola through each sample and its neighbours is from it.

    Args:
        at: (k,) positions of samples that have a neighbour on both sides.
    """
    before, here, after = values[at - 1], values[at], values[at + 1]
    curvature = before - 2 * here + after
    flat = curvature == 0
    shift = np.where(flat, 0.0, 0.5 * (before - after) / np.where(flat, 1.0, curvature))
    clipped: FloatArray = np.clip(shift, -0.5, 0.5)
    return clipped


def smoothed(
    values: FloatArray, width: float, periods: tuple[float, float]
) -> tuple[FloatArray, float]:
    """A column smoothed by a Hann window of ``width`` samples, and the share of white noise left.

    Beyond its ends the column goes on as it did one period away, on the level of its end: mirrored
    ends would move a peak that lies within half a window of one.

    Args:
        values: (T,).
        width: at most half of the periods.
        periods: after how many samples the column repeats itself, at its beginning and its end;
            they differ where its times are uneven.

    Returns:
        (T,) smoothed; its noise over that of ``values``.
    """
    half = int(width) // 2
    if half < 1:
        return values, 1.0
    from scipy import signal

    window = np.hanning(2 * half + 3)[1:-1]
    half = min(half, len(values) - 1)
    window = window[len(window) // 2 - half : len(window) // 2 + half + 1]
    before = _one_period_on(values, periods[0], half)[::-1]
    after = _one_period_on(values[::-1], periods[1], half)
    padded = np.concatenate([before, values, after])
    smooth = signal.oaconvolve(padded, window / window.sum(), mode="valid")
    return smooth, float(np.sqrt(np.sum(window**2)) / window.sum())


def _one_period_on(values: FloatArray, period: float, n: int) -> FloatArray:
    """(n,) what lies before the first value, the nearest first, by what lies a period after it.

    Point-mirrored where so few samples make a period, or so many, that there is nothing to copy.
    """
    if not n < period <= len(values) - 1 - n:
        mirrored: FloatArray = 2 * values[0] - values[1 : n + 1]
        return mirrored
    from scipy.interpolate import CubicSpline

    curve = CubicSpline(np.arange(len(values)), values)
    here = np.arange(n + 1)
    level = np.mean(values[: n + 1]) - np.mean(curve(period + here))
    continued: FloatArray = curve(period - 1 - np.arange(n)) + level
    return continued

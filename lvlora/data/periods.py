"""Oscillations of one trajectory: its peaks, period, growth, lags, and the season of a history.

One rule finds the season for ``lvlora analyze``, seasonal forecasters, scaled errors and
``--season``: `find_peaks`, unless the user names a period or none.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lvlora.data.dataset import FloatArray, Series
from lvlora.data.gaps import complete
from lvlora.settings.base import Season

_ENOUGH_AGREEMENT = 0.7
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
_PROMINENCE = 0.05
"""A peak must stand out from its surroundings by this share of the variable's range. Less counts
ripples, more loses the last peaks of a damped oscillation."""
_AGREEMENT_A_PEAK, _AGREEMENT_OF_MANY = 0.05, 0.3
"""Confidence that a smooth variable's period needs for each peak beyond the second, and the most
that is needed. Two peaks may be all that is seen of a slow cycle; many bumps that do
not come again after their mean distance are none."""
_TREND = 0.5
"""A straight line that takes more than this off a variable's range is a trend; its peaks are then
measured by the rest of the range."""
_WINDOW, _APART = 0.5, 0.6
"""Shares of a period: the window that a noisy variable is smoothed with, and the least distance of
its peaks."""
_NOISES = 3.0
"""Peaks of a noisy variable stand out by so many deviations of the noise that smoothing left."""
_MISSED = 0.05
"""Share by which the mean distance of peaks exceeds a season's length where peaks are missed; of
few cycles, one in so many."""
_UNLIKE = 0.2
"""Periods that differ by more than this share are two: a variable whose peaks lie so far from its
repetition has lost some, and two variables swing each for itself."""
_PERIODS: dict[bytes, float] = {}
"""A hash of times and values -> `find_peaks`' period in samples."""


@dataclass(frozen=True)
class Peaks:
    """The k local maxima of one variable, and its period, NaN if there is none."""

    times: FloatArray
    heights: FloatArray
    """Of the samples nearest to them."""
    period: float
    """In time units."""
    period_samples: float
    confidence: float
    """0 … 1, how well the variable agrees with itself one period later; where it has no period, how
    well it does at best."""

    def __len__(self) -> int:
        return len(self.times)

    @property
    def growth(self) -> float:
        """Slope of the logarithm of the peaks' heights, per period; NaN if it has none.

        0.01 means that each peak is 1 % higher than the one before. Least squares over all peaks.
        """
        if len(self) < 2 or not np.all(self.heights > 0):
            return math.nan
        return float(np.polyfit(np.arange(len(self)), np.log(self.heights), 1)[0])


def find_peaks(time: FloatArray, values: FloatArray) -> Peaks:
    """Return the peaks of one variable, without those at its ends, and its period.

    A smooth variable has every local maximum of `_PROMINENCE` as a peak, and their mean distance
    as its period. Where noise could make such maxima, the variable must repeat itself beyond what
    chance does (`_repetition`); it is then smoothed over half of that period, and its peaks
    are those that stand out from the remaining noise and lie apart. What repeats without peaks
    that can be told apart has a period all the same; what peaks again and again and does not
    repeat has neither. A season on a trend hides from both: where the changes repeat themselves
    (`_season_of_changes`), they decide.

    Each peak is moved to the vertex of the parabola through it and its two neighbours.

    Args:
        values: (T,) finite, or all NaN, which has no peaks.
    """
    n = len(values)
    span = float(np.ptp(values)) if n else 0.0
    if not span > 0 or n < 3:
        return _no_peaks(0.0)
    peaks = _peaks_by_distance(time, values, span)
    lag, agreement = _season_of_changes(_evenly(time, values))
    if not lag > 0 or peaks.period_samples <= (1 + max(_MISSED, lag / n)) * lag:
        return peaks
    interval = float(time[-1] - time[0]) / (n - 1)
    return replace(peaks, period=lag * interval, period_samples=lag, confidence=agreement)


def _peaks_by_distance(time: FloatArray, values: FloatArray, span: float) -> Peaks:
    """Return the peaks of a variable and its period, from these or from its repetition."""
    from scipy import signal

    n, lowest = len(values), values.min()
    scaled = (values - lowest) / span
    noise, noise_of_logs = noise_level(time, scaled), 0.0
    if lowest > 0:  # rare high values hide the noise of low ones
        logs = np.log(values)
        noise_of_logs = noise_level(time, logs) / float(np.ptp(logs))
    level = signal.detrend(_evenly(time, scaled))
    agreements = _agreements(level)
    without_trend = float(np.ptp(level))
    least = _PROMINENCE * (without_trend if without_trend < _TREND else 1.0)
    if 2 * _largest_of_noise(n) * max(noise, noise_of_logs) < least:
        at, _ = signal.find_peaks(scaled, prominence=least)
        peaks = _peaks(time, scaled, at, values[at])
        lag = peaks.period_samples
        confidence = _agreement_at(agreements, lag) if lag > 0 else 0.0
        if confidence < min(_AGREEMENT_A_PEAK * (len(peaks) - 2), _AGREEMENT_OF_MANY):
            return _no_peaks(confidence)
        return replace(peaks, confidence=confidence)
    lag, agreement = _repetition(agreements)
    confidence = max(agreement, 0.0)
    if not lag > 0:
        return _no_peaks(confidence)
    # what does not repeat is noise, too; from neighbours alone a fast cycle looks like noise
    noise = min(noise, math.sqrt(max(1 - agreement, 0.0)) * float(scaled.std()))
    period = lag * (float(time[-1] - time[0]) / (n - 1))
    # in samples it differs between beginning and end where times are uneven
    begin, end = np.interp([time[0] + period, time[-1] - period], time, np.arange(float(n)))
    smooth, noise_left = _smoothed(scaled, lag * _WINDOW, (float(begin), float(n - 1 - end)))
    least = max(least, _NOISES * noise * noise_left)
    at, _ = signal.find_peaks(smooth, prominence=least, distance=max(_APART * lag, 1.0))
    peaks = replace(_peaks(time, smooth, at, smooth[at] * span + lowest), confidence=confidence)
    if _alike(peaks.period_samples, lag):
        return peaks
    return replace(peaks, period=period, period_samples=lag)


def _no_peaks(confidence: float) -> Peaks:
    return Peaks(np.empty(0), np.empty(0), math.nan, math.nan, confidence)


def _peaks(
    time: FloatArray, values: FloatArray, at: NDArray[np.int64], heights: FloatArray
) -> Peaks:
    positions = at + _vertices(values, at)
    times = np.interp(positions, np.arange(len(time)), time)
    period, samples = (
        float((x[-1] - x[0]) / (len(x) - 1)) if len(x) > 1 else math.nan for x in (times, positions)
    )
    return Peaks(times, heights, period, samples, 0.0)


def _vertices(values: FloatArray, at: NDArray[np.int64]) -> FloatArray:
    """(k,) distances from samples to the vertices of parabolas through them and two neighbours."""
    before, here, after = values[at - 1], values[at], values[at + 1]
    curvature = before - 2 * here + after
    flat = curvature == 0
    shift = np.where(flat, 0.0, 0.5 * (before - after) / np.where(flat, 1.0, curvature))
    return np.asarray(np.clip(shift, -0.5, 0.5))


def _evenly(time: FloatArray, values: FloatArray) -> FloatArray:
    """Return the values resampled at even times, where theirs are uneven."""
    even = np.linspace(time[0], time[-1], len(time))
    interval = (time[-1] - time[0]) / (len(time) - 1)
    if np.all(np.abs(time - even) <= 0.01 * interval):
        return values
    return np.interp(even, time, values)


def noise_level(time: FloatArray, values: FloatArray) -> float:
    """Standard deviation of what is not smooth in a column, in its own units.

    Each sample is held against the cubic through its two neighbours on either side; a robust
    standard deviation (median over 0.6745) of the scaled residuals. After Gasser, Sroka &
    Jennen-Steinmetz (1986), doi:10.1093/biomet/73.3.625, with cubics, which leave fast cycles in
    the curve rather than in the noise. Zero below seven samples. Times may be uneven.
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


def _largest_of_noise(n: int) -> float:
    """How far the largest of n standard normal numbers lies from zero, nearly: sqrt(2 ln n)."""
    return math.sqrt(2 * math.log(max(n, 2)))


def _agreements(level: FloatArray) -> FloatArray:
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
    return np.where(both > 0, 2 * products / np.where(both > 0, both, 1.0), 0.0)


def _agreement_at(agreements: FloatArray, lag: float) -> float:
    """How far the agreement at a lag rises above its lowest before, as a share; 0 … 1.

    That it was positive all the while, as in a slow curve, is no repetition. Of the two whole
    lags around it the better counts.
    """
    later = math.ceil(lag)
    before = max(float(agreements[:later].min()), 0.0)
    there = float(agreements[math.floor(lag) : later + 1].max())
    return max((there - before) / (1 - before), 0.0) if before < 1 else 0.0


def _refined(agreements: FloatArray, lag: int) -> tuple[float, float]:
    """Return a lag refined between samples, and the agreement at it."""
    return lag + float(_vertices(agreements, np.array([lag]))[0]), float(agreements[lag])


def _repetition(agreements: FloatArray) -> tuple[float, float]:
    """Return the period in samples that the agreements of a column show above noise, and its own.

    The best lags of the stretches of positive agreement after the first change of sign are its
    candidates. One counts if its agreement is at least `_ENOUGH_AGREEMENT`, or beyond the largest
    that so many samples of red noise would reach (standard error of an autocorrelation by
    Bartlett 1946, doi:10.2307/2983611, for a first-order autoregression). If none does, the period
    is NaN, and the agreement that of the best lag.
    """
    n = len(agreements)
    top = min(int(n * _LONGEST), n - _OVERLAP) + 1
    above = np.logical_or.accumulate(agreements < 0) & (agreements > 0)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], above, [False]]).astype(np.int8)))
    best = [a + int(np.argmax(agreements[a:b])) for a, b in edges.reshape(-1, 2).tolist()]
    lags = np.array([lag for lag in best if 2 <= lag < top], dtype=np.int64)
    if not len(lags):
        return math.nan, 0.0
    memory = min(max(float(agreements[1]), 0.0), 0.999)
    error = np.sqrt((1 + memory**2) / (1 - memory**2) / (n - lags))
    least = np.minimum(_ENOUGH_AGREEMENT, _largest_of_noise(n) * error)
    strong = lags[agreements[lags] > least]
    if not len(strong):
        return math.nan, float(agreements[lags].max())
    as_good = strong[agreements[strong] >= _FIRST * agreements[strong].max()]
    return _refined(agreements, int(as_good[0]))


def _season_of_changes(values: FloatArray) -> tuple[float, float]:
    """Return the period in samples at which a curve's changes agree, whatever its trend, or NaN.

    Changes of logarithms where all values are positive: a season that grows with the level repeats
    itself there, and no trend hides it. Of a lag and its multiples, which agree equally well up to
    the noise, the lag is the period. Times are even.
    """
    changes = np.diff(np.log(values) if values.min() > 0 else values)
    agreements = _agreements(changes - changes.mean())
    lags = np.flatnonzero(np.logical_or.accumulate(agreements[: len(values) // _SEASONS + 1] < 0))
    lags = lags[lags >= 2]
    lags = lags[agreements[lags] >= np.maximum(agreements[lags - 1], agreements[lags + 1])]
    best = agreements[lags].max(initial=0.0)
    if best < _AGREEMENT_OF_CHANGES:
        return math.nan, 0.0
    error = 2 / math.sqrt(len(changes))
    is_as_good = (agreements[lags] >= best - error) & (lags[agreements[lags].argmax()] % lags == 0)
    return _refined(agreements, int(lags[is_as_good][0]))


def _smoothed(
    values: FloatArray, width: float, periods: tuple[float, float]
) -> tuple[FloatArray, float]:
    """Smooth a column by a Hann window of ``width`` samples; also the share of white noise left.

    Beyond its ends the column goes on as it did one period away, on the level of its end: mirrored
    ends would move a peak that lies within half a window of one.

    Args:
        width: at most half of the periods.
        periods: after how many samples the column repeats itself, at its beginning and its end;
            they differ where its times are uneven.
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
        return np.asarray(2 * values[0] - values[1 : n + 1])
    from scipy.interpolate import CubicSpline

    curve = CubicSpline(np.arange(len(values)), values)
    level = np.mean(values[: n + 1]) - np.mean(curve(period + np.arange(n + 1)))
    return np.asarray(curve(period - 1 - np.arange(n)) + level)


def _alike(periods: Any, period: float) -> Any:
    """Whether periods are equal up to the error of measuring them; elementwise."""
    return abs(periods / period - 1) <= _UNLIKE


def phase_lags(first: Peaks, second: Peaks) -> FloatArray:
    """How long after each peak of one variable the other peaks, in time units; negative: before.

    A peak of the first and one of the second belong together if each is the other's nearest and
    they are at most half a period apart; pairs are in order of time. There is none without a
    period, or if the variables have two that differ: neither then follows the other.
    """
    if first.period > 0 and second.period > 0 and not _alike(first.period, second.period):
        return np.empty(0)
    period = first.period if first.period > 0 else second.period
    if not len(first) or not len(second) or not period > 0:
        return np.empty(0)
    nearest = _nearest(second.times, first.times)
    mutual = _nearest(first.times, second.times)[nearest] == np.arange(len(first))
    lags = second.times[nearest] - first.times
    return np.asarray(lags[mutual & (np.abs(lags) <= period / 2)])


def _nearest(times: FloatArray, to: FloatArray) -> NDArray[np.int64]:
    """Position of the nearest of increasing times to each other time; of two, the earlier."""
    places = np.searchsorted(times, to)
    before, after = np.maximum(places - 1, 0), np.minimum(places, len(times) - 1)
    return np.where(np.abs(times[after] - to) < np.abs(times[before] - to), after, before)


def seasons(time: FloatArray, history: FloatArray, season: Season = "auto") -> FloatArray:
    """(V,) period of each variable of a complete history in steps, NaN where it has none.

    Periods that are nearly equal belong to one cycle, and their mean is nearer to it than each. A
    variable without a period takes that mean, too, if all others are nearly equal.
    """
    n_steps, n_variables = history.shape
    if season == "none":
        return np.full(n_variables, np.nan)
    if season != "auto":
        return np.full(n_variables, float(season) if season < n_steps else math.nan)
    periods = np.array([_period(time, column) for column in history.T])
    known = periods[periods >= 2]
    shared = np.full(n_variables, np.nan)
    for v, period in enumerate(periods.tolist()):
        same = known[_alike(known, period)] if period >= 2 else known
        if len(same) and _alike(same.max(), same.min()):
            shared[v] = same.mean()
        elif period >= 2:
            shared[v] = period
    return shared


def _period(time: FloatArray, column: FloatArray) -> float:
    """Return the period of a column in samples; each seasonal forecaster needs that of the same."""
    key = hashlib.blake2b(time.tobytes() + column.tobytes()).digest()
    if key not in _PERIODS:
        _PERIODS[key] = find_peaks(time, column).period_samples
    return _PERIODS[key]


def seasons_of(history: Series, season: Season = "auto") -> FloatArray:
    """(V,) `seasons` of a history with its gaps."""
    return seasons(history.time, complete(history.time, history.values), season)


def whole_season(period: float) -> int:
    """Return the whole number of steps nearest to a period; 1 without one.

    >>> whole_season(11.6), whole_season(float("nan"))
    (12, 1)
    """
    return max(round(period), 1) if math.isfinite(period) else 1


def seasons_used(periods: Sequence[Sequence[float]]) -> str:
    """Return the periods of several series, a row each, for a cell of a table.

    >>> nan = float("nan")
    >>> seasons_used([[12.0], [12.0]]), seasons_used([[9.5], [11.0], [nan]]), seasons_used([[nan]])
    ('12', '9.5 to 11; none in 1 of 3', 'none')
    """
    periods_of = [[period for period in row if math.isfinite(period)] for row in periods]
    known = [period for row in periods_of for period in row]
    if not known:
        return "none"
    ends = dict.fromkeys(f"{end:.4g}" for end in (min(known), max(known)))
    n_without = sum(not row for row in periods_of)
    return " to ".join(ends) + (f"; none in {n_without} of {len(periods)}" if n_without else "")

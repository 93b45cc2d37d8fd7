"""How far forecasts are from the truth, and whether they move as it does.

`score` gives all metrics of one forecaster. Shapes: n series, H steps of horizon, V variables, S
samples. A missing truth (NaN) is left out of every mean; a forecast must be finite wherever the
truth is. Each measure of dynamics says where it is not defined, and is NaN there. A forecast that
stands still gets the measure's value for it, not NaN: nothing is left out to make a score look
better.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lvlora.data.answers import DynamicsErrors, Scores
from lvlora.data.dataset import FloatArray
from lvlora.data.gaps import mean_known
from lvlora.data.periods import whole_season

VALID_UNTIL = 30.0
"""sMAPE, 0 … 100, up to which a step of a forecast is valid (Zhang & Gilpin 2024)."""
SMOOTHING = 1.0
"""Deviation of the Gaussian that smooths spectra, in frequencies. Spectra of thousands of steps are
often smoothed by 20, which would leave nothing of those of tens of steps."""
BINS = 30
"""Bins of each variable for the occupancy of the state space."""
MOST_BINNED = 3
"""Variables; with more nearly all of 30^V boxes are empty, and their pseudo-counts are all."""

_PSEUDO_COUNT = 1e-5
_MARGIN = 0.1
_STILL = 1e-9
_BY_CHANCE = 0.25


def of_samples(samples: FloatArray, levels: float | Sequence[float], axis: int = 0) -> FloatArray:
    """Quantiles over an axis of samples; several levels are the first axis of what is returned.

    The one convention for every interval, score and picture of drawn futures: the quantile of
    level p of S samples is the order statistic (S + 1) p, linearly between the two nearest, and
    the least or largest sample beyond them (Weibull's plotting position; type 6 of Hyndman & Fan
    1996, doi:10.1080/00031305.1996.10473566). Where the truth is exchangeable with the samples,
    each of the S + 1 gaps between them is as likely to hold it: P(truth <= x_(k)) = k / (S + 1).
    An interval between (S + 1) (1 ± level) / 2 then holds it with the probability ``level``.
    numpy's usual convention (type 7) is for the shape of the sample: its 80 % interval of 20
    samples holds about 73 % of such truths. S samples bound no more than their range, which holds
    (S - 1) / (S + 1): an interval of 80 % takes 9 samples, of 90 % 19, of 95 % 39.
    """
    values = np.asarray(np.quantile(samples, levels, axis=axis, method="weibull"), dtype=np.float64)
    middle = np.asarray(levels) == 0.5
    if middle.any():  # to the last bit, as everybody takes it
        values[middle] = np.median(samples, axis=axis)
    return values


def symmetric_percentage_errors(truth: FloatArray, point: FloatArray) -> FloatArray:
    """200 |y - f| / (|y| + |f|) in percent, 0 … 200; 0 where both are zero.

    Makridakis (1993), doi:10.1016/0169-2070(93)90079-3, as used in the M4 competition.
    """
    size = np.abs(truth) + np.abs(point)
    return np.asarray(200.0 * np.abs(truth - point) / np.where(size == 0, 1.0, size))


def naive_scale(history: FloatArray, periods: FloatArray | None = None) -> FloatArray:
    """(V,) mean absolute error of the seasonal naive forecast within a history (T, V).

    Steps with a missing end are left out. NaN where nothing is left or the scale is zero (a
    constant history): a scaled error is not defined there.

    Hyndman & Koehler (2006), doi:10.1016/j.ijforecast.2006.03.001.

    Args:
        periods: (V,) of each variable in steps; NaN or None for the naive forecast of one step.
    """
    scale = mean_known(np.abs(np.diff(history, axis=0)), (0,))
    for v, period in enumerate(() if periods is None else periods.tolist()):
        lag = whole_season(period)
        if 1 < lag < len(history):
            scale[v] = mean_known(np.abs(history[lag:, v] - history[:-lag, v]), (0,))
    return np.where(scale > 0, scale, np.nan)


def scale_spread(history: Sequence[FloatArray]) -> float:
    """How many times larger some `naive_scale`s of series and variables are than others.

    The 95th over the 5th percentile, so that the few that hardly move do not decide; NaN where no
    history has a scale.
    """
    scales = np.concatenate([naive_scale(h) for h in history])
    known = scales[~np.isnan(scales)]
    if not len(known):
        return math.nan
    low, high = np.quantile(known, [0.05, 0.95]).tolist()
    return float(min(high / low, sys.float_info.max)) if low > 0 else math.nan


def scaled_errors(
    truth: FloatArray,
    point: FloatArray,
    history: Sequence[FloatArray],
    periods: FloatArray | None = None,
) -> FloatArray:
    """(n, H, V) absolute errors over each series' and variable's `naive_scale`; NaN without one."""
    of_series = [None] * len(history) if periods is None else periods
    scales = np.stack([naive_scale(h, p) for h, p in zip(history, of_series, strict=True)])
    return np.asarray(np.abs(truth - point) / scales[:, None, :])


def crps_from_samples(truth: FloatArray, samples: FloatArray) -> FloatArray:
    """Continuous ranked probability score of each value, in the values' units; less is better.

    mean_s |x_s - y| - sum_{s,t} |x_s - x_t| / (2 S (S - 1)): the fair estimator, whose expectation
    is the score of the distribution the samples come from (Ferro 2014, doi:10.1002/qj.2270), and
    which can be negative. One sample: its absolute error.

    Args:
        truth: (n, H, V); samples: (n, S, H, V).
    """
    n_samples = samples.shape[1]
    distance = np.mean(np.abs(samples - truth[:, None]), axis=1)
    # sum over pairs of |x_s - x_t| = 2 sum_i (2 i - S + 1) x_(i), with x sorted and i from 0
    weights = 2.0 * np.arange(n_samples) - n_samples + 1
    spread = 2.0 * np.einsum("s,nshv->nhv", weights, np.sort(samples, axis=1))
    n_pairs = n_samples * max(n_samples - 1, 1)
    return np.asarray(distance - spread / (2.0 * n_pairs))


def inside_interval(truth: FloatArray, samples: FloatArray, level: float) -> FloatArray:
    """1 where the truth lies in the samples' central interval, else 0; NaN where it is missing.

    Args:
        samples: (n, S, H, V).
        level: probability of the interval; its ends are the quantiles (1 ± level) / 2.
    """
    low, high = of_samples(samples, [(1 - level) / 2, (1 + level) / 2], axis=1)
    inside = ((truth >= low) & (truth <= high)).astype(np.float64)
    return np.where(np.isnan(truth), np.nan, inside)


def central_levels(quantiles: Sequence[float]) -> tuple[float, ...]:
    """Probabilities of the central intervals that have both ends among the quantiles.

    >>> central_levels((0.05, 0.1, 0.5, 0.9))
    (0.8,)
    """
    ordered = sorted(q for q in quantiles if q < 0.5)
    return tuple(
        round(1 - 2 * low, 10)
        for low in ordered
        if any(math.isclose(q, 1 - low, abs_tol=1e-9) for q in quantiles)
    )


def series_errors(
    truth: FloatArray,
    point: FloatArray,
    history: Sequence[FloatArray],
    periods: FloatArray | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Return (n,) MAE and (n,) MASE of each series; arguments as of `score`."""
    scaled = scaled_errors(truth, point, history, periods)
    return mean_known(np.abs(truth - point), (1, 2)), mean_known(scaled, (1, 2))


def dynamics_errors(
    truth: FloatArray, point: FloatArray, periods: FloatArray | None
) -> tuple[DynamicsErrors, FloatArray]:
    """All measures of dynamics of one forecaster, and (H,) shares of series valid up to each step.

    They are means over series; of amplitude errors it is the median over series and variables,
    whose mean would be that of the few whose truth hardly moves.

    Args:
        periods: (n,) in steps, NaN without one; None where nobody looked.
    """
    if periods is None:
        periods = np.full(len(truth), np.nan)
    # values of 1e99 beside such of 1e-300 give an infinity, which is no number in the end
    with np.errstate(over="ignore", invalid="ignore"):
        steps = valid_steps(truth, point)
        amplitudes = amplitude_errors(truth, point)
        means = {
            "valid_steps": steps,
            "valid_periods": steps / periods,
            "phase_error": phase_errors(truth, point, periods),
            "spectrum_distance": spectrum_distances(truth, point),
            "state_divergence": state_divergences(truth, point),
        }
    numbers = {name: float(mean_known(values)) for name, values in means.items()}
    is_valid = np.where(
        np.isnan(steps)[:, None], np.nan, steps[:, None] > np.arange(truth.shape[1])
    )
    return DynamicsErrors(**numbers, amplitude_error=_median(amplitudes)), mean_known(
        is_valid, (0,)
    )


def _median(values: FloatArray) -> float:
    """The median of what is known; NaN where nothing is."""
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else math.nan


def valid_steps(truth: FloatArray, point: FloatArray) -> FloatArray:
    """(n,) steps before the first whose sMAPE exceeds `VALID_UNTIL`; H if none does (censored).

    sMAPE of a step is the mean over its known variables of 100 |y - f| / (|y| + |f|), as in the
    package dysts, 0 where both are zero; a step of which nothing is known counts as valid. NaN for
    a series of which nothing is known.

    "Valid prediction time" of Zhang & Gilpin (2024), arXiv:2409.15771, with their threshold of 30.
    """
    by_step = mean_known(symmetric_percentage_errors(truth, point) / 2, (2,))
    beyond = by_step > VALID_UNTIL
    steps = np.where(beyond.any(axis=1), beyond.argmax(axis=1), truth.shape[1])
    return np.where(np.isnan(by_step).all(axis=1), np.nan, steps)


def amplitude_errors(truth: FloatArray, point: FloatArray) -> FloatArray:
    """(n, V) |s_f / s_y - 1| with the standard deviations over the known steps of the horizon.

    0.2: the forecast swings a fifth too much or too little; 1: it stands still. NaN where the
    truth stands still.

    The variability ratio of Gupta et al. (2009), doi:10.1016/j.jhydrol.2009.08.003.
    """
    known = ~np.isnan(truth)
    swing = _deviations(truth, known)
    swing = np.where(_still(truth, known) | (swing == 0), np.nan, swing)  # 0 of smallest values
    return np.asarray(np.abs(_deviations(point, known) / swing - 1.0))


def phase_errors(truth: FloatArray, point: FloatArray, periods: FloatArray) -> FloatArray:
    """(n, V) |angle between the oscillations of truth and forecast|, in periods: 0 … 0.5.

    Both are fitted by a constant and a sine of the series' period (least squares over the known
    steps); where the period divides the horizon that is the phase of their cross-spectrum at that
    frequency (Bendat & Piersol, Random Data, 2010, chapter 5). A forecast that stands still gets
    0.25, what a phase by chance is off on average.

    NaN without a period, where the known steps span less than half of it, or the truth stands
    still.

    Args:
        periods: (n,) in steps, NaN without one.
    """
    known = ~np.isnan(truth)
    angle = 2 * np.pi * np.arange(truth.shape[1]) / np.where(periods > 2, periods, np.nan)[:, None]
    angle = np.nan_to_num(angle)
    waves = np.stack([np.ones_like(angle), np.cos(angle), np.sin(angle)], axis=-1)
    gram = np.einsum("nhi,nhv,nhj->nvij", waves, known.astype(np.float64), waves)
    solve = np.linalg.pinv(gram, hermitian=True)
    angles = []
    for values in (point, truth):
        fit = np.einsum("nvij,nhj,nhv->nvi", solve, waves, np.where(known, values, 0.0))
        _, a, b = np.moveaxis(fit, -1, 0)  # m + a cos + b sin
        angles.append(np.angle(a - 1j * b))
    turned = (angles[0] - angles[1]) / (2 * np.pi)
    errors = np.abs((turned + 0.5) % 1 - 0.5)
    errors = np.where(_still(point, known), _BY_CHANCE, errors)
    first, after = known.argmax(axis=1), truth.shape[1] - known[:, ::-1].argmax(axis=1)
    spanned = np.where(known.any(axis=1), after - first, 0) >= periods[:, None] / 2
    defined = spanned & (periods > 2)[:, None] & ~_still(truth, known)
    return np.where(defined, errors, np.nan)


def spectrum_distances(truth: FloatArray, point: FloatArray) -> FloatArray:
    """(n, V) Hellinger distances of normalised power spectra over the horizon: 0 … 1.

    Spectra of the centred values (real FFT), smoothed by a Gaussian over frequencies and
    divided by their sums; sqrt(1 - sum sqrt(p q)). Phases do not count. A forecast that stands
    still has no spectrum, and 1. NaN where a truth is missing or stands still.

    D_H of Hess et al. (2023), arXiv:2306.04406; as `power_spectrum_error` in
    github.com/humml-lab/GTF-ConvSSM.
    """
    everywhere = np.ones(truth.shape, dtype=bool)
    ours, theirs = (np.where(np.isfinite(x), x, 0.0) for x in (point, truth))
    defined = ~np.isnan(truth).any(axis=1) & ~_still(theirs, everywhere)
    still = _still(ours, everywhere)
    ours, theirs = _spectra(ours, still), _spectra(theirs, ~defined)
    squares = np.sum((np.sqrt(ours) - np.sqrt(theirs)) ** 2, axis=1)
    distances = np.where(still, 1.0, np.sqrt(squares / 2))
    return np.where(defined, distances, np.nan)


def _spectra(values: FloatArray, still: NDArray[np.bool_]) -> FloatArray:
    """(n, H // 2 + 1, V) normalised; zero where there is no movement."""
    from scipy.ndimage import gaussian_filter1d

    centred = values - values.mean(axis=1, keepdims=True)
    size = np.abs(centred).max(axis=1, keepdims=True)
    power = np.abs(np.fft.rfft(centred / np.where(size > 0, size, 1.0), axis=1)) ** 2
    power = gaussian_filter1d(power, SMOOTHING, axis=1)
    total = power.sum(axis=1, keepdims=True)
    return np.where(still[:, None], 0.0, power / np.where(total > 0, total, 1.0))


def state_divergences(truth: FloatArray, point: FloatArray) -> FloatArray:
    """(n,) Kullback-Leibler divergences, truth from forecast, of visits to boxes of state space.

    D_stsp: the box from the truth's minima to its maxima, a tenth of its deviations wider on each
    side, in `BINS` parts a variable; visits outside it are left out; 1e-5 is added to the visits
    of each part. Order in time does not count. 0 is a perfect forecast, log(1e5) = 11.5 is about
    what one gets that visits none of the truth's parts. A forecast that never enters the box, for
    which the published code has no number, gets the value of one that is wholly in other parts.

    NaN with more than `MOST_BINNED` variables, fewer than two steps at which all are known, or a
    truth that stands still in one.

    Koppe et al. (2019), arXiv:1902.07186; as `state_space_divergence`, binning "default", in
    github.com/DurstewitzLab/DynaMix-julia.
    """
    n, horizon, n_variables = truth.shape
    if n_variables > MOST_BINNED or horizon < 2:
        return np.full(n, np.nan)
    complete = np.asarray(~np.isnan(truth).any(axis=2))
    known = np.repeat(complete[:, :, None], n_variables, axis=2)
    count = complete.sum(axis=1)
    still = _still(truth, known).any(axis=1)
    unbiased = np.sqrt(count / np.maximum(count - 1, 1))  # n - 1 instead of n
    margin = _MARGIN * _deviations(truth, known) * unbiased[:, None]
    low = np.where(known, truth, np.inf).min(axis=1) - margin
    high = np.where(known, truth, -np.inf).max(axis=1) + margin
    defined = (count > 1) & ~still
    low, high = (np.where(defined[:, None], x, y) for x, y in ((low, 0.0), (high, 1.0)))
    parts = BINS**n_variables
    ours, theirs = (_visited(np.where(known, x, np.nan), low, high) for x in (point, truth))
    # only the parts that either visits; all others have the same pseudo-count
    keys, at = np.unique(np.concatenate([ours, theirs]), return_inverse=True)
    n_ours = np.bincount(at[: len(ours)], minlength=len(keys))
    n_theirs = np.bincount(at[len(ours) :], minlength=len(keys))
    owner = keys // parts
    inside, of_truth = (np.bincount(k // parts, minlength=n)[:n] for k in (ours, theirs))
    q_total = np.where(inside > 0, inside, count) + _PSEUDO_COUNT * parts
    p_total = of_truth + _PSEUDO_COUNT * parts
    p = (n_theirs + _PSEUDO_COUNT) / p_total[owner]
    q = (n_ours + _PSEUDO_COUNT) / q_total[owner]
    divergence = np.bincount(owner, p * np.log(p / q), minlength=n)[:n]
    empty = parts - np.bincount(owner, minlength=n)[:n]
    divergence = divergence + empty * _PSEUDO_COUNT / p_total * np.log(q_total / p_total)
    return np.where(defined, divergence, np.nan)


def _visited(values: FloatArray, low: FloatArray, high: FloatArray) -> NDArray[np.int64]:
    """A number for each visit to the box: which part, of which series."""
    shares = (values - low[:, None]) / (high - low)[:, None]
    inside = ((shares >= 0) & (shares < 1)).all(axis=2)
    series, _ = np.nonzero(inside)
    places = np.minimum((shares[inside] * BINS).astype(np.int64), BINS - 1)
    part = np.zeros(len(places), dtype=np.int64)
    for v in range(values.shape[2]):
        part = part * BINS + places[:, v]
    return np.asarray(series * BINS ** values.shape[2] + part)


def _deviations(values: FloatArray, known: NDArray[np.bool_]) -> FloatArray:
    """(n, V) standard deviations over known steps, 0 without any."""
    size = np.where(known, np.abs(values), 0.0).max(axis=1)
    size = np.where(size > 0, size, 1.0)
    # squares of very small or large values would be 0 or infinite
    scaled = np.where(known, values, np.nan) / size[:, None]
    mean = mean_known(scaled, (1,))
    variance = mean_known((scaled - mean[:, None]) ** 2, (1,))
    return np.asarray(size * np.nan_to_num(np.sqrt(variance)))


def _still(values: FloatArray, known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(n, V) whether the known steps are all one value, but for rounding; or none is known."""
    highest = np.where(known, values, -np.inf).max(axis=1)
    lowest = np.where(known, values, np.inf).min(axis=1)
    size = np.where(known, np.abs(values), 0.0).max(axis=1)
    return np.asarray(~(highest - lowest > _STILL * size))


def score(
    truth: FloatArray,
    point: FloatArray,
    *,
    history: Sequence[FloatArray],
    samples: FloatArray | None = None,
    quantiles: Sequence[float] = (0.1, 0.5, 0.9),
    periods: FloatArray | None = None,
) -> Scores:
    """All metrics of one forecaster on n series.

    Errors are over all values of all series alike. MASE is over those whose series and variable
    have a `naive_scale`. A forecast without samples has its absolute error as CRPS, which is the
    CRPS of a point mass.

    Args:
        truth: (n, H, V), NaN where unknown.
        point: (n, H, V) point forecasts.
        history: n arrays (T, V), from which forecasts were made; scales the MASE.
        samples: (n, S, H, V) drawn futures.
        quantiles: levels; each central pair among them gives one interval's coverage.
        periods: (n, V) of the histories in steps, NaN without one; None: nobody looked.

    Raises:
        ValueError: shapes that do not fit, or a forecast that is not finite where the truth is
            known. Nothing is dropped to make a score look better.
    """
    if truth.ndim != 3 or truth.shape != point.shape or len(history) != len(truth):
        raise ValueError(
            f"truth {truth.shape}, point {point.shape} and {len(history)} histories do not fit"
        )
    known = ~np.isnan(truth)
    if not np.isfinite(point[known]).all():
        raise ValueError("a point forecast is not finite")
    crps = errors = np.abs(truth - point)
    coverage: dict[str, float | None] = {}
    if samples is not None:
        if samples.ndim != 4 or (samples.shape[0], *samples.shape[2:]) != truth.shape:
            raise ValueError(f"samples {samples.shape} do not fit the truth {truth.shape}")
        if not np.isfinite(np.moveaxis(samples, 1, -1)[known]).all():
            raise ValueError("a sampled forecast is not finite")
        crps = crps_from_samples(truth, samples)
        for level in central_levels(quantiles):
            inside = inside_interval(truth, samples, level)
            coverage[f"{level:g}"] = float(mean_known(inside, (0, 1, 2)))
    # a metric that is a mean over values is added here, and as a field of `Errors`
    of_values = {
        "mae": errors,
        "mse": errors**2,
        "smape": symmetric_percentage_errors(truth, point),
        "mase": scaled_errors(truth, point, history, periods),
        "crps": crps,
    }
    season = None if periods is None else mean_known(periods, (1,))
    of_dynamics, valid_by_step = dynamics_errors(truth, point, season)
    return Scores(
        **_means(of_values, (0, 1, 2)),
        median_series_mae=_median(mean_known(errors, (1, 2))),
        **of_dynamics.model_dump(),
        valid_by_step=valid_by_step.tolist(),
        coverage=coverage,
        per_variable=_means(of_values, (0, 1)),
        per_step=_means(of_values, (0, 2)),
        mae_by_step=mean_known(errors, (0,)).tolist(),
        n_values=int(known.sum()),
    )


def _means(values: Mapping[str, FloatArray], axes: tuple[int, ...]) -> dict[str, Any]:
    """Each metric's mean over the axes, and rmse from mse, as plain numbers."""
    means = {name: mean_known(v, axes) for name, v in values.items()}
    means["rmse"] = np.sqrt(means["mse"])
    return {name: np.asarray(mean).tolist() for name, mean in means.items()}

"""Whether forecasts move as the truth does: how long they hold, how far, when and where they swing.

Shapes: n series, H steps of horizon, V variables. NaN is a missing truth. Each measure says where
it is not defined, and is NaN there. A forecast that stands still gets the measure's value for it,
not NaN: nothing is left out to make a score look better.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lvlora.data.dataset import FloatArray
from lvlora.data.gaps import mean_known

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


def valid_steps(truth: FloatArray, point: FloatArray) -> FloatArray:
    """(n,) steps before the first whose sMAPE exceeds `VALID_UNTIL`; H if none does (censored).

    sMAPE of a step is the mean over its known variables of 100 |y - f| / (|y| + |f|), as in the
    package dysts, 0 where both are zero; a step of which nothing is known counts as valid. NaN for
    a series of which nothing is known.

    "Valid prediction time" of Zhang & Gilpin (2024), arXiv:2409.15771, with their threshold of 30.
    """
    size = np.abs(truth) + np.abs(point)
    errors = 100.0 * np.abs(truth - point) / np.where(size == 0, 1.0, size)
    by_step = mean_known(errors, (2,))
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

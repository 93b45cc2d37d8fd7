"""How far forecasts are from the truth: `score` gives all metrics of one forecaster.

Shapes: n series, H steps of horizon, V variables, S samples. A missing truth (NaN) is left out of
every mean; a forecast must be finite wherever the truth is.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lvlora.data import dynamics
from lvlora.data.answers import DynamicsErrors, Scores
from lvlora.data.dataset import FloatArray
from lvlora.data.gaps import mean_known
from lvlora.data.periods import whole_season


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


def absolute_errors(truth: FloatArray, point: FloatArray) -> FloatArray:
    """|truth - point|, NaN where the truth is missing."""
    return np.asarray(np.abs(truth - point))


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
    return np.asarray(absolute_errors(truth, point) / scales[:, None, :])


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
    return mean_known(absolute_errors(truth, point), (1, 2)), mean_known(scaled, (1, 2))


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
        steps = dynamics.valid_steps(truth, point)
        amplitudes = dynamics.amplitude_errors(truth, point)
        means = {
            "valid_steps": steps,
            "valid_periods": steps / periods,
            "phase_error": dynamics.phase_errors(truth, point, periods),
            "spectrum_distance": dynamics.spectrum_distances(truth, point),
            "state_divergence": dynamics.state_divergences(truth, point),
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
    crps = errors = absolute_errors(truth, point)
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

"""Forecasters compete on a history's own past, and forecast together by how well each did there.

Nothing here knows who they are: rivals, language models, anybody with a forecast from an earlier
origin. Shapes: M forecasters, H steps of horizon, V variables, S samples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lvlora.series.dataset import FloatArray
from lvlora.series.rivals.contract import Prediction

SHARES = (0.5, 0.75)
"""Of the history, after which its rest is forecast and compared with what came."""
LEAST_STEPS = 8
"""Steps of a history without which nothing is compared: all weigh alike."""

_LOST = 4.0
"""Spreads beyond which an error is no worse."""
_SMALLEST = 1e-6
"""Error in spreads below which forecasters are equally good: it is rounding."""
_POWER = 4.0
_ROUNDING = 1e-12


def earlier_origins(n_known: int) -> list[int]:
    """Numbers of steps of a history of ``n_known`` from which its rest is forecast.

    >>> earlier_origins(50), earlier_origins(7)
    ([25, 38], [])
    """
    if n_known < LEAST_STEPS:
        return []
    return sorted({round(share * n_known) for share in SHARES})


def loss(history: FloatArray, ahead: FloatArray) -> float:
    """How far a forecast of the end of a history was off, in spreads of each variable.

    The mean over what is known, each error at most `_LOST`; NaN where nothing is known.

    Args:
        history: (T, V) with its gaps, in the variables' own units.
        ahead: (N, V) forecast of its last N steps.
    """
    truth = history[-len(ahead) :]
    known = np.isfinite(truth)
    if not known.any():
        return float("nan")
    with np.errstate(all="ignore"):
        spread = np.array(
            [np.std(c[np.isfinite(c)]) if np.isfinite(c).any() else 0 for c in history.T]
        )
        gaps = np.abs(ahead - truth) / np.where(spread > 0, spread, 1.0)
    gaps = np.where(np.isnan(gaps), _LOST, np.minimum(gaps, _LOST))
    return float(gaps[known].mean())


def weights(losses: FloatArray) -> FloatArray:
    """(M,) how much each forecaster counts, from its losses (M, W) at W origins; they add up to 1.

    The inverse of the summed loss, to the fourth power: of two forecasters, one of which was half
    as far off, that has sixteen times the weight, and those that were equally good share it (the
    combination by inverse errors of Bates & Granger 1969, doi:10.1057/jors.1969.103, sharpened).
    """
    total = np.nansum(losses, axis=1) if losses.size else np.zeros(len(losses))
    inverse = 1.0 / np.maximum(total, _SMALLEST) ** _POWER
    shares: FloatArray = inverse / inverse.sum()
    return shares


def together(
    predictions: Sequence[Prediction], shares: FloatArray, n_samples: int = 0
) -> Prediction:
    """The forecast of all, each with its weight.

    Its distribution at each step is the weighted mixture of the members', moved to the weighted
    median of their point forecasts: one that goes astray does not pull it along. Futures take its
    quantiles in the order of futures that the members give in proportion to their weights, so that
    they keep the members' courses (ensemble copula coupling, Schefzik et al. 2013,
    doi:10.1214/13-STS443), and stay within what some member forecasts. The point forecast is their
    median, the 0.5 quantile.

    Args:
        predictions: M forecasts; one without samples gives its point forecast in their place.
        shares: (M,) weights.
        n_samples: futures; 0 for none.
    """
    points = np.stack([p.point for p in predictions])
    middle = weighted_median(points, shares)
    if n_samples < 1:
        return Prediction(middle)
    members = [p.point[None] if p.samples is None else p.samples for p in predictions]
    counts = _allotted(shares, n_samples)
    drawn = np.concatenate(
        [own[np.arange(n) * len(own) // max(n, 1)] for own, n in zip(members, counts, strict=True)]
    )
    quantiles = _mixture_quantiles(members, shares, n_samples)
    ranks = drawn.argsort(axis=0, kind="stable").argsort(axis=0, kind="stable")
    moved = np.take_along_axis(quantiles, ranks, axis=0) + middle - np.median(quantiles, axis=0)
    every = np.concatenate([points, *members])
    samples = np.clip(moved, every.min(axis=0), every.max(axis=0))
    return Prediction(np.median(samples, axis=0), samples)


def _mixture_quantiles(members: Sequence[FloatArray], shares: FloatArray, n: int) -> FloatArray:
    """(n, H, V) quantiles k / (n + 1) of a mixture of samples (S, H, V) with weights (M,)."""
    values = np.concatenate([own for own, s in zip(members, shares, strict=True) if s > 0])
    weights = np.concatenate(
        [np.full(len(own), s / len(own)) for own, s in zip(members, shares, strict=True) if s > 0]
    )
    weights /= weights.sum()
    # plotting positions i / (S + 1) where weights are equal, as of one member's own samples
    size = 1.0 / (weights**2).sum()
    levels = np.arange(1, n + 1) / (n + 1)
    order = np.argsort(values, axis=0, kind="stable")
    ordered, mass = np.take_along_axis(values, order, axis=0), weights[order]
    positions = ((np.cumsum(mass, axis=0) - mass / 2) * size + 0.5) / (size + 1)
    quantiles = np.empty((n, *values.shape[1:]))
    for at in np.ndindex(values.shape[1:]):
        column = (slice(None), *at)
        quantiles[column] = np.interp(levels, positions[column], ordered[column])
    return quantiles


def weighted_median(values: FloatArray, shares: FloatArray) -> FloatArray:
    """(H, V) of (M, H, V): half of the weight is not above it, half not below."""
    order = np.argsort(values, axis=0, kind="stable")
    ordered = np.take_along_axis(values, order, axis=0)
    reached = np.cumsum(shares[order], axis=0)
    low = np.argmax(reached >= 0.5 - _ROUNDING, axis=0)[None]
    high = np.argmax(reached > 0.5 + _ROUNDING, axis=0)[None]
    ends = [np.take_along_axis(ordered, at, axis=0)[0] for at in (low, high)]
    middle: FloatArray = (ends[0] + ends[1]) / 2
    return middle


def _allotted(shares: FloatArray, n: int) -> list[int]:
    """How many of n each gets: largest remainders, the first where they are equal."""
    quotas = shares * n
    counts = np.floor(quotas + 1e-9).astype(int)
    order = np.argsort(-(quotas - counts), kind="stable")
    counts[order[: n - int(counts.sum())]] += 1
    return [int(c) for c in counts]

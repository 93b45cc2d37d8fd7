"""Futures around a forecast, and the guard that keeps every forecast within reason."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from lvlora.data.dataset import FloatArray
from lvlora.data.metrics import of_samples

GUARD_RANGES = 1.0
"""A forecast may leave the range of its history by this many widths of that range."""
_ORIGINS = (0.625, 0.75, 0.875)
"""Shares of a history after which the rest is forecast from it, to see how good that is."""
_WIDER = 1.35
"""Futures lie so many times as far from a forecast as a method says that was chosen and fitted on
the same history: on the development set 80 % intervals then hold about as much."""
_SMALLEST = 1e-12  # of a history's range: an error of nothing has no size
N_HINDCASTS = 2
LEAST_STEPS = 8
"""Steps of a history without which there is no recent origin."""
_SHARE = 4
"""A hindcast from a recent origin is of at most one step in so many of the history."""
_PRIOR_ERRORS = 10.0
"""Errors of hindcasts that a method's own word on its futures counts as much as."""
_LEAST_APART, _MOST_APART = 0.5, 4.0
_OUTSIDE = 100.0
"""Half widths of an interval beyond which an error is no further outside."""


def stream(name: str) -> np.random.Generator:
    """Random numbers that depend on a series' name alone."""
    digest = hashlib.sha256(name.encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def futures(
    point: FloatArray,
    past: list[FloatArray],
    filled: FloatArray,
    history: FloatArray,
    n_samples: int,
    name: str,
) -> FloatArray:
    """Futures that differ from a forecast as earlier forecasts did from what came.

    A residual bootstrap (Efron & Tibshirani 1993, chapter 9) in blocks: the residuals of the
    hindcasts, each over the root mean square of those at about as many steps ahead, are drawn in
    stretches with all variables together, with either sign, and scaled to the steps ahead that
    they get. That scale is of few hindcasts, so each future has its own, as of Student's t with as
    many degrees of freedom. Beyond the longest hindcast residuals grow as a random walk's. On
    logarithms where the whole history is positive.

    Args:
        point: (H, V) the forecast.
        past: (T - origin, V) hindcasts; without any, the futures are the forecast itself.
        filled: (T, V) the complete history; history: the same with its gaps.

    Returns:
        (n_samples, H, V), guarded.
    """
    n_ahead = len(point)
    if not past:
        return np.repeat(point[None], n_samples, axis=0)
    logs = bool(np.all(filled > 0))
    truth = np.log(filled) if logs else filled
    width = np.ptp(truth, axis=0)
    paths = []
    for hindcast in past:
        n = len(hindcast)
        at = _log(hindcast) if logs else hindcast
        gap = np.clip((at - truth[-n:]) / np.where(width > 0, width, 1.0), -1.0, 1.0)
        paths.append(np.where(np.isnan(history[-n:]), np.nan, gap))
    scale = _scale(paths, max(n_ahead, *(len(p) for p in paths)))
    pool = [np.nan_to_num(p / scale[: len(p)], nan=0.0) for p in paths]
    rng = stream(name)
    drawn = np.stack([_drawn(pool, n_ahead, rng) for _ in range(n_samples)])
    drawn *= np.sqrt(len(past) / rng.chisquare(len(past), n_samples))[:, None, None]
    noise = drawn * scale[:n_ahead] * width
    with np.errstate(all="ignore"):
        moved = point * np.exp(noise) if logs else point + noise
    return widened(point, moved, filled)


def _scale(paths: list[FloatArray], n_steps: int) -> FloatArray:
    """(n_steps, V) root mean square residual at each number of steps ahead, never falling."""
    longest, n_variables = max(len(p) for p in paths), paths[0].shape[1]
    total, count = np.zeros((longest, n_variables)), np.zeros((longest, n_variables))
    for p in paths:
        known = ~np.isnan(p)
        total[: len(p)] += np.where(known, p, 0.0) ** 2
        count[: len(p)] += known
    scale = np.full((n_steps, n_variables), _SMALLEST)
    for h in range(1, n_steps + 1):
        near = slice(min(h, longest) // 2, min(h, longest))
        n = np.maximum(count[near].sum(axis=0), 1.0)
        size = np.sqrt(total[near].sum(axis=0) / n)
        grown = size * np.sqrt(max(h / longest, 1.0))
        scale[h - 1] = np.maximum(grown, scale[max(h - 2, 0)])
    return scale


def _drawn(pool: list[FloatArray], n_ahead: int, rng: np.random.Generator) -> FloatArray:
    """(n_ahead, V) stretches of standardised residuals, joined."""
    pieces: list[FloatArray] = []
    missing = n_ahead
    while missing > 0:
        path = pool[rng.integers(len(pool))]
        start = int(rng.integers(len(path)))
        sign = 1.0 if rng.random() < 0.5 else -1.0
        pieces.append(sign * path[start : start + missing])
        missing -= len(pieces[-1])
    return np.concatenate(pieces)


def widened(
    point: FloatArray, samples: FloatArray, filled: FloatArray, surprise: float = 1.0
) -> FloatArray:
    """Draw futures (S, H, V) apart from a forecast (H, V) by `_WIDER`, and guard them.

    On logarithms where the whole history is positive.

    Args:
        surprise: further factor, see `surprise_of`.
    """
    apart = _WIDER * surprise
    with np.errstate(all="ignore"):
        if np.all(filled > 0):
            tiny = np.finfo(float).tiny
            ratio = np.maximum(samples, tiny) / np.maximum(point, tiny)
            return guarded(point * ratio**apart, filled)
        return guarded(point + apart * (samples - point), filled)


def surprise_of(hindcasts: Sequence[tuple[FloatArray, FloatArray]], logs: bool) -> float:
    """How many times wider a method's 80 % intervals should have been to hold 80 % of its past.

    The 0.8 quantile of the errors of its hindcasts, each over the distance from the forecast to
    that end of the interval (Romano et al. 2019, arXiv:1905.03222, scaled); drawn towards 1 where
    there are few of them.

    Args:
        hindcasts: each a truth (h, V), NaN where missing, and paths (1 + S, h, V), the first of
            which is the forecast.
        logs: compare logarithms.
    """
    sizes = [np.empty(0)]
    for truth, paths in hindcasts:
        if logs:
            truth, paths = _log(truth), _log(paths)
        point = paths[0]
        low, high = of_samples(paths[1:], (0.1, 0.9))
        ends = np.where(truth < point, point - low, high - point)
        gaps, known = np.abs(truth - point), np.isfinite(truth)
        # of futures without a width, every error is outside by as much as counts
        least = np.maximum(ends, gaps / _OUTSIDE)
        size = np.divide(gaps, least, out=np.zeros_like(gaps), where=known & (gaps > 0))
        sizes.append(size[known])
    every = np.concatenate(sizes)
    if not len(every):
        return 1.0
    share = len(every) / (len(every) + _PRIOR_ERRORS)
    return float(np.clip(np.quantile(every, 0.8), _LEAST_APART, _MOST_APART) ** share)


def recent_origins(n_known: int, horizon: int) -> list[tuple[int, int]]:
    """Return steps before and after the recent origins of a history, the earliest first.

    The last hindcast ends with the history, the other where that begins.

    >>> recent_origins(50, 10), recent_origins(50, 50), recent_origins(7, 1)
    ([(30, 10), (40, 10)], [(26, 12), (38, 12)], [])
    """
    if n_known < LEAST_STEPS:
        return []
    n_ahead = min(horizon, n_known // _SHARE)
    return [(n_known - k * n_ahead, n_ahead) for k in range(N_HINDCASTS, 0, -1)]


def origins(n_known: int) -> list[int]:
    """Numbers of steps of a history of ``n_known`` after which its rest is forecast."""
    return sorted({n for share in _ORIGINS if 2 <= (n := round(share * n_known)) < n_known})


def guarded(forecast: FloatArray, history: FloatArray) -> FloatArray:
    """A forecast that cannot blow up.

    Each variable stays within the range of its complete history, widened by `GUARD_RANGES` times
    its width on both sides, and does not become negative if the history is not. What is not
    finite becomes the last value.

    Args:
        forecast: (..., H, V).
    """
    low, high = history.min(axis=0), history.max(axis=0)
    margin = GUARD_RANGES * (high - low)
    floor = np.where(low >= 0, np.maximum(low - margin, 0.0), low - margin)
    finite = np.where(np.isfinite(forecast), forecast, history[-1])
    return np.asarray(np.clip(finite, floor, high + margin))


def astray(forecasts: FloatArray, history: FloatArray) -> FloatArray:
    """(C,) the share of each of (C, H, V) forecasts that the guard cuts."""
    same = np.isclose(guarded(forecasts, history), forecasts, rtol=1e-9, atol=0.0)
    return np.asarray(np.mean(~same, axis=(1, 2)))


def _log(values: FloatArray) -> FloatArray:
    return np.asarray(np.log(np.maximum(values, np.finfo(float).tiny)))

"""Smoothing a history by a discrete spline whose strength the history itself decides."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from lvlora.series.dataset import FloatArray

_STRENGTHS = 10.0 ** np.arange(-6, 6.01, 0.25)
_FEWEST = 6  # samples: fewer are left as they are


def smoothed(time: FloatArray, values: FloatArray) -> FloatArray:
    """(T, V) smooth values near those given.

    Least squares with a penalty on second divided differences (Whittaker 1923; Eilers 2003,
    doi:10.1021/ac034173t), which for close samples is the cubic smoothing spline; its strength, for
    each variable, by generalised cross-validation (Craven & Wahba 1979, doi:10.1007/BF01404567).

    Args:
        time: (T,) increasing, of steps near 1.
        values: (T, V) complete.
    """
    n = len(values)
    if n < _FEWEST:
        return values
    roughness, basis = _basis(np.ascontiguousarray(time).tobytes())
    coordinates = basis.T @ values
    kept = 1 / (1 + _STRENGTHS[:, None] * roughness)
    left = (1 - kept) ** 2 @ coordinates**2
    freedom = np.maximum(1 - kept.sum(axis=1) / n, 1e-6)
    best = np.argmin(left / freedom[:, None] ** 2, axis=0)
    result: FloatArray = basis @ (kept[best].T * coordinates)
    return result


@lru_cache(32)
def _basis(times: bytes) -> tuple[FloatArray, FloatArray]:
    """Roughness (T,) and eigenvectors (T, T) of the penalty: the same for all series alike."""
    time = np.frombuffer(times)
    first = np.diff(np.eye(len(time)), axis=0) / np.diff(time)[:, None]
    second = 2 * np.diff(first, axis=0) / (time[2:] - time[:-2])[:, None]
    roughness, basis = np.linalg.eigh(second.T @ second)
    return np.maximum(roughness, 0.0), basis

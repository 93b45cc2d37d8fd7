"""The rule of `lvlora.forecast.calibration.widths`, fitted to forecasts whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize

from lvlora.forecast.calibration.widths import FEATURES, Widths, features
from lvlora.forecast.forecast import Forecast
from lvlora.series.dataset import FloatArray
from lvlora.series.metrics.quantiles import of_samples

LEVELS = (0.5, 0.8, 0.9)
"""Of the intervals that the one factor should make right."""
_SMOOTH = 0.1
"""Of the pinball loss, in logs of factors."""
_RIDGE = 0.01
"""Of the weights of features of variance 1."""
_LEAST = 0.005
"""Half an interval counts as so many standard deviations of the history at least: about what two
decimals write."""
_FAR = 1000.0


@dataclass(frozen=True)
class Example:
    """A forecast and what came.

    Attributes:
        group: all groups weigh alike, and in each all series.
        truth: (H, V), NaN where it is not known.
        forecast: as the model drew it, with its history.
    """

    group: str
    truth: FloatArray
    forecast: Forecast


def fit(examples: Sequence[Example], **facts: Any) -> Widths:
    """The rule that makes intervals cover what they say, as nearly as one factor can.

    Args:
        facts: to keep with it, as JSON.
    """
    z, needed, weight = _numbers(examples)
    low, high = np.quantile(z, [0.01, 0.99], axis=0)
    z = np.clip(z, low, high)
    centre = np.average(z, axis=0, weights=weight)
    size = np.sqrt(np.average((z - centre) ** 2, axis=0, weights=weight))
    size[size < 1e-9] = np.inf  # what never varies tells nothing
    columns = np.column_stack([np.ones(len(z)), (z - centre) / size])

    def loss(b: FloatArray) -> tuple[float, FloatArray]:
        total, gradient = _RIDGE * float(b[1:] @ b[1:]), 2 * _RIDGE * np.append(0, b[1:])
        for level, of_level in zip(LEVELS, needed.T, strict=True):
            gap = of_level - columns @ b
            # the pinball loss with its corner rounded off (Zheng 2011)
            each = level * gap + _SMOOTH * np.logaddexp(0, -gap / _SMOOTH)
            slope = 0.5 * (1 - np.tanh(gap / _SMOOTH / 2)) - level
            total += float(weight @ each) / len(LEVELS)
            gradient += columns.T @ (weight * slope) / len(LEVELS)
        return total, gradient

    found = minimize(loss, np.zeros(columns.shape[1]), jac=True, method="L-BFGS-B").x
    of_feature = found[1:] / size
    groups = dict.fromkeys(e.group for e in examples)
    return Widths(
        float(found[0] - of_feature @ centre),
        dict(zip(FEATURES, of_feature.tolist(), strict=True)),
        {n: (float(a), float(b)) for n, a, b in zip(FEATURES, low, high, strict=True)},
        {"series": {g: sum(e.group == g for e in examples) for g in groups}, **facts},
    )


def _numbers(examples: Sequence[Example]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """(N, features), (N, levels) logs of the factors that were needed, and (N,) weights."""
    z, needed, weight = [], [], []
    for example in examples:
        known = np.isfinite(example.truth)
        if not known.any():
            continue
        history = example.forecast.history
        assert history is not None
        read = history.values[max(0, len(history) - example.forecast.context) :]
        found = features(read, example.forecast.samples)
        z.append(np.column_stack([found[name][known] for name in FEATURES]))
        least = _LEAST * np.nanstd(read, axis=0)
        needed.append(
            np.column_stack(
                [_needed(example.truth, example.forecast.samples, x, least)[known] for x in LEVELS]
            )
        )
        of_group = sum(e.group == example.group for e in examples)
        weight.append(np.full(int(known.sum()), 1 / of_group / known.sum()))
    weights = np.concatenate(weight)
    return np.concatenate(z), np.concatenate(needed), weights / weights.sum()


def _needed(truth: FloatArray, samples: FloatArray, level: float, least: FloatArray) -> FloatArray:
    """(H, V) log of the factor at which the central interval just holds the truth."""
    low, median, high = of_samples(samples, [(1 - level) / 2, 0.5, (1 + level) / 2])
    side = np.where(truth >= median, high - median, median - low)
    factor = np.abs(truth - median) / np.maximum(side, np.maximum(least, 1e-12))
    return np.log(np.clip(factor, 1 / _FAR, _FAR))

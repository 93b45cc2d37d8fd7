"""The rules of `lvlora.forecast.widths`, fitted to forecasts whose truth is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from calibration_series import MEASURED, SYSTEMS
from scipy.optimize import minimize

from lvlora.data.dataset import FloatArray
from lvlora.data.metrics import of_samples
from lvlora.forecast.forecaster import Forecast
from lvlora.forecast.rivals.naive import LastValue
from lvlora.forecast.widths import FEATURES, Rule, Widths, features, last_cycle, shares

LEVELS = (0.5, 0.8, 0.9)
"""Of the intervals that the one factor should make right."""
_WEIGHT = {MEASURED: 2.0, SYSTEMS: 2.0}
"""Of a group, 1 where it is not named: what users bring is measured, or predators and prey."""
_SMOOTH = 0.1
"""Of the pinball loss, in logs of factors."""
_RIDGE = 0.01
"""Of the weights of features of variance 1."""
_LEAST = 0.005
"""Half an interval counts as so many standard deviations of the history at least: about what two
decimals write."""
_FAR = 1000.0
_NEAR = 0.005
"""Of the last value's error: errors below it are alike."""


@dataclass(frozen=True)
class Example:
    """A forecast and what came.

    Attributes:
        group: in each all series weigh alike; see `_WEIGHT`.
        truth: (H, V), NaN where it is not known.
        forecast: as the model drew it, with its history.
    """

    group: str
    truth: FloatArray
    forecast: Forecast


def fit(examples: Sequence[Example], **facts: Any) -> Widths:
    """The rule that draws medians to the last cycle where that helps, and then the one that makes
    intervals cover what they say, as nearly as one factor can.

    Args:
        facts: to keep with them, as JSON.
    """
    known = _known(examples)
    pull = _fit_pull(known)
    share, _ = shares(pull.of(known.features), known.features)
    moved = share * (known.again - known.median)
    groups = dict.fromkeys(e.group for e in examples)
    return Widths(
        **_fit_width(known, moved).model_dump(),
        pull=pull,
        facts={"series": {g: sum(e.group == g for e in examples) for g in groups}, **facts},
    )


@dataclass(frozen=True)
class _Known:
    """All N known values of all examples, one after the other.

    Attributes:
        series: (N,) which of the n examples that have any; weight: (n,) what each one weighs.
        features: (N,) of each name; truth, median, again (the last cycle), last_value: (N,).
        low, high: (N, levels) ends of the intervals; least: (N,) what half of one has at least.
    """

    series: FloatArray
    weight: FloatArray
    features: dict[str, FloatArray]
    truth: FloatArray
    median: FloatArray
    again: FloatArray
    last_value: FloatArray
    low: FloatArray
    high: FloatArray
    least: FloatArray

    @property
    def weights(self) -> FloatArray:
        """(N,) what each value weighs: those of an example share its weight."""
        each: FloatArray = (self.weight / np.bincount(self.series))[self.series]
        return each


def _known(examples: Sequence[Example]) -> _Known:
    parts: list[dict[str, FloatArray]] = []
    groups: list[str] = []
    for example in examples:
        known, samples = np.isfinite(example.truth), example.forecast.samples
        if not known.any():
            continue
        history = example.forecast.history
        assert history is not None
        read = history.values[max(0, len(history) - example.forecast.context) :]
        median = np.median(samples, axis=0)
        ends = [of_samples(samples, [(1 - x) / 2, (1 + x) / 2]) for x in LEVELS]
        least = np.broadcast_to(_LEAST * np.nanstd(read, axis=0), median.shape)
        arrays = {
            "truth": example.truth,
            "median": median,
            "again": last_cycle(read, median),
            "last_value": LastValue().forecast(np.arange(len(read) + len(median)), read),
            "least": np.maximum(least, 1e-12),
            **features(read, samples),
        }
        part = {name: array[known] for name, array in arrays.items()}
        part["low"], part["high"] = (
            np.column_stack([both[side][known] for both in ends]) for side in (0, 1)
        )
        part["series"] = np.full(int(known.sum()), len(parts))
        parts.append(part)
        groups.append(example.group)
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    weight = np.array([_WEIGHT.get(group, 1.0) / groups.count(group) for group in groups])
    return _Known(
        features={name: joined.pop(name) for name in FEATURES},
        weight=weight / weight.sum(),
        **joined,
    )


def _fit_rule(
    known: _Known,
    loss: Callable[[FloatArray], tuple[float, FloatArray]],
    *,
    begin: float,
) -> Rule:
    """The rule whose numbers (N,) have the least loss, which gives its slope by each of them, too.

    Args:
        begin: the number that all values have at first.
    """
    weight = known.weights
    z = np.column_stack([known.features[name] for name in FEATURES])
    low, high = np.quantile(z, [0.01, 0.99], axis=0)
    z = np.clip(z, low, high)
    centre = np.average(z, axis=0, weights=weight)
    size = np.sqrt(np.average((z - centre) ** 2, axis=0, weights=weight))
    size[size < 1e-9] = np.inf  # what never varies tells nothing
    columns = np.column_stack([np.ones(len(z)), (z - centre) / size])

    def joined(b: FloatArray) -> tuple[float, FloatArray]:
        total, slopes = loss(columns @ b)
        ridge = _RIDGE * np.append(0, b[1:])
        return total + float(ridge @ b), columns.T @ slopes + 2 * ridge

    first = np.append(begin, np.zeros(len(FEATURES)))
    solution = minimize(joined, first, jac=True, method="L-BFGS-B").x
    of_feature = solution[1:] / size
    return Rule(
        constant=float(solution[0] - of_feature @ centre),
        rule=dict(zip(FEATURES, of_feature.tolist(), strict=True)),
        ranges={n: (float(a), float(b)) for n, a, b in zip(FEATURES, low, high, strict=True)},
    )


def _fit_pull(known: _Known) -> Rule:
    """By the log of the mean error of a series over the last value's, which all series share."""
    n = len(known.weight)
    way = known.again - known.median

    def of_series(values: FloatArray) -> FloatArray:
        return np.bincount(known.series, values, n)

    of_last = of_series(np.abs(known.last_value - known.truth))
    tells = of_last > 1e-9 * of_series(np.abs(known.truth) + np.abs(known.last_value))
    of_last[~tells] = 1.0

    def loss(numbers: FloatArray) -> tuple[float, FloatArray]:
        share, by_number = shares(numbers, known.features)
        gap = known.median + share * way - known.truth
        ratio = of_series(np.abs(gap)) / of_last
        each = np.where(tells, np.log(ratio + _NEAR), 0.0)
        by_gap = (known.weight * tells / (ratio + _NEAR) / of_last)[known.series]
        return float(known.weight @ each), by_gap * np.sign(gap) * way * by_number

    return _fit_rule(known, loss, begin=-1.5)


def _fit_width(known: _Known, moved: FloatArray) -> Rule:
    """Of the logs of factors by pinball loss.

    Args:
        moved: (N,) by how much medians were.
    """
    truth = known.truth - moved
    above = (truth >= known.median)[:, None]
    side = np.where(above, known.high - known.median[:, None], known.median[:, None] - known.low)
    factor = np.abs(truth - known.median)[:, None] / np.maximum(side, known.least[:, None])
    needed = np.log(np.clip(factor, 1 / _FAR, _FAR))
    weight = known.weights

    def loss(numbers: FloatArray) -> tuple[float, FloatArray]:
        total, slopes = 0.0, np.zeros(len(numbers))
        for level, of_level in zip(LEVELS, needed.T, strict=True):
            gap = of_level - numbers
            # the pinball loss with its corner rounded off (Zheng 2011)
            each = level * gap + _SMOOTH * np.logaddexp(0, -gap / _SMOOTH)
            total += float(weight @ each) / len(LEVELS)
            slopes += weight * (0.5 * (1 - np.tanh(gap / _SMOOTH / 2)) - level) / len(LEVELS)
        return total, slopes

    return _fit_rule(known, loss, begin=0.0)

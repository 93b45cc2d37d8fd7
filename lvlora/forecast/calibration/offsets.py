"""Intervals that cover what they say: conformal offsets from series the model was not trained on.

Conformalized quantile regression (Romano, Patterson & Candès 2019, arXiv:1905.03222): on
calibration series each truth y scores by how far it lies outside its interval,

    E = max(q_low - y, y - q_high)        (negative inside),

and the interval [q_low - Q, q_high + Q], with Q the ⌈(n + 1) level⌉-th smallest of n scores, covers
a new truth with at least the probability ``level``, whatever the model, as long as the new series
is exchangeable with those of the calibration. Q may be negative: too wide intervals shrink.

Offsets are in standard deviations of the history (`units_of`), so that they serve series of any
magnitude, and they belong to a step of the horizon and a variable. Where a step has
fewer than `ENOUGH` scores, those of its neighbours are taken too: as many steps on either side as
it takes. One more row of offsets, over all variables, is used for files with another number of
variables.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lvlora.errors import DataError, SettingsError
from lvlora.forecast.bounds import least_values
from lvlora.forecast.forecast import Forecast
from lvlora.series.dataset import FloatArray, Series
from lvlora.series.metrics.quantiles import of_samples
from lvlora.series.metrics.scores import central_levels

ENOUGH = 40
"""Scores of one offset: with fewer a quantile of 90 % is one of the last four."""

_LEAST_UNIT = 0.01


@dataclass(frozen=True)
class Calibration:
    """Offsets of central intervals.

    Attributes:
        offsets: probability of a central interval -> (V + 1, H) in the `units_of` a series; the
            last row is over all variables.
        facts: where they are from: series, context, samples and the like, as JSON.
    """

    offsets: Mapping[float, FloatArray]
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def horizon(self) -> int:
        """Steps that there are offsets for."""
        return next((rows.shape[1] for rows in self.offsets.values()), 0)

    def check(self, levels: Sequence[float], n_steps: int) -> None:
        """Whether there are offsets for these quantiles and so many steps.

        Raises:
            SettingsError: there are not.
        """
        for level in _central(levels):
            if level not in self.offsets:
                known = ", ".join(f"{x:g}" for x in sorted(self.offsets))
                raise SettingsError(
                    f"--calibrated: no offset for intervals of {level:g}; there are some for "
                    f"{known}",
                    f"Use --quantiles {_quantiles_of(self.offsets)}, or calibrate with others.",
                )
        if n_steps > self.horizon:
            raise SettingsError(
                f"--calibrated: {n_steps} steps, and the calibration is for {self.horizon}",
                f"Forecast {self.horizon} steps at most, or calibrate with a longer --horizon.",
            )

    def intervals(
        self, samples: FloatArray, units: FloatArray, level: float
    ) -> tuple[FloatArray, FloatArray]:
        """The calibrated ends of one central interval, before `nested` makes them agree.

        Args:
            samples: (S, H, V) in original units; units: (V,) of the series.

        Returns:
            low, high: (H, V).
        """
        rows = self.offsets[level]
        n_steps, n_variables = samples.shape[1:]
        chosen = rows[:-1] if len(rows) - 1 == n_variables else np.repeat(rows[-1:], n_variables, 0)
        offset = chosen[:, :n_steps].T * units
        low, high = central_interval(samples, level)
        return low - offset, high + offset

    def apply(self, forecast: Forecast, history: Series, levels: Sequence[float]) -> Forecast:
        """The forecast with calibrated quantiles; samples, median and mean stay as they are.

        No quantile of a variable is below 0 if its history never is: truths that aren't stay
        covered.

        Args:
            history: that was forecast from.
            levels: quantiles, each the end of a central interval, or 0.5.

        Raises:
            SettingsError: an interval or a step has no offset.
        """
        self.check(levels, len(forecast.time))
        wanted = _central(levels)
        units = units_of(history, forecast)
        least = least_values(history.values)
        ends = [self.intervals(forecast.samples, units, level) for level in wanted]
        found: dict[float, FloatArray] = {}
        for level, (low, high) in zip(wanted, nested(ends, forecast.median), strict=True):
            for q in levels:
                if round(abs(1 - 2 * q), 10) == level:
                    found[q] = np.maximum(low if q < 0.5 else high, least)
        return replace(forecast, calibrated={**forecast.calibrated, **found})


def units_of(history: Series, forecast: Forecast) -> FloatArray:
    """(V,) standard deviations of the steps that were read, in original units.

    At least a hundredth of the scale's divisor, for a history that is constant or hardly known.
    """
    used = history.values[max(0, len(history) - forecast.context) :]
    known = np.ma.masked_invalid(used)
    spread = np.asarray(np.ma.std(known, axis=0).filled(0.0), dtype=np.float64)
    if forecast.scale is None:
        raise ValueError("only what a model forecast has a scale to calibrate by")
    units: FloatArray = np.maximum(spread, _LEAST_UNIT * np.asarray(forecast.scale.divisors))
    return units


def central_interval(samples: FloatArray, level: float) -> tuple[FloatArray, FloatArray]:
    """Both ends of the samples' (S, …) central interval."""
    low, high = of_samples(samples, [(1 - level) / 2, (1 + level) / 2])
    return low, high


def nested(
    intervals: Sequence[tuple[FloatArray, FloatArray]], median: FloatArray
) -> list[tuple[FloatArray, FloatArray]]:
    """Intervals from narrow to wide, each extended to hold the median and those before it.

    Offsets of their own may let ends cross; extending an interval loses no coverage.
    """
    found = []
    inner = (median, median)
    for low, high in intervals:
        inner = (np.minimum(low, inner[0]), np.maximum(high, inner[1]))
        found.append(inner)
    return found


def calibrate(
    truth: FloatArray,
    samples: FloatArray,
    units: FloatArray,
    quantiles: Sequence[float],
    facts: Mapping[str, Any] | None = None,
) -> Calibration:
    """Offsets from forecasts of series whose future is known.

    Args:
        truth: (n, H, V), NaN where missing; samples: (n, S, H, V); both in original units.
        units: (n, V), see `units_of`.
        quantiles: each central pair among them gets offsets.
        facts: to keep with them.

    Raises:
        SettingsError: no central pair, or fewer than two samples.
        DataError: too few known truths for a level.
    """
    levels = central_levels(quantiles)
    if not levels or samples.shape[1] < 2:
        raise SettingsError(
            "there is no interval to calibrate: it takes a pair of quantiles such as 0.1 and 0.9, "
            "and at least two samples",
            "Use --quantiles 0.1,0.5,0.9 and leave --greedy out.",
        )
    offsets: dict[float, FloatArray] = {}
    for level in levels:
        low, high = central_interval(np.moveaxis(samples, 1, 0), level)
        scores = np.maximum(low - truth, truth - high) / units[:, None, :]
        n_variables = truth.shape[2]
        rows = [_by_step(scores[:, :, [v]], level) for v in range(n_variables)]
        offsets[level] = np.stack([*rows, _by_step(scores, level)])
    return Calibration(offsets, dict(facts or {}))


def _by_step(scores: FloatArray, level: float) -> FloatArray:
    """(H,) offsets of scores (n, H, …): each step's own, or with its neighbours'."""
    horizon = scores.shape[1]
    found = np.empty(horizon)
    for step in range(horizon):
        for reach in range(horizon):
            near = scores[:, max(0, step - reach) : step + reach + 1]
            known = near[~np.isnan(near)]
            if len(known) >= ENOUGH or reach == horizon - 1:
                break
        found[step] = offset(known, level)
    return found


def offset(scores: FloatArray, level: float) -> float:
    """The ⌈(n + 1) level⌉-th smallest of n scores.

    Raises:
        DataError: with so few scores no finite offset covers ``level``.
    """
    n = len(scores)
    place = math.ceil(round((n + 1) * level, 9))
    if place > n:
        raise DataError(
            f"{n} known truths are too few to calibrate intervals of {level:g}",
            f"It takes {math.ceil(round(level / (1 - level), 9))} at least: calibrate on more "
            "series.",
        )
    return float(np.partition(scores, place - 1)[place - 1])


def share_inside(
    truth: FloatArray, forecasts: Sequence[Forecast], ends: tuple[float, float]
) -> float:
    """Of the known truths (n, H, V), how many lie between two quantiles; NaN without any."""
    low, high = (np.stack([f.quantile(q) for f in forecasts]) for q in ends)
    known = ~np.isnan(truth)
    inside = (truth >= low) & (truth <= high)
    return float(inside[known].mean()) if known.any() else float("nan")


def _central(levels: Sequence[float]) -> list[float]:
    """Probabilities of the central intervals that these quantiles are ends of, ascending."""
    return sorted({round(abs(1 - 2 * q), 10) for q in levels} - {0.0})


def _quantiles_of(levels: Mapping[float, object]) -> str:
    ends = {round((1 - x) / 2, 10) for x in levels} | {round((1 + x) / 2, 10) for x in levels}
    return ",".join(f"{q:g}" for q in sorted(ends | {0.5}))

"""A rule that is linear in what a history and the futures drawn after it look like.

For each step and variable a number c + sum_k w_k z_k, each z_k one of the `FEATURES`, clipped to
the range that it was fitted on.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Annotated, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from lvlora.answers import Shape
from lvlora.data.dataset import FloatArray

FEATURES = (
    *("spread over steps", "spread over deviation", "step"),
    *("roughness", "length", "trend", "last", "whole numbers", "returns", "missing"),
)
"""Inputs of a rule, see `features`."""

_TINY = 1e-12
"""In units of a variable's range."""
_LARGEST_COUNT = 1e9
_LEAST_SPREAD = 0.002
SEEN = 2.5
"""So many cycles are to be seen: half of a second one may be that of a slow swing."""
_LEAST_RETURN = 0.02
_ROUGH = 0.35
"""Where a history has no second differences: a walk's."""


_Weight = Annotated[float, Field(ge=-1e6, le=1e6)]
"""No fitted number is nearly as large; larger ones overflow."""


class Rule(Shape):
    """A fitted rule: a constant c, and a weight w of each of the `FEATURES`, or of none.

    Attributes:
        rule: the weights.
        ranges: the least and the largest value of each feature that it was fitted on.
    """

    constant: _Weight
    rule: dict[str, _Weight] = Field(default_factory=dict)
    ranges: dict[str, tuple[_Weight, _Weight]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for name in FEATURES if self.rule or self.ranges else ():
            if name not in self.rule or name not in self.ranges:
                raise ValueError(f"{name} is missing")
            low, high = self.ranges[name]
            if low > high:
                raise ValueError(f"{name}: {low} to {high} is no range")
        return self

    def of(self, values: Mapping[str, FloatArray]) -> FloatArray:
        """The numbers (H, V) for `features` of a forecast."""
        numbers: FloatArray = np.full(values["step"].shape, self.constant)
        for name, z in values.items() if self.rule else ():
            numbers += self.rule[name] * np.clip(z, *self.ranges[name])
        return numbers


def features(history: FloatArray, samples: FloatArray) -> dict[str, FloatArray]:
    """Return the inputs of a rule from a history (T, V) and its futures (S, H, V); (H, V) each.

    - spread over steps, spread over deviation: logs of the samples' mean distance from their
      median, over the mean absolute change from one step of the history to the next, and over the
      history's standard deviation. No distance counts as less than 0.002 of the latter.
    - roughness: log of the mean absolute second difference of the history over the mean absolute
      first one: -2 for a smooth curve, 0.35 for a walk, 0.55 for white noise.
    - length: log of the number of known values; step: log of the step's number, from 1.
    - trend: squared correlation of the history with its time.
    - last: how many standard deviations the last known value is away from the mean, 3 at most.
    - whole numbers: 1 where all known values are such, as counts are; none above a billion.
    - returns: log of how nearly the history repeats itself (`cycle`): 0 for noise and walks, -3 and
      less for what does.
    - missing: the share of the history's steps whose value is not known, 0 to 1.
    """
    whole = [_are_counts(column[np.isfinite(column)]) for column in history.T]
    exponents = _exponents(history)
    history, samples = np.ldexp(history, -exponents), np.ldexp(samples, -exponents)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN|Mean of empty", RuntimeWarning)
        spread = np.nanmean(np.abs(samples - np.nanmedian(samples, axis=0)), axis=0)
    n_steps = len(spread)
    of_variable = [_of_history(column[np.isfinite(column)], column) for column in history.T]
    inputs: dict[str, FloatArray] = {
        "whole numbers": np.broadcast_to(np.array(whole, dtype=np.float64), spread.shape)
    }
    for name in of_variable[0]:
        rows = np.array([of_one[name] for of_one in of_variable])
        inputs[name] = np.broadcast_to(rows, spread.shape)
    change, deviation = inputs.pop("change"), inputs.pop("deviation")
    width = np.log(np.fmax(spread, _LEAST_SPREAD * deviation))
    return {
        "spread over steps": width - np.log(change),
        "spread over deviation": width - np.log(deviation),
        "step": np.broadcast_to(np.log(np.arange(1.0, n_steps + 1))[:, None], spread.shape),
        **inputs,
    }


def _are_counts(known: FloatArray) -> bool:
    return bool(((known == np.round(known)) & (np.abs(known) < _LARGEST_COUNT)).all())


def _exponents(history: FloatArray) -> NDArray[np.int64]:
    """(V,) powers of two near each variable's range: divided by them, the unit is of no matter."""
    known = np.where(np.isfinite(history), history, np.nan)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN", RuntimeWarning)
        ranges = np.nan_to_num(np.nanmax(known, axis=0) - np.nanmin(known, axis=0))
    _, exponents = np.frexp(ranges)
    return np.asarray(exponents, dtype=np.int64)


def _of_history(known: FloatArray, column: FloatArray) -> dict[str, float]:
    """Return the features of one variable's history: its known values, and all (T,) with gaps."""
    deviation = max(float(known.std()) if len(known) else 0.0, _TINY)
    first, second = (_size(np.diff(column, n=n)) for n in (1, 2))
    change = deviation if first is None else max(first, _LEAST_SPREAD * deviation)
    rough = _ROUGH if second is None else math.log(max(second, _TINY) / change)
    steps = np.flatnonzero(np.isfinite(column))
    varies = len(known) > 2 and deviation > _TINY
    return {
        "change": change,
        "deviation": deviation,
        "roughness": min(max(rough, -3.0), 1.0),
        "length": math.log(max(len(known), 1)),
        "trend": float(np.corrcoef(steps, known)[0, 1] ** 2) if varies else 0.0,
        "last": min(3.0, abs(float(known[-1] - known.mean())) / deviation) if varies else 0.0,
        "returns": math.log(max(cycle(column)[1], _LEAST_RETURN)) if varies else 0.0,
        "missing": 1.0 - len(known) / max(len(column), 1),
    }


def cycle(column: FloatArray) -> tuple[int, float]:
    """The lag after which values (T,) repeat themselves, and how nearly.

    The lag is the one of the least mean distance of values so far apart, of lags behind the first
    at which they are as far apart as on average, and so short that the history holds `SEEN` of
    them. How nearly: that distance over the average one, about 1 where nothing repeats. (0, 1.0)
    where nothing can be said.
    """
    lags = range(1, int(len(column) / SEEN) + 1)
    sizes = [_size(column[lag:] - column[:-lag]) for lag in lags]
    distances = np.array([math.inf if size is None else size for size in sizes])
    known = np.isfinite(distances)
    average = float(distances[known].mean()) if known.any() else 0.0
    values = column[np.isfinite(column)]
    if not known.any() or average <= _TINY * float(np.ptp(values)):
        return 0, 1.0
    first = int(np.argmax(known & (distances >= average)))
    least = first + int(np.argmin(distances[first:]))
    return least + 1, float(distances[least] / average)


def _size(differences: FloatArray) -> float | None:
    """Mean absolute value of those that are known; None where none is."""
    known = differences[np.isfinite(differences)]
    return float(np.abs(known).mean()) if len(known) else None

"""Where a model's futures should lie, and how widely: learnt from forecasts whose truth is known.

A model that draws well on one kind of series draws too closely on another, and takes a walk for a
course. Its folder may hold ``widths.json``: two rules (`rule.Rule`) that read a history and the
futures drawn after it, and move each future x, for each step and variable:

    x' = m' + f (x - m),    m' = m + p (l - m),    p = g s(u),    log f = v

with the median m of the drawn values, the history's last cycle l where it repeats itself, for one
cycle ahead (`last_cycle`), the logistic function s, and the rules' numbers u and v. g is 0 where
futures lie within a fifth of the history's deviation from their median, 1 from four fifths on, and
linear in the log between: a model that is sure of itself is believed. Futures keep their order, and
so every interval, score and file says the same. Nothing is drawn and no model is called.

u minimises the mean, over calibration series, of the log of the error that is left over the last
value's. v minimises the pinball loss of the factors that would have been needed: of each value of a
calibration series, the log of the factor at which its central interval just holds the truth, whose
quantile of level q is the log of the factor that makes the interval cover q. That is conformalized
quantile regression (Romano, Patterson & Candès 2019, arXiv:1905.03222) of normalised scores
(Papadopoulos, Gammerman & Vovk 2008), with one rule for all levels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from lvlora import durable
from lvlora.data.dataset import FloatArray
from lvlora.forecast import bounds
from lvlora.forecast.calibration import stored
from lvlora.forecast.calibration.rule import Rule, cycle, features
from lvlora.forecast.forecast import Forecast
from lvlora.forecast.sampling import Sampling
from lvlora.model.catalogue import ModelSource
from lvlora.model.loading import BaseModel

NAME = "widths.json"
LARGEST = 6.0
"""No rule moves a future so many times further from the median, or nearer to it."""

_OTHERWISE = (
    "Delete the file, or make it again: python scripts/calibrate_bundled.py FOLDER. --as-drawn "
    "does without."
)


class Widths(Rule):
    """The rule of log f, with what goes with it.

    Attributes:
        pull: the rule of u; None: medians stay, to the last bit.
        facts: what they were fitted on, and what the intervals covered, as JSON.
    """

    pull: Rule | None = None
    facts: dict[str, Any] = Field(default_factory=dict)

    @property
    def sha256(self) -> str:
        """Hash of what it does to futures, for identities."""
        rules = self.model_dump(mode="json", exclude={"facts"}, exclude_none=True)
        return durable.sha256_of_json(rules)

    def serves(self, sampling: Sampling) -> bool:
        """Whether futures are drawn as those it was fitted on: several, by the model's own odds."""
        usual = sampling.temperature == 1.0 and sampling.top_p == 1.0
        return usual and sampling.n_futures > 1

    def apply(self, forecast: Forecast) -> Forecast:
        """The forecast with its futures moved, within the bounds of its history."""
        if forecast.history is None:
            raise ValueError("a forecast without its history has no widths")
        whole = forecast.history.values
        read = whole[max(0, len(whole) - forecast.context) :]
        drawn = median = forecast.median
        inputs = features(read, forecast.samples)
        if self.pull is not None:
            share, _ = shares(self.pull.of(inputs), inputs)
            median = drawn + share * (last_cycle(read, drawn) - drawn)
        logs = self.of(inputs)
        if self.rule:  # a fitted rule may err far from its data; a measured constant does not
            logs = np.clip(logs, -math.log(LARGEST), math.log(LARGEST))
        moved = median + np.exp(logs) * (forecast.samples - drawn)
        return replace(
            forecast,
            samples=np.clip(moved, *bounds.bounds_of_future(whole, len(drawn))),
            point=median,
            calibrated={**forecast.calibrated, 0.5: median},
        )

    def save(self, path: Path, weights: str | Mapping[str, str]) -> None:
        """Write it for a model of these weights, whole or not at all."""
        stored.save(path, weights, self.model_dump(mode="json", exclude_none=True))


REPEATS = 0.6
"""A history repeats itself if it is so near to itself after a cycle, see `rule.cycle`; where it
does not, medians stay to the last bit."""
SURE, UNSURE = 0.2, 0.8
"""Futures that lie so near to their median, in deviations of the history: nothing of p, all."""


def shares(numbers: FloatArray, spans: Mapping[str, FloatArray]) -> tuple[FloatArray, FloatArray]:
    """p of u, the part of the way to the last cycle that a median goes; and its slope dp/du.

    Args:
        spans: the `features` that gave u.
    """
    ends = math.log(SURE), math.log(UNSURE)
    unsure = np.clip((spans["spread over deviation"] - ends[0]) / (ends[1] - ends[0]), 0.0, 1.0)
    logistic = 0.5 * (1 + np.tanh(numbers / 2))
    return unsure * logistic, unsure * logistic * (1 - logistic)


def last_cycle(read: FloatArray, otherwise: FloatArray) -> FloatArray:
    """(H, V) the last cycle of each variable of a history (T, V) that has one (`rule.cycle`), once.

    After it, where its value is not known, and where there is none, what is given (H, V).
    """
    cycles = otherwise.copy()
    for v, column in enumerate(read.T):
        lag, distance = cycle(column)
        if distance < REPEATS:
            again = column[len(column) - lag :][: len(cycles)]
            cycles[: len(again), v] = np.where(np.isfinite(again), again, cycles[: len(again), v])
    return cycles


def of_model(source: ModelSource, base: BaseModel) -> Widths | None:
    """The widths in a model's folder; None where it has none.

    Raises:
        ModelError: the file is damaged, or for other weights.
    """
    path = Path(source.location) / NAME
    if source.kind not in ("folder", "bundled") or not path.is_file():
        return None
    return read(path, base)


def read(path: Path, base: BaseModel) -> Widths:
    """Rules from their file; see `of_model`."""
    return stored.load(path, base.sha256, Widths, _OTHERWISE)

"""How wide a model's futures should lie: a factor learnt from forecasts whose truth is known.

A model that draws well on one kind of series draws too closely on another. Its folder may hold
``widths.json``: a rule that reads from a history and the futures drawn after it how far the truth
used to lie from their median, and moves each future away from the median, or towards it:

    x' = m + f (x - m),        log f = c + sum_k w_k z_k        (`FEATURES`),

for each step and variable, with the median m of the drawn values and each z_k clipped to the range
that it was fitted on. Futures keep their order and the median its place, and so every interval,
score and file says the same. Nothing is drawn and no model is called.

c and w minimise the pinball loss of the factors that would have been needed: of each value of a
calibration series, the log of the factor at which its central interval just holds the truth, whose
quantile of level p is the log of the factor that makes the interval cover p. That is conformalized
quantile regression (Romano, Patterson & Candès 2019, arXiv:1905.03222) of normalised scores
(Papadopoulos, Gammerman & Vovk 2008), with one rule for all levels.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from lvlora import __version__, durable
from lvlora.errors import ModelError
from lvlora.forecast.forecast import Forecast
from lvlora.forecast.reading import least_values
from lvlora.forecast.sampling import Sampling
from lvlora.model.catalogue import ModelSource
from lvlora.model.loading import BaseModel
from lvlora.series.dataset import FloatArray

NAME = "widths.json"
LARGEST = 6.0
"""No future is moved so many times further from the median, or nearer to it."""
FEATURES = (
    *("spread over steps", "spread over deviation", "step"),
    *("roughness", "length", "trend", "last", "whole numbers"),
)
"""What a rule reads, see `features`."""

_TINY = 1e-12
_LEAST_SPREAD = 0.002
_ROUGH = 0.35
"""Where a history has no second differences: a walk's."""
_MAX_BYTES = 1_000_000
_OTHERWISE = (
    "Delete the file, or make it again: python scripts/calibrate_bundled.py FOLDER. --as-drawn "
    "does without."
)


@dataclass(frozen=True)
class Widths:
    """A fitted rule.

    Attributes:
        constant: c; weights: w of each of the `FEATURES`.
        ranges: the least and the largest value of each that it was fitted on.
        facts: what it was fitted on, and what the intervals covered, as JSON.
    """

    constant: float
    weights: Mapping[str, float]
    ranges: Mapping[str, tuple[float, float]]
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        """What it does to futures, for identities."""
        return durable.sha256_of_json(self._rule)

    @property
    def _rule(self) -> dict[str, Any]:
        return {
            "constant": self.constant,
            "rule": dict(self.weights),
            "ranges": {name: list(ends) for name, ends in self.ranges.items()},
        }

    def factors(self, history: FloatArray, samples: FloatArray) -> FloatArray:
        """(H, V) how many times further from their median the samples should lie.

        Args:
            history: (T, V) that was read; samples: (S, H, V).
        """
        found = np.full(samples.shape[1:], self.constant)
        for name, z in features(history, samples).items():
            found += self.weights[name] * np.clip(z, *self.ranges[name])
        factors: FloatArray = np.exp(np.clip(found, -math.log(LARGEST), math.log(LARGEST)))
        return factors

    def serves(self, sampling: Sampling) -> bool:
        """Whether futures are drawn as those it was fitted on: several, by the model's own odds."""
        usual = sampling.temperature == 1.0 and sampling.top_p == 1.0
        return usual and sampling.n_futures > 1

    def apply(self, forecast: Forecast) -> Forecast:
        """The forecast with its futures moved; the median stays to the last bit.

        No value of a variable is below 0 if its history never is.
        """
        if forecast.history is None:
            raise ValueError("a forecast without its history has no widths")
        values = forecast.history.values
        median = forecast.median
        factors = self.factors(values[max(0, len(values) - forecast.context) :], forecast.samples)
        moved = median + factors * (forecast.samples - median)
        return replace(
            forecast,
            samples=np.maximum(moved, least_values(forecast.history)),
            point=median,
            calibrated={**forecast.calibrated, 0.5: median},
        )

    def save(self, path: Path, base: BaseModel) -> None:
        """Write it for a model, whole or not at all."""
        content = {
            "schema_version": 1,
            "lvlora_version": __version__,
            "weights": base.sha256,
            **self._rule,
            "facts": dict(self.facts),
        }
        whole = {**content, "sha256": durable.sha256_of_json(content)}
        durable.write_text(path, json.dumps(whole, indent=1) + "\n")


def of_model(source: ModelSource, base: BaseModel) -> Widths | None:
    """What a model's folder says; None where it says nothing.

    Raises:
        ModelError: the file is damaged, or for other weights.
    """
    if source.kind not in ("folder", "bundled"):
        return None
    path = Path(source.location) / NAME
    return read(path, base) if path.is_file() else None


def read(path: Path, base: BaseModel) -> Widths:
    """A rule from its file.

    Raises:
        ModelError: it is damaged, or for other weights.
    """
    content = durable.read_json_object(path, _MAX_BYTES, wrong=ModelError, hint=_OTHERWISE)
    stated = content.pop("sha256", None)
    if stated != durable.sha256_of_json(content):
        raise ModelError(f"{path}: its content is not what it was written with", _OTHERWISE)
    if content.get("weights") != base.sha256:
        raise ModelError(f"{path}: was made for other weights than these", _OTHERWISE)
    try:
        found = Widths(
            float(content["constant"]),
            {name: float(content["rule"][name]) for name in FEATURES},
            {name: _range(content["ranges"][name]) for name in FEATURES},
            dict(content["facts"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: says no widths ({error!r})", _OTHERWISE) from None
    if not np.isfinite([found.constant, *found.weights.values()]).all():
        raise ModelError(f"{path}: a number in it is not finite", _OTHERWISE)
    return found


def _range(ends: Any) -> tuple[float, float]:
    low, high = map(float, ends)
    if not -math.inf < low <= high < math.inf:
        raise ValueError(f"{ends} is no range")
    return low, high


def features(history: FloatArray, samples: FloatArray) -> dict[str, FloatArray]:
    """What a rule reads of a history (T, V) and the futures (S, H, V) drawn after it; (H, V) each.

    - spread over steps, spread over deviation: logs of the samples' mean distance from their
      median, over the mean absolute change from one step of the history to the next, and over the
      history's standard deviation. No distance counts as less than 0.002 of the latter.
    - roughness: log of the mean absolute second difference of the history over the mean absolute
      first one: -2 for a smooth curve, 0.35 for a walk, 0.55 for white noise.
    - length: log of the number of known values; step: log of the step's number, from 1.
    - trend: squared correlation of the history with its time.
    - last: how many standard deviations the last known value is away from the mean, 3 at most.
    - whole numbers: 1 where all known values are such.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN|Mean of empty", RuntimeWarning)
        spread = np.nanmean(np.abs(samples - np.nanmedian(samples, axis=0)), axis=0)
    n_steps = len(spread)
    of_variable = [_of_history(column[np.isfinite(column)], column) for column in history.T]
    found: dict[str, FloatArray] = {}
    for name in of_variable[0]:
        rows = np.array([of_one[name] for of_one in of_variable])
        found[name] = np.broadcast_to(rows, spread.shape)
    change, deviation = found.pop("change"), found.pop("deviation")
    width = np.log(np.fmax(spread, _LEAST_SPREAD * deviation))
    return {
        "spread over steps": width - np.log(change),
        "spread over deviation": width - np.log(deviation),
        "step": np.broadcast_to(np.log(np.arange(1.0, n_steps + 1))[:, None], spread.shape),
        **found,
    }


def _of_history(known: FloatArray, column: FloatArray) -> dict[str, float]:
    """What one variable's history says: its known values, and all (T,) with gaps."""
    deviation = max(float(known.std()) if len(known) else 0.0, _TINY)
    first, second = (_mean_size(np.diff(column, n=n)) for n in (1, 2))
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
        "whole numbers": float((known == np.round(known)).all()),
    }


def _mean_size(differences: FloatArray) -> float | None:
    """Of those that are known; None where none is."""
    known = differences[np.isfinite(differences)]
    return float(np.abs(known).mean()) if len(known) else None

"""Where a model's futures should lie, and how widely: a model's own rules, or one factor from data.

The rules in a model's folder move each future x of any series to

    x' = m' + f (x - m),    m' = m + p (l - m),    p = g s(u),    log f = v

u and v are linear in features of history and futures; docs/intervals.md has the rest. g is 0 where
a model is sure of itself (`SURE`), and 1 where it is not. scripts/pretrain fits the rules.

From forecasts whose truth is known comes a constant factor (conformal prediction): each truth y
scores by the factor at which its interval, widened about the median m, just holds it:
E = max((m - y) / (m - q_low), (y - m) / (q_high - m)). Both are the same file, held to its model.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator

from lvlora import __version__, durable
from lvlora.answers import Count, Shape
from lvlora.data.dataset import FloatArray
from lvlora.data.metrics import central_levels, of_samples
from lvlora.errors import DataError, ModelError, SettingsError
from lvlora.forecast import reading
from lvlora.forecast.forecaster import Forecast
from lvlora.forecast.sampling import Sampling
from lvlora.model.adapters import HEAD, WEIGHTS, AdapterInfo
from lvlora.model.catalogue import ModelSource
from lvlora.model.loading import BaseModel
from lvlora.narrator import Narrator
from lvlora.text.scaling import RULES

if TYPE_CHECKING:
    from lvlora.forecast.language_model import LanguageModel

Kind = TypeVar("Kind", bound=Shape)
NAME = "widths.json"
LARGEST = 6.0
"""No rule moves a future so many times further from the median, or nearer to it."""
_MAX_BYTES = 50_000_000
_OTHERWISE = (
    "Delete the file, or make it again: python scripts/calibrate_bundled.py FOLDER. --as-drawn "
    "does without."
)

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
_REPEATS = 0.6
"""A history repeats itself if it is so near to itself after a cycle, see `cycle`; where it
does not, medians stay to the last bit."""
SURE, UNSURE = 0.2, 0.8
"""Futures that lie so near to their median, in deviations of the history: nothing of p, all."""

_FOLDER = "calibrations"
_LEAST = 0.01
"""Least factor from data: intervals do not shrink to nothing."""
_AGAIN = "lvlora evaluate DATA --calibrate makes one; without --calibrated none is needed."

_Weight = Annotated[float, Field(ge=-1e6, le=1e6)]
"""No fitted number is nearly as large; larger ones overflow."""


class Rule(Shape):
    """A fitted rule, linear in what a history and the futures drawn after it look like.

    For each step and variable a number c + sum_k w_k z_k, each z_k one of the `FEATURES`, clipped
    to the range that it was fitted on.
    """

    constant: _Weight
    """c"""
    rule: dict[str, _Weight] = Field(default_factory=dict)
    """w of each of the `FEATURES`, or of none."""
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


class Widths(Rule):
    """The rule of log f, and how it came to be."""

    pull: Rule | None = None
    """The rule of u; None: medians stay, to the last bit."""
    facts: dict[str, Any] = Field(default_factory=dict)
    """The data that it was fitted on, and what intervals covered, as JSON."""

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
        history = forecast.history.values
        read = history[max(0, len(history) - forecast.context) :]
        drawn = median = forecast.median
        inputs = features(read, forecast.samples)
        if self.pull is not None:
            share, _ = shares(self.pull.of(inputs), inputs)
            median = drawn + share * (last_cycle(read, drawn) - drawn)
        logs = self.of(inputs)
        if self.rule:  # a fitted rule may err far from its data; a measured constant does not
            logs = np.clip(logs, -math.log(LARGEST), math.log(LARGEST))
        moved = median + np.exp(logs) * (forecast.samples - drawn)
        samples = np.clip(moved, *reading.bounds_of_future(history, len(drawn)))
        return replace(forecast, samples=samples, point=median, is_moved=True)

    def save(self, path: Path, weights: str | Mapping[str, str]) -> None:
        """Write it for a model of these weights, whole or not at all."""
        content = {
            "schema_version": 1,
            "lvlora_version": __version__,
            "weights": weights,
            **self.model_dump(mode="json", exclude_none=True),
        }
        text = json.dumps({**content, "sha256": durable.sha256_of_json(content)}, indent=1)
        durable.write_text(path, text + "\n")

    @classmethod
    def load(cls, path: Path, weights: str | Mapping[str, str], hint: str = _OTHERWISE) -> Widths:
        """Read what `save` wrote.

        Raises:
            ModelError: the file is damaged, or for other weights; hint: what to do then.
        """
        content = durable.read_json_object(path, _MAX_BYTES, wrong=ModelError, hint=hint)
        stated = content.pop("sha256", None)
        if stated != durable.sha256_of_json(content):
            raise ModelError(f"{path}: its content is not what it was written with", hint)
        if content.get("weights") != weights:
            raise ModelError(f"{path}: is for other weights than these", hint)
        fields = {name: content[name] for name in cls.model_fields if name in content}
        return _checked(path, cls, fields, hint)


def of_model(source: ModelSource, base: BaseModel) -> Widths | None:
    """The widths in a model's folder; None where it has none.

    Raises:
        ModelError: the file is damaged, or for other weights.
    """
    path = Path(source.location) / NAME
    if source.kind not in ("folder", "bundled") or not path.is_file():
        return None
    return Widths.load(path, base.sha256)


def _checked(path: Path, kind: type[Kind], fields: Mapping[str, Any], hint: str) -> Kind:
    """Return a part of a file's content as its class; ModelError where it does not fit."""
    try:
        return kind.model_validate_json(json.dumps(fields))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ModelError(f"{path}: {place}: {first['msg']}", hint) from None


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
    are_counts = [_are_counts(column[np.isfinite(column)]) for column in history.T]
    exponents = _exponents(history)
    history, samples = np.ldexp(history, -exponents), np.ldexp(samples, -exponents)
    spread = np.abs(samples - np.median(samples, axis=0)).mean(axis=0)
    n_steps = len(spread)
    of_variable = [_of_history(column) for column in history.T]
    inputs: dict[str, FloatArray] = {
        "whole numbers": np.broadcast_to(np.array(are_counts, dtype=np.float64), spread.shape)
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


def _of_history(column: FloatArray) -> dict[str, float]:
    """Return the features of one variable's history (T,)."""
    known = column[np.isfinite(column)]
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
    """(H, V) the last cycle of each variable of a history (T, V) that has one (`cycle`), once.

    After it, where its value is not known, and where there is none, ``otherwise`` (H, V).
    """
    cycles = otherwise.copy()
    for v, column in enumerate(read.T):
        lag, distance = cycle(column)
        if distance < _REPEATS:
            again = column[len(column) - lag :][: len(cycles)]
            cycles[: len(again), v] = np.where(np.isfinite(again), again, cycles[: len(again), v])
    return cycles


class Facts(Shape):
    """The forecasts that a calibration is from, and so those that it serves."""

    data: str
    data_sha256: str
    split: str
    series: Count
    windows: Count | None = None
    """Number of windows, where some series have several."""
    context: Count
    horizon: Count
    variables: list[str]
    samples: int
    temperature: float
    top_p: float
    views: int
    decimals: int
    number_format: str
    scale: str
    widths: str
    coverage_before: dict[str, float | None]

    @property
    def amount(self) -> str:
        """The number of forecasts: "30 series", "8 windows of 1 series"."""
        series = f"{self.series} series"
        return series if self.windows is None else f"{self.windows} windows of {series}"

    def note_to(self, narrator: Narrator, sampling: Sampling, n_steps: int) -> None:
        """Note the origin, and where the forecasts differ from those of the calibration."""
        narrator.note(
            f"Intervals calibrated by {self.amount} of {self.data} ({self.horizon} steps from "
            f"{self.context}), {self.samples} samples each."
        )
        differences = [
            f"{name} {getattr(self, name)}"
            for name, value in drawn_by(sampling).items()
            if getattr(self, name) != value
        ]
        if n_steps > self.horizon:
            differences.append(f"{self.horizon} steps")
        if differences:
            narrator.note(
                f"The calibration was made with {', '.join(differences)}: with others its "
                "intervals may cover less."
            )


def form_of(model: LanguageModel) -> dict[str, Any]:
    """How a model scales and writes numbers, and widens futures."""
    rule = "history" if model.scale is None else "dataset"
    return {
        "decimals": model.decimals,
        "number_format": model.number_format,
        "scale": f"{rule} {RULES}",
        "widths": "as drawn" if model.widths is None else model.widths.sha256[:16],
    }


def drawn_by(sampling: Sampling) -> dict[str, Any]:
    """How futures are drawn."""
    return {name: getattr(sampling, name) for name in ("samples", "temperature", "top_p", "views")}


def calibrate(
    truth: FloatArray, samples: FloatArray, quantiles: Sequence[float], facts: Facts | None = None
) -> Widths:
    """Widths from forecasts (n, S, H, V) of series whose future (n, H, V) is known, NaN where not.

    Args:
        quantiles: each central pair among them is an interval to hold its share.
        facts: to keep with them.

    Raises:
        SettingsError: no central pair, or fewer than two samples.
        DataError: too few known truths, of forecasts that have a width, for an interval.
    """
    levels = central_levels(quantiles)
    if not levels or samples.shape[1] < 2:
        raise SettingsError(
            "there is no interval to calibrate: it takes a pair of quantiles such as 0.1 and 0.9, "
            "and at least two samples",
            "Use --quantiles 0.1,0.5,0.9 and leave --greedy out.",
        )
    factors = []
    for level in levels:
        ends = of_samples(samples, [(1 - level) / 2, 0.5, (1 + level) / 2], axis=1)
        low, middle, high = np.asarray(ends)
        with np.errstate(divide="ignore", invalid="ignore"):
            above = (truth - middle) / (high - middle)
            scores = np.where(truth < middle, (middle - truth) / (middle - low), above)
        scores[truth == middle] = 0.0
        # where futures are all alike there is no width that a factor could change
        factors.append(order_statistic(scores[np.isfinite(scores)], level))
    logs = np.log(np.fmax(factors, _LEAST))
    return Widths(
        constant=float(logs.mean()), facts={} if facts is None else facts.model_dump(mode="json")
    )


def order_statistic(scores: FloatArray, level: float) -> float:
    """The ⌈(n + 1) level⌉-th smallest of n scores.

    Raises:
        DataError: with so few scores no finite factor covers ``level``.
    """
    n = len(scores)
    place = math.ceil(round((n + 1) * level, 9))
    if place > n:
        raise DataError(
            f"{n} known truths of forecasts with a width are too few to calibrate intervals of "
            f"{level:g}",
            f"It takes {math.ceil(round(level / (1 - level), 9))} at least: calibrate on more "
            "series.",
        )
    return float(np.partition(scores, place - 1)[place - 1])


def keep(widths: Widths, model: LanguageModel, info: AdapterInfo | None, runs: Path) -> Path:
    """Write a calibration for all that decides a model's forecasts, and return where it is."""
    path, identity = _place_of(model, info, runs, widths.facts["variables"])
    widths.save(path, identity)
    return path


def calibration_of(
    model: LanguageModel, info: AdapterInfo | None, runs: Path, variables: Sequence[str]
) -> tuple[Widths, Facts]:
    """Return the calibration of a model, which serves data with these variables.

    Raises:
        ModelError: there is none, or it is damaged.
    """
    path, identity = _place_of(model, info, runs, variables)
    if not path.is_file():
        raise ModelError(
            f"--calibrated: {model.name} has no calibration for {', '.join(variables)} with "
            f"{model.decimals} decimals ({path})",
            _AGAIN,
        )
    widths = Widths.load(path, identity, _AGAIN)
    return widths, _checked(path, Facts, widths.facts, _AGAIN)


def _place_of(
    model: LanguageModel, info: AdapterInfo | None, runs: Path, variables: Sequence[str]
) -> tuple[Path, dict[str, str]]:
    """Return the file of a calibration, and what it is for: weights, form and variables."""
    files = {} if info is None else {name: info.folder / name for name in (WEIGHTS, HEAD)}
    identity = {
        "base": model.base.sha256,
        **{name: durable.sha256_of(file) for name, file in files.items() if file.is_file()},
        **{name: str(value) for name, value in form_of(model).items()},
        "variables": durable.sha256_of_json(list(variables)),
    }
    return runs / _FOLDER / f"{durable.sha256_of_json(identity)[:24]}.json", identity

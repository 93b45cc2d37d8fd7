"""A search space: the values that a sweep may try of each setting, and how a file names them."""

from __future__ import annotations

import itertools
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from lvlora import durable
from lvlora.errors import DataError, SettingsError, did_you_mean
from lvlora.settings.checked import complaints
from lvlora.settings.fields import Field, read_fields
from lvlora.train.settings import TrainSettings

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.distributions import BaseDistribution

Scalar = bool | int | float | str
Params = dict[str, Scalar]
"""Setting → value; several target layers are one comma-separated text."""

ALPHA_PER_RANK = "alpha_per_rank"
"""Searched instead of alpha: alpha is this many times the rank, whatever the rank is."""

SEARCHABLE = (
    "learning_rate",
    "rank",
    "alpha",
    ALPHA_PER_RANK,
    "targets",
    "layers",
    "dropout",
    "rslora",
    "train_head",
    "seq_len",
    "scaling",
    "mix",
    "decimals",
    "batch_size",
    "accumulation",
    "loss",
    "schedule",
    "warmup",
    "weight_decay",
    "clip_norm",
    "seed",
)
"""The keys that a space may have."""

PRICED = (
    "rank",
    "targets",
    "layers",
    "train_head",
    "loss",
    "seq_len",
    "scaling",
    "decimals",
    "batch_size",
    "accumulation",
)
"""Settings on which the price of a step or of a validation depends."""

MOST_POINTS = 10_000


_HINT = (
    "A setting is a list, rank = [2, 4, 8], or a range, "
    "learning_rate = {low = 1e-5, high = 1e-3, log = true}; docs/sweep.md has more."
)
_LARGEST = 1_000_000
"""Bytes of a file with a space."""

_RANGE_KEYS = {"low", "high", "log", "step"}


@dataclass(frozen=True)
class Range:
    """A number from ``low`` to ``high``, both possible; ``whole``: an integer."""

    low: float
    high: float
    log: bool = False
    step: float | None = None
    whole: bool = False


Dimension = tuple[Scalar, ...] | Range
"""A choice of values, or a range."""


@dataclass(frozen=True)
class Space:
    """The settings that are searched, and their values."""

    dimensions: Mapping[str, Dimension]

    @property
    def is_grid(self) -> bool:
        """Every dimension is a list, or a range with a step."""
        return all(_values(d) is not None for d in self.dimensions.values())

    def points(self) -> list[Params]:
        """Return every combination, the last dimension fastest.

        Raises:
            SettingsError: a range has no step, or there are more than `MOST_POINTS`.
        """
        lists = {name: _values(d) for name, d in self.dimensions.items()}
        endless = [name for name, values in lists.items() if values is None]
        if endless:
            raise SettingsError(
                f"--sampler grid: {', '.join(endless)} has no end of values",
                "Give it a step or a list, or use --sampler tpe or random.",
            )
        sides = [values for values in lists.values() if values is not None]
        if math.prod(map(len, sides)) > MOST_POINTS:
            raise SettingsError(
                f"the grid has more than {MOST_POINTS:,} points",
                "Search fewer settings, or use --sampler tpe or random with --trials.",
            )
        return [dict(zip(lists, point, strict=True)) for point in itertools.product(*sides)]

    def corners(self) -> list[Params]:
        """Return combinations of the ends of what a price depends on, with any other value."""
        sides = [
            _ends(d) if name in PRICED else _ends(d)[:1] for name, d in self.dimensions.items()
        ]
        return [
            dict(zip(self.dimensions, point, strict=True)) for point in itertools.product(*sides)
        ]

    def text(self) -> str:
        """Return it for people: rank 2, 8; empty where nothing is searched."""
        return "; ".join(f"{name} {_text(d)}" for name, d in self.dimensions.items())

    def distributions(self) -> dict[str, BaseDistribution]:
        """Return Optuna's distribution of each setting."""
        return {name: _distribution(d) for name, d in self.dimensions.items()}

    def suggest(self, trial: Trial) -> Params:
        """Return the values that Optuna's trial takes."""
        return {name: _suggested(trial, name, d) for name, d in self.dimensions.items()}


def merged(spaces: list[Space]) -> Space:
    """Return all dimensions together; of a setting that is in two, the later."""
    return Space({name: d for space in spaces for name, d in space.dimensions.items()})


def with_params(base: TrainSettings, params: Mapping[str, Scalar]) -> TrainSettings:
    """Return the settings of a trial.

    Raises:
        SettingsError: the values do not go together.
    """
    chosen: dict[str, Any] = dict(params)
    per_rank = chosen.pop(ALPHA_PER_RANK, None)
    values = base.model_dump() | chosen
    if per_rank is not None:
        values["alpha"] = float(per_rank) * int(values["rank"])
    try:
        return TrainSettings(**values)
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        reason = wrong.get("ctx", {}).get("error", wrong["msg"])
        where = ", ".join(f"{name} = {show(value)}" for name, value in params.items())
        raise SettingsError(
            f"a trial with {where}: {reason}",
            "Take the value out of the space, or change what goes with it.",
        ) from None


def show(value: object) -> str:
    """Return a value as it is typed: 1e-05, 0.001, q_proj,v_proj."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _values(dimension: Dimension) -> tuple[Scalar, ...] | None:
    """Return every value; None of a range without a step."""
    if isinstance(dimension, tuple):
        return dimension
    if dimension.step is None:
        return None
    n_values = math.floor((dimension.high - dimension.low) / dimension.step * (1 + 1e-12)) + 1
    # rounded, so that 0.1 + 2 * 0.1 is the 0.3 that was meant
    values = [round(dimension.low + i * dimension.step, 12) for i in range(n_values)]
    return tuple(int(v) if dimension.whole else float(v) for v in values)


def _ends(dimension: Dimension) -> tuple[Scalar, ...]:
    """Return the values among which the dearest and the cheapest are."""
    if isinstance(dimension, Range):
        ends = (dimension.low, dimension.high)
        return tuple(int(v) for v in ends) if dimension.whole else ends
    if all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in dimension):
        return tuple(sorted({min(dimension), max(dimension)}))
    return dimension


def _text(dimension: Dimension) -> str:
    """Return a dimension for people: 1e-05, 5e-05, or 1e-05 … 0.001 (log)."""
    if isinstance(dimension, tuple):
        return ", ".join(map(show, dimension))
    step = dimension.step
    extra = " (log)" if dimension.log else f" (step {step:g})" if step is not None else ""
    return f"{show(dimension.low)} … {show(dimension.high)}{extra}"


def _distribution(dimension: Dimension) -> BaseDistribution:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if isinstance(dimension, tuple):
        return CategoricalDistribution(dimension)
    low, high, log, step = dimension.low, dimension.high, dimension.log, dimension.step
    if dimension.whole:
        return IntDistribution(int(low), int(high), log=log, step=int(step or 1))
    return FloatDistribution(low, high, log=log, step=step)


def _suggested(trial: Trial, name: str, dimension: Dimension) -> Scalar:
    if isinstance(dimension, tuple):
        value: Scalar | None = trial.suggest_categorical(name, dimension)
        assert value is not None  # no value of ours is None
        return value
    low, high, log, step = dimension.low, dimension.high, dimension.log, dimension.step
    if dimension.whole:
        return trial.suggest_int(name, int(low), int(high), log=log, step=int(step or 1))
    return trial.suggest_float(name, low, high, log=log, step=step)


def read_space(path: Path) -> Space:
    """Return the space in a TOML file.

    Raises:
        DataError: the file cannot be read.
        SettingsError: it is no space; every wrong key and value is named.
    """
    return space_of(_load(path), f"--space {path}")


def space_of(document: Mapping[str, Any], where: str) -> Space:
    """Return the space in a mapping: setting → a list of values, or {"low": …, "high": …}.

    Args:
        where: its origin, for messages.

    Raises:
        SettingsError: it is no space; every wrong key and value is named.
    """
    fields = {field.name: field for field in read_fields(TrainSettings)}
    dimensions: dict[str, Dimension] = {}
    problems: list[str] = []
    for key, value in document.items():
        name = key.replace("-", "_")
        if name not in SEARCHABLE:
            known = "is a setting, but not one to search" if name in fields else "is not a setting"
            near = "" if name in fields else did_you_mean(name, SEARCHABLE)
            problems.append(f"{key}: {known}{near}")
            continue
        field = None if name == ALPHA_PER_RANK else fields[name]
        dimension, wrong = _dimension(key, value, field)
        problems += wrong
        if dimension is not None:
            dimensions[name] = dimension
    if {"alpha", ALPHA_PER_RANK} <= set(dimensions):
        problems.append(f"alpha and {ALPHA_PER_RANK} say the same thing; search one of them")
    if not problems and not dimensions:
        problems.append("it names no setting")
    if problems:
        several = f"{len(problems)} things are wrong:\n  " if len(problems) > 1 else ""
        raise SettingsError(f"{where}: {several}" + "\n  ".join(problems), _HINT)
    return Space(dimensions)


def _load(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(durable.read_bounded(path, _LARGEST, pipes=True).decode("utf-8-sig"))
    except FileNotFoundError:
        raise DataError(f"--space {path}: there is no such file", _HINT) from None
    except OSError as error:
        raise DataError(
            f"--space {path}: cannot be read ({error.strerror})",
            "Check its permissions, or give another file.",
        ) from None
    except UnicodeDecodeError:
        raise SettingsError(f"--space {path}: is not UTF-8 text", _HINT) from None
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"--space {path}: is not valid TOML: {error}", _HINT) from None


def _dimension(key: str, value: Any, field: Field | None) -> tuple[Dimension | None, list[str]]:
    """Return one setting's values, or the faults in them; ``field`` None is alpha_per_rank."""
    if isinstance(value, dict):
        return _range(key, value, field)
    if not isinstance(value, list | tuple) or not value:
        return None, [f"{key}: should be a list or a range, got {value!r}"]
    checked = [_checked(f"{key} item {i + 1}", item, field) for i, item in enumerate(value)]
    problems = [line for _, lines in checked for line in lines]
    if problems:
        return None, problems
    values = tuple(item for item, _ in checked if item is not None)
    if len(set(values)) < len(values):
        return None, [f"{key}: a value is there twice"]
    return values, []


def _range(
    key: str, table: dict[str, Any], field: Field | None
) -> tuple[Dimension | None, list[str]]:
    problems = [
        f"{key}: a range has no {name}{did_you_mean(name, _RANGE_KEYS)}"
        for name in sorted(set(table) - _RANGE_KEYS)
    ]
    problems += [f"{key}: a range needs {name}" for name in ("low", "high") if name not in table]
    kind = "number" if field is None else field.kind
    if kind not in ("whole", "number"):
        return None, [f"{key}: has words, not numbers: give a list"]
    if problems:
        return None, problems
    ends: list[Scalar] = []
    for name in ("low", "high"):
        end, wrong = _checked(f"{key} {name}", table[name], field)
        problems += wrong
        ends += [] if end is None else [end]
    log, step = table.get("log", False), table.get("step")
    if not isinstance(log, bool):
        problems.append(f"{key} log: should be true or false, got {log!r}")
    number = isinstance(step, (int, float)) and not isinstance(step, bool)
    if step is not None and (not number or step <= 0 or (kind == "whole" and step != int(step))):
        wanted = "a whole number" if kind == "whole" else "a number"
        problems.append(f"{key} step: should be {wanted} above 0, got {step!r}")
    if problems:
        return None, problems
    low, high = float(ends[0]), float(ends[1])
    if low >= high:
        return None, [f"{key}: low should be below high, got {low:g} and {high:g}"]
    if log and step is not None:
        return None, [f"{key}: a range has log or step, not both"]
    if log and low <= 0:
        return None, [f"{key}: a range with log begins above 0, got {low:g}"]
    return Range(low, high, log, step, whole=kind == "whole"), []


def _checked(label: str, value: Any, field: Field | None) -> tuple[Scalar | None, list[str]]:
    """Return the value as train's settings have it, or its faults."""
    if field is None:
        fine = isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0
        wrong = [] if fine else [f"{label}: should be a number above 0, got {value!r}"]
        return (float(value) if fine else None), wrong
    if field.kind in ("whole", "number") and isinstance(value, bool):
        return None, [f"{label}: should be a number, got {str(value).lower()}"]
    try:
        checked = getattr(TrainSettings(**{field.name: value}), field.name)
    except ValidationError as error:
        return None, complaints(error, [field], lambda _: label)
    return (",".join(checked) if isinstance(checked, tuple) else checked), []

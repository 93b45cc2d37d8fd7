"""A search space: the values that a sweep may try of each setting, and how a file names them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, RootModel, TypeAdapter, ValidationError

from lvlora.errors import SettingsError, did_you_mean
from lvlora.settings.configuration import load_toml
from lvlora.settings.fields import complaints, read_fields
from lvlora.train.settings import TrainSettings

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

Scalar = bool | int | float | str
Params = dict[str, Scalar]
"""Setting → value; several target layers are one comma-separated text."""

ALPHA_PER_RANK = "alpha_per_rank"
"""Searched instead of alpha: alpha is this many times the rank, whatever the rank is."""

PRICED = (
    *("rank", "targets", "layers", "train_head", "loss", "seq_len", "scaling", "decimals"),
    *("batch_size", "accumulation"),
)
"""Settings on which the price of a step or of a validation depends."""

SEARCHABLE = (
    *("learning_rate", "alpha", ALPHA_PER_RANK, "dropout", "rslora", "mix", "schedule", "warmup"),
    *("weight_decay", "clip_norm", "seed"),
    *PRICED,
)
"""The keys that a space may have."""

MOST_POINTS = 10_000

_HINT = (
    "A setting is a list, rank = [2, 4, 8], or a range, "
    "learning_rate = {low = 1e-5, high = 1e-3, log = true}; docs/sweep.md has more."
)


@dataclass(frozen=True)
class Range:
    """A number from ``low`` to ``high``, both possible; an integer where both are."""

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)

    low: int | float
    high: int | float
    log: bool = False
    step: float | None = None

    @property
    def is_whole(self) -> bool:
        """Only integers are drawn."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def __post_init__(self) -> None:
        """Raise ValueError where Optuna could not draw from it."""
        if self.low >= self.high:
            raise ValueError(f"low should be below high, got {self.low:g} and {self.high:g}")
        if self.log and (self.step is not None or self.low <= 0):
            raise ValueError("a range with log begins above 0 and has no step")
        if self.step is not None and (self.step <= 0 or (self.is_whole and self.step % 1)):
            kind = "whole number" if self.is_whole else "number"
            raise ValueError(f"step should be a {kind} above 0, got {self.step:g}")

    def values(self) -> tuple[Scalar, ...] | None:
        """Return every value; None without a step."""
        if self.step is None:
            return None
        n_values = math.floor((self.high - self.low) / self.step * (1 + 1e-12)) + 1
        # rounded, so that 0.1 + 2 * 0.1 is the 0.3 that was meant
        values = [round(self.low + i * self.step, 12) for i in range(n_values)]
        return tuple(map(int if self.is_whole else float, values))

    def text(self) -> str:
        """Return it for people: 1e-05 … 0.001 (log)."""
        extra = " (log)" if self.log else "" if self.step is None else f" (step {self.step:g})"
        return f"{show(self.low)} … {show(self.high)}{extra}"


Dimension = tuple[Scalar, ...] | Range
"""A choice of values, or a range."""


class Space(RootModel[dict[str, Dimension]]):
    """The settings that are searched, and their values."""

    @property
    def is_grid(self) -> bool:
        """Every dimension is a list, or a range with a step."""
        return all(_values(dimension) is not None for dimension in self.root.values())

    def points(self) -> list[Params]:
        """Return every combination, the last dimension fastest."""
        sides: dict[str, tuple[Scalar, ...]] = {}
        for name, dimension in self.root.items():
            values = _values(dimension)
            if values is None:
                raise SettingsError(
                    f"--sampler grid: {name} has no end of values",
                    "Give it a step or a list, or use --sampler tpe or random.",
                )
            sides[name] = values
        if math.prod(map(len, sides.values())) > MOST_POINTS:
            raise SettingsError(
                f"the grid has more than {MOST_POINTS:,} points",
                "Search fewer settings, or use --sampler tpe or random with --trials.",
            )
        return _product(sides)

    def corners(self) -> list[Params]:
        """Return combinations of the ends of what a price depends on, with any other value."""
        ends = {name: _ends(dimension) for name, dimension in self.root.items()}
        return _product({n: side if n in PRICED else side[:1] for n, side in ends.items()})

    def text(self) -> str:
        """Return it for people: rank 2, 8; empty where nothing is searched."""
        return "; ".join(
            f"{name} {d.text() if isinstance(d, Range) else ', '.join(map(show, d))}"
            for name, d in self.root.items()
        )

    def suggest(self, trial: BaseTrial) -> None:
        """Let Optuna's trial take a value of each setting."""
        for name, d in self.root.items():
            if not isinstance(d, Range):
                trial.suggest_categorical(name, d)
            elif d.is_whole:
                step = int(d.step or 1)
                trial.suggest_int(name, int(d.low), int(d.high), log=d.log, step=step)
            else:
                trial.suggest_float(name, d.low, d.high, log=d.log, step=d.step)


def merged(spaces: Iterable[Space]) -> Space:
    """Return all dimensions together; of a setting that is in two, the later."""
    return Space({name: d for space in spaces for name, d in space.root.items()})


def with_params(base: TrainSettings, params: Mapping[str, Scalar]) -> TrainSettings:
    """Return the settings of a trial; values that do not go together are refused."""
    values: dict[str, Any] = base.model_dump() | dict(params)
    per_rank = values.pop(ALPHA_PER_RANK, None)
    if per_rank is not None:
        values["alpha"] = float(per_rank) * int(values["rank"])
    try:
        return TrainSettings(**values)
    except ValidationError as error:
        where = ", ".join(f"{name} = {show(value)}" for name, value in params.items())
        raise SettingsError(
            f"a trial with {where}: {complaints(error, [], str)[0]}",
            "Take the value out of the space, or change what goes with it.",
        ) from None


def show(value: object) -> str:
    """Return a value as it is typed: 1e-05, 0.001, q_proj,v_proj."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _product(sides: Mapping[str, tuple[Scalar, ...]]) -> list[Params]:
    return [dict(zip(sides, point, strict=True)) for point in itertools.product(*sides.values())]


def _values(dimension: Dimension) -> tuple[Scalar, ...] | None:
    return dimension.values() if isinstance(dimension, Range) else dimension


def _ends(dimension: Dimension) -> tuple[Scalar, ...]:
    """Return the values among which the dearest and the cheapest are."""
    if isinstance(dimension, Range):
        return dimension.low, dimension.high
    if all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in dimension):
        return tuple(sorted({min(dimension), max(dimension)}))
    return dimension


def read_space(path: Path) -> Space:
    """Return the space in a TOML file."""
    content = load_toml(str(path), str(path), option="--space", hint=_HINT)
    return space_of(content, f"--space {path}")


def space_of(document: Mapping[str, Any], where: str) -> Space:
    """Return the space in a mapping: setting → a list of values, or {"low": …, "high": …}.

    Raises:
        SettingsError: it is no space; every wrong key is named, and ``where`` it is.
    """
    dimensions: dict[str, Dimension] = {}
    problems: list[str] = []
    for key, value in document.items():
        name = key.replace("-", "_")
        try:
            dimensions[name] = _dimension(name, value)
        except ValidationError as error:  # of a range
            place = "".join(f"{part} " for part in error.errors()[0]["loc"])
            problems.append(f"{key}: {place}{complaints(error, [], str)[0]}")
        except ValueError as error:
            problems.append(f"{key}: {error}")
    if {"alpha", ALPHA_PER_RANK} <= set(dimensions):
        problems.append(f"alpha and {ALPHA_PER_RANK} say the same thing; search one of them")
    if not document:
        problems.append("it names no setting")
    if problems:
        several = f"{len(problems)} things are wrong:\n  " if len(problems) > 1 else ""
        raise SettingsError(f"{where}: {several}" + "\n  ".join(problems), _HINT)
    return Space(dimensions)


def _dimension(name: str, value: Any) -> Dimension:
    """Return the values of one setting; ValueError where it cannot be searched, or not so."""
    if name not in SEARCHABLE:
        raise ValueError(f"cannot be searched{did_you_mean(name, SEARCHABLE)}")
    if isinstance(value, dict):
        ends = {end: _checked(name, value[end], end) for end in ("low", "high") if end in value}
        return TypeAdapter(Range).validate_python({**value, **ends})
    if not isinstance(value, list | tuple) or not value:
        raise ValueError(f"should be a list or a range, got {value!r}")
    values = tuple(_checked(name, item, f"item {i}") for i, item in enumerate(value, 1))
    if len(set(values)) < len(values):
        raise ValueError("a value is there twice")
    return values


def _checked(name: str, value: Any, place: str) -> Scalar:
    """Return a value as the settings of train have it; ValueError where it is none of theirs."""
    name = "alpha" if name == ALPHA_PER_RANK else name
    field = next(field for field in read_fields(TrainSettings) if field.name == name)
    try:
        checked: Any = getattr(TrainSettings(**{name: value}), name)
    except ValidationError as error:
        raise ValueError(complaints(error, [field], lambda _: place)[0]) from None
    return ",".join(checked) if isinstance(checked, tuple) else checked

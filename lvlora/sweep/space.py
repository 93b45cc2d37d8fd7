"""What a sweep may try: the values of each setting, and what a choice among them means."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from lvlora.errors import SettingsError
from lvlora.settings.training import TrainSettings

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
"""What a space may have as its keys."""

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


@dataclass(frozen=True)
class Choice:
    """One of these values."""

    values: tuple[Scalar, ...]

    def distribution(self) -> BaseDistribution:
        """Optuna's distribution of these values."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.values)

    def suggest(self, trial: Trial, name: str) -> Scalar:
        """Return the value that Optuna's trial takes."""
        chosen = trial.suggest_categorical(name, self.values)
        assert chosen is not None  # no value of ours is None
        return chosen

    def listed(self) -> tuple[Scalar, ...] | None:
        """Every value."""
        return self.values

    def ends(self) -> tuple[Scalar, ...]:
        """The values among which the dearest and the cheapest are."""
        if all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in self.values):
            return tuple(sorted({min(self.values), max(self.values)}))
        return self.values

    def text(self) -> str:
        """For people: 1e-05, 5e-05."""
        return ", ".join(show(v) for v in self.values)


@dataclass(frozen=True)
class Range:
    """A number from ``low`` to ``high``, both possible; ``whole``: an integer."""

    low: float
    high: float
    log: bool = False
    step: float | None = None
    whole: bool = False

    def distribution(self) -> BaseDistribution:
        """Optuna's distribution of this range."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if self.whole:
            step = 1 if self.step is None else int(self.step)
            return IntDistribution(int(self.low), int(self.high), log=self.log, step=step)
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    def suggest(self, trial: Trial, name: str) -> Scalar:
        """Return the value that Optuna's trial takes."""
        if self.whole:
            step = 1 if self.step is None else int(self.step)
            return trial.suggest_int(name, int(self.low), int(self.high), log=self.log, step=step)
        return trial.suggest_float(name, self.low, self.high, log=self.log, step=self.step)

    def listed(self) -> tuple[Scalar, ...] | None:
        """Every value where there is a step, else None."""
        if self.step is None:
            return None
        n_values = math.floor((self.high - self.low) / self.step * (1 + 1e-12)) + 1
        # rounded, so that 0.1 + 2 * 0.1 is the 0.3 that was meant
        found = [round(self.low + i * self.step, 12) for i in range(n_values)]
        return tuple(int(v) if self.whole else float(v) for v in found)

    def ends(self) -> tuple[Scalar, ...]:
        """Both ends."""
        ends = (self.low, self.high)
        return tuple(int(v) for v in ends) if self.whole else ends

    def text(self) -> str:
        """For people: 1e-05 … 0.001 (log)."""
        extra = "log" if self.log else f"step {self.step:g}" if self.step is not None else ""
        return f"{show(self.low)} … {show(self.high)}" + (f" ({extra})" if extra else "")


Dimension = Choice | Range


@dataclass(frozen=True)
class Space:
    """Which settings are searched, and among what."""

    dimensions: Mapping[str, Dimension]

    @property
    def is_grid(self) -> bool:
        """Every dimension is a list, or a range with a step."""
        return all(d.listed() is not None for d in self.dimensions.values())

    def points(self) -> list[Params]:
        """Every combination, the last dimension fastest.

        Raises:
            SettingsError: a range has no step, or there are more than `MOST_POINTS`.
        """
        lists = {name: d.listed() for name, d in self.dimensions.items()}
        endless = [name for name, values in lists.items() if values is None]
        if endless:
            raise SettingsError(
                f"--sampler grid: {', '.join(endless)} has no end of values",
                "Give it a step or a list, or use --sampler tpe or random.",
            )
        found = [values for values in lists.values() if values is not None]
        if math.prod(len(values) for values in found) > MOST_POINTS:
            raise SettingsError(
                f"the grid has more than {MOST_POINTS:,} points",
                "Search fewer settings, or use --sampler tpe or random with --trials.",
            )
        return [
            dict(zip(lists, combination, strict=True)) for combination in itertools.product(*found)
        ]

    def corners(self) -> list[Params]:
        """Combinations of the ends of what a price depends on, the rest at its first value."""
        sides = [
            d.ends() if name in PRICED else d.ends()[:1] for name, d in self.dimensions.items()
        ]
        return [dict(zip(self.dimensions, c, strict=True)) for c in itertools.product(*sides)]

    def text(self) -> str:
        """For people: rank 2, 8; seq_len 128, 512; empty where nothing is searched."""
        return "; ".join(f"{name} {d.text()}" for name, d in self.dimensions.items())

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            name: list(d.values)
            if isinstance(d, Choice)
            else {"low": d.low, "high": d.high, "log": d.log, "step": d.step, "whole": d.whole}
            for name, d in self.dimensions.items()
        }

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Space:
        """The inverse of `to_dict`."""
        return cls(
            {
                name: Choice(tuple(d)) if isinstance(d, list) else Range(**d)
                for name, d in facts.items()
            }
        )


def merged(spaces: list[Space]) -> Space:
    """All dimensions together; of a setting that is in two, the later."""
    return Space({name: d for space in spaces for name, d in space.dimensions.items()})


def with_params(base: TrainSettings, params: Mapping[str, Scalar]) -> TrainSettings:
    """The settings of a trial.

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
        found = error.errors(include_url=False)[0]
        reason = found.get("ctx", {}).get("error", found["msg"])
        where = ", ".join(f"{name} = {show(value)}" for name, value in params.items())
        raise SettingsError(
            f"a trial with {where}: {reason}",
            "Take the value out of the space, or change what goes with it.",
        ) from None


def show(value: object) -> str:
    """A value as it is typed: 1e-05, 0.001, q_proj,v_proj."""
    return f"{value:g}" if isinstance(value, float) else str(value)

"""The records of a run: lines of metrics.jsonl, as observers get them, its files, its answers."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from lvlora import durable
from lvlora.answers import NOTHING, Answer, Estimate, Number, Price, Shape
from lvlora.errors import DataError
from lvlora.settings.base import Convention

LARGEST = 2**30
"""Bytes of a file that is read whole."""
DAMAGED = "The file was changed or damaged; the run's other files may still be good."


@dataclass(frozen=True)
class RunPlan:
    """The plan of a run, as an observer needs it; FLOPs are in ``convention``."""

    run: str
    steps: int
    """Of the whole run, also where it was resumed."""
    tokens_per_step: int
    flops_at_most: int
    """Of all that is still to do."""
    max_flops: int | None
    first_step: int
    """Steps that were done before."""
    validations: int = 0
    """That are still to be made, the one before the first step included."""
    convention: Convention = "executed"


class _Line(Shape):
    """A line of metrics.jsonl; keys of later versions are passed over."""

    model_config = ConfigDict(extra="ignore")

    step: int
    """Optimiser steps that are done."""
    seconds: float = 0.0
    """Wall-clock time."""
    flops: int = 0
    """FLOPs of this step or validation, executed."""
    flops_coursework: int = 0

    @property
    def price(self) -> Price:
        """FLOPs of this step or validation."""
        return Price(self.flops, self.flops_coursework)


class StepRecord(_Line):
    """One optimiser step that is done."""

    loss: float
    """Mean cross-entropy a target token, in nats."""
    learning_rate: float = 0.0
    grad_norm: float = 0.0
    """2-norm of the gradient before clipping."""
    tokens: int = 0
    """Targets."""
    tokens_padded: int = 0
    """Positions that were computed beside them."""
    total_flops: int = 0
    """FLOPs of the run so far, executed, validation included."""
    total_flops_coursework: int = 0
    shapes: tuple[tuple[int, int], ...] = Field(default=(), exclude=True)
    """(B, S) of each micro-batch."""

    @property
    def spent(self) -> Price:
        """FLOPs of the run so far."""
        return Price(self.total_flops, self.total_flops_coursework)


class ValidationRecord(_Line):
    """One validation that is done."""

    loss: Number = None
    """Mean cross-entropy a target token on the validation part, in nats."""
    mae: Number = None
    """Mean absolute error of the forecast, in the data's units; null where none was made."""
    best: bool = False
    """The adapter of this step is the best so far, and the one that is kept."""
    helps: bool = False
    """No validation was better, not even the one before the first step."""


class Observer:
    """An observer of a run; a method that is not overridden does nothing."""

    def started(self, plan: RunPlan) -> None:
        """Hear that the first step is about to be made."""

    def step(self, record: StepRecord) -> None:
        """Hear of a step."""

    def validated(self, record: ValidationRecord) -> None:
        """Hear of a validation."""

    def finished(self) -> None:
        """Hear that the run is over: done, stopped or failed."""


class Spending(Shape):
    """FLOPs, seconds and tokens of a phase of a run."""

    price: Price = NOTHING
    seconds: float = 0.0
    tokens: int = 0
    tokens_padded: int = 0

    def __add__(self, other: Spending) -> Spending:
        return Spending(**{name: value + getattr(other, name) for name, value in self})

    def __sub__(self, other: Spending) -> Spending:
        return Spending(**{name: value - getattr(other, name) for name, value in self})


class Validation(Shape):
    """Errors on the validation part."""

    loss: Number
    mae: Number
    """Mean absolute error of forecasts, in original units; null where none can be made."""

    @property
    def score(self) -> float:
        """The number that is to be small: the error, or the loss where nothing was forecast."""
        score = self.loss if self.mae is None else self.mae
        return math.inf if score is None else score


class Progress(BaseModel):
    """Progress of a run; everything in it is saved with a checkpoint."""

    model_config = ConfigDict(strict=True)

    step: int = 0
    """Optimiser steps that are done."""
    spending: dict[str, Spending] = Field(
        default_factory=lambda: {"train": Spending(), "validation": Spending()}
    )
    """Up to here; a killed process' spending beyond its last checkpoint is in the ledger alone."""
    ended: bool = False
    """Patience ended the run before its last step."""
    loss: float | None = None
    zero_shot: Validation | None = None
    validation: Validation | None = None
    """The best validation, at ``best_step``; ``stale`` ones since."""
    best_step: int | None = None
    stale: int = 0
    zero_shot_maes: list[Number] = Field(default_factory=list)
    """Errors of each forecast that a validation makes, before training."""
    best_maes: list[Number] = Field(default_factory=list)
    """The same errors of the best validation."""

    @property
    def spent(self) -> Price:
        """FLOPs up to here."""
        return sum((phase.price for phase in self.spending.values()), NOTHING)


class Gain(Shape):
    """Decrease of the MAE, from the model before training to the kept adapter."""

    mean: float
    low: Number
    high: Number
    """A 95 % interval of the mean (Student's, paired); null of one."""
    n: int
    of: Literal["series", "windows"]
    """Unit of ``n``: series that were not trained on, or windows in the last steps of series,
    which were not."""


class RunSummary(Answer):
    """The numbers of a run, finished or not."""

    run: str
    folder: str
    steps: int
    """Steps that were made."""
    loss: Number
    """Loss of the last step."""
    zero_shot: Validation | None
    """Before training."""
    validation: Validation | None
    """Validation of the best adapter."""
    best_step: int | None
    flops: Price
    seconds: float
    """In training steps."""
    tokens: int
    """Tokens of training steps."""
    files: list[str]
    """Figures and the page."""

    @property
    def maes(self) -> tuple[float | None, float | None]:
        """Errors of forecasts before training, and with the best adapter."""
        before, after = self.zero_shot, self.validation
        return None if before is None else before.mae, None if after is None else after.mae


class Train(RunSummary):
    """`lvlora train --json`: a run that made all the steps that it could."""

    planned_steps: int
    """Steps of its schedule."""
    gain: Gain | None
    """Gain of the best adapter, in the measure that chose it; null where nothing was forecast."""
    stopped_early: bool
    """By --patience."""
    stopped_by_limit: bool
    """By --max-flops; --resume with a larger one goes on."""
    validation_flops: Price
    """The part of ``flops`` that went into validations."""
    flops_at_most: Price
    """Price bound of the whole run."""
    validations: int
    """Planned, the one before the first step included."""
    trainable_parameters: int
    adapter: str


class Report(RunSummary):
    """`lvlora report RUN --json`, of a run"""

    trainable_parameters: int | None
    """Null where the run does not say."""
    opened: bool


Result = Train
"""Its name for programs."""


class RunEstimate(Estimate):
    """The time and memory of a run, on this machine."""

    first_step_seconds: float
    step_seconds: float
    validation_seconds: float


class TrainPlan(Answer):
    """`lvlora train --dry-run --json`"""

    model: str
    steps: int
    validations: int
    """The one before the first step included."""
    tokens: int
    trainable_parameters: int
    flops_at_most: Price
    share_of_limit: float | None
    """Limit of --max-flops, else of --budget; null without either."""
    estimate: RunEstimate | None
    """Null where several processes would make the run."""


def record_of(line: str) -> StepRecord | ValidationRecord | None:
    """Return the record of a line of metrics.jsonl; None where it cannot be believed."""
    with contextlib.suppress(ValueError, RecursionError):  # pydantic's errors are ValueErrors
        row = durable.parse_json(line)
        if isinstance(row, dict) and "validation" in row:
            return ValidationRecord.model_validate(row["validation"])
        return StepRecord.model_validate(row)
    return None


def read_text(file: Path) -> str:
    """Return the text of one of a run's files."""
    try:
        return durable.read_bounded(file, LARGEST).decode(errors="replace")
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror or error})", DAMAGED) from None

"""What a training loop tells whoever watches it.

Knows: the moments of a run and the numbers that belong to each. Does not know: terminals, files;
the loop calls an observer, and `cli/terminal/progress.py` draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class RunPlan:
    """What is about to happen.

    Attributes:
        run: name of the run, for people.
        steps: optimiser steps of the whole run, counted from 0 (not only those still to do).
        tokens_per_step: tokens in one optimiser step, all micro-batches together.
        flops_at_most: all that is still to do can cost, validations included, in the convention
            that the limit is in.
        max_flops: FLOPs that this run may spend; None is no limit.
        first_step: steps that were done before (a resumed run); 0 is a fresh one.
        validations: that are still to be made, the one before the first step included.
    """

    run: str
    steps: int
    tokens_per_step: int
    flops_at_most: int
    max_flops: int | None
    first_step: int
    validations: int = 0


@dataclass(frozen=True)
class StepRecord:
    """One optimiser step that is done.

    Attributes:
        step: its number, from 1.
        loss: mean cross-entropy a target token, in nats.
        learning_rate: the rate that was used.
        grad_norm: 2-norm of the gradient before clipping.
        seconds: wall-clock time of this step.
        tokens: tokens of this step.
        flops: FLOPs of this step.
        total_flops: FLOPs of the run so far, validation included.
    """

    step: int
    loss: float
    learning_rate: float
    grad_norm: float
    seconds: float
    tokens: int
    flops: int
    total_flops: int


@dataclass(frozen=True)
class ValidationRecord:
    """One validation that is done.

    Attributes:
        step: steps that were done before it.
        loss: mean cross-entropy a target token on the validation part, in nats.
        mae: mean absolute error of the forecast, in the data's units; None where it was not made.
        seconds: wall-clock time it took.
        flops: FLOPs it took.
        best: it is the best so far, the one before the first step included.
        kept: the adapter of this step is the best adapter so far, and the one that is kept.
    """

    step: int
    loss: float
    mae: float | None
    seconds: float
    flops: int
    best: bool
    kept: bool = False


class EndRun(Exception):
    """Raised by an observer's ``validated``: end the run here, whole, as patience would."""


class Observer(Protocol):
    """Whoever watches a run. The loop calls ``finished`` however the run ends."""

    def started(self, plan: RunPlan) -> None:
        """The first step is about to be made."""

    def step(self, record: StepRecord) -> None:
        """A step was made."""

    def validated(self, record: ValidationRecord) -> None:
        """A validation was made."""

    def note(self, message: str) -> None:
        """Something a person should know."""

    def finished(self) -> None:
        """The run is over: done, stopped or failed."""


class Silent:
    """An observer that does nothing."""

    def started(self, plan: RunPlan) -> None:
        """Nothing."""

    def step(self, record: StepRecord) -> None:
        """Nothing."""

    def validated(self, record: ValidationRecord) -> None:
        """Nothing."""

    def note(self, message: str) -> None:
        """Nothing."""

    def finished(self) -> None:
        """Nothing."""

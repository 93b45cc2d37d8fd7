"""The moments of a run that observers see, and the numbers of each."""

from __future__ import annotations

from dataclasses import dataclass

from lvlora.answers import NOTHING, Price
from lvlora.settings.base import Convention


@dataclass(frozen=True)
class RunPlan:
    """The plan of a run.

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
    """One optimiser step that is done: what the loop yields, metrics.jsonl keeps, observers get.

    Attributes:
        step: its number, from 1.
        loss: mean cross-entropy a target token, in nats.
        learning_rate: the rate that was used.
        grad_norm: 2-norm of the gradient before clipping.
        seconds: wall-clock time of this step.
        tokens: targets of this step; tokens_padded: positions that were computed beside them.
        shapes: (B, S) of each micro-batch.
        price: of this step; spent: by the run so far, validation included; in both conventions.
        convention: that the limits are in.
    """

    step: int
    loss: float
    learning_rate: float
    grad_norm: float
    seconds: float
    tokens: int
    tokens_padded: int
    shapes: tuple[tuple[int, int], ...]
    price: Price = NOTHING
    spent: Price = NOTHING
    convention: Convention = "executed"

    @property
    def flops(self) -> int:
        """FLOPs of this step, in the convention of the limits."""
        return self.price.of(self.convention)

    @property
    def total_flops(self) -> int:
        """FLOPs of the run so far, in the convention of the limits."""
        return self.spent.of(self.convention)

    def row(self) -> dict[str, float | int]:
        """A line of metrics.jsonl."""
        return {
            "step": self.step,
            "loss": self.loss,
            "learning_rate": self.learning_rate,
            "grad_norm": self.grad_norm,
            "seconds": round(self.seconds, 6),
            "tokens": self.tokens,
            "tokens_padded": self.tokens_padded,
            "flops": self.price.executed,
            "flops_coursework": self.price.coursework,
            "total_flops": self.spent.executed,
        }


@dataclass(frozen=True)
class ValidationRecord:
    """One validation that is done: what metrics.jsonl keeps and observers get.

    Attributes:
        step: steps that were done before it.
        loss: mean cross-entropy a target token on the validation part, in nats.
        mae: mean absolute error of the forecast, in the data's units; None where it was not made.
        seconds: wall-clock time it took.
        price: of it; spent: by the run so far.
        best: it is the best so far, the one before the first step included.
        kept: the adapter of this step is the best adapter so far, and the one that is kept.
        convention: that the limits are in.
    """

    step: int
    loss: float
    mae: float | None
    seconds: float
    price: Price
    spent: Price
    best: bool
    kept: bool = False
    convention: Convention = "executed"

    @property
    def flops(self) -> int:
        """FLOPs it took, in the convention of the limits."""
        return self.price.of(self.convention)

    def row(self) -> dict[str, object]:
        """A line of metrics.jsonl."""
        values = {
            "step": self.step,
            "loss": self.loss,
            "mae": self.mae,
            "seconds": round(self.seconds, 6),
            "flops": self.price.executed,
            "flops_coursework": self.price.coursework,
            "best": self.kept,
        }
        return {"validation": values, "total_flops": self.spent.executed}


class EndRun(Exception):
    """Raised by an observer's ``validated``: end the run here, whole, as patience would."""


class Observer:
    """An observer of a run; one that is not overridden does nothing.

    ``finished`` is called however the run ends.
    """

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


class Silent(Observer):
    """An observer that does nothing."""

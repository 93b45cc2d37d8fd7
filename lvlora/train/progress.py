"""How far a run is, and what it says when it is done.

Knows: the numbers that a checkpoint must carry. Does not know: how they come about, files.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from lvlora.flops.budget import NOTHING, Price


@dataclass
class Progress:
    """How far a run is; everything in it is saved with a checkpoint.

    Attributes:
        step: optimiser steps that are done.
        spent: by the run up to here, in both conventions; what a killed process did beyond its last
            checkpoint is in the ledger alone.
        validation_spent: what of it was for validation.
        seconds, tokens, tokens_padded: of training steps; validation_seconds, validation_tokens.
        best: the lowest validation score, at ``best_step``; ``stale`` validations since.
        ended: an observer or patience ended the run before its last step.
        zero_shot: the validation before the first step, for comparison.
    """

    step: int = 0
    spent: Price = NOTHING
    validation_spent: Price = NOTHING
    seconds: float = 0.0
    validation_seconds: float = 0.0
    tokens: int = 0
    tokens_padded: int = 0
    validation_tokens: int = 0
    best: float | None = None
    best_step: int | None = None
    stale: int = 0
    ended: bool = False
    loss: float | None = None
    zero_shot: dict[str, Any] | None = None
    validation: dict[str, Any] | None = None

    @property
    def training_spent(self) -> Price:
        """What was not for validation."""
        return self.spent - self.validation_spent

    def to_facts(self) -> dict[str, Any]:
        """For a manifest; FLOPs as text, they pass 2^53."""
        facts = asdict(self)
        for name in ("spent", "validation_spent"):
            price: Price = getattr(self, name)
            facts[name] = [str(price.executed), str(price.coursework)]
        return facts

    @classmethod
    def from_facts(cls, facts: dict[str, Any]) -> Progress:
        """The inverse of `to_facts`."""
        prices = {
            name: Price(*(int(count) for count in facts[name]))
            for name in ("spent", "validation_spent")
        }
        return cls(**{**facts, **prices})


@dataclass(frozen=True)
class Result:
    """What a run that is over has to say.

    Attributes:
        steps: that were made; planned_steps: that its schedule was laid out for.
        loss: of the last step.
        zero_shot, validation: {"loss": …, "mae": …} before training, and of the best adapter.
        stopped_early: by patience (or by a sweep).
        stopped_by_limit: before the last step, because ``max_flops`` was reached; it can go on with
            a larger one.
        flops: of the whole run, in both conventions; validation_flops: of its validations;
            flops_at_most: what all of it was planned to cost.
        validations: that were planned, the one before the first step included.
        seconds, tokens: of training steps.
    """

    run: str
    steps: int
    planned_steps: int
    loss: float | None
    zero_shot: dict[str, Any] | None
    validation: dict[str, Any] | None
    best_step: int | None
    stopped_early: bool
    stopped_by_limit: bool
    flops: dict[str, int]
    validation_flops: dict[str, int]
    flops_at_most: dict[str, int]
    validations: int
    seconds: float
    tokens: int
    trainable_parameters: int
    adapter: str

"""How far a run is: the numbers that a checkpoint must carry."""

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

"""How far a run is, and its two rows in the ledger: training and validation."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from lvlora.flops.budget import NOTHING, Price
from lvlora.flops.ledger import Ledger, Limits, Wanted
from lvlora.flops.rows import Row, Spender
from lvlora.train.record import Validation

Phase = Literal["train", "validation"]
PHASES: tuple[Phase, Phase] = ("train", "validation")


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
    zero_shot: Validation | None = None
    validation: Validation | None = None

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
        for name in ("zero_shot", "validation"):
            errors: Validation | None = getattr(self, name)
            facts[name] = None if errors is None else errors.model_dump()
        return facts

    @classmethod
    def from_facts(cls, facts: dict[str, Any]) -> Progress:
        """The inverse of `to_facts`."""
        prices = {
            name: Price(*(int(count) for count in facts[name]))
            for name in ("spent", "validation_spent")
        }
        errors = {
            name: None if facts[name] is None else Validation(**facts[name])
            for name in ("zero_shot", "validation")
        }
        return cls(**{**facts, **prices, **errors})


def take_over(ledger: Ledger, run: str) -> None:
    """Settle what a killed process of this run left open: what it may have spent stays charged.

    Raises:
        LvloraError: that process is alive.
    """
    if any(row.run == run and row.status == "open" for row in ledger.rows()):
        ledger.close(run)


def charged(ledger: Ledger, run: str) -> Price:
    """What all processes of a run have spent and reserved."""
    return sum((row.charged for row in ledger.rows() if row.run == run), NOTHING)


class Charges:
    """Open entries of this process.

    Args:
        start: the run's progress when they were made; only what comes after is theirs.
    """

    def __init__(self, ledger: Ledger, held: dict[Phase, Row], start: Progress) -> None:
        self.ledger = ledger
        self.held = held
        self.start = start

    @classmethod
    def open(
        cls,
        ledger: Ledger,
        wanted: dict[Phase, Wanted],
        start: Progress,
        *,
        run: str,
        spender: Spender,
        within: Limits,
    ) -> Charges:
        """Reserve for each phase, or for none.

        Args:
            wanted: phases that cost nothing are left out.

        Raises:
            BudgetError: together they would pass a limit.
        """
        priced: dict[str, Wanted] = {
            phase: one for phase, one in wanted.items() if one.at_most != NOTHING
        }
        held = ledger.reserve(run, priced, spender, within) if priced else {}
        return cls(ledger, {phase: held[phase] for phase in PHASES if phase in held}, start)

    def update(self, progress: Progress) -> None:
        """Record progress; the reservations stay charged."""
        self._record(progress)

    def settle(self, progress: Progress) -> None:
        """Replace the promises by what was spent."""
        self._record(progress, done=True)

    def _record(self, now: Progress, *, done: bool = False) -> None:
        before = self.start
        if "train" in self.held:
            self.ledger.record(
                self.held["train"],
                now.training_spent - before.training_spent,
                seconds=now.seconds - before.seconds,
                tokens_useful=now.tokens - before.tokens,
                tokens_padded=now.tokens_padded - before.tokens_padded,
                done=done,
            )
        if "validation" in self.held:
            self.ledger.record(
                self.held["validation"],
                now.validation_spent - before.validation_spent,
                seconds=now.validation_seconds - before.validation_seconds,
                tokens_useful=now.validation_tokens - before.validation_tokens,
                done=done,
            )

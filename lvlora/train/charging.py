"""A run's two rows in the ledger: its training and its validation.

Knows: reservations and which progress belongs to which. Does not know: how work is done.
"""

from __future__ import annotations

from typing import Any, Literal

from lvlora.flops.budget import NOTHING, Price
from lvlora.flops.ledger import Ledger
from lvlora.flops.reservation import Reservation, Wanted
from lvlora.train.progress import Progress

Phase = Literal["train", "validation"]
PHASES: tuple[Phase, Phase] = ("train", "validation")


def take_over(ledger: Ledger, run: str) -> None:
    """Settle what a killed process of this run left open: what it may have spent stays charged.

    Raises:
        LvloraError: that process is alive.
    """
    for phase in PHASES:
        while (opened := ledger.resume(run, phase)) is not None:
            ledger.settle(
                opened,
                executed=opened.spent.executed,
                coursework=opened.spent.coursework,
                seconds=opened.seconds,
                tokens_useful=opened.tokens_useful,
                tokens_padded=opened.tokens_padded,
            )


def charged(ledger: Ledger, run: str) -> Price:
    """What all processes of a run have spent and reserved."""
    return sum((row.charged for row in ledger.rows() if row.run == run), NOTHING)


class Account:
    """Open reservations of this process.

    Args:
        start: the run's progress when they were made; only what comes after is theirs.
    """

    def __init__(
        self, ledger: Ledger, reservations: dict[Phase, Reservation], start: Progress
    ) -> None:
        self.ledger = ledger
        self.reservations = reservations
        self.start = start

    @classmethod
    def open(
        cls, ledger: Ledger, wanted: dict[Phase, Wanted], start: Progress, **facts: Any
    ) -> Account:
        """Reserve for each phase, or for none.

        Args:
            wanted: phases that cost nothing are left out.
            facts: of `Ledger.reserve`.

        Raises:
            BudgetError: together they would pass a limit.
        """
        priced: dict[str, Wanted] = {
            phase: one for phase, one in wanted.items() if one.at_most != NOTHING
        }
        made = ledger.reserve_all(priced, **facts) if priced else {}
        return cls(ledger, {phase: made[phase] for phase in PHASES if phase in made}, start)

    def update(self, progress: Progress) -> None:
        """Record progress; the reservations stay charged."""
        for phase, reservation in self.reservations.items():
            self.ledger.update(reservation, **self._since_start(phase, progress))

    def settle(self, progress: Progress) -> None:
        """Replace the promises by what was spent."""
        for phase, reservation in self.reservations.items():
            self.ledger.settle(reservation, **self._since_start(phase, progress))

    def _since_start(self, phase: Phase, now: Progress) -> dict[str, Any]:
        before = self.start
        if phase == "train":
            spent = now.training_spent - before.training_spent
            seconds = now.seconds - before.seconds
            useful = now.tokens - before.tokens
            padded = now.tokens_padded - before.tokens_padded
        else:
            spent = now.validation_spent - before.validation_spent
            seconds = now.validation_seconds - before.validation_seconds
            useful, padded = now.validation_tokens - before.validation_tokens, 0
        return {
            "executed": spent.executed,
            "coursework": spent.coursework,
            "seconds": seconds,
            "tokens_useful": useful,
            "tokens_padded": padded,
        }

"""A promise of FLOPs to one phase of one run, to whom, and within which limits."""

from __future__ import annotations

from dataclasses import dataclass

from lvlora.flops.budget import NOTHING, Price
from lvlora.flops.limits import BudgetAsked
from lvlora.flops.rows import Row
from lvlora.settings.base import Convention


@dataclass(frozen=True)
class Wanted:
    """What a phase of a run wants to spend.

    Attributes:
        at_most: that it will spend.
        unit: the most that is spent between two calls of `Ledger.update`. Known, a killed run is
            charged its recorded progress and one unit; not known, in full.
    """

    at_most: Price
    unit: Price | None = None


@dataclass(frozen=True)
class Spender:
    """Who spends, as the entries of the ledger say it.

    Attributes:
        command: of lvlora, or what a program calls itself.
        settings_hash: of what decides the result.
        model, model_hash: whose FLOPs they are; device, dtype: on what.
    """

    command: str
    settings_hash: str = ""
    model: str = ""
    model_hash: str = ""
    device: str = ""
    dtype: str = ""


@dataclass(frozen=True)
class Limits:
    """What a reservation must stay within.

    Attributes:
        max_flops: limit of the run over all its phases.
        budget: limit of the project from now on; "none" lifts it. Left out, the recorded one holds,
            in its own convention. It is recorded only with what it lets through: that of a refused
            run is not kept.
        convention: in which both are counted.
    """

    max_flops: int | None = None
    budget: BudgetAsked = None
    convention: Convention = "executed"


NO_LIMITS = Limits()


@dataclass(frozen=True)
class Reservation:
    """A promise of FLOPs to one phase of one run, held by this process.

    Attributes:
        reserved: what may be spent on it in all.
        holder: the name of this process; see `process_lock`.
        spent: what was already charged when it was taken over from a killed process, else zero.
            Totals given to `Ledger.update` and `Ledger.settle` include it.
        seconds, tokens_useful, tokens_padded: recorded before the take-over; totals include them.
    """

    id: int
    run: str
    phase: str
    reserved: Price
    holder: str
    spent: Price = NOTHING
    seconds: float = 0.0
    tokens_useful: int = 0
    tokens_padded: int = 0

    @classmethod
    def of(cls, row: Row, reserved: Price, holder: str, spent: Price | None = None) -> Reservation:
        """That of an entry.

        Args:
            spent: what is charged so far; default: what the entry says.
        """
        return cls(
            row.id,
            row.run,
            row.phase,
            reserved,
            holder,
            row.spent if spent is None else spent,
            row.seconds,
            row.tokens_useful,
            row.tokens_padded,
        )

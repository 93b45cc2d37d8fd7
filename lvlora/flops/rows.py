"""Records of the ledger, its entries and the budget, and names of the processes that spend."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from lvlora.answers import NOTHING, Count, Price
from lvlora.errors import BudgetError
from lvlora.flops.answers import Status
from lvlora.settings.base import Convention


class _Record(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, defer_build=True
    )


class Spender(_Record):
    """The command and model that spend."""

    command: str
    """A command of lvlora, or the name of another program."""
    settings_hash: str = ""
    """Hash of the settings that decide the result."""
    model: str = ""
    model_hash: str = ""
    device: str = ""
    dtype: str = ""


class Row(Spender):
    """One entry of the ledger: a promise of FLOPs to a phase of a run, and what came of it."""

    id: int = Field(default=0, exclude=True)
    """0 until it is stored."""
    run: str
    phase: str
    status: Status = "open"
    reserved: Price
    spent: Price = NOTHING
    """Recorded so far, as are the seconds and tokens."""
    unit: Price | None = None
    """The most that is spent between two records; None if unknown."""
    seconds: float = Field(default=0.0, ge=0)
    tokens_useful: Count = 0
    tokens_padded: Count = 0
    holder: str = ""
    """The process that spends: host, process id, start time, a random part."""
    created_at: AwareDatetime
    updated_at: AwareDatetime

    @property
    def charged(self) -> Price:
        """Return what counts against the limits: while open the promise, then what was spent."""
        return self.reserved | self.spent if self.status == "open" else self.spent

    @property
    def spent_if_killed(self) -> Price:
        """Return the most that a killed process can have spent."""
        upper = self.reserved | self.spent
        return upper if self.unit is None else upper & (self.spent + self.unit)

    def changed(self, **values: Any) -> Row:
        """Return the entry as it is from now on."""
        return self.model_copy(update={**values, "updated_at": datetime.now(UTC)})


class Budget(_Record):
    """FLOPs that all runs of a project may spend together, and how they are counted."""

    flops: Annotated[int, Field(gt=0)]
    convention: Convention
    set_at: AwareDatetime | None = None
    """When it was recorded."""
    set_by: str = ""
    """The command that set it."""

    @classmethod
    def after(cls, change: int | Literal["none"] | None, convention: Convention) -> Budget | None:
        """Return the budget that a change sets; None where it sets none."""
        if change is None or change == "none":
            return None
        return cls(flops=change, convention=convention)

    def check(self, owner: str, price: Price, rows: Sequence[Row], remedy: str) -> None:
        """Refuse a price that would bring these entries beyond the budget.

        Raises:
            BudgetError: with the numbers and the remedy.
        """
        wanted = price.of(self.convention)
        spent = sum(row.charged.of(self.convention) for row in rows if row.status != "open")
        promised = sum(row.charged.of(self.convention) for row in rows if row.status == "open")
        if wanted == 0 or spent + promised + wanted <= self.flops:
            return
        origin = f"by {self.set_by or '--budget'}"
        if self.set_at is not None:
            by = f" by lvlora {self.set_by}" if self.set_by else ""
            origin = f"set{by} on {self.set_at:%Y-%m-%d at %H:%M} UTC"
        remaining = max(0, self.flops - spent - promised)
        hint = f"Do less (about {remaining / wanted:.0%} of it fits), or {remedy}."
        if promised:
            hint += " lvlora flops --ledger shows the open runs; --close RUN settles a killed one."
        raise BudgetError(
            f"{owner}: {wanted:,} FLOPs wanted, {spent:,} spent, {promised:,} reserved, "
            f"limit {self.flops:,} ({self.convention}), {origin}",
            hint,
        )


def charged(rows: Iterable[Row]) -> Price:
    """Return what counts of these entries against the limits."""
    return sum((row.charged for row in rows), NOTHING)


def this_process() -> str:
    """Return a name for this process and moment: host, process id, start time, a random part."""
    pid = os.getpid()
    return f"{socket.gethostname()}:{pid}:{_start_time(pid)}:{token_hex(4)}"


def other_living_process(holder: str) -> int | None:
    """Return the id of the process that holds an entry, if it runs and is not this one.

    A process on another machine counts as dead, because nothing here can tell. A lock file for
    each process would have to be cleaned up after it, and a fork would go on holding it.
    """
    host, number, started, *_ = [*holder.split(":"), "", ""]
    if host != socket.gethostname() or not number.isdigit() or int(number) == os.getpid():
        return None
    try:
        os.kill(int(number), 0)
    except (ProcessLookupError, OverflowError):
        return None
    except PermissionError:
        pass
    # the id may have been taken by another process since
    return int(number) if _start_time(int(number)) == started else None


def _start_time(pid: int) -> str:
    """Clock ticks after boot at which a living process started; empty where /proc has none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    # the second field is a name in parentheses that may hold spaces; a zombie is not alive
    state, *fields = stat.rpartition(")")[2].split()
    return "" if state == "Z" else fields[18]

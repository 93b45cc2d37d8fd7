"""Records of the ledger, its entries and the budget, and names of the processes that spend."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from lvlora.answers import NOTHING, Count, Price
from lvlora.flops.answers import Status
from lvlora.settings.base import Convention

R = TypeVar("R", bound=BaseModel)


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
        return self.model_copy(update={**values, "updated_at": now()})


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

    @property
    def origin(self) -> str:
        """Say by whom and when it was set, to follow the number in a message."""
        if self.set_at is None:
            return "by --budget"
        by = f" by lvlora {self.set_by}" if self.set_by else ""
        return f"set{by} on {self.set_at:%Y-%m-%d at %H:%M} UTC"


def parsed(model: type[R], record: str) -> R:
    """Return a stored record; ValueError if it is not what was written."""
    try:
        return model.model_validate_json(record)
    except ValidationError as error:
        first = error.errors()[0]
        place = first["loc"][0] if first["loc"] else "text"
        raise ValueError(f"{place} of an entry is {str(first['input'])[:40]!r}") from None


def now() -> datetime:
    return datetime.now(UTC)


def this_process() -> str:
    """Return a name for this process and moment: host, process id, start time, a random part."""
    pid = os.getpid()
    return f"{socket.gethostname()}:{pid}:{_start_time(pid)}:{token_hex(4)}"


def other_living_process(holder: str) -> int | None:
    """Return the id of the process that holds an entry, if it runs and is not this one.

    A process on another machine counts as dead, because nothing here can tell. A lock file for
    each process would have to be cleaned up after it, and a fork would go on holding it.
    """
    host, _, rest = holder.partition(":")
    number, _, rest = rest.partition(":")
    if host != socket.gethostname() or not number.isdigit() or int(number) == os.getpid():
        return None
    try:
        os.kill(int(number), 0)
    except (ProcessLookupError, OverflowError):
        return None
    except PermissionError:
        pass
    # the id may have been taken by another process since
    return int(number) if _start_time(int(number)) == rest.partition(":")[0] else None


def _start_time(pid: int) -> str:
    """Clock ticks after boot at which a living process started; empty where /proc has none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    # the second field is a name in parentheses that may hold spaces; a zombie is not alive
    state, *fields = stat.rpartition(")")[2].split()
    return "" if state == "Z" else fields[18]

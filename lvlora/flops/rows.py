"""An entry of the ledger, as it is stored, and what is charged for it."""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass
from datetime import datetime
from typing import Any, get_args

from lvlora.flops.answers import Status
from lvlora.flops.budget import Price

STORED = (
    "id",
    "run",
    "phase",
    "command",
    "status",
    "settings_hash",
    "model",
    "model_hash",
    "device",
    "dtype",
    "reserved_executed",
    "reserved_coursework",
    "executed",
    "coursework",
    "unit_executed",
    "unit_coursework",
    "seconds",
    "tokens_useful",
    "tokens_padded",
    "holder",
    "created_at",
    "updated_at",
)
"""Columns of an entry as they are stored; counts of FLOPs are text."""

_NOT_TEXT: dict[str, type | tuple[type, ...]] = {
    "id": int,
    "seconds": (int, float),
    "tokens_useful": int,
    "tokens_padded": int,
    "unit_executed": (str, type(None)),
    "unit_coursework": (str, type(None)),
}

_COUNTS = ("executed", "coursework")
_COUNT = re.compile(r"[0-9]{1,80}")
"""A count of FLOPs as text: `settings.base.Flops` have 60 digits at most, sums a few more."""


def whole_count(text: object) -> int:
    """A count of FLOPs as it is stored; ValueError for anything else, a negative one too."""
    if not isinstance(text, str) or _COUNT.fullmatch(text) is None:
        raise ValueError(f"a count of {str(text)[:40]!r} FLOPs")
    return int(text)


def _is_possible(name: str, value: Any) -> bool:
    """Whether a column can hold this."""
    known: Any = value
    if not isinstance(value, _NOT_TEXT.get(name, str)):
        return False
    if name.endswith(_COUNTS):
        return value is None or whole_count(value) >= 0
    if name in ("seconds", "tokens_useful", "tokens_padded"):
        return bool(0 <= known < float("inf"))
    if name.endswith("_at"):
        return datetime.fromisoformat(known).tzinfo is not None
    return name != "status" or value in get_args(Status)


@dataclass(frozen=True)
class Row:
    """One entry of the ledger.

    Attributes:
        status: open (promised, running or killed), settled, or closed (killed, then settled).
        reserved: what was promised; spent: what is recorded so far.
        unit: the most that is spent between two records of progress; None if unknown.
        created_at, updated_at: UTC, ISO 8601.
    """

    id: int
    run: str
    phase: str
    command: str
    status: Status
    settings_hash: str
    model: str
    model_hash: str
    device: str
    dtype: str
    reserved: Price
    spent: Price
    unit: Price | None
    seconds: float
    tokens_useful: int
    tokens_padded: int
    holder: str
    created_at: str
    updated_at: str

    @classmethod
    def from_columns(cls, columns: tuple[Any, ...]) -> Row:
        """A row from the ledger's columns; ValueError if one is not what was written.

        The tables are strict, but a damaged file, or one that somebody has edited, is not bound by
        that.
        """
        values = dict(zip(STORED, columns, strict=True))
        for name, value in values.items():
            if not _is_possible(name, value):
                raise ValueError(f"entry {values['id']}: {name} is {str(value)[:40]!r}")
        counts = {name: values.pop(name) for name in STORED if name.endswith(_COUNTS)}
        units = counts["unit_executed"], counts["unit_coursework"]
        return cls(
            reserved=Price(int(counts["reserved_executed"]), int(counts["reserved_coursework"])),
            spent=Price(int(counts["executed"]), int(counts["coursework"])),
            unit=None if None in units else Price(int(units[0]), int(units[1])),
            **values,
        )

    @property
    def charged(self) -> Price:
        """What counts against the budget: all that is promised while open, then what was spent."""
        return self.reserved | self.spent if self.status == "open" else self.spent

    @property
    def spent_if_killed(self) -> Price:
        """The most that a killed process can have spent."""
        upper = self.reserved | self.spent
        return upper if self.unit is None else upper & (self.spent + self.unit)


def read_rows(
    db: sqlite3.Connection, where: str = "", values: tuple[object, ...] = ()
) -> list[Row]:
    """Entries of the ledger, oldest first; ValueError if one is not what was written.

    Args:
        where: a clause of SQL with ``values`` for its question marks.
    """
    found = db.execute(f"SELECT {', '.join(STORED)} FROM entry {where} ORDER BY id", values)
    return [Row.from_columns(columns) for columns in found]

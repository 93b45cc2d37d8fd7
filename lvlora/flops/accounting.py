"""The accounting table: rows of the ledger with shares of the budget and utilisation.

Knows: arithmetic on rows. Does not know: SQLite, how a table is shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lvlora.flops.budget import Budget, Price

COLUMNS = (
    "run",
    "command",
    "phase",
    "model",
    "executed",
    "coursework",
    "share_of_budget",
    "seconds",
    "tokens_useful",
    "tokens_padded",
    "device",
    "dtype",
    "status",
    "utilisation",
    "recorded_at",
)

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

STATUS = ("open", "settled", "closed")

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
    return name != "status" or value in STATUS


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
    status: str
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
        most = self.reserved | self.spent
        return most if self.unit is None else most & (self.spent + self.unit)


def accounting_table(
    rows: Iterable[Row],
    budget: Budget | None,
    peaks: Mapping[tuple[str, str], float],
) -> dict[str, Any]:
    """What every run cost, and the sums.

    Args:
        rows: entries of the ledger.
        budget: of all runs together.
        peaks: measured matrix-product peaks in FLOP/s by (device, dtype).

    Returns:
        schema_version; runs, one object with the keys of ``COLUMNS`` per entry; total, what is
        charged; settled and open, its parts; planned, the most that all of it could have been;
        budget, its convention, what is left of it, when and by which command it was set (None
        without a budget).
    """
    rows = list(rows)
    total = sum((row.charged for row in rows), Price())
    planned = sum((row.reserved | row.spent for row in rows), Price())
    unsettled = sum((row.charged for row in rows if row.status == "open"), Price())
    flops, convention = None, "executed"
    if budget is not None:
        flops, convention = budget.flops, budget.convention
    return {
        "schema_version": 1,
        "runs": [
            {
                "run": row.run,
                "command": row.command,
                "phase": row.phase,
                "model": row.model,
                "executed": row.charged.executed,
                "coursework": row.charged.coursework,
                "share_of_budget": None if flops is None else row.charged.of(convention) / flops,
                "seconds": row.seconds,
                "tokens_useful": row.tokens_useful,
                "tokens_padded": row.tokens_padded,
                "device": row.device,
                "dtype": row.dtype,
                "status": row.status,
                "utilisation": _utilisation(row, peaks),
                "recorded_at": row.updated_at,
            }
            for row in rows
        ],
        "total": {"coursework": total.coursework, "executed": total.executed},
        "settled": (total - unsettled).to_dict(),
        "open": unsettled.to_dict(),
        "planned": planned.to_dict(),
        "budget": flops,
        "convention": convention,
        "left": None if flops is None else flops - total.of(convention),
        "budget_set_at": None if budget is None else budget.set_at,
        "budget_set_by": None if budget is None else budget.set_by,
    }


def _utilisation(row: Row, peaks: Mapping[tuple[str, str], float]) -> float | None:
    """Executed FLOPs per second over the device's peak; None without a measurement."""
    fitting = [
        peak
        for (device, dtype), peak in peaks.items()
        if device == row.device and row.dtype in ("", dtype)
    ]
    if not fitting or row.seconds <= 0:
        return None
    return float(row.spent.executed / row.seconds / max(fitting))

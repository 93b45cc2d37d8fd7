"""The accounting table: rows of the ledger with shares of the budget and utilisation.

Knows: arithmetic on rows. Does not know: SQLite, how a table is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lvlora.flops.budget import Price

COLUMNS = (
    "run", "command", "phase", "model", "executed", "coursework", "share_of_budget", "seconds",
    "tokens_useful", "tokens_padded", "device", "dtype", "status", "utilisation", "recorded_at",
)  # fmt: skip

STORED = (
    "id", "run", "phase", "command", "status", "settings_hash", "model", "model_hash", "device",
    "dtype", "reserved_executed", "reserved_coursework", "executed", "coursework",
    "unit_executed", "unit_coursework", "seconds", "tokens_useful", "tokens_padded", "holder",
    "created_at", "updated_at",
)  # fmt: skip
"""Columns of an entry as they are stored; counts of FLOPs are text."""

_NOT_TEXT: dict[str, type | tuple[type, ...]] = {
    "id": int, "seconds": (int, float), "tokens_useful": int, "tokens_padded": int,
    "unit_executed": (str, type(None)), "unit_coursework": (str, type(None)),
}  # fmt: skip


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

        The tables are strict, but a damaged file is not bound by that.
        """
        values = dict(zip(STORED, columns, strict=True))
        for name, value in values.items():
            if not isinstance(value, _NOT_TEXT.get(name, str)):
                raise ValueError(f"entry {values['id']}: {name} is {value!r}")
        counts = {name: values.pop(name) for name in STORED if name.endswith(("executed", "work"))}
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
    budget: tuple[int, str] | None,
    peaks: Mapping[tuple[str, str], float],
) -> dict[str, Any]:
    """What every run cost, and the sums.

    Args:
        rows: entries of the ledger.
        budget: FLOPs and their convention.
        peaks: measured matrix-product peaks in FLOP/s by (device, dtype).

    Returns:
        schema_version; runs, one object with the keys of ``COLUMNS`` per entry; total; budget,
        its convention, and what is left of it (None without a budget).
    """
    rows = list(rows)
    total = sum((row.charged for row in rows), Price())
    flops, convention = budget or (None, "executed")
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
        "budget": flops,
        "convention": convention,
        "left": None if flops is None else flops - total.of(convention),
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

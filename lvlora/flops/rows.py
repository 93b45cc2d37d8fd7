"""An entry of the ledger: who spends, what was promised, what was spent, and what is charged."""

from __future__ import annotations

import operator
import re
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from lvlora.answers import NOTHING, Count, Price
from lvlora.errors import SettingsError
from lvlora.flops.answers import Status

_DIGITS = re.compile(r"[0-9]{1,80}")
"""A count of FLOPs as text: `settings.base.Flops` have 60 digits at most, sums a few more."""


def read_count(stored: object) -> int:
    """Return a count of FLOPs, which may pass 2^63 and is stored as text.

    Raises:
        ValueError: anything else, a negative count too.
    """
    if isinstance(stored, int) and not isinstance(stored, bool) and stored >= 0:
        return stored
    if not isinstance(stored, str) or _DIGITS.fullmatch(stored) is None:
        raise ValueError(f"a count of {str(stored)[:40]!r} FLOPs")
    return int(stored)


def _moment(text: str) -> str:
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("a time without its zone")
    return text


_StoredCount = Annotated[int, BeforeValidator(read_count)]
_Moment = Annotated[str, AfterValidator(_moment)]


class Spender(BaseModel):
    """The command and model that spend."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, defer_build=True
    )

    command: str
    """A command of lvlora, or the name of another program."""
    settings_hash: str = ""
    """Hash of the settings that decide the result."""
    model: str = ""
    model_hash: str = ""
    device: str = ""
    dtype: str = ""


class Row(Spender):
    """One entry of the ledger: a promise of FLOPs to a phase of a run, and what came of it.

    Its fields are the columns of the table.
    """

    id: int = 0
    """0 until it is stored."""
    run: str
    phase: str
    status: Status = "open"
    reserved_executed: _StoredCount
    reserved_coursework: _StoredCount
    executed: _StoredCount = 0
    """Recorded so far, as are the seconds and tokens."""
    coursework: _StoredCount = 0
    unit_executed: _StoredCount | None = None
    """The most that is spent between two records; None if unknown."""
    unit_coursework: _StoredCount | None = None
    seconds: float = Field(default=0.0, ge=0)
    tokens_useful: Count = 0
    tokens_padded: Count = 0
    holder: str = ""
    """The process that spends; see `process_lock`."""
    created_at: _Moment
    """UTC, ISO 8601."""
    updated_at: _Moment

    @property
    def reserved(self) -> Price:
        """Return the promise."""
        return Price(self.reserved_executed, self.reserved_coursework)

    @property
    def spent(self) -> Price:
        """Return the recorded cost so far."""
        return Price(self.executed, self.coursework)

    @property
    def unit(self) -> Price | None:
        """Return the most that is spent between two records of progress; None if unknown."""
        if self.unit_executed is None or self.unit_coursework is None:
            return None
        return Price(self.unit_executed, self.unit_coursework)

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
        """Return the entry with other values; ``spent`` is a Price."""
        spent: Price | None = values.pop("spent", None)
        if spent is not None:
            values |= {"executed": spent.executed, "coursework": spent.coursework}
        return self.model_copy(update=values)

    def stored(self) -> list[object]:
        """Return the columns: counts of FLOPs as text, for they may pass SQLite's largest."""
        return [
            str(value) if name.endswith(("executed", "coursework")) and value is not None else value
            for name, value in self.changed(id=self.id or None)
        ]


def checked(price: Price) -> Price:
    """Return the price in Python's own whole numbers; numpy's would be stored otherwise.

    Raises:
        SettingsError: a count is negative or no whole number.
    """
    try:
        exact = Price(operator.index(price.executed), operator.index(price.coursework))
    except TypeError:
        raise SettingsError(
            f"FLOPs are counted in whole numbers, not as {price}", "Round them up, with int(…)."
        ) from None
    if NOTHING | exact != exact:
        raise SettingsError(
            f"FLOPs cannot be negative: {exact}", "A price is 0 or more in both conventions."
        )
    return exact

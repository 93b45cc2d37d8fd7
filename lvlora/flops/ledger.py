"""The ledger: what was spent, what is promised, and that together they stay within the budget.

A spender reserves before it runs and settles after. An open entry is charged in full, so a killed
process never makes the sum too small. Reserving is one `BEGIN IMMEDIATE` transaction, so any number
of processes may do it at once and the budget is still never passed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from os.path import lexists
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from lvlora.answers import NOTHING, Price
from lvlora.errors import BudgetError, DataError, LvloraError, SettingsError
from lvlora.flops import process_lock
from lvlora.flops.answers import FlopsLedger, LedgerRow
from lvlora.flops.budget import CONVENTIONS, Budget, BudgetChange
from lvlora.flops.ledger_file import LedgerFile
from lvlora.flops.rows import Row, Spender, checked, read_count
from lvlora.settings.base import Convention
from lvlora.settings.shared import BudgetSettings

FILE_NAME = "ledger.sqlite"


@dataclass(frozen=True)
class Wanted:
    """FLOPs that a phase of a run wants to spend.

    Attributes:
        at_most: the bound that is promised.
        unit: the most that is spent between two calls of `Ledger.record`. Known, a killed run is
            charged its recorded progress and one unit; not known, in full.
    """

    at_most: Price
    unit: Price | None = None


@dataclass(frozen=True)
class Limits:
    """Limits that a reservation must stay within.

    Attributes:
        max_flops: limit of the run over all its phases.
        budget: limit of the project from now on; "none" lifts it. Left out, the recorded one holds,
            in its own convention. A budget is recorded only with a reservation that it allows.
        convention: how both are counted.
        study: name of the study whose trials share max_flops, from its first entry on.
        first_entry: id of that entry; an earlier study may have had the same name.
    """

    max_flops: int | None = None
    budget: BudgetChange = None
    convention: Convention = "executed"
    study: str = ""
    first_entry: int = 0

    def __post_init__(self) -> None:
        if self.convention not in CONVENTIONS:
            raise SettingsError(
                f"no convention is called {self.convention!r}", "It is executed or coursework."
            )

    def check(self, price: Price, rows: Sequence[Row], run: str, recorded: Budget | None) -> None:
        """Refuse a price that would pass a limit.

        Args:
            rows: everything charged so far, to all runs.
            recorded: the project's budget in the ledger.

        Raises:
            BudgetError: with the numbers and what to do.
        """
        if self.max_flops is not None:
            owner = f"study {self.study}" if self.study else f"run {run}"
            of_run = (
                entries_of_study(rows, self.study, self.first_entry)
                if self.study
                else [row for row in rows if row.run == run]
            )
            limit = Budget(self.max_flops, self.convention)
            _check_sum(owner, price, of_run, limit, "by --max-flops", "raise --max-flops")
        budget = recorded if self.budget is None else Budget.after(self.budget, self.convention)
        if budget is not None:
            remedy = "give a larger --budget; --budget none lifts it"
            _check_sum("project", price, rows, budget, budget.origin, remedy)


NO_LIMITS = Limits()


def entries_of_study(rows: Sequence[Row], study: str, first_entry: int) -> list[Row]:
    """Return the entries of a study's trials, whose runs are called STUDY/trial-0003."""
    return [row for row in rows if row.run.startswith(f"{study}/") and row.id >= first_entry]


class Ledger(LedgerFile):
    """The ledger in one SQLite file; use it as a context manager, or call `disconnect`.

    Args:
        path: the file; made, with its folder, when it is missing.
        reading: nothing will be written, so that a file that can't be written will do.

    Raises:
        DataError: the file is no ledger, is damaged, or was written by another version of lvlora.
    """

    @classmethod
    def for_runs(cls, runs_dir: Path, *, create: bool = True, reading: bool = False) -> Ledger:
        """Open the ledger of a folder of runs.

        Args:
            create: make one where there is none.
            reading: nothing will be written, so that one that can't be written will do.

        Raises:
            DataError: there is none and ``create`` is false.
        """
        path = Path(runs_dir) / FILE_NAME
        if not create and not lexists(path):
            raise DataError(
                f"{path}: there is no ledger",
                "It is made by the first command that spends FLOPs; --runs names another folder.",
            )
        return cls(path, reading=reading)

    def set_budget(
        self, budget: int | Literal["none"], convention: Convention, *, by: str = ""
    ) -> None:
        """Record the project's budget in place of the one before, or that there is none.

        Args:
            by: the command that does.
        """
        new = Budget.after(budget, convention)
        with self.transaction() as db:
            _write_budget(db, new, by)

    def budget(self) -> Budget | None:
        """Return the project's budget, if there is one."""
        with self.errors():
            return _read_budget(self.connection())

    def reserve(
        self, run: str, wanted: Mapping[str, Wanted], spender: Spender, limits: Limits = NO_LIMITS
    ) -> dict[str, Row]:
        """Promise FLOPs to the phases of a run, or refuse: one step that none can come between.

        Args:
            wanted: by phase.

        Returns:
            the entry of each phase, which this process holds.

        Raises:
            BudgetError: it would pass a limit; the message has the numbers. Nothing is promised.
        """
        bounds = {phase: checked(one.at_most) for phase, one in wanted.items()}
        units = {p: None if one.unit is None else checked(one.unit) for p, one in wanted.items()}
        holder, now = process_lock.this_process(), _now()
        with self.transaction() as db:
            limits.check(sum(bounds.values(), NOTHING), _read_rows(db), run, _read_budget(db))
            if limits.budget is not None:
                new = Budget.after(limits.budget, limits.convention)
                _write_budget(db, new, spender.command)
            held = {}
            for phase, bound in bounds.items():
                unit = units[phase]
                row = Row(
                    **dict(spender),
                    run=run,
                    phase=phase,
                    reserved_executed=bound.executed,
                    reserved_coursework=bound.coursework,
                    unit_executed=None if unit is None else unit.executed,
                    unit_coursework=None if unit is None else unit.coursework,
                    holder=holder,
                    created_at=now,
                    updated_at=now,
                )
                held[phase] = row.changed(id=_write_row(db, row))
        return held

    def record(
        self,
        held: Row,
        spent: Price,
        *,
        seconds: float = 0.0,
        tokens_useful: int = 0,
        tokens_padded: int = 0,
        done: bool = False,
    ) -> None:
        """Record progress: totals of the entry so far. It stays charged in full.

        Less than was recorded before is not believed, and more than was reserved is recorded as it
        is: the ledger never under-counts.

        Args:
            done: replace the promise by what was spent.

        Raises:
            LvloraError: another process took the entry over; what this one spent is charged still.
        """
        spent = checked(spent)
        with self.transaction() as db:
            row = next(iter(_read_rows(db, "WHERE id = ?", held.id)), held.changed(status="closed"))
            is_lost = row.status != "open" or row.holder != held.holder
            beyond = (spent - row.spent) | NOTHING
            if not is_lost:
                changed = row.changed(
                    status="settled" if done else "open",
                    spent=spent | row.spent,
                    seconds=max(float(seconds), row.seconds),
                    tokens_useful=max(tokens_useful, row.tokens_useful),
                    tokens_padded=max(tokens_padded, row.tokens_padded),
                    updated_at=_now(),
                )
                _write_row(db, changed)
            elif beyond != NOTHING:  # spent after the entry was taken over: an entry of its own
                extra = held.changed(
                    id=0,
                    status="settled",
                    reserved_executed=beyond.executed,
                    reserved_coursework=beyond.coursework,
                    unit_executed=None,
                    unit_coursework=None,
                    spent=beyond,
                    updated_at=_now(),
                )
                _write_row(db, extra)
        if is_lost:
            raise LvloraError(
                f"the reservation of run {held.run} ({held.phase}) is no longer held by this "
                "process",
                "Another process resumed or closed the run; let only one go on.",
            )

    def close(self, run: str) -> Price:
        """Settle every open entry of a killed run and return what it was charged.

        The charge is the recorded progress and one unit that may have been in flight, or all that
        was reserved where the unit is unknown.

        Raises:
            SettingsError: the run has no open entry.
            LvloraError: the process that holds it is still alive.
        """
        with self.transaction() as db:
            rows = _read_rows(db, "WHERE status = 'open'")
            of_run = [row for row in rows if row.run == run]
            if not of_run:
                others = ", ".join(sorted({row.run for row in rows}))
                raise SettingsError(
                    f"run {run!r} has no open reservation",
                    f"Open: {others}." if others else "No run has one.",
                )
            for row in of_run:
                if process_lock.is_another_living_process(row.holder):
                    raise LvloraError(
                        f"run {run} is still running "
                        f"(process {process_lock.process_of(row.holder)})",
                        "Wait for it, or stop it first.",
                    )
                spent = row.spent_if_killed
                _write_row(db, row.changed(status="closed", spent=spent, updated_at=_now()))
        return sum((row.spent_if_killed for row in of_run), NOTHING)

    def rows(self) -> list[Row]:
        """Return every entry, oldest first."""
        with self.errors():
            return _read_rows(self.connection())

    def charged(self) -> Price:
        """Return spent and promised FLOPs of all runs together."""
        return sum((row.charged for row in self.rows()), NOTHING)

    def table(self) -> FlopsLedger:
        """Return what every run cost, its share of the budget, and the sums."""
        with self.transaction("DEFERRED") as db:  # rows and budget of one moment
            rows, budget = _read_rows(db), _read_budget(db)
        total = sum((row.charged for row in rows), NOTHING)
        unsettled = sum((row.charged for row in rows if row.status == "open"), NOTHING)
        convention: Convention = "executed" if budget is None else budget.convention
        shared = LedgerRow.model_fields.keys() & Row.model_fields.keys()
        return FlopsLedger(
            runs=[
                LedgerRow(
                    **row.model_dump(include=shared)
                    | row.charged.to_dict()
                    | {
                        "recorded_at": row.updated_at,
                        "share_of_budget": None
                        if budget is None
                        else row.charged.of(convention) / budget.flops,
                    }
                )
                for row in rows
            ],
            total=total,
            settled=total - unsettled,
            open=unsettled,
            planned=sum((row.reserved | row.spent for row in rows), NOTHING),
            convention=convention,
            budget=None if budget is None else budget.flops,
            left=None if budget is None else budget.flops - total.of(convention),
            budget_set_at=None if budget is None else budget.set_at,
            budget_set_by=None if budget is None else budget.set_by,
        )


def check_limits(
    settings: BudgetSettings, at_most: Price, *, max_flops: int | None, run: str = ""
) -> None:
    """Refuse what a limit does not allow before anything is made, the ledger itself included.

    The reservation that follows is what keeps the limits: others may spend meanwhile.

    Args:
        max_flops: limit of this run; None where it was looked after.

    Raises:
        BudgetError: a limit would be passed.
    """
    rows, budget = _as_recorded(settings.runs)
    Limits(max_flops, settings.budget, settings.convention).check(at_most, rows, run, budget)


def entries(runs: Path) -> list[Row]:
    """Return the entries of the ledger of a folder of runs, oldest first; none without a ledger."""
    return _as_recorded(runs)[0]


def _as_recorded(runs: Path) -> tuple[list[Row], Budget | None]:
    if not lexists(runs / FILE_NAME):
        return [], None
    with Ledger.for_runs(runs, create=False, reading=True) as ledger:
        return ledger.rows(), ledger.budget()


def spent(runs: str | Path = "runs") -> Price:
    """Return the FLOPs that the ledger among the runs has charged so far, in both conventions."""
    return sum((row.charged for row in entries(Path(runs))), NOTHING)


def _check_sum(
    owner: str, price: Price, rows: Sequence[Row], limit: Budget, origin: str, remedy: str
) -> None:
    convention = limit.convention
    request = price.of(convention)
    spent = sum(row.charged.of(convention) for row in rows if row.status != "open")
    promised = sum(row.charged.of(convention) for row in rows if row.status == "open")
    if request == 0 or spent + promised + request <= limit.flops:
        return
    remaining = max(0, limit.flops - spent - promised)
    hint = f"Do less (about {remaining / request:.0%} of it fits), or {remedy}."
    if promised:
        hint += " lvlora flops --ledger shows the open runs; --close RUN settles a killed one."
    raise BudgetError(
        f"{owner}: {request:,} FLOPs wanted, {spent:,} spent, {promised:,} reserved, "
        f"limit {limit.flops:,} ({convention}), {origin}",
        hint,
    )


def _read_rows(db: sqlite3.Connection, where: str = "", *values: object) -> list[Row]:
    """Entries, oldest first; ValueError if one is not what was written."""
    columns = tuple(Row.model_fields)
    query = f"SELECT {', '.join(columns)} FROM entry {where} ORDER BY id"
    # all at once: a cursor that an error leaves half-read would keep the file locked
    records = db.execute(query, values).fetchall()
    try:
        return [Row(**dict(zip(columns, record, strict=True))) for record in records]
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{first['loc'][0]} of an entry is {str(first['input'])[:40]!r}") from None


def _write_row(db: sqlite3.Connection, row: Row) -> int:
    """Store an entry in place of the one with its id, or as a new one; return its id."""
    places = ", ".join("?" * len(Row.model_fields))
    columns = ", ".join(Row.model_fields)
    cursor = db.execute(f"REPLACE INTO entry ({columns}) VALUES ({places})", row.stored())
    return int(cursor.lastrowid or 0)


def _read_budget(db: sqlite3.Connection) -> Budget | None:
    """The recorded one; ValueError if it is not what was written."""
    records = db.execute("SELECT flops, convention, set_at, set_by FROM budget").fetchall()
    if not records:
        return None
    record = records[0]
    flops, convention, set_at, set_by = record
    try:
        if not isinstance(set_at, str) or not isinstance(set_by, str):
            raise ValueError("a budget that was set at no time")
        return Budget(read_count(flops), convention, set_at, set_by)
    except SettingsError as error:
        raise ValueError(error.message) from None


def _write_budget(db: sqlite3.Connection, budget: Budget | None, by: str) -> None:
    """Record it in place of the one before; None: there is none any more."""
    db.execute("DELETE FROM budget")
    if budget is not None:
        db.execute(
            "INSERT INTO budget VALUES (1, ?, ?, ?, ?)",
            (str(budget.flops), budget.convention, _now(), by),
        )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")

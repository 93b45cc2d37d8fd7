"""The ledger: what was spent, what is promised, and that together they stay within the budget.

A spender reserves before it runs and settles after. An open entry is charged in full, so a killed
process never makes the sum too small. Reserving is one `BEGIN IMMEDIATE` transaction of a SQLite
file, so any number of processes may do it at once and the budget is still never passed.
"""

from __future__ import annotations

import operator
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from os.path import lexists
from pathlib import Path
from typing import Literal, Self

from lvlora.answers import NOTHING, Price
from lvlora.errors import BudgetError, DataError, LvloraError, SettingsError, reason
from lvlora.flops.answers import FlopsLedger, LedgerRow
from lvlora.flops.rows import Budget, Row, Spender, now, other_living_process, parsed, this_process
from lvlora.settings.base import Convention
from lvlora.settings.shared import BudgetSettings

FILE_NAME = "ledger.sqlite"
_BUSY_SECONDS = 60.0
_APPLICATION_ID = 0x6C766C6F  # "lvlo": tells a ledger from any other SQLite file
_VERSION = 3
_TABLES = f"""
    BEGIN IMMEDIATE;
    CREATE TABLE IF NOT EXISTS entry (
        id INTEGER PRIMARY KEY AUTOINCREMENT, record TEXT NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS budget (
        id INTEGER PRIMARY KEY CHECK (id = 1), record TEXT NOT NULL
    ) STRICT;
    PRAGMA user_version = {_VERSION};
    PRAGMA application_id = {_APPLICATION_ID};
    COMMIT;
"""
"""Records are JSON: a count of FLOPs may pass 2^63, SQLite's largest integer."""


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
    budget: int | Literal["none"] | None = None
    convention: Convention = "executed"
    study: str = ""
    first_entry: int = 0

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
            limit = Budget(flops=self.max_flops, convention=self.convention)
            _check_sum(owner, price, of_run, limit, "by --max-flops", "raise --max-flops")
        budget = recorded if self.budget is None else Budget.after(self.budget, self.convention)
        if budget is not None:
            remedy = "give a larger --budget; --budget none lifts it"
            _check_sum("project", price, rows, budget, budget.origin, remedy)


NO_LIMITS = Limits()


def entries_of_study(rows: Sequence[Row], study: str, first_entry: int) -> list[Row]:
    """Return the entries of a study's trials, whose runs are called STUDY/trial-0003."""
    return [row for row in rows if row.run.startswith(f"{study}/") and row.id >= first_entry]


class Ledger:
    """The ledger in one SQLite file; use it as a context manager, or call `disconnect`.

    Args:
        path: the file; made, with its folder, when it is missing.

    Raises:
        DataError: the file is no ledger, is damaged, or was written by another version of lvlora.
        LvloraError: it cannot be used: permissions, a full disk, another process that holds it.
        SettingsError: it is a link to nothing, a device, a pipe or a folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        if lexists(self.path) and not self.path.is_file():
            raise SettingsError(
                f"{self.path}: the ledger is not a regular file",
                "Remove it, or keep the runs in another folder: --runs.",
            )
        with self._errors():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None)
            try:
                # a commit must outlive a power failure, or the sum could be too small
                self._db.execute("PRAGMA synchronous = FULL")
                if not self._is_ledger():
                    self._db.executescript(_TABLES)
            except BaseException:
                self._db.close()
                raise

    @classmethod
    def for_runs(cls, runs_dir: Path, *, create: bool = True) -> Ledger:
        """Open the ledger of a folder of runs.

        Args:
            create: make one where there is none.

        Raises:
            DataError: there is none and ``create`` is false.
        """
        path = Path(runs_dir) / FILE_NAME
        if not create and not lexists(path):
            raise DataError(
                f"{path}: there is no ledger",
                "It is made by the first command that spends FLOPs; --runs names another folder.",
            )
        return cls(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.disconnect()

    def disconnect(self) -> None:
        """Close the file."""
        self._db.close()

    def set_budget(
        self, budget: int | Literal["none"], convention: Convention, *, by: str = ""
    ) -> None:
        """Record the project's budget in place of the one before, or that there is none.

        Args:
            by: the command that does.
        """
        with self._transaction() as db:
            _write_budget(db, Budget.after(budget, convention), by)

    def budget(self) -> Budget | None:
        """Return the project's budget, if there is one."""
        with self._errors():
            return _read_budget(self._db)

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
        holder, moment = this_process(), now()
        rows = {
            phase: Row(
                **dict(spender),
                run=run,
                phase=phase,
                reserved=_checked(one.at_most),
                unit=None if one.unit is None else _checked(one.unit),
                holder=holder,
                created_at=moment,
                updated_at=moment,
            )
            for phase, one in wanted.items()
        }
        price = sum((row.reserved for row in rows.values()), NOTHING)
        with self._transaction() as db:
            limits.check(price, _read_rows(db), run, _read_budget(db))
            if limits.budget is not None:
                new = Budget.after(limits.budget, limits.convention)
                _write_budget(db, new, spender.command)
            return {phase: _write_row(db, row) for phase, row in rows.items()}

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
        spent = _checked(spent)
        with self._transaction() as db:
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
                )
                _write_row(db, changed)
            elif beyond != NOTHING:  # spent after the entry was taken over: an entry of its own
                extra = {"id": 0, "status": "settled", "reserved": beyond, "spent": beyond}
                _write_row(db, held.changed(**extra, unit=None))
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
        with self._transaction() as db:
            rows = [row for row in _read_rows(db) if row.status == "open"]
            of_run = [row for row in rows if row.run == run]
            if not of_run:
                others = ", ".join(sorted({row.run for row in rows}))
                raise SettingsError(
                    f"run {run!r} has no open reservation",
                    f"Open: {others}." if others else "No run has one.",
                )
            for row in of_run:
                pid = other_living_process(row.holder)
                if pid is not None:
                    raise LvloraError(
                        f"run {run} is still running (process {pid})",
                        "Wait for it, or stop it first.",
                    )
                _write_row(db, row.changed(status="closed", spent=row.spent_if_killed))
        return sum((row.spent_if_killed for row in of_run), NOTHING)

    def rows(self) -> list[Row]:
        """Return every entry, oldest first."""
        with self._errors():
            return _read_rows(self._db)

    def charged(self) -> Price:
        """Return spent and promised FLOPs of all runs together."""
        return sum((row.charged for row in self.rows()), NOTHING)

    def table(self) -> FlopsLedger:
        """Return what every run cost, its share of the budget, and the sums."""
        with self._transaction("DEFERRED") as db:  # rows and budget of one moment
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
                        "recorded_at": _text(row.updated_at),
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
            budget_set_at=None if budget is None else _text(budget.set_at),
            budget_set_by=None if budget is None else budget.set_by,
        )

    def _is_ledger(self) -> bool:
        """Whether the file is a ledger; False for a new one."""
        with self._transaction("DEFERRED") as db:  # another process may make it one right now
            application, version, n_tables = (
                db.execute(question).fetchone()[0]
                for question in (
                    "PRAGMA application_id",
                    "PRAGMA user_version",
                    "SELECT count(*) FROM sqlite_master",
                )
            )
        if application == _APPLICATION_ID and version == _VERSION:
            return True
        if application == _APPLICATION_ID or n_tables:
            raise DataError(
                f"{self.path}: not lvlora's ledger, or written by another version of lvlora",
                "Read it with that version, or keep the runs in another folder: --runs.",
            )
        return False

    @contextmanager
    def _transaction(self, mode: str = "IMMEDIATE") -> Iterator[sqlite3.Connection]:
        """Do all of a block or nothing; IMMEDIATE waits for other writers first."""
        with self._errors():
            self._db.execute(f"BEGIN {mode}")
            try:
                yield self._db
            except BaseException:
                # a full disk may have ended the transaction already
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn SQLite's errors into ones that name the file and say what to do."""
        try:
            yield
        except (sqlite3.Error, OSError, ValueError) as error:
            is_damaged = not isinstance(error, sqlite3.OperationalError | OSError)
            # without its tables it is no ledger either
            if is_damaged or getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR:
                raise DataError(
                    f"{self.path}: not a ledger, or damaged: {reason(error)}",
                    "Move the file away to start a new ledger; what it counted is then lost.",
                ) from None
            raise LvloraError(
                f"{self.path}: the ledger cannot be used: {reason(error)}",
                "Check the folder's permissions, free space, and other processes that hold it; "
                "--runs names another folder.",
            ) from None


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
    limits = Limits(max_flops, settings.budget, settings.convention)
    limits.check(at_most, entries(settings.runs), run, recorded_budget(settings.runs))


def entries(runs: Path) -> list[Row]:
    """Return the entries of the ledger of a folder of runs, oldest first; none without a ledger."""
    if not lexists(runs / FILE_NAME):
        return []
    with Ledger.for_runs(runs) as ledger:
        return ledger.rows()


def recorded_budget(runs: Path) -> Budget | None:
    """Return the budget in the ledger of a folder of runs, if there is one."""
    if not lexists(runs / FILE_NAME):
        return None
    with Ledger.for_runs(runs) as ledger:
        return ledger.budget()


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


def _checked(price: Price) -> Price:
    """Return the price in Python's own whole numbers; numpy's would be stored otherwise."""
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


def _read_rows(db: sqlite3.Connection, where: str = "", *values: object) -> list[Row]:
    # all at once: a cursor that an error leaves half-read would keep the file locked
    stored = db.execute(f"SELECT id, record FROM entry {where} ORDER BY id", values).fetchall()
    return [parsed(Row, record).model_copy(update={"id": number}) for number, record in stored]


def _write_row(db: sqlite3.Connection, row: Row) -> Row:
    """Store an entry in place of the one with its id, or as a new one."""
    stored = (row.id or None, row.model_dump_json())
    cursor = db.execute("REPLACE INTO entry (id, record) VALUES (?, ?)", stored)
    return row.model_copy(update={"id": cursor.lastrowid})


def _read_budget(db: sqlite3.Connection) -> Budget | None:
    stored = db.execute("SELECT record FROM budget").fetchall()
    return parsed(Budget, stored[0][0]) if stored else None


def _write_budget(db: sqlite3.Connection, budget: Budget | None, by: str) -> None:
    db.execute("DELETE FROM budget")
    if budget is not None:
        new = budget.model_copy(update={"set_at": now(), "set_by": by})
        db.execute("INSERT INTO budget VALUES (1, ?)", (new.model_dump_json(),))


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="milliseconds")

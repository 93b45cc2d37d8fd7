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
from datetime import UTC, datetime
from os.path import lexists
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self, TypeVar

from pydantic import BaseModel, ValidationError

from lvlora.answers import NOTHING, Price
from lvlora.errors import DataError, LvloraError, SettingsError, reason
from lvlora.flops.answers import FlopsLedger, LedgerRow
from lvlora.flops.rows import Budget, Row, Spender, charged, other_living_process, this_process
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

R = TypeVar("R", bound=BaseModel)


class Wanted(NamedTuple):
    """FLOPs that a phase of a run wants to spend."""

    at_most: Price
    unit: Price | None = None
    """The most that is spent between two calls of `Ledger.record`. Known, a killed run is charged
    its recorded progress and one unit; not known, in full."""


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
        """Refuse a price that would pass a limit: BudgetError.

        Args:
            rows: everything charged so far, to all runs.
            recorded: the project's budget in the ledger.
        """
        if self.max_flops is not None:
            owner, of_owner = f"run {run}", [row for row in rows if row.run == run]
            if self.study:
                owner = f"study {self.study}"
                of_owner = entries_of_study(rows, self.study, self.first_entry)
            limit = Budget(flops=self.max_flops, convention=self.convention, set_by="--max-flops")
            limit.check(owner, price, of_owner, "raise --max-flops")
        budget = recorded if self.budget is None else Budget.after(self.budget, self.convention)
        if budget is not None:
            remedy = "give a larger --budget; --budget none lifts it"
            budget.check("project", price, rows, remedy)


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
        """Open the ledger of a folder of runs; DataError where there is none and none is made."""
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
        with self._transaction():
            self._write_budget(Budget.after(budget, convention), by)

    def read(self) -> tuple[list[Row], Budget | None]:
        """Return every entry, oldest first, and the project's budget, of one moment."""
        with self._transaction("DEFERRED"):
            return self._read_rows(), self._read_budget()

    def rows(self) -> list[Row]:
        """Return every entry, oldest first."""
        return self.read()[0]

    def budget(self) -> Budget | None:
        """Return the project's budget, if there is one."""
        return self.read()[1]

    def charged(self) -> Price:
        """Return spent and promised FLOPs of all runs together."""
        return charged(self.rows())

    def reserve(
        self, run: str, wanted: Mapping[str, Wanted], spender: Spender, limits: Limits | None = None
    ) -> dict[str, Row]:
        """Promise FLOPs to the phases of a run, or refuse: one step that none can come between.

        Args:
            wanted: by phase.

        Returns:
            the entry of each phase, which this process holds.

        Raises:
            BudgetError: it would pass a limit; the message has the numbers. Nothing is promised.
        """
        holder, moment, limits = this_process(), datetime.now(UTC), limits or Limits()
        rows = {
            phase: Row(
                **dict(spender),
                run=run,
                phase=phase,
                reserved=_checked(at_most),
                unit=None if unit is None else _checked(unit),
                holder=holder,
                created_at=moment,
                updated_at=moment,
            )
            for phase, (at_most, unit) in wanted.items()
        }
        price = sum((row.reserved for row in rows.values()), NOTHING)
        with self._transaction():
            limits.check(price, self._read_rows(), run, self._read_budget())
            if limits.budget is not None:
                new = Budget.after(limits.budget, limits.convention)
                self._write_budget(new, spender.command)
            return {phase: self._write_row(row) for phase, row in rows.items()}

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
        with self._transaction():
            stored = self._read_rows("WHERE id = ?", held.id)
            row = stored[0] if stored else held.changed(status="closed")
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
                self._write_row(changed)
            elif beyond != NOTHING:  # spent after the entry was taken over: an entry of its own
                extra = {"id": 0, "status": "settled", "reserved": beyond, "spent": beyond}
                self._write_row(held.changed(**extra, unit=None))
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
        with self._transaction():
            rows = [row for row in self._read_rows() if row.status == "open"]
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
                self._write_row(row.changed(status="closed", spent=row.spent_if_killed))
        return sum((row.spent_if_killed for row in of_run), NOTHING)

    def table(self) -> FlopsLedger:
        """Return what every run cost, its share of the budget, and the sums."""
        rows, budget = self.read()
        total, unsettled = charged(rows), charged(row for row in rows if row.status == "open")
        convention: Convention = "executed"
        of_budget: dict[str, Any] = dict.fromkeys(
            ("budget", "left", "budget_set_at", "budget_set_by")
        )
        if budget is not None:
            convention = budget.convention
            of_budget = {
                "budget": budget.flops,
                "left": budget.flops - total.of(convention),
                "budget_set_at": None if budget.set_at is None else _text(budget.set_at),
                "budget_set_by": budget.set_by,
            }
        shared = LedgerRow.model_fields.keys() & Row.model_fields.keys()
        return FlopsLedger(
            runs=[
                LedgerRow(
                    **row.model_dump(include=shared) | row.charged.to_dict(),
                    recorded_at=_text(row.updated_at),
                    share_of_budget=row.charged.of(convention) / budget.flops if budget else None,
                )
                for row in rows
            ],
            total=total,
            settled=total - unsettled,
            open=unsettled,
            planned=sum((row.reserved | row.spent for row in rows), NOTHING),
            convention=convention,
            **of_budget,
        )

    def _is_ledger(self) -> bool:
        """Whether the file is a ledger; False for a new one."""
        with self._transaction("DEFERRED"):  # another process may make it one right now
            application, version, n_tables = self._db.execute(
                "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_master) "
                "FROM pragma_application_id, pragma_user_version"
            ).fetchone()
        if application == _APPLICATION_ID and version == _VERSION:
            return True
        if application == _APPLICATION_ID or n_tables:
            raise DataError(
                f"{self.path}: not lvlora's ledger, or written by another version of lvlora",
                "Read it with that version, or keep the runs in another folder: --runs.",
            )
        return False

    @contextmanager
    def _transaction(self, mode: str = "IMMEDIATE") -> Iterator[None]:
        """Do all of a block or nothing; IMMEDIATE waits for other writers first."""
        with self._errors():
            self._db.execute(f"BEGIN {mode}")
            try:
                yield
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

    def _read_rows(self, where: str = "", *values: object) -> list[Row]:
        # all at once: a cursor that an error leaves half-read would keep the file locked
        stored = self._db.execute(f"SELECT id, record FROM entry {where} ORDER BY id", values)
        return [
            _parsed(Row, record).model_copy(update={"id": number})
            for number, record in stored.fetchall()
        ]

    def _write_row(self, row: Row) -> Row:
        """Store an entry in place of the one with its id, or as a new one."""
        stored = (row.id or None, row.model_dump_json())
        cursor = self._db.execute("REPLACE INTO entry (id, record) VALUES (?, ?)", stored)
        return row.model_copy(update={"id": cursor.lastrowid})

    def _read_budget(self) -> Budget | None:
        stored = self._db.execute("SELECT record FROM budget").fetchall()
        return _parsed(Budget, stored[0][0]) if stored else None

    def _write_budget(self, budget: Budget | None, by: str) -> None:
        self._db.execute("DELETE FROM budget")
        if budget is not None:
            new = budget.model_copy(update={"set_at": datetime.now(UTC), "set_by": by})
            self._db.execute("INSERT INTO budget VALUES (1, ?)", (new.model_dump_json(),))


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
    rows, recorded = read(settings.runs)
    limits.check(at_most, rows, run, recorded)


def read(runs: Path) -> tuple[list[Row], Budget | None]:
    """Return entries, oldest first, and budget of a folder of runs; none where it has no ledger."""
    if not lexists(runs / FILE_NAME):
        return [], None
    with Ledger.for_runs(runs) as ledger:
        return ledger.read()


def entries(runs: Path) -> list[Row]:
    """Return the entries of the ledger of a folder of runs, oldest first; none without a ledger."""
    return read(runs)[0]


def spent(runs: str | Path = "runs") -> Price:
    """Return the FLOPs that the ledger among the runs has charged so far, in both conventions."""
    return charged(entries(Path(runs)))


def _checked(price: Price) -> Price:
    """Return the price in Python's own whole numbers; numpy's would be stored otherwise."""
    hint = "Round them up, with int(…), to 0 or more in both conventions."
    try:
        exact = Price(operator.index(price.executed), operator.index(price.coursework))
    except TypeError:
        raise SettingsError(f"FLOPs are counted in whole numbers, not as {price}", hint) from None
    if NOTHING | exact != exact:
        raise SettingsError(f"FLOPs cannot be negative: {exact}", hint)
    return exact


def _parsed(model: type[R], record: str) -> R:
    """Return a stored record; ValueError if it is not what was written."""
    try:
        return model.model_validate_json(record)
    except ValidationError as error:
        first = error.errors()[0]
        place = first["loc"][0] if first["loc"] else "text"
        raise ValueError(f"{place} of an entry is {str(first['input'])[:40]!r}") from None


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")

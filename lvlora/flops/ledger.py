"""The ledger: what was spent, what is promised, and that together they stay within the budget.

Knows: prices, limits, which process holds a reservation. Does not know: models, what the work is.

A spender reserves before it runs and settles after. An open reservation is charged in full, so a
killed process never makes the sum too small. Reserving is one `BEGIN IMMEDIATE` transaction, so any
number of processes may do it at once and the budget is still never passed.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lvlora.errors import BudgetError, DataError, LvloraError, SettingsError
from lvlora.flops import holder
from lvlora.flops.accounting import STORED, Row, accounting_table
from lvlora.flops.budget import CONVENTIONS, NOTHING, Price
from lvlora.flops.ledger_file import LedgerFile

FILE_NAME = "ledger.sqlite"


@dataclass(frozen=True)
class Budget:
    """FLOPs that all runs of a project may spend together, and how they are counted."""

    flops: int
    convention: str


@dataclass(frozen=True)
class Reservation:
    """A promise of FLOPs to one phase of one run, held by this process.

    Attributes:
        reserved: what may be spent on it in all.
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


class Ledger(LedgerFile):
    """The ledger in one SQLite file; use it as a context manager, or call `disconnect`.

    Args:
        path: the file; made, with its folder, when it is missing.

    Raises:
        DataError: the file is no ledger, is damaged, or was written by a newer lvlora.
    """

    @classmethod
    def for_runs(cls, runs_dir: Path, *, create: bool = True) -> Ledger:
        """The ledger of a folder of runs.

        Raises:
            DataError: there is none and ``create`` is false.
        """
        path = Path(runs_dir) / FILE_NAME
        if not create and not path.exists():
            raise DataError(
                f"{path}: there is no ledger",
                "It is made by the first command that spends FLOPs; --runs names another folder.",
            )
        return cls(path)

    def set_budget(self, flops: int, convention: str) -> None:
        """Record the project's budget in place of the one before."""
        if flops <= 0 or convention not in CONVENTIONS:
            raise SettingsError(
                f"a budget of {flops} FLOPs ({convention}) is not possible",
                "A budget is a whole number of FLOPs above 0.",
            )
        with self.transaction() as db:
            _write_budget(db, flops, convention)

    def budget(self) -> Budget | None:
        """The project's budget, if one was ever set."""
        with self.errors():
            return _read_budget(self.connection())

    def reserve(
        self,
        *,
        run: str,
        phase: str,
        executed: int,
        coursework: int,
        command: str,
        settings_hash: str = "",
        model: str = "",
        model_hash: str = "",
        device: str = "",
        dtype: str = "",
        unit_executed: int | None = None,
        unit_coursework: int | None = None,
        max_flops: int | None = None,
        budget: int | None = None,
        convention: str = "executed",
    ) -> Reservation:
        """Promise FLOPs to a run, or refuse, as one step that no other process can come between.

        Args:
            run, phase, command: who spends, on what.
            executed, coursework: the most that will be spent, in both conventions.
            unit_executed, unit_coursework: the most that is spent between two calls of `update`.
                Given, a killed run is charged its recorded progress and one unit; not given, in
                full.
            max_flops: limit of this run over all its phases, counted in ``convention``.
            budget: limit of the project; recorded in ``convention`` before anything else. Left out,
                the recorded one holds, in its own convention.

        Raises:
            BudgetError: it would pass a limit; the message has the numbers. Nothing is promised.
        """
        wanted = _checked(Price(executed, coursework))
        unit = None
        if unit_executed is not None and unit_coursework is not None:
            unit = _checked(Price(unit_executed, unit_coursework))
        if convention not in CONVENTIONS:
            raise SettingsError(
                f"no convention is called {convention!r}", "It is executed or coursework."
            )
        me, now = holder.this_process(), _now()
        with self.transaction() as db:
            if budget is not None:
                _write_budget(db, budget, convention)
            refusal = self._refusal(db, run, wanted, max_flops, convention)
            if refusal is None:
                cursor = db.execute(
                    "INSERT INTO entry (run, phase, command, status, settings_hash, model, "
                    "model_hash, device, dtype, reserved_executed, reserved_coursework, "
                    "unit_executed, unit_coursework, holder, created_at, updated_at) "
                    "VALUES (?, ?, ?, 'open', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        run, phase, command, settings_hash, model, model_hash, device, dtype,
                        str(wanted.executed), str(wanted.coursework),
                        None if unit is None else str(unit.executed),
                        None if unit is None else str(unit.coursework), me, now, now,
                    ),
                )  # fmt: skip
        # the transaction is committed first: a budget that refuses this run is still the budget
        if refusal is not None:
            raise refusal
        return Reservation(int(cursor.lastrowid or 0), run, phase, wanted, me)

    def extend(
        self,
        reservation: Reservation,
        *,
        executed: int,
        coursework: int,
        max_flops: int | None = None,
        convention: str = "executed",
    ) -> Reservation:
        """Change a reservation to what is spent so far and this much more, or refuse.

        A resumed run repeats the steps since its last save, so what it had reserved may not do.

        Raises:
            BudgetError: it would pass a limit; the reservation stays as it was.
        """
        more = _checked(Price(executed, coursework))
        with self.transaction() as db:
            row = self._held(db, reservation)
            reserved = row.spent + more
            refusal = self._refusal(db, row.run, reserved, max_flops, convention, instead_of=row)
            if refusal is None:
                db.execute(
                    "UPDATE entry SET reserved_executed = ?, reserved_coursework = ?, "
                    "updated_at = ? WHERE id = ?",
                    (str(reserved.executed), str(reserved.coursework), _now(), row.id),
                )
        if refusal is not None:
            raise refusal
        return _reservation(row, reserved, reservation.holder)

    def update(
        self,
        reservation: Reservation,
        *,
        executed: int,
        coursework: int,
        seconds: float = 0.0,
        tokens_useful: int = 0,
        tokens_padded: int = 0,
    ) -> None:
        """Record progress: totals of the reservation so far. It stays charged in full."""
        self._record(
            reservation, "open", Price(executed, coursework), seconds, tokens_useful, tokens_padded
        )

    def settle(
        self,
        reservation: Reservation,
        *,
        executed: int,
        coursework: int,
        seconds: float,
        tokens_useful: int,
        tokens_padded: int,
    ) -> None:
        """Replace the promise by what was spent: totals of the reservation.

        More than was reserved is recorded as it is, and less than was recorded as progress is not
        believed: the ledger never under-counts.
        """
        self._record(
            reservation,
            "settled",
            Price(executed, coursework),
            seconds,
            tokens_useful,
            tokens_padded,
        )

    def resume(self, run: str, phase: str | None = None) -> Reservation | None:
        """Take over the open reservation of a killed run (its newest, or that of one phase).

        What the killed process may have spent since its last `update` is charged first: one unit,
        or, where the unit is unknown, all that was reserved. Use `extend` before going on.

        Raises:
            LvloraError: the process that holds it is still alive.
        """
        me = holder.this_process()
        with self.transaction() as db:
            rows = [r for r in self._open_rows(db, run) if phase in (None, r.phase)]
            if not rows:
                return None
            row = rows[-1]
            _refuse_if_alive(row)
            spent = row.spent_if_killed
            db.execute(
                "UPDATE entry SET executed = ?, coursework = ?, holder = ?, updated_at = ? "
                "WHERE id = ?",
                (str(spent.executed), str(spent.coursework), me, _now(), row.id),
            )
        return Reservation(
            row.id, row.run, row.phase, row.reserved, me, spent,
            row.seconds, row.tokens_useful, row.tokens_padded,
        )  # fmt: skip

    def close(self, run: str) -> Price:
        """Settle every open reservation of a killed run; returns what it was charged.

        The charge is the recorded progress and one unit that may have been in flight, or all that
        was reserved where the unit is unknown.

        Raises:
            SettingsError: the run has no open reservation.
            LvloraError: the process that holds it is still alive.
        """
        with self.transaction() as db:
            rows = self._open_rows(db, run)
            for row in rows:
                _refuse_if_alive(row)
            charged = sum((row.spent_if_killed for row in rows), NOTHING)
            for row in rows:
                db.execute(
                    "UPDATE entry SET status = 'closed', executed = ?, coursework = ?, "
                    "updated_at = ? WHERE id = ?",
                    (
                        str(row.spent_if_killed.executed), str(row.spent_if_killed.coursework),
                        _now(), row.id,
                    ),
                )  # fmt: skip
            opened = sorted({r.run for r in _read_rows(db) if r.status == "open"})
        if not rows:
            listed = f"Open: {', '.join(opened)}." if opened else "No run has one."
            raise SettingsError(f"run {run!r} has no open reservation", listed)
        return charged

    def record_peak(self, device: str, dtype: str, flops_per_second: float) -> None:
        """Record a measured matrix-product peak, against which utilisation is computed."""
        if not 0 < flops_per_second < float("inf"):
            raise ValueError(f"a peak of {flops_per_second} FLOP/s is not possible")
        with self.transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO peak VALUES (?, ?, ?, ?)",
                (device, dtype, float(flops_per_second), _now()),
            )

    def peaks(self) -> dict[tuple[str, str], float]:
        """Recorded peaks in FLOP/s by (device, dtype)."""
        with self.errors():
            found = self.connection().execute("SELECT device, dtype, flops_per_second FROM peak")
            peaks = {(device, dtype): peak for device, dtype, peak in found}
            if not all(isinstance(peak, float) and peak > 0 for peak in peaks.values()):
                raise ValueError(f"peaks of {list(peaks.values())}")
            return peaks

    def rows(self) -> list[Row]:
        """Every entry, oldest first."""
        with self.errors():
            return _read_rows(self.connection())

    def charged(self) -> Price:
        """Spent and promised FLOPs of all runs together."""
        return sum((row.charged for row in self.rows()), NOTHING)

    def table(self) -> dict[str, Any]:
        """The accounting table; see `accounting.accounting_table`."""
        # one transaction, so that rows, budget and peaks belong together
        with self.transaction("DEFERRED"):
            rows, budget, peaks = self.rows(), self.budget(), self.peaks()
        limit = None if budget is None else (budget.flops, budget.convention)
        return accounting_table(rows, limit, peaks)

    def _refusal(
        self,
        db: sqlite3.Connection,
        run: str,
        wanted: Price,
        max_flops: int | None,
        convention: str,
        instead_of: Row | None = None,
    ) -> BudgetError | None:
        rows = [row for row in _read_rows(db) if instead_of is None or row.id != instead_of.id]
        budget = _read_budget(db)
        if max_flops is not None:
            own = [row for row in rows if row.run == run]
            refusal = _over(f"run {run}", own, wanted, Budget(max_flops, convention), "--max-flops")
            if refusal is not None:
                return refusal
        return None if budget is None else _over("project", rows, wanted, budget, "--budget")

    def _open_rows(self, db: sqlite3.Connection, run: str) -> list[Row]:
        return _read_rows(db, "WHERE run = ? AND status = 'open'", (run,))

    def _held(self, db: sqlite3.Connection, reservation: Reservation) -> Row:
        rows = _read_rows(db, "WHERE id = ?", (reservation.id,))
        if not rows or rows[0].status != "open" or rows[0].holder != reservation.holder:
            raise LvloraError(
                f"the reservation of run {reservation.run} ({reservation.phase}) is no longer held "
                "by this process",
                "Another process resumed or closed the run; let only one go on.",
            )
        return rows[0]

    def _record(
        self,
        reservation: Reservation,
        status: str,
        spent: Price,
        seconds: float,
        tokens_useful: int,
        tokens_padded: int,
    ) -> None:
        _checked(spent)
        lost: LvloraError | None = None
        with self.transaction() as db:
            try:
                row = self._held(db, reservation)
            except LvloraError as error:
                lost = error
                self._record_outside(db, reservation, spent)
            else:
                spent = spent | row.spent
                db.execute(
                    "UPDATE entry SET status = ?, executed = ?, coursework = ?, seconds = ?, "
                    "tokens_useful = ?, tokens_padded = ?, updated_at = ? WHERE id = ?",
                    (
                        status, str(spent.executed), str(spent.coursework),
                        max(float(seconds), row.seconds), max(tokens_useful, row.tokens_useful),
                        max(tokens_padded, row.tokens_padded), _now(), reservation.id,
                    ),
                )  # fmt: skip
        if lost is not None:
            raise lost

    def _record_outside(
        self, db: sqlite3.Connection, reservation: Reservation, spent: Price
    ) -> None:
        """Charge what a process spent after its reservation was taken from it."""
        rows = _read_rows(db, "WHERE id = ?", (reservation.id,))
        known = rows[0].spent if rows else NOTHING
        beyond = (spent - known) | NOTHING
        if beyond == NOTHING:
            return
        columns = "run, phase, command, settings_hash, model, model_hash, device, dtype, created_at"
        db.execute(
            f"INSERT INTO entry ({columns}, status, reserved_executed, reserved_coursework, "
            f"executed, coursework, updated_at) SELECT {columns}, 'settled', ?1, ?2, ?1, ?2, ?3 "
            "FROM entry WHERE id = ?4",
            (str(beyond.executed), str(beyond.coursework), _now(), reservation.id),
        )


def _over(
    whose: str, rows: list[Row], wanted: Price, limit: Budget, flag: str
) -> BudgetError | None:
    convention = limit.convention
    spent = sum(row.charged.of(convention) for row in rows if row.status != "open")
    promised = sum(row.charged.of(convention) for row in rows if row.status == "open")
    want = wanted.of(convention)
    if spent + promised + want <= limit.flops:
        return None
    left = max(0, limit.flops - spent - promised)
    hint = f"Do less (about {left / want:.0%} of it fits), or raise {flag}."
    if promised:
        hint += " lvlora flops --ledger shows the open runs; --close RUN settles a killed one."
    return BudgetError(
        f"{whose}: {want:,} FLOPs wanted, {spent:,} spent, {promised:,} reserved, "
        f"limit {limit.flops:,} ({convention})",
        hint,
    )


def _refuse_if_alive(row: Row) -> None:
    if holder.is_another_living_process(row.holder):
        raise LvloraError(
            f"run {row.run} is still running (process {holder.process_of(row.holder)})",
            "Wait for it, or stop it first.",
        )


def _reservation(row: Row, reserved: Price, held_by: str) -> Reservation:
    return Reservation(
        row.id, row.run, row.phase, reserved, held_by, row.spent,
        row.seconds, row.tokens_useful, row.tokens_padded,
    )  # fmt: skip


def _read_rows(
    db: sqlite3.Connection, where: str = "", values: tuple[object, ...] = ()
) -> list[Row]:
    found = db.execute(f"SELECT {', '.join(STORED)} FROM entry {where} ORDER BY id", values)
    return [Row.from_columns(columns) for columns in found]


def _read_budget(db: sqlite3.Connection) -> Budget | None:
    found = db.execute("SELECT flops, convention FROM budget").fetchone()
    if found is None:
        return None
    flops, convention = found
    if not isinstance(flops, str) or convention not in CONVENTIONS:
        raise ValueError(f"a budget of {flops!r} FLOPs ({convention!r})")
    return Budget(int(flops), convention)


def _write_budget(db: sqlite3.Connection, flops: int, convention: str) -> None:
    db.execute(
        "INSERT OR REPLACE INTO budget VALUES (1, ?, ?, ?)", (str(flops), convention, _now())
    )


def _checked(price: Price) -> Price:
    if price.executed < 0 or price.coursework < 0:
        raise ValueError(f"FLOPs cannot be negative: {price}")
    return price


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")

"""The ledger: what was spent, what is promised, and that together they stay within the budget.

A spender reserves before it runs and settles after. An open reservation is charged in full, so a
killed process never makes the sum too small. Reserving is one `BEGIN IMMEDIATE` transaction, so any
number of processes may do it at once and the budget is still never passed.
"""

from __future__ import annotations

import operator
import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime
from os.path import lexists
from pathlib import Path
from typing import Literal

from lvlora.errors import DataError, LvloraError, SettingsError
from lvlora.flops import limits, process_lock
from lvlora.flops.answers import FlopsLedger
from lvlora.flops.budget import CONVENTIONS, NOTHING, Budget, Price
from lvlora.flops.ledger_file import LedgerFile
from lvlora.flops.limits import BudgetAsked
from lvlora.flops.reservation import NO_LIMITS, Limits, Reservation, Spender, Wanted
from lvlora.flops.rows import Row, read_rows
from lvlora.flops.table import table_of
from lvlora.settings.base import Convention
from lvlora.settings.training import BudgetSettings

FILE_NAME = "ledger.sqlite"


class Ledger(LedgerFile):
    """The ledger in one SQLite file; use it as a context manager, or call `disconnect`.

    Args:
        path: the file; made, with its folder, when it is missing.
        reading: nothing will be written, so that a file that can't be written will do.

    Raises:
        DataError: the file is no ledger, is damaged, or was written by a newer lvlora.
    """

    @classmethod
    def for_runs(cls, runs_dir: Path, *, create: bool = True, reading: bool = False) -> Ledger:
        """The ledger of a folder of runs.

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
        asked = limits.asked(budget, convention)
        with self.transaction() as db:
            limits.write_budget(db, asked, _now(), by)

    def budget(self) -> Budget | None:
        """The project's budget, if there is one."""
        with self.errors():
            return limits.read_budget(self.connection())

    def reserve(
        self,
        *,
        run: str,
        phase: str,
        executed: int,
        coursework: int,
        command: str,
        unit_executed: int | None = None,
        unit_coursework: int | None = None,
        max_flops: int | None = None,
        budget: BudgetAsked = None,
        convention: Convention = "executed",
        **spender: str,
    ) -> Reservation:
        """Promise FLOPs to one phase of a run; `reserve_all` says how.

        Args:
            executed, coursework: the most that will be spent, in both conventions.
            unit_executed, unit_coursework: of `Wanted`.
            max_flops, budget, convention: of `Limits`.
            spender: the rest of `Spender`.
        """
        unit = None
        if unit_executed is not None and unit_coursework is not None:
            unit = Price(unit_executed, unit_coursework)
        wanted = {phase: Wanted(Price(executed, coursework), unit)}
        within = Limits(max_flops, budget, convention)
        return self.reserve_all(wanted, run, Spender(command, **spender), within)[phase]

    def reserve_all(
        self, wanted: Mapping[str, Wanted], run: str, spender: Spender, within: Limits = NO_LIMITS
    ) -> dict[str, Reservation]:
        """Promise FLOPs to the phases of a run, or refuse: one step that none can come between.

        Args:
            wanted: by phase.

        Raises:
            BudgetError: it would pass a limit; the message has the numbers. Nothing is promised.
        """
        prices = {phase: _checked(one.at_most) for phase, one in wanted.items()}
        units = {phase: one.unit and _checked(one.unit) for phase, one in wanted.items()}
        if within.convention not in CONVENTIONS:
            raise SettingsError(
                f"no convention is called {within.convention!r}", "It is executed or coursework."
            )
        asked = limits.asked(within.budget, within.convention)
        me, now = process_lock.this_process(), _now()
        reservations = {}
        with self.transaction() as db:
            limit = limits.read_budget(db) if within.budget is None else asked
            refused = limits.refusal(
                sum(prices.values(), NOTHING),
                read_rows(db),
                run=run,
                max_flops=within.max_flops,
                convention=within.convention,
                budget=limit,
            )
            if refused is not None:
                raise refused
            if within.budget is not None:
                limits.write_budget(db, asked, now, spender.command)
            for phase, price in prices.items():
                unit = units[phase]
                cursor = db.execute(
                    "INSERT INTO entry (run, phase, command, status, settings_hash, model, "
                    "model_hash, device, dtype, reserved_executed, reserved_coursework, "
                    "unit_executed, unit_coursework, holder, created_at, updated_at) "
                    "VALUES (?, ?, ?, 'open', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        run,
                        phase,
                        spender.command,
                        spender.settings_hash,
                        spender.model,
                        spender.model_hash,
                        spender.device,
                        spender.dtype,
                        str(price.executed),
                        str(price.coursework),
                        None if unit is None else str(unit.executed),
                        None if unit is None else str(unit.coursework),
                        me,
                        now,
                        now,
                    ),
                )
                reservations[phase] = Reservation(int(cursor.lastrowid or 0), run, phase, price, me)
        return reservations

    def extend(
        self,
        reservation: Reservation,
        *,
        executed: int,
        coursework: int,
        max_flops: int | None = None,
        convention: Convention = "executed",
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
            refused = limits.refusal(
                reserved,
                [other for other in read_rows(db) if other.id != row.id],
                run=row.run,
                max_flops=max_flops,
                convention=convention,
                budget=limits.read_budget(db),
            )
            if refused is not None:
                raise refused
            db.execute(
                "UPDATE entry SET reserved_executed = ?, reserved_coursework = ?, "
                "updated_at = ? WHERE id = ?",
                (str(reserved.executed), str(reserved.coursework), _now(), row.id),
            )
        return Reservation.of(row, reserved, reservation.holder)

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
        me = process_lock.this_process()
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
        return Reservation.of(row, row.reserved, me, spent)

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
                        str(row.spent_if_killed.executed),
                        str(row.spent_if_killed.coursework),
                        _now(),
                        row.id,
                    ),
                )
            opened = sorted({r.run for r in read_rows(db) if r.status == "open"})
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
            if not all(isinstance(p, float) and 0 < p < float("inf") for p in peaks.values()):
                raise ValueError(f"peaks of {list(peaks.values())}")
            return peaks

    def rows(self) -> list[Row]:
        """Every entry, oldest first."""
        with self.errors():
            return read_rows(self.connection())

    def charged(self) -> Price:
        """Spent and promised FLOPs of all runs together."""
        return sum((row.charged for row in self.rows()), NOTHING)

    def table(self) -> FlopsLedger:
        """What every run cost, and the sums."""
        # one transaction, so that rows, budget and peaks belong together
        with self.transaction("DEFERRED"):
            rows, budget, peaks = self.rows(), self.budget(), self.peaks()
        return table_of(rows, budget, peaks)

    def _open_rows(self, db: sqlite3.Connection, run: str) -> list[Row]:
        return read_rows(db, "WHERE run = ? AND status = 'open'", (run,))

    def _held(self, db: sqlite3.Connection, reservation: Reservation) -> Row:
        rows = read_rows(db, "WHERE id = ?", (reservation.id,))
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
        spent = _checked(spent)
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
                        status,
                        str(spent.executed),
                        str(spent.coursework),
                        max(float(seconds), row.seconds),
                        max(tokens_useful, row.tokens_useful),
                        max(tokens_padded, row.tokens_padded),
                        _now(),
                        reservation.id,
                    ),
                )
        if lost is not None:
            raise lost

    def _record_outside(
        self, db: sqlite3.Connection, reservation: Reservation, spent: Price
    ) -> None:
        """Charge what a process spent after its reservation was taken from it."""
        rows = read_rows(db, "WHERE id = ?", (reservation.id,))
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
    rows: list[Row] = []
    budget = limits.asked(settings.budget, settings.convention)
    if lexists(settings.runs / FILE_NAME):
        with Ledger.for_runs(settings.runs, create=False, reading=True) as ledger:
            rows = ledger.rows()
            if settings.budget is None:
                budget = ledger.budget()
    refused = limits.refusal(
        at_most,
        rows,
        run=run,
        max_flops=max_flops,
        convention=settings.convention,
        budget=budget,
    )
    if refused is not None:
        raise refused


def _refuse_if_alive(row: Row) -> None:
    if process_lock.is_another_living_process(row.holder):
        raise LvloraError(
            f"run {row.run} is still running (process {process_lock.process_of(row.holder)})",
            "Wait for it, or stop it first.",
        )


def _checked(price: Price) -> Price:
    """The price with Python's own whole numbers (numpy's and floats would be written otherwise)."""
    try:
        whole = Price(operator.index(price.executed), operator.index(price.coursework))
    except TypeError:
        raise SettingsError(
            f"FLOPs are counted in whole numbers, not as {price}", "Round them up, with int(…)."
        ) from None
    if NOTHING | whole != whole:
        raise SettingsError(
            f"FLOPs cannot be negative: {whole}", "A price is 0 or more in both conventions."
        )
    return whole


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def spent(runs: str | Path = "runs") -> Price:
    """The FLOPs that the ledger among the runs has charged so far, in both conventions."""
    if not lexists(Path(runs) / FILE_NAME):
        return NOTHING
    with Ledger.for_runs(Path(runs), create=False, reading=True) as ledger:
        return ledger.charged()

"""The SQLite file under the ledger: opening, checking, transactions, and errors in plain words."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from lvlora.errors import DataError, LvloraError, SettingsError, reason
from lvlora.flops import migrations, process_lock

_BUSY_SECONDS = 60.0


class LedgerFile:
    """One SQLite file that many processes write to.

    Args:
        path: the file; made, with its folder, when it is missing.
        reading: nothing will be written, so that a file that can't be written will do.

    Raises:
        DataError: the file is no ledger, is damaged, or was written by a newer lvlora.
    """

    def __init__(self, path: Path, *, reading: bool = False) -> None:
        self.path = Path(path)
        self.reading = reading
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        self._process = 0
        self._connection: sqlite3.Connection | None = None
        self._inherited: sqlite3.Connection | None = None
        with self.errors():
            self._refuse_what_is_no_file()
            self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.disconnect()

    def _refuse_what_is_no_file(self) -> None:
        """Raise SettingsError for a link to nothing, a device, a pipe or a folder."""
        if self.path.is_symlink() and not self.path.exists():
            what = "a link to a file that does not exist"
        elif self.path.exists() and not self.path.is_file():
            what = "not a regular file"
        else:
            return
        raise SettingsError(
            f"{self.path}: the ledger is {what}",
            "Remove it, or keep the runs in another folder: --runs.",
        )

    def disconnect(self) -> None:
        """Close the file; the next call opens it again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._copy is not None:
            self._copy.cleanup()
            self._copy = None

    def _open(self) -> sqlite3.Connection:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            db = _connected(str(self.path), self._prepare)
        except (sqlite3.OperationalError, OSError):
            if not self.reading:
                raise
            db = self._open_to_read()
        self._connection, self._process = db, process_lock.process_id()
        return db

    def _open_to_read(self) -> sqlite3.Connection:
        """A file, or in a folder, that can't be written."""
        address = self.path.resolve().as_uri()
        try:
            return _connected(f"{address}?mode=ro", self._check)
        except sqlite3.OperationalError:
            pass  # a write-ahead log needs a file beside it, and nobody has made one
        log = self.path.with_name(f"{self.path.name}-wal")
        if not log.is_file() or log.stat().st_size == 0:
            return _connected(f"{address}?immutable=1", self._check)
        # what stands in the log is part of the ledger, and is only put into it by who may write
        self._copy = tempfile.TemporaryDirectory(prefix="lvlora-")
        for file in (self.path, log):
            shutil.copyfile(file, Path(self._copy.name) / file.name)
        return _connected(str(Path(self._copy.name) / self.path.name), self._prepare)

    def _check(self, db: sqlite3.Connection) -> None:
        if migrations.is_foreign(db) or migrations.applied(db) < 0:
            raise DataError(
                f"{self.path}: a database, but not lvlora's ledger",
                "Keep the runs in another folder: --runs.",
            )
        if migrations.applied(db) > len(migrations.MIGRATIONS):
            raise DataError(
                f"{self.path}: written by a newer lvlora", "Upgrade lvlora to read this ledger."
            )

    def _prepare(self, db: sqlite3.Connection) -> None:
        self._check(db)
        _use_write_ahead_log(db)
        # a commit must outlive a power failure, or the sum could be too small
        db.execute("PRAGMA synchronous = FULL")
        if migrations.applied(db) < len(migrations.MIGRATIONS):
            db.execute("BEGIN IMMEDIATE")
            migrations.migrate(db)
            db.execute("COMMIT")

    def connection(self) -> sqlite3.Connection:
        """The open connection of this process."""
        # a connection must be neither used nor closed in a child after fork()
        if self._connection is not None and self._process != process_lock.process_id():
            self._inherited, self._connection = self._connection, None
        return self._open() if self._connection is None else self._connection

    @contextmanager
    def transaction(self, mode: str = "IMMEDIATE") -> Iterator[sqlite3.Connection]:
        """All of it or nothing; IMMEDIATE waits for other writers first."""
        with self.errors():
            db = self.connection()
            db.execute(f"BEGIN {mode}")
            try:
                yield db
            except BaseException:
                # a full disk may have ended the transaction already
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn SQLite's errors into ones that name the file and say what to do."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if _is(error, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise LvloraError(
                    f"{self.path}: another process has held the ledger for {_BUSY_SECONDS:.0f} s",
                    "Wait for it, or stop it.",
                ) from None
            if _is(error, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
                raise LvloraError(
                    f"{self.path}: the ledger cannot be written: {reason(error)}",
                    "Make room on the disk; nothing was recorded, and what was stays as it is.",
                ) from None
            raise DataError(
                f"{self.path}: the ledger cannot be used: {reason(error)}",
                "Check the folder's permissions and free space; --runs names another folder.",
            ) from None
        except (sqlite3.DatabaseError, ValueError) as error:
            raise DataError(
                f"{self.path}: not a ledger, or damaged: {reason(error)}",
                "Move the file away to start a new ledger; what it counted is then not counted.",
            ) from None
        except OSError as error:
            raise DataError(
                f"{self.path}: {error.strerror or error}",
                "Check its permissions, or keep the runs elsewhere: --runs.",
            ) from None


def _connected(address: str, prepare: Callable[[sqlite3.Connection], None]) -> sqlite3.Connection:
    """A connection to a file, or to a file:// address, once it is prepared."""
    db = sqlite3.connect(
        address, timeout=_BUSY_SECONDS, isolation_level=None, uri=address.startswith("file://")
    )
    try:
        prepare(db)
    except BaseException:
        db.close()
        raise
    return db


def _use_write_ahead_log(db: sqlite3.Connection) -> None:
    # the switch needs the file alone and does not wait for it by itself
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if not _is(error, sqlite3.SQLITE_BUSY) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _is(error: sqlite3.Error, *codes: int) -> bool:
    # the low byte is the kind of error, the rest says more about it
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in codes

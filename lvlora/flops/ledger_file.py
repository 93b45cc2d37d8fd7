"""The SQLite file under the ledger: tables, transactions, and errors in plain words."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from lvlora.errors import DataError, LvloraError, SettingsError, reason

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


class LedgerFile:
    """One SQLite file that many processes write to.

    Args:
        path: the file; made, with its folder, when it is missing.
        reading: nothing will be written, so that a file that can't be written will do.

    Raises:
        DataError: the file is no ledger, is damaged, or was written by another version of lvlora.
        SettingsError: it is a link to nothing, a device, a pipe or a folder.
    """

    def __init__(self, path: Path, *, reading: bool = False) -> None:
        self.path = Path(path)
        self.reading = reading
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        self._process = 0
        self._connection: sqlite3.Connection | None = None
        self._inherited: sqlite3.Connection | None = None
        with self.errors():
            if (self.path.is_symlink() or self.path.exists()) and not self.path.is_file():
                linked = self.path.is_symlink() and not self.path.exists()
                raise SettingsError(
                    f"{self.path}: the ledger is "
                    f"{'a link to a file that does not exist' if linked else 'not a regular file'}",
                    "Remove it, or keep the runs in another folder: --runs.",
                )
            self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.disconnect()

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
            db = self._connected(self.path)
        except (sqlite3.OperationalError, OSError):
            if not self.reading or not self.path.exists():
                raise
            db = self._connected(self._copied())
        self._connection, self._process = db, os.getpid()
        return db

    def _copied(self) -> Path:
        """Copy a file that SQLite cannot open where it is; its log is part of it."""
        self._copy = tempfile.TemporaryDirectory(prefix="lvlora-")
        folder = Path(self._copy.name)
        for file in (self.path, self.path.with_name(f"{self.path.name}-wal")):
            if file.exists():
                shutil.copyfile(file, folder / file.name)
        return folder / self.path.name

    def _connected(self, path: Path) -> sqlite3.Connection:
        """Open a file; a new one becomes a ledger."""
        db = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
        try:
            is_ledger = self._check(db)
            _use_write_ahead_log(db)
            # a commit must outlive a power failure, or the sum could be too small
            db.execute("PRAGMA synchronous = FULL")
            if not is_ledger:
                db.executescript(_TABLES)
        except BaseException:
            db.close()
            raise
        return db

    def _check(self, db: sqlite3.Connection) -> bool:
        """Whether the file is a ledger; False for a new one."""
        questions = ("PRAGMA application_id", "PRAGMA user_version")
        db.execute("BEGIN")  # one moment: another process may make it a ledger right now
        try:
            application, version, n_tables = (
                db.execute(question).fetchone()[0]
                for question in (*questions, "SELECT count(*) FROM sqlite_master")
            )
        finally:
            db.execute("ROLLBACK")
        if application == _APPLICATION_ID and version != _VERSION:
            raise DataError(
                f"{self.path}: written by another version of lvlora",
                "Read it with that version, or move it away to start a new ledger.",
            )
        is_ledger: bool = application == _APPLICATION_ID
        if not is_ledger and n_tables:
            raise DataError(
                f"{self.path}: a database, but not lvlora's ledger",
                "Keep the runs in another folder: --runs.",
            )
        return is_ledger

    def connection(self) -> sqlite3.Connection:
        """Return the open connection of this process."""
        # a connection must be neither used nor closed in a child after fork()
        if self._connection is not None and self._process != os.getpid():
            self._inherited, self._connection = self._connection, None
        return self._open() if self._connection is None else self._connection

    @contextmanager
    def transaction(self, mode: str = "IMMEDIATE") -> Iterator[sqlite3.Connection]:
        """Do all of a block or nothing; IMMEDIATE waits for other writers first."""
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

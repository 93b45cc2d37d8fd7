"""The SQLite file under the ledger: tables, transactions, and errors in plain words."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from lvlora.errors import DataError, LvloraError, SettingsError, reason
from lvlora.flops import process_lock

_BUSY_SECONDS = 60.0
_APPLICATION_ID = 0x6C766C6F  # "lvlo": tells a ledger from any other SQLite file
_VERSION = 2
# FLOPs are text because a count may pass 2^63, SQLite's largest integer
_TABLES = f"""
    BEGIN IMMEDIATE;
    CREATE TABLE IF NOT EXISTS entry (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        run TEXT NOT NULL,
        phase TEXT NOT NULL,
        command TEXT NOT NULL,
        status TEXT NOT NULL,
        settings_hash TEXT NOT NULL,
        model TEXT NOT NULL,
        model_hash TEXT NOT NULL,
        device TEXT NOT NULL,
        dtype TEXT NOT NULL,
        reserved_executed TEXT NOT NULL,
        reserved_coursework TEXT NOT NULL,
        executed TEXT NOT NULL,
        coursework TEXT NOT NULL,
        unit_executed TEXT,
        unit_coursework TEXT,
        seconds REAL NOT NULL,
        tokens_useful INTEGER NOT NULL,
        tokens_padded INTEGER NOT NULL,
        holder TEXT NOT NULL,
        created_at TEXT NOT NULL,
        updated_at TEXT NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS entry_run ON entry (run, status);
    CREATE TABLE IF NOT EXISTS budget (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        flops TEXT NOT NULL,
        convention TEXT NOT NULL,
        set_at TEXT NOT NULL,
        set_by TEXT NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS peak (
        device TEXT NOT NULL,
        dtype TEXT NOT NULL,
        flops_per_second REAL NOT NULL,
        measured_at TEXT NOT NULL,
        PRIMARY KEY (device, dtype)
    ) STRICT;
    PRAGMA user_version = {_VERSION};
    PRAGMA application_id = {_APPLICATION_ID};
    COMMIT;
"""


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
            db = _connected(str(self.path), self._prepare)
        except (sqlite3.OperationalError, OSError):
            if not self.reading:
                raise
            db = self._open_to_read()
        self._connection, self._process = db, process_lock.process_id()
        return db

    def _open_to_read(self) -> sqlite3.Connection:
        """Open a file that can't be written, or in a folder that can't be."""
        address = self.path.resolve().as_uri()
        try:
            return _connected(f"{address}?mode=ro", self._check)
        except sqlite3.OperationalError:
            pass  # a write-ahead log needs a file beside it, and nobody has made one
        log = self.path.with_name(f"{self.path.name}-wal")
        if not log.is_file() or log.stat().st_size == 0:
            return _connected(f"{address}?immutable=1", self._check)
        # the log is part of the ledger, and only who may write moves it into the file
        self._copy = tempfile.TemporaryDirectory(prefix="lvlora-")
        for file in (self.path, log):
            shutil.copyfile(file, Path(self._copy.name) / file.name)
        return _connected(str(Path(self._copy.name) / self.path.name), self._prepare)

    def _check(self, db: sqlite3.Connection) -> bool:
        """Whether the file is a ledger; False for a new one."""
        pragmas = ("application_id", "user_version")
        application, version = (db.execute(f"PRAGMA {p}").fetchone()[0] for p in pragmas)
        if application == _APPLICATION_ID and version == _VERSION:
            return True
        if application == _APPLICATION_ID:
            raise DataError(
                f"{self.path}: written by another version of lvlora",
                "Read it with that version, or move it away to start a new ledger.",
            )
        if application or db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise DataError(
                f"{self.path}: a database, but not lvlora's ledger",
                "Keep the runs in another folder: --runs.",
            )
        return False

    def _prepare(self, db: sqlite3.Connection) -> None:
        is_ledger = self._check(db)
        _use_write_ahead_log(db)
        # a commit must outlive a power failure, or the sum could be too small
        db.execute("PRAGMA synchronous = FULL")
        if not is_ledger:
            db.executescript(_TABLES)

    def connection(self) -> sqlite3.Connection:
        """Return the open connection of this process."""
        # a connection must be neither used nor closed in a child after fork()
        if self._connection is not None and self._process != process_lock.process_id():
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


def _connected(address: str, prepare: Callable[[sqlite3.Connection], object]) -> sqlite3.Connection:
    """Open a file, or a file:// address, and prepare the connection."""
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

"""The ledger's tables, as numbered steps that are only ever appended to.

Knows: SQL. Does not know: what the numbers mean. FLOPs are stored as text because a count may pass
2^63, SQLite's largest integer; they are summed as Python integers.
"""

from __future__ import annotations

import sqlite3

APPLICATION_ID = 0x6C766C6F  # "lvlo": tells a ledger from any other SQLite file

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE entry (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            run TEXT NOT NULL,
            phase TEXT NOT NULL,
            command TEXT NOT NULL,
            status TEXT NOT NULL CHECK (status IN ('open', 'settled', 'closed')),
            settings_hash TEXT NOT NULL DEFAULT '',
            model TEXT NOT NULL DEFAULT '',
            model_hash TEXT NOT NULL DEFAULT '',
            device TEXT NOT NULL DEFAULT '',
            dtype TEXT NOT NULL DEFAULT '',
            reserved_executed TEXT NOT NULL,
            reserved_coursework TEXT NOT NULL,
            executed TEXT NOT NULL DEFAULT '0',
            coursework TEXT NOT NULL DEFAULT '0',
            unit_executed TEXT,
            unit_coursework TEXT,
            seconds REAL NOT NULL DEFAULT 0,
            tokens_useful INTEGER NOT NULL DEFAULT 0,
            tokens_padded INTEGER NOT NULL DEFAULT 0,
            holder TEXT NOT NULL DEFAULT '',
            created_at TEXT NOT NULL,
            updated_at TEXT NOT NULL
        ) STRICT
        """,
        "CREATE INDEX entry_run ON entry (run, status)",
        """
        CREATE TABLE budget (
            id INTEGER PRIMARY KEY CHECK (id = 1),
            flops TEXT NOT NULL,
            convention TEXT NOT NULL CHECK (convention IN ('executed', 'coursework')),
            set_at TEXT NOT NULL
        ) STRICT
        """,
        """
        CREATE TABLE peak (
            device TEXT NOT NULL,
            dtype TEXT NOT NULL,
            flops_per_second REAL NOT NULL,
            measured_at TEXT NOT NULL,
            PRIMARY KEY (device, dtype)
        ) STRICT
        """,
    ),
)


def applied(connection: sqlite3.Connection) -> int:
    """How many migrations this database has seen."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def is_foreign(connection: sqlite3.Connection) -> bool:
    """Whether this is a database that something else has made."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return bool(application != APPLICATION_ID and (tables > 0 or application != 0))


def migrate(connection: sqlite3.Connection) -> None:
    """Apply what is missing; the caller holds the write lock (BEGIN IMMEDIATE)."""
    for number in range(applied(connection), len(MIGRATIONS)):
        for statement in MIGRATIONS[number]:
            connection.execute(statement)
        # pragmas take no parameters; both are part of the transaction
        connection.execute(f"PRAGMA user_version = {number + 1}")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")

"""The ledger's tables, as numbered steps that are only ever appended to.

FLOPs are stored as text because a count may pass 2^63, SQLite's largest integer; they are summed as
Python integers.
"""

from __future__ import annotations

import sqlite3

APPLICATION_ID = 0x6C766C6F  # "lvlo": tells a ledger from any other SQLite file

_COUNT = "length({0}) BETWEEN 1 AND 80 AND {0} NOT GLOB '*[^0-9]*'"


def _count(column: str, default: str = "NOT NULL") -> str:
    """A column that holds a count: digits alone, so no sign."""
    return f"{column} TEXT {default} CHECK ({_COUNT.format(column)})"


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
    (  # what is impossible is refused by the tables themselves; who set the budget is kept
        "DROP INDEX entry_run",
        "ALTER TABLE entry RENAME TO entry_before",
        f"""
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
            {_count("reserved_executed")},
            {_count("reserved_coursework")},
            {_count("executed", "NOT NULL DEFAULT '0'")},
            {_count("coursework", "NOT NULL DEFAULT '0'")},
            {_count("unit_executed", "")},
            {_count("unit_coursework", "")},
            seconds REAL NOT NULL DEFAULT 0 CHECK (seconds >= 0 AND seconds < 9e999),
            tokens_useful INTEGER NOT NULL DEFAULT 0 CHECK (tokens_useful >= 0),
            tokens_padded INTEGER NOT NULL DEFAULT 0 CHECK (tokens_padded >= 0),
            holder TEXT NOT NULL DEFAULT '',
            created_at TEXT NOT NULL,
            updated_at TEXT NOT NULL
        ) STRICT
        """,
        "INSERT INTO entry SELECT * FROM entry_before ORDER BY id",
        "DROP TABLE entry_before",
        "CREATE INDEX entry_run ON entry (run, status)",
        "ALTER TABLE budget RENAME TO budget_before",
        f"""
        CREATE TABLE budget (
            id INTEGER PRIMARY KEY CHECK (id = 1),
            {_count("flops")} CHECK (flops GLOB '*[1-9]*'),
            convention TEXT NOT NULL CHECK (convention IN ('executed', 'coursework')),
            set_at TEXT NOT NULL,
            set_by TEXT NOT NULL DEFAULT ''
        ) STRICT
        """,
        "INSERT INTO budget (id, flops, convention, set_at) SELECT * FROM budget_before",
        "DROP TABLE budget_before",
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

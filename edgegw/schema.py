"""The tables of the store, as forward-only migrations, each in one transaction.

A new database gets its tables from plain `sqlite3`: sqlite-utils costs a fresh gateway 5 MB for the rest of its life
and a tenth of a second before its first reading. It is imported only when an older database is brought up.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import sqlite3

    from sqlite_utils import Database
    from sqlite_utils.migrations import Migrations

# Batches by first index, heads by number, and a few single values. `ordinal` and `bytes_before` are running totals:
# the backlog is counted by two look-ups, whatever its size.
_FIRST_TABLES: Final = (
    """CREATE TABLE batch(
    first INTEGER PRIMARY KEY, count INTEGER NOT NULL, time REAL NOT NULL,
    ordinal INTEGER NOT NULL, bytes_before INTEGER NOT NULL, message BLOB NOT NULL)""",
    "CREATE TABLE head(number INTEGER PRIMARY KEY, size INTEGER NOT NULL, message BLOB NOT NULL)",
    "CREATE INDEX head_size ON head(size)",
    "CREATE TABLE state(key TEXT PRIMARY KEY, value) WITHOUT ROWID",
    "PRAGMA user_version = 1",
)
# What sqlite-utils 4 makes for itself, letter by letter: it finds its own table when it is needed one day.
_APPLIED: Final = (
    """CREATE TABLE "_sqlite_migrations" (
   "id" INTEGER PRIMARY KEY,
   "migration_set" TEXT,
   "name" TEXT,
   "applied_at" TEXT
)""",
    """CREATE UNIQUE INDEX "idx__sqlite_migrations_migration_set_name"
    ON "_sqlite_migrations" ("migration_set", "name")""",
)
_SET: Final = "edgegw"


def create(connection: sqlite3.Connection) -> None:
    """Make the tables of an empty database, and note them as the migrations that they stand for."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in (*_APPLIED, *_FIRST_TABLES):
            connection.execute(statement)
        connection.execute(
            "INSERT INTO _sqlite_migrations(migration_set, name, applied_at) VALUES (?, ?, ?)",
            (_SET, "first_tables", str(datetime.now(UTC))),
        )
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def migrations() -> Migrations:
    """Every step from an empty database to this version."""
    from sqlite_utils.migrations import Migrations  # noqa: PLC0415 -- see above

    steps = Migrations(_SET)

    @steps()
    def first_tables(db: Database) -> None:
        for statement in _FIRST_TABLES:
            db.execute(statement)

    return steps


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a database to this version."""
    from sqlite_utils import Database  # noqa: PLC0415 -- see above

    migrations().apply(Database(connection, execute_plugins=False))

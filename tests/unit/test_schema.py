"""A new store gets its tables without sqlite-utils; sqlite-utils must not see a difference."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from sqlite_utils import Database

from edgegw import schema
from edgegw.store import FILE_NAME, Store

if TYPE_CHECKING:
    from pathlib import Path


def shape(db: sqlite3.Connection) -> list[tuple[str, str, str]]:
    found = db.execute(
        "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name"
    ).fetchall()
    return [*found, ("version", str(db.execute("PRAGMA user_version").fetchone()[0]), "")]


def test_created_tables_are_those_of_the_migrations() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as made:
        schema.create(made)
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as migrated:
            schema.migrate(migrated)
            assert shape(made) == shape(migrated)


def test_nothing_is_pending_on_created_tables() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as made:
        schema.create(made)
        assert schema.migrations().pending(Database(made, execute_plugins=False)) == []


def test_a_failed_creation_leaves_nothing_behind() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        db.execute("CREATE TABLE head(other)")
        with pytest.raises(sqlite3.OperationalError):
            schema.create(db)
        assert shape(db) == [("table", "head", "CREATE TABLE head(other)"), ("version", "0", "")]


def test_a_migration_that_was_begun_and_cut_off_is_finished(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)) as db:
        schema.migrations().ensure_migrations_table(Database(db, execute_plugins=False))
    store = Store(tmp_path, max_size=64 * 1024 * 1024)
    assert store.end() is None
    store.close()


def test_a_new_store_does_not_load_sqlite_utils(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from edgegw.store import Store; "
        f"Store(Path({str(tmp_path)!r}), max_size=2**26).close(); sys.exit('sqlite_utils' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0

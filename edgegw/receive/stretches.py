"""Stretches [first, stop) of logs in a table of the database: sorted, apart, melted where they touch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

_TABLES = ("lost", "proven")


class Stretches:
    """One such table, `lost` or `proven`. However many stretches were added, a look-up reads one row."""

    def __init__(self, db: sqlite3.Connection, table: str) -> None:
        if table not in _TABLES:  # the name becomes part of statements
            raise ValueError(table)
        self._db = db
        before = f"SELECT first, stop FROM {table} WHERE log = ? AND first <= ? ORDER BY first DESC LIMIT 1"  # noqa: S608 -- one of two names
        self._before = before
        self._within = f"SELECT max(stop) FROM {table} WHERE log = ? AND first BETWEEN ? AND ?"  # noqa: S608 -- the same
        self._remove = f"DELETE FROM {table} WHERE log = ? AND first BETWEEN ? AND ?"  # noqa: S608 -- the same
        self._insert = f"INSERT INTO {table}(log, first, stop) VALUES (?, ?, ?)"  # noqa: S608 -- the same

    def add(self, log: int, first: int, stop: int) -> None:
        """Add [first, stop), which is not empty."""
        before = self._db.execute(self._before, (log, first)).fetchone()
        if before and before[1] >= first:
            first, stop = before[0], max(stop, before[1])
        (reach,) = self._db.execute(self._within, (log, first, stop)).fetchone()
        self._db.execute(self._remove, (log, first, stop))
        self._db.execute(self._insert, (log, first, max(stop, reach or stop)))

    def end_around(self, log: int, index: int) -> int | None:
        """Where the stretch that holds `index` stops; None when none holds it."""
        row = self._db.execute(self._before, (log, index)).fetchone()
        return int(row[1]) if row and row[1] > index else None

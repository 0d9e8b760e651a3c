"""What the upstream store has seen of one log, as the follower of the wire asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgegw.wire import merkle
from edgegw.wire.follow import Held, HeldHead

if TYPE_CHECKING:
    import sqlite3

    from edgegw.receive.stretches import Stretches

_BATCH: Final = "SELECT first, stop, leaves, root, content FROM batch WHERE log = ?"
_HEAD: Final = "SELECT number, size, tree, root FROM head WHERE log = ?"


def stored_range(begin: int, end: int, stored: bytes) -> merkle.Range:
    """A compact range whose hashes are stored one behind the other."""
    width = merkle.HASH_BYTES
    return merkle.Range(begin, end, tuple(stored[at : at + width] for at in range(0, len(stored), width)))


class LogEvidence:
    """Implements `edgegw.wire.follow.Evidence` over the database: a few rows are read for each question."""

    def __init__(self, db: sqlite3.Connection, lost: Stretches, log: int) -> None:
        self._db = db
        self._lost = lost
        self._log = log

    def overlapping(self, first: int, end: int) -> Held | None:
        """See `Evidence`. Held batches never overlap, so only two can be the earliest."""
        before = self._batch("AND first <= ? ORDER BY first DESC LIMIT 1", first)
        if before is not None and before.range.end > first:
            return before
        after = self._batch("AND first > ? ORDER BY first LIMIT 1", first)
        return after if after is not None and after.range.begin < end else None

    def batch_at(self, first: int) -> Held | None:
        """See `Evidence`."""
        return self._batch("AND first = ?", first)

    def head_at(self, size: int) -> HeldHead | None:
        """See `Evidence`."""
        return self._head("AND size = ? ORDER BY number LIMIT 1", size)

    def head_numbered(self, number: int) -> HeldHead | None:
        """See `Evidence`."""
        return self._head("AND number = ?", number)

    def heads_around(self, number: int) -> tuple[HeldHead | None, HeldHead | None]:
        """See `Evidence`."""
        return (
            self._head("AND number < ? ORDER BY number DESC LIMIT 1", number),
            self._head("AND number > ? ORDER BY number LIMIT 1", number),
        )

    def head_from(self, size: int) -> HeldHead | None:
        """See `Evidence`."""
        return self._head("AND size >= ? ORDER BY size, number LIMIT 1", size)

    def lost_until(self, index: int) -> int | None:
        """See `Evidence`."""
        return self._lost.end_around(self._log, index)

    def _batch(self, where: str, key: int) -> Held | None:
        row = self._db.execute(f"{_BATCH} {where}", (self._log, key)).fetchone()
        if row is None:
            return None
        first, stop, leaves, root, content = row
        return Held(stored_range(first, stop, leaves), root, content)

    def _head(self, where: str, key: int) -> HeldHead | None:
        row = self._db.execute(f"{_HEAD} {where}", (self._log, key)).fetchone()
        if row is None:
            return None
        number, size, tree, root = row
        return HeldHead(number, stored_range(0, size, tree), root)

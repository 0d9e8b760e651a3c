"""What was seen of many logs, in a temporary database: exact however large the input is, with little memory.

SQLite keeps the file nameless in the directory for temporary files and removes it by itself; a few megabytes of it
are in memory. A batch costs some 200 bytes there.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Final, NamedTuple

from edgegw.wire import merkle
from edgegw.wire.follow import Held, HeldHead, losses
from edgegw.wire.head import Consistency

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgegw.wire.batch import Batch
    from edgegw.wire.head import Head

# Pages in memory, in KiB (a negative cache_size): some 40 000 batches before the disk is touched.
_CACHE: Final = -8192
_SCHEMA: Final = """
CREATE TABLE batch(log INTEGER, first INTEGER, stop INTEGER, root BLOB, content BLOB, leaves BLOB, source TEXT,
                   at INTEGER, is_line INTEGER, PRIMARY KEY(log, first)) WITHOUT ROWID;
CREATE TABLE head(log INTEGER, number INTEGER, size INTEGER, root BLOB, tree BLOB, old INTEGER, path BLOB,
                  PRIMARY KEY(log, number)) WITHOUT ROWID;
CREATE INDEX head_size ON head(log, size);
CREATE TABLE lost(log INTEGER, first INTEGER, stop INTEGER, PRIMARY KEY(log, first)) WITHOUT ROWID;
CREATE TABLE claim(log INTEGER, size INTEGER, root BLOB, kind TEXT, source TEXT, at INTEGER,
                   is_line INTEGER);
"""

_BATCH: Final = "SELECT first, stop, leaves, root, content FROM batch WHERE log = ?"
_HEAD: Final = "SELECT number, size, tree, root, old, path FROM head WHERE log = ?"


class Place(NamedTuple):
    """Where a message stood: the file, and its offset from 0 or its line from 1 there."""

    source: str
    at: int
    is_line: bool = False


class Claim(NamedTuple):
    """What somebody else signed about a log: at `size` its root is `root`."""

    size: int
    root: bytes
    kind: str
    place: Place


class SeenLogs:
    """The database; `log` gives one log's part of it."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.executescript(f"PRAGMA journal_mode = OFF; PRAGMA cache_size = {_CACHE}; {_SCHEMA}")
        self._logs = 0

    def log(self) -> SeenLog:
        """The evidence of a log that was not seen before."""
        self._logs += 1
        return SeenLog(self._db, self._logs)

    def close(self) -> None:
        """Remove the database."""
        self._db.close()


class SeenLog:
    """Implements `edgegw.wire.follow.Evidence`: a row or two are read for each question."""

    def __init__(self, db: sqlite3.Connection, log: int) -> None:
        self._db = db
        self._log = log

    def add_batch(self, batch: Batch, place: Place) -> None:
        """Hold a batch that was judged new, and the losses that it names."""
        self._db.execute(
            "INSERT INTO batch VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                self._log,
                batch.first,
                batch.end,
                batch.root,
                batch.content,
                b"".join(batch.range.hashes),
                *place,
            ),
        )
        for begin, end in losses(batch):
            self._add_loss(begin, end)

    def _add_loss(self, begin: int, end: int) -> None:
        # One row for what touches, so that the end of a loss is one look away.
        touching = (self._log, end, begin)
        where = "FROM lost WHERE log = ? AND first <= ? AND stop >= ?"
        low, high = self._db.execute(f"SELECT min(first), max(stop) {where}", touching).fetchone()
        self._db.execute(f"DELETE {where}", touching)
        begin, end = min(begin, begin if low is None else low), max(end, end if high is None else high)
        self._db.execute("INSERT INTO lost VALUES (?, ?, ?)", (self._log, begin, end))

    def add_head(self, head: Head) -> None:
        """Hold a head that was judged new."""
        proof = head.consistency
        old, path = (proof.old_size, b"".join(proof.path)) if proof else (None, None)
        tree = b"".join(head.tree.hashes)
        self._db.execute(
            "INSERT INTO head VALUES (?, ?, ?, ?, ?, ?, ?)",
            (self._log, head.number, head.size, head.root, tree, old, path),
        )

    def add_claim(self, claim: Claim) -> None:
        """Keep a claim until the log's own root at that size is known."""
        size, root, kind, place = claim
        self._db.execute(
            "INSERT INTO claim VALUES (?, ?, ?, ?, ?, ?, ?)", (self._log, size, root, kind, *place)
        )

    def claims(self) -> Iterator[Claim]:
        """The claims that were kept."""
        rows = self._db.execute(
            "SELECT size, root, kind, source, at, is_line FROM claim WHERE log = ?", (self._log,)
        )
        for size, root, kind, source, at, is_line in rows:
            yield Claim(size, root, kind, Place(source, at, bool(is_line)))

    def place_of(self, first: int) -> Place:
        """Where the batch that begins at `first` stood."""
        source, at, is_line = self._db.execute(
            "SELECT source, at, is_line FROM batch WHERE log = ? AND first = ?", (self._log, first)
        ).fetchone()
        return Place(source, at, bool(is_line))

    def stretches(self) -> Iterator[tuple[int, int]]:
        """[begin, end) of each batch and each loss, by their begin."""
        yield from self._db.execute(
            "SELECT first, stop FROM batch WHERE log = ?1 UNION ALL SELECT first, stop FROM lost WHERE log = ?1"
            " ORDER BY first",
            (self._log,),
        )

    def overlapping(self, first: int, end: int) -> Held | None:
        """See `Evidence`. Held batches never overlap, so only two can be the earliest."""
        before = self._batch("first <= ? ORDER BY first DESC LIMIT 1", first)
        if before is not None and before.range.end > first:
            return before
        after = self._batch("first > ? ORDER BY first LIMIT 1", first)
        return after if after is not None and after.range.begin < end else None

    def batch_at(self, first: int) -> Held | None:
        """See `Evidence`."""
        return self._batch("first = ?", first)

    def head_at(self, size: int) -> HeldHead | None:
        """See `Evidence`."""
        return self._head("size = ? ORDER BY number LIMIT 1", size)

    def head_numbered(self, number: int) -> HeldHead | None:
        """See `Evidence`."""
        return self._head("number = ?", number)

    def heads_around(self, number: int) -> tuple[HeldHead | None, HeldHead | None]:
        """See `Evidence`."""
        return (
            self._head("number < ? ORDER BY number DESC LIMIT 1", number),
            self._head("number > ? ORDER BY number LIMIT 1", number),
        )

    def head_from(self, size: int) -> HeldHead | None:
        """See `Evidence`."""
        return self._head("size >= ? ORDER BY size, number LIMIT 1", size)

    def lost_until(self, index: int) -> int | None:
        """See `Evidence`."""
        row = self._db.execute(
            "SELECT stop FROM lost WHERE log = ? AND first <= ? ORDER BY first DESC LIMIT 1",
            (self._log, index),
        ).fetchone()
        return int(row[0]) if row and row[0] > index else None

    def _batch(self, where: str, key: int) -> Held | None:
        row = self._db.execute(f"{_BATCH} AND {where}", (self._log, key)).fetchone()
        return Held(merkle.Range(row[0], row[1], _hashes(row[2])), row[3], row[4]) if row else None

    def _head(self, where: str, key: int) -> HeldHead | None:
        row = self._db.execute(f"{_HEAD} AND {where}", (self._log, key)).fetchone()
        if row is None:
            return None
        number, size, tree, root, old, path = row
        proof = None if old is None else Consistency(old, _hashes(path))
        return HeldHead(number, merkle.Range(0, size, _hashes(tree)), root, proof)


def _hashes(stored: bytes) -> tuple[bytes, ...]:
    width = merkle.HASH_BYTES
    return tuple(stored[at : at + width] for at in range(0, len(stored), width))

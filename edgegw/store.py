"""The store: one SQLite file that is the only queue between the sensors and the upstream.

WAL with `synchronous=FULL`: a batch is accepted when its transaction returns, and a power cut takes nothing that
was accepted. One connection, used by one thread, writes, reads and checkpoints. This module keeps bytes; it
knows nothing of signatures.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from edgegw import schema
from edgegw.problems import GatewayError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VERSION: Final = 1
PAGE_BYTES: Final = 4096
# The WAL is folded into the file at this many pages (2 MiB), or an eighth of a small quota: while a checkpoint
# waits for the disk the WAL can grow to twice that.
CHECKPOINT_PAGES: Final = 512
# Pages that stay free below the quota, so that deleting, heads and `lost` records always find room.
SPARE_PAGES: Final = 32
# Batches that one transaction removes: a removal of a day's backlog must not hold up the next batch.
REMOVE_AT_ONCE: Final = 64

# What is written at once when the WAL of an earlier run is made durable.
SETTLE_BYTES: Final = 256 * 1024

# Heads that one look-up gives.
HEADS_AT_ONCE: Final = 64

FILE_NAME: Final = "edgegw.db"


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """A sealed batch: records [first, first+count), its earliest record time, its message."""

    first: int
    count: int
    time: float
    message: bytes

    @property
    def end(self) -> int:
        """The index after its last record."""
        return self.first + self.count


class StoredHead(NamedTuple):
    """A sealed head."""

    number: int
    size: int
    message: bytes


class Totals(NamedTuple):
    """How much lies behind a log position: batches, records and message bytes, and the earliest record time."""

    batches: int
    records: int
    bytes: int
    oldest: float | None


class StoreFull(Exception):  # noqa: N818 -- a state that policy decides about, not a mistake
    """There is no room for more under the quota or on the disk."""


class StoreFailed(GatewayError):  # noqa: N818 -- the name of a state of the gateway
    """The database cannot be used: another version, damage, or a disk that does not write."""

    def __init__(self, code: str, what: str, why: str = "") -> None:
        super().__init__(code, what, why=why)


class Store:
    """The database file in a directory of the daemon's own.

    All methods block and belong to one thread. Sizes are bytes, positions are log indices. `max_size` bounds
    file and WAL together; `keep_free` is left to others on the file system.
    """

    def __init__(self, directory: Path, *, max_size: int, keep_free: int = 0) -> None:
        """Open or make the database; StoreFailed when that is not possible."""
        self._directory = directory
        self.path = directory / FILE_NAME
        self._keep_free = keep_free
        pages = max_size // PAGE_BYTES
        self._checkpoint_pages = min(CHECKPOINT_PAGES, pages // 8)
        self._max_pages = pages - 2 * self._checkpoint_pages - SPARE_PAGES
        self.written_bytes = 0
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            # The file holds the secret of the salts: nobody else reads it, from its first moment on.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            _settle(self.path.with_name(FILE_NAME + "-wal"))
            self._db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        except PermissionError as error:
            raise GatewayError("EG-PERMISSION", f"{error.filename}: not allowed") from error
        except (OSError, sqlite3.Error) as error:
            raise StoreFailed("EG-STORE-FAILED", f"{self.path}: {error}") from error
        try:
            self._prepare()
        except sqlite3.OperationalError as error:
            self._db.close()
            raise StoreFailed("EG-STORE-FAILED", f"{self.path}: {error}") from error
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise StoreFailed("EG-STORE-DAMAGED", f"{self.path}: {error}") from error
        except BaseException:
            self._db.close()
            raise

    def _prepare(self) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise StoreFailed(
                "EG-STORE-VERSION", f"{self.path} is of version {version}, this program knows {VERSION}"
            )
        self._db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        empty = version == 0 and self._is_empty()
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute(f"PRAGMA wal_autocheckpoint = {self._checkpoint_pages}")
        self._db.execute(f"PRAGMA journal_size_limit = {self._checkpoint_pages * PAGE_BYTES}")
        self._db.execute(
            "PRAGMA cache_size = -2048"
        )  # KiB: the tail of the log; more would not be read again
        self._db.execute("PRAGMA temp_store = MEMORY")
        if empty:
            schema.create(self._db)
        elif version < VERSION:
            schema.migrate(self._db)
        self._db.execute(f"PRAGMA max_page_count = {self._max_pages + SPARE_PAGES}")

    def _is_empty(self) -> bool:
        """Whether there are no tables; False where a migration was begun, StoreFailed for another program's."""
        names = [name for (name,) in self._db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        if any(not name.startswith(("_sqlite_migrations", "sqlite_")) for name in names):
            raise StoreFailed("EG-STORE-VERSION", f"{self.path} is a database of another program")
        return not names

    def close(self) -> None:
        """Fold the WAL in and close."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything within is durable when this returns, or nothing of it happened.

        Raises StoreFull when there is no room and StoreFailed for any other refusal of the database.
        """
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL:
                raise StoreFull(str(error)) from error
            raise StoreFailed("EG-STORE-FAILED", f"{self.path}: {error}") from error
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    # -- what a transaction does

    def add_batch(self, batch: StoredBatch) -> None:
        """Append a batch to the log."""
        before = self._db.execute(
            "SELECT ordinal, bytes_before + length(message) FROM batch ORDER BY first DESC LIMIT 1"
        ).fetchone() or (self.number("ordinal"), self.number("bytes"))
        self._db.execute(
            "INSERT INTO batch(first, count, time, ordinal, bytes_before, message) VALUES (?, ?, ?, ?, ?, ?)",
            (batch.first, batch.count, batch.time, before[0] + 1, before[1], batch.message),
        )
        self.written_bytes += len(batch.message)

    def add_head(self, head: StoredHead) -> None:
        """Append a head; an older one of the same size says nothing more and goes."""
        self._db.execute("DELETE FROM head WHERE size = ?", (head.size,))
        self._db.execute("INSERT INTO head(number, size, message) VALUES (?, ?, ?)", tuple(head))
        self.written_bytes += len(head.message)

    def put(self, key: str, value: float | str | bytes | None) -> None:
        """Set a single value; None removes it."""
        if value is None:
            self._db.execute("DELETE FROM state WHERE key = ?", (key,))
        else:
            self._db.execute("INSERT OR REPLACE INTO state(key, value) VALUES (?, ?)", (key, value))

    def remove(self, first: int, end: int) -> int:
        """Remove the batches within [first, end), at most REMOVE_AT_ONCE of them; how many are gone."""
        last = self._db.execute(
            "SELECT ordinal, bytes_before + length(message) FROM batch ORDER BY first DESC LIMIT 1"
        ).fetchone()
        if last:  # the totals go on also when the last batch goes
            self.put("ordinal", last[0])
            self.put("bytes", last[1])
        return self._db.execute(
            "DELETE FROM batch WHERE first IN "
            "(SELECT first FROM batch WHERE first >= ? AND first < ? ORDER BY first LIMIT ?)",
            (first, end, REMOVE_AT_ONCE),
        ).rowcount

    def remove_heads(self, below: int) -> None:
        """Remove the heads of less than `below` records, except the newest two."""
        self._db.execute(
            "DELETE FROM head WHERE size < ? AND number < (SELECT max(number) - 1 FROM head)", (below,)
        )

    # -- reads

    def get(self, key: str, default: object = None) -> object:
        """A single value."""
        row = self._db.execute("SELECT value FROM state WHERE key = ?", (key,)).fetchone()
        return row[0] if row else default

    def number(self, key: str) -> int:
        """A single whole number; 0 when it is not there."""
        value = self.get(key, 0)
        return value if isinstance(value, int) else 0

    def end(self) -> int | None:
        """The index after the last stored record; None when there is no batch."""
        row = self._db.execute("SELECT first + count FROM batch ORDER BY first DESC LIMIT 1").fetchone()
        return int(row[0]) if row else None

    def batches_from(self, first: int, limit_bytes: int) -> list[StoredBatch]:
        """Batches in log order from the one that holds `first` or the next one; at least one if there is any."""
        found: list[StoredBatch] = []
        size = 0
        begin = self._holding(first)
        for row in self._db.execute(
            "SELECT first, count, time, message FROM batch WHERE first >= ? ORDER BY first", (begin,)
        ):
            size += len(row[3])
            if found and size > limit_bytes:
                break
            found.append(StoredBatch(*row))
        return found

    def _holding(self, index: int) -> int:
        row = self._db.execute(
            "SELECT first, count FROM batch WHERE first <= ? ORDER BY first DESC LIMIT 1", (index,)
        ).fetchone()
        return row[0] if row and index < row[0] + row[1] else index

    def batch_ending(self, end: int) -> StoredBatch | None:
        """The batch whose last record is `end` - 1."""
        row = self._db.execute(
            "SELECT first, count, time, message FROM batch WHERE first < ? ORDER BY first DESC LIMIT 1",
            (end,),
        ).fetchone()
        batch = StoredBatch(*row) if row else None
        return batch if batch and batch.end == end else None

    def heads_between(self, after_size: int, up_to_size: int) -> list[StoredHead]:
        """The heads of more than `after_size` and up to `up_to_size` records, in order; at most HEADS_AT_ONCE."""
        rows = self._db.execute(
            "SELECT number, size, message FROM head WHERE size > ? AND size <= ? ORDER BY number LIMIT ?",
            (after_size, up_to_size, HEADS_AT_ONCE),
        )
        return [StoredHead(*row) for row in rows]

    def head_of(self, size: int) -> StoredHead | None:
        """The head of exactly this size."""
        row = self._db.execute("SELECT number, size, message FROM head WHERE size = ?", (size,)).fetchone()
        return StoredHead(*row) if row else None

    def head_after(self, size: int) -> StoredHead | None:
        """The smallest head of more than `size` records."""
        row = self._db.execute(
            "SELECT number, size, message FROM head WHERE size > ? ORDER BY size LIMIT 1", (size,)
        ).fetchone()
        return StoredHead(*row) if row else None

    def newest_head(self) -> StoredHead | None:
        """The head with the highest number."""
        row = self._db.execute(
            "SELECT number, size, message FROM head ORDER BY number DESC LIMIT 1"
        ).fetchone()
        return StoredHead(*row) if row else None

    def totals_from(self, first: int) -> Totals:
        """What is stored from log position `first` on."""
        oldest = self._db.execute(
            "SELECT first, time, ordinal, bytes_before FROM batch WHERE first >= ? ORDER BY first LIMIT 1",
            (self._holding(first),),
        ).fetchone()
        newest = self._db.execute(
            "SELECT first + count, ordinal, bytes_before + length(message) FROM batch ORDER BY first DESC LIMIT 1"
        ).fetchone()
        if not oldest or not newest:
            return Totals(0, 0, 0, None)
        return Totals(
            newest[1] - oldest[2] + 1, newest[0] - max(oldest[0], first), newest[2] - oldest[3], oldest[1]
        )

    def oldest(self) -> StoredBatch | None:
        """The batch with the lowest index."""
        found = self.batches_from(0, 0)
        return found[0] if found else None

    def first_since(self, time: float) -> int | None:
        """First index of the oldest batch that is not older than `time`, looking at REMOVE_AT_ONCE of them."""
        rows = self._db.execute("SELECT first, time FROM batch ORDER BY first LIMIT ?", (REMOVE_AT_ONCE,))
        return next((first for first, when in rows if when >= time), None)

    # -- room

    def pragma(self, name: str) -> int:
        """The value of a numeric pragma, for inspection."""
        return int(self._db.execute(f"PRAGMA {name}").fetchone()[0])

    def room_for(self, message_bytes: int) -> bool:
        """Whether a batch of this size fits under the quota and leaves `keep_free` on the disk."""
        pages = message_bytes // (PAGE_BYTES - 4) + 4  # overflow pages, the leaf, its parents
        free = self.pragma("freelist_count")
        if pages <= free:
            return True
        fits = self.pragma("page_count") - free + pages <= self._max_pages
        return fits and not self.disk_is_low()

    def disk_is_low(self) -> bool:
        """Whether others have filled the file system beyond `keep_free`."""
        disk = os.statvfs(self._directory)
        return disk.f_bavail * disk.f_frsize < self._keep_free

    def bytes(self) -> int:
        """Size of the file and its WAL."""
        return sum(
            os.stat(path).st_size  # noqa: PTH116 -- a path that may vanish is asked once
            for path in (self.path, self.path.with_name(FILE_NAME + "-wal"))
            if path.exists()
        )


def _settle(wal: Path) -> None:
    """Make durable what a run before this one left in the WAL, before anybody relies on it; raises OSError.

    A process killed between the write and the sync of a commit leaves a batch that its successor reads and sends, and
    that a power cut takes. After a sync that failed Linux counts the pages as written although they are not, and a
    later sync of them does nothing (https://wiki.postgresql.org/wiki/Fsync_Errors). So the same bytes are written
    again, in their place. A checkpoint would not do: it trusts the WAL, and a cut in its middle mixes old and new.
    """
    try:
        file = os.open(wal, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        at = 0
        while data := os.pread(file, SETTLE_BYTES, at):
            try:
                at += os.pwrite(file, data, at)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                break  # a file system that never writes in place is full: the gateway starts all the same
        os.fsync(file)
    finally:
        os.close(file)  # SQLite locks the database and the shared index, never this file

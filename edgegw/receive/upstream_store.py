"""The upstream store: one SQLite file with the signed messages, the readings in them, and where each log stands.

One connection, used by one thread. What `transaction` committed is durable (WAL, `synchronous=FULL`). Others may
read the file at any time (`file:PATH?mode=ro`) through the views `readings`, `gateways` and `details`.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from edgegw.receive import opening
from edgegw.receive.evidence import LogEvidence, stored_range
from edgegw.receive.rows import Name, details, name_of, rows
from edgegw.receive.stretches import Stretches
from edgegw.wire import merkle

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edgegw.receive.conflicts import Conflict
    from edgegw.wire.batch import Batch
    from edgegw.wire.head import Head

# Conflicts kept of one log: the first is proof enough, and each may bring two messages of 256 KiB.
MAX_CONFLICTS: Final = 64
# Batches behind a named loss that are looked through for the next hole, some milliseconds.
MAX_LOOK: Final = 10_000
# Names remembered between batches, at most half a kilobyte each: more than 500 gateways have quantities. A unit
# may be as long as a message; those of the registry have at most ten characters.
MAX_NAMES: Final = 16_384
MAX_UNIT: Final = 16


@dataclass(slots=True)
class Log:
    """Where one log stands; change it and hand it to `save`.

    `tree` is the compact range of the complete prefix, `size` the largest size that its gateway signed, `held` and
    `proven` count readings, `fork` is the size beyond which nothing is receipted, `ended` the size and root at which
    a later epoch says that this one ended. `newest` is the id of its newest message: clocks jump, ids do not.
    """

    id: int
    gateway: str
    epoch: str
    iss: str
    last_seen: float
    size: int = 0
    receipted: int = 0
    held: int = 0
    proven: int = 0
    fork: int | None = None
    newest: int = 0
    simulated: bool = False
    tree: merkle.Range = field(default_factory=merkle.Range.empty)
    ended: tuple[int, bytes] | None = None


class Totals(NamedTuple):
    """Readings of all logs: stored, proven, and covered by receipts."""

    readings: int
    proven: int
    receipted: int


class SignedSize(NamedTuple):
    """A size of a log and the root that its gateway signed there."""

    size: int
    root: bytes


class UpstreamStore:
    """The database at `path`. All methods block and belong to one thread; all but the reading ones need a transaction.

    Raises GatewayError with exit code 9 when it cannot be opened or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = opening.lock(path)
        try:
            self.db = opening.connect(path)
        except BaseException:
            os.close(self._lock)
            raise
        self.lost = Stretches(self.db, "lost")
        self.proven = Stretches(self.db, "proven")
        self._names: dict[tuple[str, str | None], int] = {}

    def evidence(self, log: Log) -> LogEvidence:
        """What was seen of this log."""
        return LogEvidence(self.db, self.lost, log.id)

    def close(self) -> None:
        """Fold the WAL in, close, and let others write."""
        self.db.close()
        os.close(self._lock)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything within is durable when this returns, or nothing of it happened."""
        try:
            self.db.execute("BEGIN IMMEDIATE")
            yield
            self.db.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            raise opening.failure(self.path, error) from error
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        self._names.clear()  # some of them may not exist any more
        if self.db.in_transaction:
            self.db.execute("ROLLBACK")

    # -- logs

    def log(self, gateway: str, epoch: str) -> Log | None:
        """The log of this epoch."""
        row = self.db.execute(f"{_LOG} WHERE gateway = ? AND epoch = ?", (gateway, epoch)).fetchone()
        return _log(row) if row else None

    def log_numbered(self, number: int) -> Log | None:
        """The log with this id."""
        row = self.db.execute(f"{_LOG} WHERE id = ?", (number,)).fetchone()
        return _log(row) if row else None

    def latest(self, gateway: str) -> Log | None:
        """The gateway's log that brought something last."""
        row = self.db.execute(f"{_LOG} WHERE gateway = ? ORDER BY newest DESC LIMIT 1", (gateway,)).fetchone()
        return _log(row) if row else None

    def epochs(self, gateway: str) -> int:
        """How many logs of the gateway there are."""
        return int(self.db.execute("SELECT count(*) FROM log WHERE gateway = ?", (gateway,)).fetchone()[0])

    def add_log(self, gateway: str, epoch: str, iss: str, seen: float) -> Log:
        """Begin to follow a log."""
        number = self.db.execute(
            "INSERT INTO log(gateway, epoch, iss, last_seen) VALUES (?, ?, ?, ?)", (gateway, epoch, iss, seen)
        ).lastrowid
        return Log(number or 0, gateway, epoch, iss, seen)

    def save(self, log: Log) -> None:
        """Keep where a log stands."""
        ended = log.ended or (None, None)
        self.db.execute(
            "UPDATE log SET simulated = ?, size = ?, complete = ?, tree = ?, receipted = ?, held = ?, proven = ?,"
            " fork = ?, ended_size = ?, ended_root = ?, newest = ?, last_seen = ? WHERE id = ?",
            (
                log.simulated,
                log.size,
                log.tree.end,
                b"".join(log.tree.hashes),
                log.receipted,
                log.held,
                log.proven,
                log.fork,
                *ended,
                log.newest,
                log.last_seen,
                log.id,
            ),
        )

    def touch(self, gateway: str, seen: float) -> None:
        """The gateway spoke, though not about a log."""
        self.db.execute(
            "UPDATE log SET last_seen = ? WHERE id ="
            " (SELECT id FROM log WHERE gateway = ? ORDER BY newest DESC LIMIT 1)",
            (seen, gateway),
        )

    def unfinished(self) -> list[int]:
        """Ids of the logs whose prefix is not complete up to their size."""
        return [number for (number,) in self.db.execute("SELECT id FROM log WHERE complete < size")]

    def totals(self) -> Totals:
        """Readings of all logs."""
        row = self.db.execute(
            "SELECT coalesce(sum(held), 0), coalesce(sum(proven), 0), coalesce(sum(receipted), 0) FROM log"
        ).fetchone()
        return Totals(*row)

    # -- what a log consists of

    def add_batch(self, log: Log, batch: Batch, message: bytes, received: float) -> None:
        """Keep a batch that was judged new: the message and a row for each reading."""
        self.db.execute(
            "INSERT INTO batch(log, first, stop, root, content, leaves, message) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                log.id,
                batch.first,
                batch.end,
                batch.root,
                batch.content,
                b"".join(batch.range.hashes),
                self._message(log, message, received),
            ),
        )
        ids = self._ids(batch)
        self.db.executemany(
            "INSERT INTO reading(log, idx, name, t, value, text, q) VALUES (?, ?, ?, ?, ?, ?, ?)",
            rows(log.id, batch.first, batch.records, ids),
        )
        self.db.executemany(
            "INSERT INTO detail(log, idx, fields) VALUES (?, ?, ?)",
            details(log.id, batch.first, batch.records),
        )

    def add_head(self, log: Log, head: Head, message: bytes, received: float) -> None:
        """Keep a head that was judged new."""
        self.db.execute(
            "INSERT INTO head(log, number, size, root, tree, message) VALUES (?, ?, ?, ?, ?, ?)",
            (
                log.id,
                head.number,
                head.size,
                head.root,
                b"".join(head.tree.hashes),
                self._message(log, message, received),
            ),
        )

    def add_conflict(self, log: Log, conflict: Conflict, content: bytes, message: bytes, at: float) -> bool:
        """Keep two contents that cannot both be true; False when this one is known or there are enough of them."""
        (count,) = self.db.execute("SELECT count(*) FROM conflict WHERE log = ?", (log.id,)).fetchone()
        if count >= MAX_CONFLICTS:
            return False
        added = self.db.execute(
            "INSERT OR IGNORE INTO conflict(log, verdict, place, content, held, message, received)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (log.id, conflict.verdict, conflict.place, content, conflict.held, message, at),
        )
        return added.rowcount == 1

    # -- reads

    def batch_message(self, log: Log, index: int) -> bytes | None:
        """The message of the batch that holds this index."""
        row = self.db.execute(
            "SELECT stop, (SELECT bytes FROM message WHERE id = batch.message) FROM batch"
            " WHERE log = ? AND first <= ? ORDER BY first DESC LIMIT 1",
            (log.id, index),
        ).fetchone()
        return bytes(row[1]) if row and row[0] > index else None

    def head_message(self, log: Log, number: int) -> bytes | None:
        """The message of the head with this number."""
        row = self.db.execute(
            "SELECT (SELECT bytes FROM message WHERE id = head.message) FROM head WHERE log = ? AND number = ?",
            (log.id, number),
        ).fetchone()
        return bytes(row[0]) if row else None

    def newest_head(self, log: Log) -> int | None:
        """The highest number of a head."""
        row = self.db.execute("SELECT max(number) FROM head WHERE log = ?", (log.id,)).fetchone()
        return int(row[0]) if row[0] is not None else None

    def signed_at(self, log: Log, size: int) -> bytes | None:
        """The root that the gateway signed at exactly this size, by a batch or a head."""
        row = self.db.execute(
            "SELECT stop, root FROM batch WHERE log = ? AND first < ? ORDER BY first DESC LIMIT 1",
            (log.id, size),
        ).fetchone()
        if row and row[0] == size:
            return bytes(row[1])
        row = self.db.execute(
            "SELECT root FROM head WHERE log = ? AND size = ? LIMIT 1", (log.id, size)
        ).fetchone()
        return bytes(row[0]) if row else None

    def proven_end(self, log: Log, size: int) -> SignedSize | None:
        """The largest end of a proven batch of at most this size, with the root that the gateway signed there."""
        for stop, root in self.db.execute(
            "SELECT stop, root FROM batch WHERE log = ? AND first < ? ORDER BY first DESC LIMIT 2",
            (log.id, min(size, log.tree.end)),
        ):
            if stop <= size and self.proven.end_around(log.id, stop - 1):
                return SignedSize(stop, root)
        return None

    def first_missing(self, log: Log) -> int | None:
        """The lowest index between the complete prefix and the size that is neither held nor named as lost.

        None when there is none, or none within the next MAX_LOOK batches.
        """
        index = log.tree.end
        rows = self.db.execute(
            "SELECT first, stop FROM batch WHERE log = ? AND first >= ? ORDER BY first LIMIT ?",
            (log.id, index, MAX_LOOK),
        ).fetchall()
        for first, stop in [*rows, (log.size, log.size)] if len(rows) < MAX_LOOK else rows:
            if index < first:
                index = self.lost.end_around(log.id, index) or index
            if index < first:
                return index
            index = max(index, stop)
        return None

    def next_held(self, log: Log, index: int) -> int | None:
        """The lowest first index of a batch that begins at `index` or later."""
        row = self.db.execute(
            "SELECT first FROM batch WHERE log = ? AND first >= ? ORDER BY first LIMIT 1", (log.id, index)
        ).fetchone()
        return int(row[0]) if row else None

    # -- messages and names

    def _message(self, log: Log, message: bytes, received: float) -> int:
        added = self.db.execute("INSERT INTO message(received, bytes) VALUES (?, ?)", (received, message))
        log.newest = added.lastrowid or 0
        return log.newest

    def _ids(self, batch: Batch) -> dict[tuple[str, str | None], int]:
        """Ids of the names and units of a batch."""
        found = {}
        for record in {(record.name, record.unit): record for record in batch.records}.values():
            key = record.name, record.unit
            found[key] = self._names.get(key) or self._name_id(name_of(record, batch.log.iss))
        if len(self._names) > MAX_NAMES:
            self._names.clear()
        self._names.update((key, number) for key, number in found.items() if len(key[1] or "") <= MAX_UNIT)
        return found

    def _name_id(self, name: Name) -> int:
        row = self.db.execute(
            "SELECT id FROM name WHERE name = ? AND unit = ?", (name.name, name.unit)
        ).fetchone()
        if row:
            return int(row[0])
        added = self.db.execute(
            "INSERT INTO name(name, unit, sensor, quantity) VALUES (?, ?, ?, ?)", tuple(name)
        )
        return added.lastrowid or 0


_LOG: Final = (
    "SELECT id, gateway, epoch, iss, last_seen, size, receipted, held, proven, fork, newest, simulated, complete,"
    " tree, ended_size, ended_root FROM log"
)


def _log(row: tuple[Any, ...]) -> Log:
    log = Log(*row[:11])
    simulated, complete, tree, ended, root = row[11:]
    log.simulated = bool(simulated)
    log.tree = stored_range(0, complete, tree)
    log.ended = None if ended is None else (ended, root)
    return log

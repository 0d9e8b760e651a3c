"""The keeper of the log: journal and store together, in the one thread that may touch them.

What `commit` returned is accepted: signed and on disk. Nothing is forgotten without a receipt, or without a signed
`lost` record that goes to disk in the same transaction.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from edgegw.journal import Closed, JournalError, Limits, Sealed, signed_root
from edgegw.receipts import FORGED, Taken, judge
from edgegw.resume import Who, hold, resume, set_aside
from edgegw.store import (
    HEADS_AT_ONCE,
    Store,
    StoredBatch,
    StoredHead,
    StoreFailed,
    StoreFull,
    Totals,
)
from edgegw.wire import batch, senml, verify
from edgegw.wire.log import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgegw.wire.cose import VerifyKey
    from edgegw.wire.log import LogId

# Between two heads lies at most this part of the store: eviction takes whole intervals.
HEADS_PER_STORE: Final = 16
# Batches that one housekeeping turn removes, so that commits are not held up.
PRUNE_AT_ONCE: Final = 512


@dataclass(frozen=True, slots=True)
class Policy:
    """What the store may hold and what happens when it is full; sizes in bytes, `keep` in seconds."""

    max_size: int
    keep_free: int
    keep: float
    drop_oldest: bool
    limits: Limits


class Committed(NamedTuple):
    """Records [first, end) are accepted; `head_wanted` says that the next head should be made now."""

    first: int
    end: int
    head_wanted: bool
    lost: int


class Snapshot(NamedTuple):
    """The state of the log for `status`."""

    log: LogId
    size: int
    receipted: int
    backlog: Totals
    store_bytes: int
    written_bytes: int
    lost: int
    head_number: int
    disk_is_low: bool


class Keeper:
    """Owns the store's directory. Every method blocks and belongs to one thread."""

    def __init__(self, directory: Path, who: Who, policy: Policy) -> None:
        """Open the store and resume the log.

        A damaged database is set aside, never deleted, and a new log begins. Raises GatewayError when the
        directory is locked by another daemon, not accessible, or holds a database of another version.
        """
        self._directory = directory
        self._who = who
        self._policy = policy
        self._writer = senml.RecordWriter(who.iss)
        self.notes: list[tuple[str, str]] = []  # (problem code, text) of what opening found
        self._lock = hold(directory)
        self._unsure: Sealed | None = None
        self._open()

    # -- opening

    def _open(self) -> None:
        try:
            self._store = self._new_store()
            self._resume()
        except (JournalError, StoreFailed) as error:
            if isinstance(error, StoreFailed) and error.code != "EG-STORE-DAMAGED":
                raise
            self.notes.append(("EG-STORE-DAMAGED", f"{error}; kept as {self._set_aside('damaged')}"))
            self._store = self._new_store()
            self._resume()

    def _new_store(self) -> Store:
        return Store(self._directory, max_size=self._policy.max_size, keep_free=self._policy.keep_free)

    def _set_aside(self, why: str) -> Path:
        with suppress(AttributeError):
            self._store.close()
        return set_aside(self._directory, why)

    def _resume(self, previous: batch.Previous | None = None) -> None:
        self._journal, self.newest_time = resume(self._store, self._who, previous)
        self._receipted = min(self._store.number("receipted"), self._journal.size)
        self._dirty = False
        self._finish_eviction()

    def reopen(self) -> None:
        """After a failed write: open again, check the tail, find out whether the last batch is there or not."""
        with suppress(Exception):  # the old connection may be beyond closing; a new one is what counts
            self._store.close()
        receipted = self._receipted
        self._open()
        self._receipted = max(self._receipted, min(receipted, self._journal.size))

    def close(self) -> None:
        """Write what is pending and close the store."""
        with suppress(StoreFull, StoreFailed):
            self._flush()
        self._store.close()
        os.close(self._lock)

    # -- writing

    def commit(self, closed: Closed, issued: int) -> Committed:
        """Seal and store a batch; what returns is accepted.

        Raises StoreFull when the policy is to stop, StoreFailed when the disk does not write: then nothing
        of it is accepted, and `reopen` comes before the next try with the same records.
        """
        done = self._already_there(closed)
        if done:
            return done
        lost = self._make_room(closed, issued)
        sealed = self._journal.seal(closed, issued)
        self._unsure = sealed
        with self._store.transaction():
            self._store.add_batch(StoredBatch(sealed.first, sealed.count, closed.times[0], sealed.message))
            if self._dirty:
                self._store.put("receipted", self._receipted)
        self._dirty = False
        self._took(sealed)
        return Committed(sealed.first, self._journal.size, self._head_wanted(), lost)

    def _took(self, sealed: Sealed) -> None:
        self._unsure = None
        self._journal.took(sealed)

    def _already_there(self, closed: Closed) -> Committed | None:
        """Whether the batch whose transaction reported an error is on disk all the same."""
        sealed, self._unsure = self._unsure, None
        if sealed is None or sealed.first + sealed.count != self._journal.size:
            return None
        stored = self._store.batch_ending(self._journal.size)
        if stored is None or stored.message != sealed.message or len(closed.records) != sealed.count:
            return None
        return Committed(sealed.first, self._journal.size, self._head_wanted(), 0)

    def _head_wanted(self) -> bool:
        return self._journal.head_wanted(self._policy.max_size // HEADS_PER_STORE)

    def event(
        self, name: str, value: float | str, t: float, extra: Mapping[str, object], unit: str = ""
    ) -> bytes:
        """The record of a gateway event."""
        return self._writer.event(name, value, t, dict(extra), unit)

    def make_head(self, issued: int) -> StoredHead | None:
        """Sign and store a head over the whole log; None while the log is empty."""
        if not self._journal.size:
            return None
        sealed = self._journal.seal_head(issued)
        head = StoredHead(*sealed)
        with self._store.transaction():
            self._store.add_head(head)
            if self._dirty:
                self._store.put("receipted", self._receipted)
        self._dirty = False
        self._journal.took_head(sealed)
        return head

    def _flush(self) -> None:
        if self._dirty:
            with self._store.transaction():
                self._store.put("receipted", self._receipted)
            self._dirty = False

    # -- room

    def _make_room(self, closed: Closed, issued: int) -> int:
        """Remove receipted batches, then, if the policy says so, whole intervals of the oldest; records lost."""
        message_bytes = sum(map(len, closed.records)) + batch.MAX_ENVELOPE
        lost = 0
        while not self._store.room_for(message_bytes):
            if self._journal.head_size < self._receipted:
                self.make_head(issued)
            if self._prune(self._receipted):
                continue
            if not self._policy.drop_oldest:
                raise StoreFull("the store is full and its policy is to stop")
            gone = self._evict(closed, issued)
            if not gone:
                raise StoreFull("the store is full and nothing in it can go")
            lost += gone
        return lost

    def _prune(self, below: int) -> int:
        """Remove some receipted batches below `below`; how many."""
        with self._store.transaction():
            if self._dirty:  # nothing goes before it is known on disk that it may
                self._store.put("receipted", self._receipted)
            # A start finds the end of the log from the newest head on: nothing behind that head may go.
            gone = self._store.remove(0, min(below, self._receipted, self._journal.head_size))
            if gone:
                oldest = self._store.oldest()
                self._store.remove_heads(oldest.first if oldest else self._journal.size)
        self._dirty = False
        return gone

    def _evict(self, closed: Closed, issued: int) -> int:
        """Drop the oldest interval between heads, and sign its loss in the same transaction."""
        oldest = self._store.batches_from(self._receipted, 0)
        if not oldest or oldest[0].first >= self._journal.size:
            return 0
        first = max(oldest[0].first, self._receipted)
        head = self._store.head_after(first)
        if head is None:
            made = self.make_head(issued)
            if made is None:
                return 0
            head = made
        # The record names the whole hole since the last receipt: an earlier one may be in what goes now.
        begin, t = self._receipted, closed.times[-1]
        record = self.event(
            "lost", head.size - begin, t, {"from": begin, "to": head.size, "why": "full"}, "count"
        )
        sealed = self._journal.seal(Closed([record], [t], closed.clock, closed.since), issued)
        with self._store.transaction():
            self._store.remove(oldest[0].first, head.size)
            self._store.add_batch(StoredBatch(sealed.first, sealed.count, t, sealed.message))
            self._store.put("evicting", f"{oldest[0].first} {head.size}")
            self._store.put("lost", self._store.number("lost") + head.size - first)
        self._journal.took(sealed)
        self._finish_eviction()
        return head.size - first

    def _finish_eviction(self) -> None:
        """Remove what is already named as lost; also after a kill in the middle of it."""
        first, _, end = str(self._store.get("evicting", "")).partition(" ")
        if not end:
            return
        gone = True
        while gone:
            with self._store.transaction():
                gone = bool(self._store.remove(int(first), int(end)))
                if not gone:
                    self._store.put("evicting", None)

    def prune(self, now: float) -> int:
        """Remove receipted batches older than `keep`, at most PRUNE_AT_ONCE; how many. `now` is POSIX seconds."""
        total = 0
        while total < PRUNE_AT_ONCE:
            oldest = self._store.oldest()
            if oldest is None or oldest.time > now - self._policy.keep or oldest.end > self._receipted:
                break
            young = self._store.first_since(now - self._policy.keep)
            gone = self._prune(self._receipted if young is None else young)
            if not gone:
                break
            total += gone
        return total

    @property
    def head_number(self) -> int:
        """Number of the newest head; -1 when there is none."""
        return self._journal.head_number

    # -- receipts

    @property
    def size(self) -> int:
        """Records in the log."""
        return self._journal.size

    @property
    def receipted(self) -> int:
        """Size of the log under the newest valid receipt."""
        return self._receipted

    @property
    def log(self) -> LogId:
        """Which log this is."""
        return self._journal.log

    def acknowledged(self, size: int) -> Taken:
        """The weaker mode: everything below `size` counts as delivered."""
        if self._receipted < size <= self._journal.size:
            self._receipted, self._dirty = size, True
            return Taken(size, progress=True)
        return Taken(self._receipted)

    def take_receipt(self, data: bytes, stores: Mapping[bytes, VerifyKey]) -> Taken:
        """Check a receipt against what this log signed (WIRE §4), and free what it covers."""
        try:
            receipt = verify.open_receipt(data, stores)
        except Refused as error:
            return Taken(self._receipted, FORGED, f"a receipt was refused: {error.reason}")
        if receipt.log == self._journal.log and receipt.size > self._journal.size:
            return self._rolled_back(receipt.size)
        taken = judge(receipt, self._journal.log, self._receipted, self._root_at(receipt.size), self._is_gone)
        if taken.progress:
            self._receipted, self._dirty = taken.size, True
        return taken

    def _root_at(self, size: int) -> bytes | None:
        if size == self._journal.size:
            return self._journal.tree.root()
        stored = self._store.batch_ending(size) or self._store.head_of(size)
        return signed_root(stored.message) if stored else None

    def _is_gone(self, size: int) -> bool:
        """Whether the batch that ended at `size` was evicted."""
        following = self._store.batches_from(size - 1, 0)
        return not following or following[0].first >= size

    def _rolled_back(self, size: int) -> Taken:
        """The upstream holds more than we do: the disk went back in time. A new log, announced, goes on."""
        text = f"the upstream holds {size} records of this log, this disk only {self._journal.size}"
        previous = batch.Previous(self._journal.log.stream, self._journal.size, self._journal.tree.root())
        aside = self._set_aside("rolled-back")
        self._store = self._new_store()
        self._resume(previous)
        return Taken(0, "EG-STORE-ROLLED-BACK", f"{text}; a new log begins, the old one is kept as {aside}")

    # -- reading

    def stretch(self, position: int, end: int, limit_bytes: int) -> list[StoredBatch | StoredHead]:
        """Batches from `position` on that begin before `end`, each head behind the batch that it ends with."""
        batches = [each for each in self._store.batches_from(position, limit_bytes) if each.first < end]
        heads = self._store.heads_between(position, batches[-1].end if batches else position)
        if len(heads) == HEADS_AT_ONCE:  # there may be more: they come with the next stretch
            batches = [each for each in batches if each.first < heads[-1].size] or batches[:1]
        found: list[StoredBatch | StoredHead] = [*batches, *heads]
        # A head of the size at which a batch begins stands before it, and behind the batch that ends there.
        return sorted(
            found, key=lambda each: each.first if isinstance(each, StoredBatch) else each.size - 0.5
        )

    def batches_from(self, first: int, limit_bytes: int) -> list[StoredBatch]:
        """See `Store.batches_from`."""
        return self._store.batches_from(first, limit_bytes)

    def heads_between(self, after_size: int, up_to_size: int) -> list[StoredHead]:
        """See `Store.heads_between`."""
        return self._store.heads_between(after_size, up_to_size)

    def head_after(self, size: int | None = None) -> StoredHead | None:
        """The smallest head of more than `size` records; without a size the newest head."""
        return self._store.newest_head() if size is None else self._store.head_after(size)

    def save(self, values: Mapping[str, float | str | None]) -> None:
        """Keep single values of the daemon's (the open stretch of the clock)."""
        with self._store.transaction():
            for key, value in values.items():
                self._store.put(key, value)

    def saved(self, key: str) -> object:
        """A value kept by `save`; None when it is not there."""
        return self._store.get(key)

    def snapshot(self) -> Snapshot:
        """The state of the log now; keeps what is pending, as far as the disk lets it."""
        with suppress(StoreFull, StoreFailed):
            self._flush()
        return Snapshot(
            self._journal.log,
            self._journal.size,
            self._receipted,
            self._store.totals_from(self._receipted),
            self._store.bytes(),
            self._store.written_bytes,
            self._store.number("lost"),
            self._journal.head_number,
            self._store.disk_is_low(),
        )

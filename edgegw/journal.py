"""The log of one gateway: when a batch closes, which indices it gets, how the log goes on. Pure.

`OpenBatch` collects records until a limit closes it. `Journal` seals what was closed and takes a step only when it
is told that the sealed bytes are durable, so that a failed write leaves no trace in the log.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from edgegw.wire import batch, cose, head, log, merkle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgegw.wire.batch import Previous
    from edgegw.wire.cose import Signer, VerifyKey
    from edgegw.wire.log import LogId

# Records between two heads at the most: what a start has to read again, about a third of a second of work.
HEAD_RECORDS: Final = 50_000


class JournalError(ValueError):
    """Stored messages that are not the log they should be; the text says where."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When a batch closes: records, age in seconds of its first record, bytes of its message."""

    max_readings: int = 100
    max_age: float = 1.0
    max_bytes: int = 64 * 1024


class Closed(NamedTuple):
    """Records that will be one batch: in time order, their bytes and the state of the clock they were taken under.

    `times` are the record times, `since` the monotonic second of the first arrival.
    """

    records: Sequence[bytes]
    times: Sequence[float]
    clock: tuple[int, int]
    since: float


class OpenBatch:
    """Records that wait for their batch to close. Monotonic seconds come in as values."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._room = limits.max_bytes - batch.MAX_ENVELOPE
        self._records: list[bytes] = []
        self._times: list[float] = []
        self._bytes = 0
        self._since = 0.0
        self._clock = (batch.UNKNOWN, 0)

    def __len__(self) -> int:
        return len(self._records)

    def fits(self, record: bytes) -> bool:
        """Whether the record can join without closing the batch first."""
        return not self._records or (
            self._bytes + len(record) <= self._room and len(self._records) < self._limits.max_readings
        )

    def begin(self, now: float, clock: tuple[int, int]) -> float:
        """Open an empty batch at monotonic second `now` under a state of the clock; seconds until it closes."""
        self._since, self._clock = now, (int(clock[0]), clock[1])
        return self._limits.max_age

    def add(self, record: bytes, t: float, *, urgent: bool = False) -> bool:
        """Take a record in; True when the batch is full or urgent and should be closed now."""
        self._records.append(record)
        self._times.append(t)
        self._bytes += len(record)
        return urgent or len(self._records) >= self._limits.max_readings or self._bytes >= self._room

    def close(self) -> Closed:
        """Everything collected, in non-decreasing time, ties by arrival; the batch is empty afterwards."""
        records, times = self._records, self._times
        if any(later < earlier for earlier, later in pairwise(times)):
            order = sorted(range(len(times)), key=times.__getitem__)
            records, times = [records[i] for i in order], [times[i] for i in order]
        closed = Closed(records, times, self._clock, self._since)
        self._records, self._times, self._bytes = [], [], 0
        return closed


@dataclass(frozen=True, slots=True)
class Sealed:
    """A batch that is signed and not yet durable."""

    first: int
    count: int
    message: bytes
    range: merkle.Range


class SealedHead(NamedTuple):
    """A head that is signed and not yet durable."""

    number: int
    size: int
    message: bytes


class Journal:
    """The end of the log: the tree, and what the next head has to prove."""

    def __init__(
        self,
        log_id: LogId,
        secret: bytes,
        by: Signer,
        own: VerifyKey,
        *,
        simulated: bool = False,
        previous: Previous | None = None,
    ) -> None:
        """An empty log; `secret` is its 32 random bytes, `own` the public side of `by`, `previous` the log before."""
        self.log = log_id
        self.tree = merkle.Range.empty()
        self.head_number = -1
        self.bytes_since_head = 0
        self._secret = secret
        self._by = by
        self._own = own
        self._simulated = simulated
        self._previous = previous
        self._since_head = merkle.Range.empty()
        self._head_tree: merkle.Range | None = None

    @property
    def size(self) -> int:
        """Records in the log."""
        return self.tree.end

    @property
    def head_size(self) -> int:
        """Size of the newest head; 0 when there is none."""
        return self._head_tree.end if self._head_tree else 0

    def seal(self, closed: Closed, issued: int) -> Sealed:
        """The next batch, signed at POSIX second `issued`."""
        message, added = batch.seal(
            self.log,
            self.tree,
            closed.records,
            secret=self._secret,
            by=self._by,
            clock=closed.clock,
            issued=issued,
            simulated=self._simulated,
            previous=self._previous if not self.tree.end else None,
        )
        return Sealed(self.tree.end, len(closed.records), message, added)

    def took(self, sealed: Sealed) -> None:
        """The batch is durable: the log goes on after it."""
        self._grow(sealed.range, len(sealed.message))

    def _grow(self, added: merkle.Range, message_bytes: int) -> None:
        self.tree = self.tree.join(added)
        self._since_head = self._since_head.join(added)
        self.bytes_since_head += message_bytes

    def head_wanted(self, interval_bytes: int) -> bool:
        """Whether so much came since the last head that the next should not wait for its time.

        `interval_bytes` bounds what lies between two heads, because eviction takes whole intervals.
        """
        return self.size - self.head_size >= HEAD_RECORDS or self.bytes_since_head >= interval_bytes

    def seal_head(self, issued: int) -> SealedHead:
        """The head over the whole log, which must not be empty."""
        number = self.head_number + 1
        message = head.seal(
            self.log,
            self.tree,
            number,
            self._since_head,
            self._head_tree,
            by=self._by,
            issued=issued,
            simulated=self._simulated,
        )
        return SealedHead(number, self.tree.end, message)

    def took_head(self, sealed: SealedHead) -> None:
        """The head is durable."""
        self._headed(self.tree, sealed.number)

    def _headed(self, tree: merkle.Range, number: int) -> None:
        self._head_tree = tree
        self.head_number = number
        self._since_head = merkle.Range.empty(tree.end)
        self.bytes_since_head = 0

    def resume_head(self, message: bytes) -> None:
        """Start from a stored head of this log; JournalError when it is not one."""
        sealed = self._open(message)
        try:
            found = head.read(sealed, self.log, 0)
        except log.Refused as error:
            raise JournalError(f"the newest head does not hold: {error.reason}") from None
        self.tree = found.tree
        self._headed(found.tree, found.number)

    def resume_batch(self, message: bytes) -> batch.Batch:
        """Go on over a stored batch of this log; JournalError when it does not continue it."""
        sealed = self._open(message)
        try:
            found = batch.read(sealed, self.log, 0)
        except log.Refused as error:
            raise JournalError(f"the batch after record {self.size} does not hold: {error.reason}") from None
        if found.first != self.size:
            raise JournalError(f"record {self.size} is missing, the next batch begins at {found.first}")
        longer = self.tree.join(found.range)
        if longer.root() != found.root:
            raise JournalError(f"the records from {found.first} on are not the ones that were signed")
        self._grow(found.range, len(message))
        return found

    def _open(self, message: bytes) -> cose.Sign1:
        """Parts of a stored message; a signature of the present key is checked, one of an older key cannot be."""
        try:
            parts = cose.parse(message)
        except cose.CoseError as error:
            raise JournalError(f"a stored message is {error}") from None
        claims = log.claims(parts)
        if (claims.get(log.ISS), claims.get(log.SUB)) != (self.log.iss, self.log.stream):
            raise JournalError("a stored message is of another gateway or log")
        if parts.headers.get(cose.KID) == self._own.kid and not cose.verified(parts, self._own):
            raise JournalError("a stored message is not signed by this gateway")
        return parts


def signed_root(message: bytes) -> bytes | None:
    """The root that a stored batch or head of ours was signed with; None when the bytes are not one."""
    try:
        parts = cose.parse(message)
    except cose.CoseError:
        return None
    root = parts.payload if head.VDS in parts.headers else log.private(parts).get(log.ROOT)
    return root if isinstance(root, bytes) else None

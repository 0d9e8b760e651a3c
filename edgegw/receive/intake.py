"""What becomes of the messages that arrive: verified, judged, stored in one transaction, then proven.

Everything that is decided about a message is decided here (WIRE §9); `take` returns when it is durable. Whoever
calls it acknowledges afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

from edgegw.receive import epochs
from edgegw.receive.conflicts import batch_conflict, broken, head_conflict
from edgegw.receive.holes import Hole
from edgegw.receive.notes import Note
from edgegw.wire import cose, follow, verify
from edgegw.wire.batch import Batch
from edgegw.wire.follow import Broken, Proven, Skipped, Verdict
from edgegw.wire.head import Head
from edgegw.wire.log import LogId, Refused
from edgegw.wire.status import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgegw.receive.conflicts import Conflict
    from edgegw.receive.upstream_store import Log, UpstreamStore
    from edgegw.wire.verify import KeyRing

#: Logs of one gateway. A new one begins when a disk was lost: one a week for twenty years is beyond any honest one.
MAX_EPOCHS: Final = 1024
#: Steps of a log that are proven in one transaction, about half a second: messages that wait are not forgotten.
MAX_STEPS: Final = 10_000
#: A boot id is a UUID; systemd writes it without hyphens, a gateway without either makes one.
MAX_BOOT: Final = 64

_KINDS: Final = {"main/batch": Batch, "main/head": Head, "status": Status}


class Arrival(NamedTuple):
    """A message and the topic it came by."""

    topic: str
    payload: bytes


class Receiptable(NamedTuple):
    """The store holds the log up to `size`, whose root is `root`: signed by the gateway, complete, durable."""

    log: LogId
    number: int
    size: int
    root: bytes


class Place(NamedTuple):
    """Where a log has its first hole, if any, and whether something filled holes of it just now."""

    hole: Hole | None
    progress: bool


@dataclass
class Taken:
    """What a group of messages did, by gateway; all of it is durable.

    `refused` holds gateway and reason of each message that was not taken. `repeats` are ids of logs of which
    something came that a receipt covers already. `more` says that there is something left to prove.
    """

    notes: list[Note] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    receipts: dict[str, Receiptable] = field(default_factory=dict)
    repeats: dict[str, int] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    boots: dict[str, str] = field(default_factory=dict)
    more: bool = False


class Intake:
    """Takes messages for one store; `prefix` is that of the topics. Belongs to the store's thread."""

    def __init__(self, store: UpstreamStore, prefix: str, *, accept_simulated: bool) -> None:
        self._store = store
        self._prefix = prefix + "/"
        self._accept_simulated = accept_simulated
        self._unproven = set(store.unfinished())
        self._logs: dict[int, Log] = {}
        self._filled: set[int] = set()
        self._taken = Taken()

    def take(self, arrivals: Sequence[Arrival], ring: KeyRing, now: float) -> Taken:
        """Take a group of messages; `now` is POSIX seconds. GatewayError (exit 9) when they cannot be stored."""
        taken = self._taken = Taken()
        self._logs.clear()
        self._filled.clear()
        with self._store.transaction():
            for arrival in arrivals:
                try:
                    self._one(arrival, ring, now)
                except Refused as refused:
                    taken.refused.append((refused.gateway, refused.reason))
            self._prove(now)
        taken.more = bool(self._unproven)
        return taken

    def _one(self, arrival: Arrival, ring: KeyRing, now: float) -> None:
        gateway, _, kind = arrival.topic.removeprefix(self._prefix).partition("/")
        if not arrival.topic.startswith(self._prefix) or kind not in _KINDS:
            raise Refused("topic")
        message = _open(arrival.payload, ring, gateway)
        if not isinstance(message, _KINDS[kind]):
            raise Refused("topic", gateway)
        if message.simulated and not self._accept_simulated:
            raise Refused("simulated", gateway)
        if isinstance(message, Batch):
            self._batch(message, arrival.payload, now)
        elif isinstance(message, Head):
            self._head(message, arrival.payload, now)
        else:
            self._status(gateway, message, now)

    def _status(self, gateway: str, status: Status, now: float) -> None:
        boot = status.content.get("boot")
        if isinstance(boot, str) and len(boot) <= MAX_BOOT:
            self._taken.boots[gateway] = boot
        self._store.touch(gateway, now)

    def _batch(self, batch: Batch, message: bytes, now: float) -> None:
        log = self._log_of(batch.log, now)
        verdict = follow.judge_batch(batch, batch.content, self._store.evidence(log))
        if verdict is Verdict.NEW:
            self._store.add_batch(log, batch, message, now)
            for first, stop in follow.losses(batch):
                self._store.lost.add(log.id, first, stop)
            if batch.first < log.size:
                self._filled.add(log.id)
            log.held += len(batch.records)
            self._signed(log, batch.end, batch.simulated, now)
            if batch.first == 0:
                self._begin(log, batch, message, now)
        elif verdict is Verdict.REPEAT:
            self._repeated(log, batch.end)
        else:
            conflict = batch_conflict(self._store, log, batch, verdict)
            self._contradicted(log, conflict, message, now)

    def _head(self, head: Head, message: bytes, now: float) -> None:
        log = self._log_of(head.log, now)
        verdict = follow.judge_head(head, self._store.evidence(log))
        if verdict is Verdict.CONSISTENCY:
            # The proof is not signed, so a wrong one shows that somebody changed the message, not that the
            # gateway forked its log; a fork shows in the roots.
            raise Refused("consistency", log.gateway)
        if verdict is Verdict.NEW:
            if self._store.newest_head(log) is None:
                self._filled.add(log.id)  # now the gateway can be asked
            self._store.add_head(log, head, message, now)
            self._signed(log, head.size, head.simulated, now)
            self._repeated(log, head.size)
        elif verdict is Verdict.REPEAT:
            self._repeated(log, head.size)
        else:
            conflict = head_conflict(self._store, log, head, verdict)
            self._contradicted(log, conflict, message, now)

    def _log_of(self, log_id: LogId, now: float) -> Log:
        """The log as this group has left it so far; a new one is begun."""
        gateway = log_id.gateway
        found = self._store.log(gateway, log_id.epoch)
        if found is None:
            others = self._store.epochs(gateway)
            if others >= MAX_EPOCHS:
                raise Refused("epochs", gateway)
            found = self._store.add_log(gateway, log_id.epoch, log_id.iss, now)
            text = f"{gateway}: {'a new' if others else 'its first'} epoch, {log_id.epoch}"
            fields = {"gateway": gateway, "epoch": log_id.epoch}
            self._taken.notes.append(Note("epoch", text, fields, "warning" if others else "info"))
        elif found.iss != log_id.iss:  # readings are told apart by gateway, epoch and index
            raise Refused("issuer", gateway)
        return self._logs.setdefault(found.id, found)

    def _signed(self, log: Log, size: int, simulated: bool, now: float) -> None:
        if log.ended and log.size <= log.ended[0] < size:
            self._taken.notes.append(epochs.longer(log, size))
        log.size = max(log.size, size)
        log.simulated |= simulated
        log.last_seen = now

    def _repeated(self, log: Log, size: int) -> None:
        if size <= log.receipted:
            self._taken.repeats[log.gateway] = log.id

    def _contradicted(self, log: Log, conflict: Conflict, message: bytes, now: float) -> None:
        """Keep both contents, say it once, and receipt nothing beyond."""
        log.fork = conflict.place if log.fork is None else min(log.fork, conflict.place)
        if self._store.add_conflict(log, conflict, _content(message), message, now):
            self._taken.notes.append(conflict.note(log))

    def _begin(self, log: Log, batch: Batch, message: bytes, now: float) -> None:
        """The first batch of a log is there: does it continue what was before?"""
        began = epochs.begin(self._store, log, batch.previous, self._logs)
        self._taken.notes += began.notes
        if began.old is not None:
            self._logs.setdefault(began.old.id, began.old)
        if began.old is not None and began.conflict is not None:
            self._contradicted(began.old, began.conflict, message, now)

    # -- proving

    def _prove(self, now: float) -> None:
        """Go on with each log that was touched or is not through, and settle what can be receipted."""
        for number in [*self._unproven.difference(self._logs)]:
            log = self._store.log_numbered(number)
            if log is not None:
                self._logs[number] = log
        self._unproven.clear()
        for log in [*self._logs.values()]:
            before = log.tree.end
            self._advance(log, now)
            if log.tree.end > before:
                self._filled.add(log.id)
                self._end_reached(log, before, now)
            receipt = self._receiptable(log)
            if receipt is not None and receipt.size > log.receipted:
                log.receipted = receipt.size
                self._taken.receipts[log.gateway] = receipt
            self._store.save(log)
        for log in self._logs.values():
            latest = self._store.latest(log.gateway)
            # A gateway can answer for its present log only; an old one was gone when the new one began.
            if log.id not in self._unproven and latest is not None and latest.id == log.id:
                self._taken.places[log.gateway] = Place(self._hole(log), log.id in self._filled)

    def _advance(self, log: Log, now: float) -> None:
        first = log.tree.end  # of the stretch that is being proven
        for count, (step, tree) in enumerate(follow.advance(log.tree, self._store.evidence(log)), 1):
            if isinstance(step, Broken):
                if log.fork is None or log.fork > step.first:
                    message = self._store.batch_message(log, step.first) or b""
                    self._contradicted(log, broken(step.first), message, now)
                break
            if isinstance(step, Proven):
                log.proven += step.end - step.first
            elif isinstance(step, Skipped):
                self._proven(log, first, step.first)
                first = step.size
                self._taken.notes += epochs.lost(self._store, log, step)
            log.tree = tree
            if count >= MAX_STEPS:
                self._unproven.add(log.id)
                break
        self._proven(log, first, log.tree.end)

    def _proven(self, log: Log, first: int, stop: int) -> None:
        if first < stop:
            self._store.proven.add(log.id, first, stop)

    def _end_reached(self, log: Log, before: int, now: float) -> None:
        if log.ended and before < log.ended[0] <= log.tree.end:
            conflict = epochs.other_end(self._store, log)
            if conflict is not None:
                message = self._store.batch_message(log, log.ended[0] - 1) or b""
                self._contradicted(log, conflict, message, now)

    def _receiptable(self, log: Log) -> Receiptable | None:
        log_id = LogId(log.iss, log.epoch)
        if log.fork is None or log.tree.end <= log.fork:
            return Receiptable(log_id, log.id, log.tree.end, log.tree.root())
        signed = self._store.proven_end(log, log.fork)
        return Receiptable(log_id, log.id, *signed) if signed else None

    def _hole(self, log: Log) -> Hole | None:
        """The first records that are missing; behind a named loss, the way to the next head."""
        evidence = self._store.evidence(log)
        if log.tree.end >= log.size or evidence.batch_at(log.tree.end) is not None:
            return None  # what is held and was not proven is not what was signed: asking again does not help
        lost = evidence.lost_until(log.tree.end)
        behind = None if lost is None else evidence.overlapping(lost, lost + 1)
        if lost is not None and behind is not None and evidence.head_from(lost) is None:
            return Hole(log.id, lost, behind.range.end)  # the next head comes behind what is asked for
        missing = self._store.first_missing(log)
        if missing is None:
            return None
        stop = self._store.next_held(log, missing)
        return Hole(log.id, missing, log.size if stop is None else stop)


def _open(payload: bytes, ring: KeyRing, gateway: str) -> Batch | Head | Status:
    try:
        return verify.open_gateway_message(payload, ring, gateway)
    except Refused:
        raise
    except Exception as error:
        # A defect of ours that a message trips must not end the receiver: a retained one would do so at each
        # start. It is refused, counted and named like any other.
        raise Refused(f"defect_{type(error).__name__}", gateway) from error


def _content(message: bytes) -> bytes:
    """A hash of what was signed: the same content under another ECDSA signature is no second contradiction."""
    try:
        parts = cose.parse(message)
    except cose.CoseError:
        return sha256(message).digest()
    return sha256(cose.to_be_signed(parts.protected, parts.payload or b"")).digest()

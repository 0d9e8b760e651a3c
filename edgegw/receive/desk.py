"""Everything the receiver does between messages in and messages out, in the one thread that owns the store.

`take` a group of messages, `greet` a new connection, `tick` about once a second: each returns what to publish and
what to say. Nothing here waits, and nothing knows of connections.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from edgegw.exchange import Message
from edgegw.receive.holes import Hole, Holes
from edgegw.receive.intake import Intake, Receiptable
from edgegw.receive.notes import Note, Seldom
from edgegw.wire import receipt
from edgegw.wire.log import LogId

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgegw.clock import Clock
    from edgegw.receive.holes import Ask
    from edgegw.receive.intake import Arrival, Taken
    from edgegw.receive.keyfolder import KeyFolder
    from edgegw.receive.upstream_store import Log, UpstreamStore
    from edgegw.wire.cose import Signer

#: Seconds between two receipts that repeat what is known: a gateway may send a whole backlog again.
REPEAT_S: Final = 1.0
#: Seconds in which a refusal of one gateway for one reason is said once; so are its receipts.
SAY_S: Final = 60.0
#: Seconds between two looks at the keys: half of the ten in which a change has to count.
LOOK_S: Final = 5.0

_WHY: Final = {
    "simulated": "its readings are simulated, and this receiver was not started with --accept-simulated",
    "unknown_key": "no key of it is registered",
    "issuer": "it is signed with a key of another gateway, or speaks under another number",
    "topic": "it came by a topic of somebody else",
    "signature": "its signature is wrong: it was changed on the way",
    "epochs": "it began too many logs",
    "consistency": "its proof of consistency is wrong: it was changed on the way",
}


class Speaker(NamedTuple):
    """Who the store is: its URN and the key that signs its receipts."""

    iss: str
    signer: Signer


@dataclass
class Reply:
    """What to publish and to say now; `more`: call `take` again soon, also without messages."""

    publish: list[Message] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    more: bool = False


class Desk:
    """Composes store, keys and pacing. Belongs to the store's thread."""

    def __init__(
        self,
        store: UpstreamStore,
        keys: KeyFolder,
        speaker: Speaker,
        clock: Clock,
        *,
        prefix: str,
        accept_simulated: bool,
        random: Callable[[], float],
    ) -> None:
        self._store = store
        self._keys = keys
        self._speaker = speaker
        self._clock = clock
        self._prefix = prefix
        self._intake = Intake(store, prefix, accept_simulated=accept_simulated)
        self._holes = Holes(random)
        self._seldom = Seldom(SAY_S)
        self._receipted: dict[str, float] = {}  # when each gateway was sent its last receipt
        self._again: dict[str, int] = {}  # the log whose receipt each gateway is to be sent again
        self._look = self._clock.monotonic() + LOOK_S
        self.refused: Counter[str] = Counter()

    def take(self, arrivals: Sequence[Arrival]) -> Reply:
        """Take a group of messages; when this returns they may be acknowledged. GatewayError as the store's."""
        taken = self._intake.take(arrivals, self._keys.ring, self._clock.wall())
        now = self._clock.monotonic()
        reply = Reply(notes=taken.notes, more=taken.more)
        self._say_refused(taken, reply, now)
        for gateway, boot in taken.boots.items():
            self._holes.runs(gateway, boot, now)
        for gateway, place in taken.places.items():
            if self._holes.seen(gateway, place.hole, now, progress=place.progress):
                text = f"{gateway}: the hole is filled"
                reply.notes.append(Note("gap_closed", text, {"gateway": gateway}))
        for gateway, found in taken.receipts.items():
            self._receipt(gateway, found, reply, now)
        for gateway, number in taken.repeats.items():
            if gateway not in taken.receipts:
                self._again[gateway] = number
        self._repeat(reply, now)
        return reply

    def greet(self) -> Reply:
        """A new connection: each gateway's newest receipt, for it may have missed the last one."""
        reply, now = Reply(), self._clock.monotonic()
        for gateway in sorted(self._keys.ring.gateways()):
            log = self._store.latest(gateway)
            known = self._known(log) if log else None
            if known is not None:
                self._receipt(gateway, known, reply, now)
        return reply

    def tick(self) -> Reply:
        """Look at the keys, ask for holes, repeat receipts that had to wait."""
        reply, now = Reply(), self._clock.monotonic()
        if now >= self._look:
            self._look = now + LOOK_S
            reply.notes += self._keys.look()
            gateways = self._keys.ring.gateways()
            self._holes.keep(gateways)
            for table in (self._receipted, self._again):
                for gateway in table.keys() - gateways:
                    del table[gateway]
        for ask in self._holes.due(now):
            self._ask(ask, reply)
        self._repeat(reply, now)
        return reply

    def progress(self) -> Note:
        """The totals of the store and the refusals of this run."""
        totals = self._store.totals()
        text = f"{totals.readings} readings, {totals.proven} proven, {totals.receipted} receipted"
        return Note("progress", text, {**totals._asdict(), "refused": dict(self.refused)})

    # -- receipts

    def _known(self, log: Log) -> Receiptable | None:
        """What the last receipt of a log said."""
        if not log.receipted:
            return None
        whole = log.tree.end == log.receipted
        root = log.tree.root() if whole else self._store.signed_at(log, log.receipted)
        return Receiptable(LogId(log.iss, log.epoch), log.id, log.receipted, root) if root else None

    def _receipt(self, gateway: str, found: Receiptable, reply: Reply, now: float) -> None:
        message = receipt.seal_receipt(
            found.log,
            found.size,
            found.root,
            store=self._speaker.iss,
            by=self._speaker.signer,
            issued=int(self._clock.wall()),
        )
        reply.publish.append(Message(f"{self._prefix}/{gateway}/main/receipt", message, retain=True))
        self._receipted[gateway] = now
        self._again.pop(gateway, None)
        count = self._seldom.happened(("receipt", gateway), now)
        if count:
            text = f"{gateway}: receipted up to {found.size} of epoch {found.log.epoch}"
            fields = {
                "gateway": gateway,
                "epoch": found.log.epoch,
                "size": found.size,
                "root": found.root.hex(),
                "count": count,
            }
            reply.notes.append(Note("receipt", text, fields))

    def _repeat(self, reply: Reply, now: float) -> None:
        due = [
            (gateway, number)
            for gateway, number in self._again.items()
            if now - self._receipted.get(gateway, now - REPEAT_S) >= REPEAT_S
        ]
        for gateway, number in due:
            del self._again[gateway]
            log = self._store.log_numbered(number)
            known = self._known(log) if log else None
            if known is not None:
                self._receipt(gateway, known, reply, now)

    # -- holes

    def _ask(self, ask: Ask, reply: Reply) -> None:
        log = self._store.log_numbered(ask.hole.log)
        newest = self._store.newest_head(log) if log else None
        if log is None:
            return
        if ask.opened:
            reply.notes.append(_gap(log, ask.hole))
        if newest is not None and ask.boot is not None:  # both come within a minute
            message = receipt.seal_request(
                LogId(log.iss, log.epoch),
                ask.hole.first,
                ask.hole.stop,
                boot=ask.boot,
                head=newest,
                store=self._speaker.iss,
                by=self._speaker.signer,
                issued=int(self._clock.wall()),
            )
            reply.publish.append(Message(f"{self._prefix}/{ask.gateway}/request", message))

    # -- refusals

    def _say_refused(self, taken: Taken, reply: Reply, now: float) -> None:
        known = self._keys.ring.gateways()
        for (gateway, reason), count in Counter(taken.refused).items():
            self.refused[reason] += count
            # Names that nobody registered are unbounded: they share one place.
            key = ("refused", gateway if gateway in known else None, reason)
            times = self._seldom.happened(key, now, count)
            if times:
                why = _WHY.get(reason, reason)
                text = f"{gateway or 'somebody'}: {times} message{'s' if times > 1 else ''} refused: {why}"
                fields = {"gateway": gateway, "reason": reason, "count": times}
                reply.notes.append(Note("refused", text, fields, "warning"))


def _gap(log: Log, hole: Hole) -> Note:
    text = f"{log.gateway}: records from {hole.first} to {hole.stop - 1} of epoch {log.epoch} are missing"
    fields = {"gateway": log.gateway, "epoch": log.epoch, "first": hole.first, "stop": hole.stop}
    return Note("gap", text, fields, "warning")

"""The gateway's link: one MQTT connection after the other, filled by the outbox from the store.

It never raises for a bad broker and never frees anything by itself: receipts and requests go to the archive, which
checks them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from edgegw.connection import Connection
from edgegw.exchange import Acknowledged, Closed, Dial, Message
from edgegw.linkfailure import LinkFailure, Reason
from edgegw.outbox import TOO_LARGE, Lane, Outbox, Want

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from structlog.typing import FilteringBoundLogger

    from edgegw.backoff import Backoff
    from edgegw.clock import Clock
    from edgegw.exchange import Session
    from edgegw.tls import Server, TlsFiles

# Message bytes that are read from the store at once: a few hand-overs a second at full speed.
PREFETCH_BYTES: Final = 1024 * 1024
# Receipts and requests that are looked at in a second: a store sends one or two, a flood is an attack.
CONTROL_PER_S: Final = 20
# A connection that lasted so many seconds was a good one.
STEADY_S: Final = 60.0
# Short connections in a row that the broker ended without a reason, after which somebody else is suspected to
# use our name: older brokers do not say so (mosquitto 2.0.11), and a crash would also refuse connections.
SUSPICIOUS: Final = 3


class State(StrEnum):
    """What the link is doing; the same words in status and messages."""

    OFFLINE = "offline"
    CONNECTING = "connecting"
    ONLINE = "online"
    REFUSED = "refused"


class Outgoing(NamedTuple):
    """A stored message on its way up; it takes the log from position `begin` to `end`.

    `name` is the index of a batch's first record (larger than `begin` behind a loss), or a head's number with
    `is_head`, which takes the log nowhere. `time` is POSIX seconds, 0 where it is not known.
    """

    begin: int
    end: int
    message: bytes
    time: float
    name: int
    is_head: bool = False


class Archive(Protocol):
    """What the link needs of the log. Every call may wait for the store's thread."""

    @property
    def epoch(self) -> str:
        """Epoch of the log."""
        ...

    async def outgoing(self, want: Want, limit_bytes: int) -> list[Outgoing]:
        """The batches that a lane wants, in log order; but for the live lane with the heads among them.

        Behind what was requested the next head comes too: a follower needs it after a loss.
        """
        ...

    async def newest_head(self) -> Outgoing | None:
        """The newest head."""
        ...

    async def receipt(self, data: bytes) -> int:
        """Check a receipt; the receipted size afterwards."""
        ...

    async def request(self, data: bytes) -> tuple[int, int] | None:
        """Check a request; the range that it asks for when it is valid and fresh."""
        ...

    async def acknowledged(self, size: int) -> None:
        """The weaker mode: the broker acknowledged everything below `size`."""
        ...


@dataclass(frozen=True)
class Settings:
    """Where to connect and as whom; `iss` is the gateway's URN."""

    gateway: str
    iss: str
    servers: Sequence[Server]
    files: TlsFiles
    prefix: str
    keepalive_s: int
    simulated: bool = False


class Link:
    """Keeps a connection, sends what the outbox wants, hands in what comes down."""

    def __init__(
        self,
        settings: Settings,
        outbox: Outbox,
        archive: Archive,
        backoff: Backoff,
        clock: Clock,
        log: FilteringBoundLogger,
        will: Callable[[], bytes],
    ) -> None:
        self._settings = settings
        self._outbox = outbox
        self._archive = archive
        self._backoff = backoff
        self._clock = clock
        self._log = log
        self._will = will
        self._base = f"{settings.prefix}/{settings.gateway}"
        self._topics = (f"{self._base}/main/receipt", f"{self._base}/request")
        self._wake = asyncio.Event()
        self._status: bytes | None = None
        self._status_handle = 0
        self._fetched: dict[Lane, deque[Outgoing]] = {}
        self._connection: Connection | None = None
        self._leaving = False
        self._oversize = False
        self._arrived: dict[str, bytes] = {}
        self._allowance = float(CONTROL_PER_S)
        self._allowed_at = clock.monotonic()
        self.state = State.OFFLINE
        self.since = clock.monotonic()
        self.failure: LinkFailure | None = None
        """Why there is no link; None while there is one."""

    # -- what the gateway tells it

    def wake(self) -> None:
        """Something changed: look at the outbox."""
        self._wake.set()

    def publish_status(self, message: bytes) -> None:
        """Publish a signed status; only the newest counts."""
        self._status = message
        self._wake.set()

    async def farewell(self, seconds: float) -> None:
        """Send what can be sent within `seconds`, then leave so that the broker tells that we are gone."""
        self._leaving = True
        connection = self._connection
        if connection is None or self.state is not State.ONLINE:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._connection is connection and (self._status or self._outbox.busy()):
                    self._wake.set()
                    await self._clock.sleep(0.02)
        await connection.close(will=True)

    # -- connections

    async def run(self) -> None:
        """Connect and serve until `farewell`."""
        attempt = 0
        while not self._leaving:
            self._enter(State.REFUSED if self.failure and self.failure.refused else State.OFFLINE)
            await self._clock.sleep(self._backoff.next())
            server = self._settings.servers[attempt % len(self._settings.servers)]
            attempt += 1
            self._enter(State.CONNECTING)
            connection = Connection(self._dial(server), self._wake.set)
            self._connection = connection
            try:
                session = await connection.connect()
                await self._serve(connection, session)
            except LinkFailure as failure:
                self._failed(failure, server)
            finally:
                self._connection = None
                self._outbox.disconnected(self._clock.monotonic())
                self._fetched.clear()
                await connection.close()

    def _dial(self, server: Server) -> Dial:
        settings = self._settings
        return Dial(
            server,
            settings.files,
            client_id=settings.gateway,
            keepalive_s=settings.keepalive_s,
            will=Message(f"{self._base}/status", self._will(), retain=True),
        )

    def _failed(self, failure: LinkFailure, server: Server) -> None:
        now = self._clock.monotonic()
        self._outbox.disconnected(now, poisoned=failure.reason in (Reason.TOO_LARGE, Reason.PAYLOAD))
        if self.state is State.ONLINE and now - self.since < STEADY_S:
            self._backoff.thrown_out(taken_over=failure.reason is Reason.TAKEN_OVER)
            if failure.reason is Reason.LOST and self._backoff.short >= SUSPICIOUS:
                failure = _suspected(server)
        else:
            self._backoff.steady()
        if not self._leaving and (self.failure is None or self.failure.reason is not failure.reason):
            self._log.warning("no link", server=str(server), reason=str(failure.reason), why=failure.what)
        self.failure = failure

    def _enter(self, state: State) -> None:
        if state is not self.state:
            self.state, self.since = state, self._clock.monotonic()

    async def _serve(self, connection: Connection, session: Session) -> None:
        """Serve one connection until it ends, which is always a LinkFailure."""
        self._arrived.clear()
        codes = await connection.subscribe(self._topics)
        if any(code >= 0x80 for code in codes):
            raise LinkFailure(
                Reason.NOT_AUTHORISED,
                f"the broker does not let {self._settings.gateway} read {' and '.join(self._topics)}",
                ("allow the gateway to read its receipt and request topics in the broker's ACL",),
                max(codes),
            )
        self.failure = None
        self._oversize = False
        self._enter(State.ONLINE)
        self._log.info("link is up", server=session.address, tls=session.tls)
        self._outbox.connected(self._clock.monotonic(), session.receive_maximum)
        while True:
            self._wake.clear()
            await self._take(connection)
            await self._look()
            await self._fill(connection)
            await self._rest()

    async def _rest(self) -> None:
        """Until something happens or the outbox wants to look at the time."""
        now = self._clock.monotonic()
        at = self._outbox.wake_at(now)
        if self._arrived:
            at = min(at or now + 1, now + 1 / CONTROL_PER_S)
        if at is None:
            await self._wake.wait()
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, at - now)):
                await self._wake.wait()

    async def _take(self, connection: Connection) -> None:
        """Take what came: answers of the broker, and the newest message of each topic."""
        freed = None
        for event in connection.take():
            if isinstance(event, Closed):
                raise event.failure
            if isinstance(event, Acknowledged):
                if event.handle == self._status_handle and event.code >= 0x80:
                    self._log.warning("the broker refuses our status", code=event.code)
                size = self._outbox.acknowledged(event.handle, event.code, self._clock.monotonic())
                freed = freed if size is None else size
            elif event.topic in self._topics:
                self._arrived[event.topic] = event.payload
        if freed is not None:
            await self._archive.acknowledged(freed)
            self._backoff.reset()

    async def _look(self) -> None:
        """Look at what came down, as far as the rate allows; an older message says nothing that the newest does not."""
        for topic, payload in list(self._arrived.items()):
            if self._may_look():
                del self._arrived[topic]
                await self._received(topic, payload)

    def _may_look(self) -> bool:
        """Whether another message from above is looked at in this second."""
        now = self._clock.monotonic()
        earned = (now - self._allowed_at) * CONTROL_PER_S
        self._allowance = min(float(CONTROL_PER_S), self._allowance + earned)
        self._allowed_at = now
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True

    async def _received(self, topic: str, payload: bytes) -> None:
        if topic == self._topics[0]:
            before = self._outbox.receipted
            size = await self._archive.receipt(payload)
            if size > before:
                self._outbox.progress(size, self._clock.monotonic())
                self._backoff.reset()
            elif size == before:
                self._outbox.heard()
        else:
            wanted = await self._archive.request(payload)
            if wanted is not None:
                self._outbox.requested(*wanted, self._clock.monotonic())

    # -- sending

    async def _fill(self, connection: Connection) -> None:
        """Send while there is room and something to send."""
        while connection.room > 0:
            if self._status is not None:
                status, self._status = self._status, None
                self._status_handle = connection.publish(Message(f"{self._base}/status", status, retain=True))
                continue
            want = self._outbox.next(self._clock.monotonic())
            if want is None:
                return
            item = await self._item(want)
            if item is None:
                self._outbox.nothing_there(want)
            else:
                self._send(connection, want, item)

    async def _item(self, want: Want) -> Outgoing | None:
        if want.lane is Lane.HEAD:
            return await self._archive.newest_head()
        waiting = self._fetched.get(want.lane)
        if not waiting or waiting[0].begin != want.position:
            found = await self._archive.outgoing(want, PREFETCH_BYTES)
            waiting = self._fetched[want.lane] = deque(found)
        return waiting.popleft() if waiting else None

    def _send(self, connection: Connection, want: Want, item: Outgoing) -> None:
        now = self._clock.monotonic()
        if not item.is_head and self._outbox.quarantined(item.end):
            self._outbox.skipped(want, item.end)
            return
        message = self._message(item, replayed=want.lane in (Lane.REQUEST, Lane.BACKLOG))
        if not connection.fits(message):
            self._outbox.refused_for_good(item.begin, item.end, now)
            self._outbox.skipped(want, item.end)
            if not self._oversize:  # said once for each connection, however many there are
                self._oversize = True
                self._log.error(
                    "the broker takes no message of this size", bytes=message.packet_size, code=TOO_LARGE
                )
            return
        handle = connection.publish(message)
        if item.is_head and want.lane is not Lane.HEAD:
            self._outbox.sent_old_head(handle, len(item.message), now)
        else:
            self._outbox.sent(want, item.begin, item.end, len(item.message), handle, now)

    def _message(self, item: Outgoing, *, replayed: bool) -> Message:
        """The message with its CloudEvents 1.0 attributes (binary mode of the MQTT binding): hints for routing."""
        head = item.is_head
        user = [
            ("specversion", "1.0"),
            ("id", f"{self._archive.epoch}/" + ("head/" if head else "") + str(item.name)),
            ("source", self._settings.iss),
            ("type", "edgegw.head.v1" if head else "edgegw.batch.v1"),
        ]
        if item.time:
            when = datetime.fromtimestamp(item.time, UTC).isoformat(timespec="milliseconds")
            user.append(("time", when.replace("+00:00", "Z")))
        if replayed and not head:
            user.append(("replayed", "1"))
        topic = f"{self._base}/main/{'head' if head else 'batch'}"
        return Message(topic, item.message, retain=head and not replayed, user=tuple(user))


def _suspected(server: Server) -> LinkFailure:
    return LinkFailure(
        Reason.TAKEN_OVER,
        f"{server} accepts us and throws us out again within seconds: most likely another client uses our name",
        ("find the other gateway with this certificate", "give each its own: edgegw identity init"),
    )

"""The receiver on its broker: one connection after the other, groups of messages to the store, acknowledged after it.

The Receive Maximum that is announced to the broker is the back-pressure: what is not stored yet is not acknowledged,
and the broker sends no more. Nothing is acknowledged before its transaction is committed.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from edgegw.backoff import Backoff
from edgegw.connection import Connection
from edgegw.exchange import Acknowledged, Closed, Dial, Message, Received
from edgegw.linkfailure import LinkFailure, Reason
from edgegw.receive.intake import Arrival
from edgegw.receive.notes import Note, Seldom
from edgegw.wire.log import MAX_MESSAGE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from edgegw.clock import Clock
    from edgegw.receive.desk import Desk, Reply
    from edgegw.receive.notes import Voice
    from edgegw.tls import Server, TlsFiles

T = TypeVar("T")

#: Messages that the broker may send ahead: 64 of 256 KiB are 16 MiB at most. mosquitto sends 20 at once.
RECEIVE_MAXIMUM: Final = 64
#: Bytes of messages that one transaction takes; a larger one would make the others wait for its receipt.
GROUP_BYTES: Final = 4 * 1024 * 1024
#: A group is also closed when it is this large: a broker with a small window then has sent what it may.
ENOUGH_BYTES: Final = 1024 * 1024
ENOUGH_MESSAGES: Final = 16
#: Seconds without a new message after which a group is closed, and the longest that its first one waits: a
#: hundred gateways with a batch a second share some twenty transactions a second.
QUIET_S: Final = 0.005
LINGER_S: Final = 0.05
#: First and last ceiling of the wait between two attempts. One receiver makes no wave, so the last is short.
RETRY_S: Final = (1.0, 30.0)
#: Seconds that a stop waits for the broker to take the last receipts.
FAREWELL_S: Final = 3.0
#: MQTT properties and topic of a message, beside its payload.
_ENVELOPE: Final = 4096
#: Seconds in which the same trouble with the broker is said once.
_SAY_S: Final = 60.0


class Work(Protocol):
    """Runs a call in the thread that owns the store."""

    async def __call__(self, job: Callable[[], Reply]) -> Reply:
        """What the call returned or raised."""
        ...


class Link:
    """Connects, subscribes below `prefix` and serves until `stop`; `work` runs a call in the store's thread."""

    def __init__(
        self,
        server: Server,
        files: TlsFiles,
        name: str,
        prefix: str,
        desk: Desk,
        work: Work,
        voice: Voice,
        clock: Clock,
    ) -> None:
        # A random suffix lets a second receiver take over while the first still says goodbye.
        self._dial = Dial(
            server,
            files,
            f"{name}-{secrets.token_hex(4)}",
            receive_maximum=RECEIVE_MAXIMUM,
            max_packet=MAX_MESSAGE + _ENVELOPE,
            manual_ack=True,
        )
        self._filters = [f"{prefix}/+/{kind}" for kind in ("main/batch", "main/head", "status")]
        self._desk = desk
        self._work = work
        self._voice = voice
        self._clock = clock
        self._backoff = Backoff(*RETRY_S, random=random.SystemRandom().random)
        self._trouble = Seldom(_SAY_S)
        self._wake = asyncio.Event()
        self._stop = asyncio.Event()
        self._pending: deque[Received] = deque()
        self._outbox: dict[str, Message] = {}  # by topic: only the newest counts
        self._sent: dict[int, str] = {}  # topics whose PUBACK is awaited
        self._connected = False
        self._more = True  # what an earlier run left to be proven
        self._closed: LinkFailure | None = None

    def stop(self) -> None:
        """Finish what is here, then `run` returns."""
        self._stop.set()
        self._wake.set()

    def absorb(self, reply: Reply) -> None:
        """Say and send what the desk decided. What cannot be sent now is dropped: `greet` brings it again."""
        for note in reply.notes:
            self._voice.say(note)
        if self._connected:
            self._outbox.update((message.topic, message) for message in reply.publish)
            self._wake.set()

    async def run(self) -> None:
        """Serve until `stop`; GatewayError when the store fails."""
        while not self._stop.is_set():
            connection = Connection(self._dial, self._wake.set)
            try:
                if await self._unless_stopped(self._open(connection)):
                    await self._serve(connection)
            except LinkFailure as failure:
                self._say_lost(failure)
            finally:
                self._connected = False
                await connection.close()
                self._pending.clear()  # not acknowledged: it comes again
                self._outbox.clear()
                self._sent.clear()
            await self._unless_stopped(self._clock.sleep(self._backoff.next()))

    async def _unless_stopped(self, waited: Awaitable[T]) -> T | None:
        """What is waited for, or None when the stop comes first."""
        task = asyncio.ensure_future(waited)
        stopping = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait((task, stopping), return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            for waiting in (task, stopping):
                waiting.cancel()
            await asyncio.wait((task, stopping))

    async def _open(self, connection: Connection) -> bool:
        session = await connection.connect()
        codes = await connection.subscribe(self._filters)
        if any(code >= 0x80 for code in codes):
            what = f"{self._dial.server} does not let this receiver subscribe to {', '.join(self._filters)}"
            todo = ("check that the broker's access list names the CN of the receiver's certificate",)
            raise LinkFailure(Reason.NOT_AUTHORISED, what, todo, max(codes))
        text = (
            f"connected to {self._dial.server} ({session.address}, {session.tls}) as {self._dial.client_id}"
        )
        fields = {"server": str(self._dial.server), "client_id": self._dial.client_id}
        self._voice.say(Note("connected", text, fields))
        self._trouble = Seldom(_SAY_S)  # whatever happens from here on is news
        return True

    async def _serve(self, connection: Connection) -> None:
        """Serve until the connection ends (LinkFailure) or everything that came before `stop` is done."""
        self._connected, self._closed = True, None
        self.absorb(await self._work(self._desk.greet))
        while not self._stop.is_set():
            self._wake.clear()
            self._read(connection)
            self._write(connection)
            if self._pending or self._more:
                await self._settled(connection)
                await self._take(connection)
            elif self._closed is not None:
                raise self._closed
            else:
                await self._wake.wait()
        await self._farewell(connection)

    async def _settled(self, connection: Connection) -> None:
        """Give what is on its way a moment to join the group."""
        by = self._clock.monotonic() + LINGER_S
        while self._pending and not self._stop.is_set() and self._clock.monotonic() < by:
            count = len(self._pending)
            if count >= ENOUGH_MESSAGES or sum(len(m.payload) for m in self._pending) >= ENOUGH_BYTES:
                return
            await self._clock.sleep(QUIET_S)
            self._read(connection)
            if len(self._pending) == count:
                return

    async def _take(self, connection: Connection) -> None:
        group: list[Received] = []
        size = 0
        while self._pending and (not group or size + len(self._pending[0].payload) <= GROUP_BYTES):
            group.append(self._pending.popleft())
            size += len(group[-1].payload)
        arrivals = [Arrival(message.topic, message.payload) for message in group]
        reply = await self._work(partial(self._desk.take, arrivals))
        for message in group:
            connection.ack(message)
        if group:
            self._backoff.reset()  # the whole way works, not only the handshake
        self._more = reply.more
        self.absorb(reply)

    def _read(self, connection: Connection) -> None:
        for event in connection.take():
            if isinstance(event, Received):
                self._pending.append(event)
            elif isinstance(event, Acknowledged):
                topic = self._sent.pop(event.handle, "")
                if event.code >= 0x80:
                    self._say_refused(topic, event.code)
            elif isinstance(event, Closed):
                self._closed = event.failure

    def _write(self, connection: Connection) -> None:
        while self._outbox and connection.room > 0:
            topic = next(iter(self._outbox))
            message = self._outbox.pop(topic)
            if connection.fits(message):
                self._sent[connection.publish(message)] = topic

    async def _farewell(self, connection: Connection) -> None:
        """Store what is here, which the Receive Maximum bounds, and let the last receipts leave."""
        self._read(connection)
        while self._pending:
            await self._take(connection)
        self._write(connection)
        try:
            async with asyncio.timeout(FAREWELL_S):
                while self._closed is None and (self._outbox or self._sent):
                    await self._wake.wait()
                    self._wake.clear()
                    self._read(connection)
                    self._write(connection)
        except TimeoutError:
            text = (
                f"{self._dial.server} did not take the last receipts; they are sent again at the next start"
            )
            self._voice.say(Note("disconnected", text, {}, "warning"))

    def _say_refused(self, topic: str, code: int) -> None:
        if self._trouble.happened(("publish", code), self._clock.monotonic()):
            text = (
                f"{self._dial.server} refuses what is published to {topic} (0x{code:02X}): "
                "check that its access list lets the receiver write receipts and requests"
            )
            self._voice.say(Note("unpublished", text, {"topic": topic, "code": code}, "error"))

    def _say_lost(self, failure: LinkFailure) -> None:
        if self._trouble.happened(("link", failure.reason), self._clock.monotonic()):
            todo = "; ".join(failure.todo)
            text = f"{failure.what}; waiting for it{f' (do: {todo})' if todo else ''}"
            fields = {"reason": str(failure.reason), "code": failure.code, "todo": list(failure.todo)}
            level = "error" if failure.refused else "warning"
            self._voice.say(Note("disconnected", text, fields, level))

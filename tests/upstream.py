"""A log in memory and a receiver on a real broker: what stands at the two ends of a link in its tests.

Nothing is signed here: a receipt is the size in digits, a request is "first-end". What is tested is that the link
carries, repeats and frees what it should; the signatures have tests of their own.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from contextlib import suppress
from typing import TYPE_CHECKING, Self

import structlog
from structlog.testing import CapturingLogger

from edgegw.backoff import Backoff
from edgegw.clock import SystemClock
from edgegw.connection import Connection
from edgegw.exchange import Dial, Message, Received
from edgegw.link import Link, Outgoing, Settings
from edgegw.linkfailure import LinkFailure
from edgegw.outbox import Lane, Outbox
from edgegw.tls import Server, TlsFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broker import Broker

    from edgegw.outbox import Want

GATEWAY = "gw-1"
BASE = f"edgegw/1/{GATEWAY}"
PATIENCE_S = 60.0


class Log:
    """The archive of a link: equal batches of ten records, heads, and what came down."""

    epoch = "8a3b0c1d"

    def __init__(self, length: int = 2000) -> None:
        self.length = length
        self.ends: list[int] = []
        self.lost: set[int] = set()
        self.heads: list[int] = []
        self.receipted = 0
        self.receipts: list[bytes] = []
        self.requests: list[bytes] = []
        self.asked: list[Want] = []
        self.lengths: dict[int, int] = {}

    @property
    def size(self) -> int:
        return self.ends[-1] if self.ends else 0

    def message(self, number: int) -> bytes:
        return f"{number}:".encode().ljust(self.lengths.get(number, self.length), b".")

    async def outgoing(self, want: Want, limit_bytes: int) -> list[Outgoing]:
        self.asked.append(want)
        found: list[Outgoing] = []
        position, number, size = want.position, bisect_right(self.ends, want.position), 0
        while number < len(self.ends) and size <= limit_bytes:
            first = self.ends[number - 1] if number else 0
            if first >= want.end:
                break
            if number not in self.lost:
                message = self.message(number)
                size += len(message)
                found.append(Outgoing(position, self.ends[number], message, 1_800_000_000.5, first))
                position = self.ends[number]
                if want.lane is not Lane.LIVE and position in self.heads:
                    found.append(self._head(position))
            number += 1
        return found

    def _head(self, size: int) -> Outgoing:
        message = f"head:{size}".encode()
        return Outgoing(size, size, message, 0.0, self.heads.index(size), is_head=True)

    async def newest_head(self) -> Outgoing | None:
        return self._head(self.heads[-1]) if self.heads else None

    async def receipt(self, data: bytes) -> int:
        self.receipts.append(data)
        with suppress(ValueError):
            self.receipted = max(self.receipted, min(int(data), self.size))
        return self.receipted

    async def request(self, data: bytes) -> tuple[int, int] | None:
        self.requests.append(data)
        try:
            first, end = data.decode().split("-")
            return int(first), int(end)
        except ValueError:
            return None

    async def acknowledged(self, size: int) -> None:
        self.receipted = max(self.receipted, size)


class Gateway:
    """A link with everything around it; `run` is its task."""

    def __init__(
        self,
        broker: Broker,
        *,
        servers: Sequence[Server] = (),
        length: int = 2000,
        wait_for_receipts: bool = True,
        random: Callable[[], float] = lambda: 0.05,
        longest_wait_s: float = 0.5,
    ) -> None:
        files = broker.client(GATEWAY)
        self.log = Log(length)
        self.said = CapturingLogger()
        self.outbox = Outbox(
            size=0,
            receipted=0,
            window=20,
            in_flight=4 * 1024 * 1024,
            random=random,
            wait_for_receipts=wait_for_receipts,
        )
        settings = Settings(
            gateway=GATEWAY,
            iss=f"urn:dev:ops:32473-{GATEWAY}",
            servers=servers or [Server(broker.host, broker.port)],
            files=TlsFiles(broker.ca, files.certificate, files.key),
            prefix="edgegw/1",
            keepalive_s=15,
        )
        clock = SystemClock()
        self.link = Link(
            settings,
            self.outbox,
            self.log,
            Backoff(0.2, longest_wait_s, random),
            clock,
            structlog.wrap_logger(self.said),
            lambda: b"offline",
        )
        self.task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self.task = asyncio.create_task(self.link.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self.task is not None
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task

    def commit(self, number: int = 1) -> None:
        for _ in range(number):
            self.log.ends.append(self.log.size + 10)
        self.outbox.committed(self.log.size)
        self.link.wake()

    def head(self) -> None:
        self.log.heads.append(self.log.size)
        self.outbox.new_head()
        self.link.wake()


class Upstream:
    """A receiver: remembers every batch, signs the longest prefix, asks when it is told to."""

    def __init__(self, broker: Broker, *, receipts: bool = True) -> None:
        files = broker.client("store")
        self._dial = Dial(
            Server(broker.host, broker.port),
            TlsFiles(broker.ca, files.certificate, files.key),
            "store",
            manual_ack=True,
            max_packet=300_000,
        )
        self.receipts = receipts
        self.batches: dict[int, int] = {}
        self.order: list[tuple[int, bool]] = []
        self.heads: list[tuple[int, bool]] = []
        self.statuses: list[bytes] = []
        self.users: list[tuple[tuple[str, str], ...]] = []
        self.held = 0
        self._signed = -1
        self._to_say: list[Message] = []
        self._connection: Connection | None = None
        self._changed = asyncio.Event()
        self.ready = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    def say(self, topic: str, payload: bytes) -> None:
        """Publish something to the gateway."""
        assert self._connection is not None
        self._connection.publish(Message(f"{BASE}/{topic}", payload))

    @property
    def room(self) -> int:
        return self._connection.room if self._connection is not None else 0

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something holds; AssertionError after a minute."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self._changed.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), 0.2)

    async def _run(self) -> None:
        while True:
            connection = Connection(self._dial)
            try:
                await connection.connect()
                await connection.subscribe([f"{BASE}/#"])
                self._connection = connection
                self._signed = -1
                self.ready.set()
                while True:
                    event = await connection.next()
                    if isinstance(event, Received):
                        self._take(event)
                        connection.ack(event)
                        self._sign(connection)
                        self._changed.set()
            except LinkFailure:
                await asyncio.sleep(0.05)
            finally:
                self._connection = None
                await connection.close()

    def _take(self, event: Received) -> None:
        if event.topic == f"{BASE}/main/batch":
            number = int(event.payload.split(b":")[0])
            self.batches[number] = self.batches.get(number, 0) + 1
            self.order.append((number, ("replayed", "1") in event.user))
            self.users.append(event.user)
            while self.held in self.batches:
                self.held += 1
        elif event.topic == f"{BASE}/main/head":
            self.heads.append((int(event.payload.split(b":")[1]), event.retain))
        elif event.topic == f"{BASE}/status":
            self.statuses.append(event.payload)

    def _sign(self, connection: Connection) -> None:
        if self.receipts and self.held > self._signed and connection.room > 0:
            self._signed = self.held
            connection.publish(Message(f"{BASE}/main/receipt", str(self.held * 10).encode(), retain=True))


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until something holds; AssertionError after a minute."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - the link tells nobody of its states but those who ask
            await asyncio.sleep(0.01)


def everything(gateway: Gateway) -> set[int]:
    """The numbers of all batches that were committed."""
    return set(range(len(gateway.log.ends)))


def enough(upstream: Upstream, gateway: Gateway) -> Callable[[], bool]:
    """Whether twenty more batches came since now, or all of them."""
    before = len(upstream.order)
    return lambda: len(upstream.order) > before + 20 or gateway.log.receipted == gateway.log.size

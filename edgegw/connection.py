"""The asyncio side of one MQTT connection; the gateway's link and `edgegw receive` both use it.

    connection = Connection(Dial(server, files, client_id="gw-1"))
    session = await connection.connect()                  # LinkFailure says in words why not
    codes = await connection.subscribe(["edgegw/1/gw-1/main/receipt"])
    handle = connection.publish(Message(topic, payload))  # while connection.room > 0
    event = await connection.next()                       # Acknowledged, Received or, last of all, Closed
    await connection.close()

What waits here is bounded: answers by `room`, messages by the Receive Maximum that was announced.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from edgegw.exchange import Acknowledged, Closed, Received
from edgegw.mqtt import Leave, Opened, Publish, Release, Subscribe, Subscribed, Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgegw.exchange import Dial, Message, Session
    from edgegw.linkfailure import LinkFailure
    from edgegw.mqtt import News, Order

FAREWELL_S: Final = 5.0
"""How long `close` waits for its thread: longer than a goodbye (2 s), shorter than anybody waits for a stop. Only
a resolver that does not answer takes longer; its thread ends by itself when it does."""

Event = Acknowledged | Received | Closed


class Connection:
    """One connection, from `connect` to `close`; for one event loop, never used again.

    `notify` is called in the loop whenever new events wait for `take`.
    """

    def __init__(self, dial: Dial, notify: Callable[[], None] = lambda: None) -> None:
        self._dial = dial
        self._notify = notify
        self._events: deque[Event] = deque()
        self._arrived = asyncio.Event()
        self._tokens = itertools.count(1)
        self._subscribing: dict[int, asyncio.Future[tuple[int, ...]]] = {}
        self._opening: asyncio.Future[Session] | None = None
        self._worker: Worker | None = None
        self._thread: threading.Thread | None = None
        self._wake = -1
        self._waiting = 0
        self._over = asyncio.Event()
        self.session: Session | None = None
        self.failure: LinkFailure | None = None

    async def connect(self) -> Session:
        """Connect; returns with the broker's CONNACK, or raises LinkFailure. Cancelling it gives up."""
        loop = asyncio.get_running_loop()
        self._opening = loop.create_future()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

        def post(news: list[News]) -> None:
            with suppress(RuntimeError):  # the loop was closed: the process is ending
                loop.call_soon_threadsafe(self._deliver, news)

        self._worker = Worker(self._dial, self._wake, post)
        name = f"mqtt {self._dial.client_id}"
        self._thread = threading.Thread(target=self._worker.run, name=name, daemon=True)
        self._thread.start()
        try:
            return await self._opening
        except asyncio.CancelledError:
            self._order(Leave(will=False))
            raise

    @property
    def room(self) -> int:
        """How many messages may be published now under the broker's Receive Maximum; 0 without a connection."""
        if self.session is None or self.failure is not None:
            return 0
        return self.session.receive_maximum - self._waiting

    def fits(self, message: Message) -> bool:
        """Whether the broker takes a packet of this size; a larger one would end the connection."""
        return self.session is not None and message.packet_size <= self.session.max_packet

    def publish(self, message: Message) -> int:
        """Send a message now; its handle comes back in `Acknowledged`, or never when the connection ends.

        Raises LinkFailure after the end, and RuntimeError when there is no `room` or the message does not fit.
        """
        if self.failure is not None:
            raise self.failure
        if self.room <= 0 or not self.fits(message):
            raise RuntimeError("a message that may not be sent now: look at room and fits() first")
        handle = next(self._tokens)
        self._waiting += 1
        self._order(Publish(handle, message))
        return handle

    async def subscribe(self, filters: Sequence[str]) -> tuple[int, ...]:
        """Subscribe with QoS 1; a reason code for each filter, 0x80 or above for a refused one.

        Raises LinkFailure when the connection ends before the answer.
        """
        if self.failure is not None:
            raise self.failure
        token = next(self._tokens)
        answer: asyncio.Future[tuple[int, ...]] = asyncio.get_running_loop().create_future()
        self._subscribing[token] = answer
        self._order(Subscribe(token, tuple(filters)))
        return await answer

    def ack(self, message: Received) -> None:
        """Acknowledge a message, of any QoS, of a connection with `manual_ack`: room for the next one."""
        self._order(Release(message.token))

    def take(self) -> list[Event]:
        """All events that arrived, in order; messages count as acknowledged unless `manual_ack` is set."""
        events = list(self._events)
        self._events.clear()
        self._arrived.clear()
        if not self._dial.manual_ack:
            for event in events:
                if isinstance(event, Received):
                    self.ack(event)
        return events

    async def next(self) -> Event:
        """The next event; after `Closed`, LinkFailure."""
        while not self._events:
            if self.failure is not None:
                raise self.failure
            self._arrived.clear()
            await self._arrived.wait()
        event = self._events.popleft()
        if isinstance(event, Received) and not self._dial.manual_ack:
            self.ack(event)
        return event

    async def close(self, *, will: bool = False) -> None:
        """Say goodbye and wait for the thread; with `will` the broker publishes the will all the same."""
        if self._thread is None:
            return
        self._order(Leave(will=will))
        with suppress(TimeoutError):
            await asyncio.wait_for(self._over.wait(), FAREWELL_S)
            self._thread.join()  # it has nothing left to do

    def _order(self, order: Order) -> None:
        if self._worker is not None and self._wake >= 0:
            self._worker.orders.append(order)
            os.eventfd_write(self._wake, 1)

    def _deliver(self, news: list[News]) -> None:
        for item in news:
            if isinstance(item, Opened):
                self.session = item.session
                if self._opening is not None and not self._opening.done():
                    self._opening.set_result(item.session)
            elif isinstance(item, Subscribed):
                answer = self._subscribing.pop(item.token)
                if not answer.done():
                    answer.set_result(item.codes)
            else:
                if isinstance(item, Acknowledged):
                    self._waiting -= 1
                elif isinstance(item, Closed):
                    self._end(item.failure)
                self._events.append(item)
        self._arrived.set()
        self._notify()

    def _end(self, failure: LinkFailure) -> None:
        """The thread's last words: everybody who waits learns why."""
        self.failure = failure
        os.close(self._wake)
        self._wake = -1
        for future in (self._opening, *self._subscribing.values()):
            if future is not None and not future.done():
                future.set_exception(failure)
        self._subscribing.clear()
        self._over.set()

"""The event loop's side of local brokers: who listens to which topic, and the connections that they share."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from paho.mqtt.client import topic_matches_sub

from edgegw.ports.errors import PortError
from edgegw.ports.mqtt_local.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgegw.driver import Subscription
    from edgegw.ports.mqtt_local.worker import Arrived

#: Messages that wait for the loop, and their bytes: seconds of a chatty broker. More are dropped and counted.
WAITING: Final = 1000
WAITING_BYTES: Final = 1024 * 1024


class _Listener(NamedTuple):
    topics: Sequence[str]
    take: Callable[[Arrived], None]
    lost: Callable[[int], None]
    ended: asyncio.Future[None]


class Brokers:
    """Every connection to a local broker, shared by the sensors that may share it."""

    def __init__(self) -> None:
        """Nothing is connected yet."""
        self._links: list[_Link] = []

    async def listen(
        self, source: Subscription, take: Callable[[Arrived], None], lost: Callable[[int], None]
    ) -> None:
        """Hand the messages of `source.topics` to `take` until cancelled; what `take` raises is raised here.

        `lost` is told how many were dropped because the loop did not come round. PortError when the connection
        cannot be made or ends.
        """
        self._links = [link for link in self._links if not link.over]
        link = next((link for link in self._links if link.takes(source)), None)
        if link is None:
            link = _Link(source)
            self._links.append(link)
        listener = _Listener(source.topics, take, lost, asyncio.get_running_loop().create_future())
        link.add(listener)
        try:
            await listener.ended
        finally:
            link.remove(listener)


class _Link:
    """One connection and those who listen on it."""

    def __init__(self, source: Subscription) -> None:
        self._source = source
        self._loop = asyncio.get_running_loop()
        self._listeners: list[_Listener] = []
        self._topics: set[str] = set()
        self._waiting: deque[Arrived] = deque()
        self._waiting_bytes = 0
        self._dropped = 0
        self._lock = threading.Lock()
        self._worker = Worker(source, self._arrived)
        self.over = False
        threading.Thread(target=self._run, name=f"mqtt {source.server}", daemon=True).start()

    def takes(self, source: Subscription) -> bool:
        """Whether these topics may share the connection.

        A broker may send a message twice to one who subscribed to two topics that both fit: such a sensor gets
        a connection of its own.
        """
        mine = self._source
        same = (mine.server, mine.version, mine.ca, mine.login) == (
            source.server,
            source.version,
            source.ca,
            source.login,
        )
        return same and all(
            topic in self._topics or not any(overlap(topic, other) for other in self._topics)
            for topic in source.topics
        )

    def add(self, listener: _Listener) -> None:
        """Let somebody listen."""
        self._listeners.append(listener)
        for topic in listener.topics:
            if topic not in self._topics:
                self._topics.add(topic)
                self._worker.subscribe(topic)

    def remove(self, listener: _Listener) -> None:
        """Somebody listens no longer; the connection ends with the last one, without being waited for."""
        self._listeners.remove(listener)
        # What nobody listens to any more stays subscribed: it is dropped here, until the connection ends.
        if not self._listeners:
            self.over = True
            self._worker.leave()

    def _run(self) -> None:
        """The thread."""
        try:
            failure = self._worker.run()
        except BaseException as error:  # noqa: BLE001 -- a thread that dies in silence is the worst of all failures
            failure = PortError(
                "defect", f"A defect ended the connection: {error!r}.", "Report it with the log."
            )
        # The loop is closed at the end of the process: then nobody waits any more.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._end, failure)

    def _end(self, failure: PortError | None) -> None:
        self._hand_over()
        self.over = True
        for listener in self._listeners:
            if not listener.ended.done():
                listener.ended.set_exception(failure or PortError("closed", "The connection is closed.", ""))

    def _arrived(self, message: Arrived) -> None:
        """In the thread: put a message where the loop finds it."""
        size = len(message.payload) + len(message.topic)
        with self._lock:
            if len(self._waiting) >= WAITING or self._waiting_bytes + size > WAITING_BYTES:
                self._dropped += 1
                return
            self._waiting.append(message)
            self._waiting_bytes += size
            first = len(self._waiting) == 1
        if first:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._hand_over)

    def _hand_over(self) -> None:
        with self._lock:
            messages, dropped = list(self._waiting), self._dropped
            self._waiting.clear()
            self._waiting_bytes = self._dropped = 0
        for listener in self._listeners:
            if dropped:
                listener.lost(dropped)
            for message in messages:
                if listener.ended.done():
                    break
                if any(topic_matches_sub(topic, message.topic) for topic in listener.topics):
                    try:
                        listener.take(message)
                    except Exception as error:  # noqa: BLE001 -- a defect of its driver: it belongs to its sensor
                        listener.ended.set_exception(error)


def overlap(one: str, other: str) -> bool:
    """Whether a topic can exist that both filters fit (MQTT 5.0 §4.7.1)."""
    mine, theirs = one.split("/"), other.split("/")
    for index in range(max(len(mine), len(theirs))):
        left = mine[index] if index < len(mine) else None
        right = theirs[index] if index < len(theirs) else None
        if "#" in (left, right):
            return True  # it stands for everything that follows, and for nothing
        if left != right and "+" not in (left, right):
            return False
        if left is None or right is None:
            return False
    return True

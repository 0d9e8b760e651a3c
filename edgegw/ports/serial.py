"""A serial device that talks: its bytes arrive on the event loop, its thread does all the waiting.

The thread opens the device, reads, writes and closes it. What it reads lies in a bounded buffer until the
loop fetches it; while the loop is behind, more bytes join the same chunks, so that a flood costs few
callbacks, and at the bound the thread stops reading (the kernel keeps 4095 bytes more, then the line
overruns, as it does with any program that cannot keep up).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from edgegw.ports.errors import PortError
from edgegw.ports.thread import PortThread
from edgegw.ports.tty import WRITE_BYTES, Tty, described

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgegw.driver import SerialLine

# Bytes of one call of `on_data`: about 10 ms of decoding, so that other sensors get their turn in between.
CHUNK_BYTES: Final = 16384
# Bytes that wait for the loop: 2.5 s at 256000 baud, longer than any stall of a healthy loop.
PENDING_BYTES: Final = 65536
# Bytes that arrive within this time share a chunk and its time stamp: far below what a reading's time needs.
SAME_TIME_S: Final = 0.01
# A busy line is read at most 100 times a second: 10 ms at 4 Mbaud, the fastest setting, are 4000 bytes, and
# the kernel keeps 4095.
REST_S: Final = 0.01
# A read that gave this much says that a flood is waiting: go on at once, or the kernel's buffer is the brake.
PLENTY_BYTES: Final = 1024
# How long a cancelled `run` waits for the device to be closed, so that it can be opened again at once; a
# close that takes longer goes on in its thread.
CLOSE_S: Final = 1.0


class SerialPort:
    """One serial device.

    `on_data(chunk, seconds)` is called on the event loop with 1 to CHUNK_BYTES bytes in the order of their
    arrival and the monotonic second at which the first of them was read; what it raises ends `run`.
    `on_open()` is called on the event loop each time that the device is open and listens.
    """

    def __init__(
        self,
        path: str,
        line: SerialLine,
        *,
        on_data: Callable[[bytes, float], None],
        on_open: Callable[[], None] | None = None,
    ) -> None:
        """Take the device at `path` (a stable name, such as one in /dev/serial/by-id); opens nothing yet."""
        self._path = path
        self._line = line
        self._on_data = on_data
        self._on_open = on_open
        self._session: _Session | None = None

    async def run(self) -> None:
        """Open the device and read until it goes away; opening it again is the caller's decision.

        Cancelling closes the device in its thread and returns within CLOSE_S.

        Raises:
            PortError: `missing`, `permission`, `busy`, `not_serial`, `settings` when it does not open,
                `unplugged` or `write_timeout` when it fails later.
        """
        session = _Session(self._on_data, self._on_open, asyncio.get_running_loop())
        thread = PortThread(f"serial {os.path.basename(self._path)}")  # noqa: PTH119 - a name, not a file
        ended = thread.call(session.work, self._path, self._line)
        thread.stop()
        ended.add_done_callback(_look_at)
        self._session = session
        either: set[asyncio.Future[Any]] = {ended, session.failed}
        try:
            # `wait` leaves the futures alone when this task is cancelled: the close is still to be waited for.
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._session = None
            session.stop()
            error = ended.exception() if ended.done() else None
            session.refuse_writes(error or described(self._path, "closed"))
            await asyncio.wait({ended}, timeout=CLOSE_S)
        if session.failed.done():
            raise session.failed.result()
        ended.result()

    async def write(self, data: bytes) -> None:
        """Send up to WRITE_BYTES bytes; returns when the kernel has taken them.

        Raises:
            PortError: `closed` while `run` is not running, otherwise what ended the device.
            ValueError: More than WRITE_BYTES bytes.
        """
        if len(data) > WRITE_BYTES:
            raise ValueError(f"{len(data)} bytes in one write, at most {WRITE_BYTES}")
        session = self._session
        if session is None:
            raise described(self._path, "closed")
        await session.write(data)


class _Session:
    """One time that the device is open. `work` runs in the thread, everything else on the loop."""

    def __init__(
        self,
        on_data: Callable[[bytes, float], None],
        on_open: Callable[[], None] | None,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._on_data = on_data
        self._on_open = on_open
        self._loop = loop
        #: What `on_data` raised.
        self.failed: asyncio.Future[Exception] = loop.create_future()
        self._changed = threading.Condition()
        # Under the condition's lock:
        self._stopping = False
        self._tty: Tty | None = None
        self._chunks: deque[tuple[bytearray, float]] = deque()
        self._pending = 0
        self._called = False
        self._writes: deque[tuple[bytes, asyncio.Future[None]]] = deque()

    def work(self, path: str, line: SerialLine) -> None:
        """Open, serve, close; PortError when the device goes."""
        tty = Tty(path, line)
        try:
            with self._changed:
                self._tty = tty
            if self._on_open is not None:
                self._on_loop(self._on_open)
            self._serve(tty)
        finally:
            with self._changed:
                self._tty = None
            tty.close()

    def _serve(self, tty: Tty) -> None:
        previous = 0.0
        while not self._stopping:
            while self._writes:
                self._send(tty)
            data = tty.read()
            if not data:
                continue
            now = time.monotonic()
            self._keep(data, now)
            if len(data) < PLENTY_BYTES and now - previous < REST_S and not self._writes:
                tty.rest(REST_S)
            previous = now

    def _send(self, tty: Tty) -> None:
        with self._changed:
            if not self._writes:
                return  # refused in the meantime
            data, done = self._writes.popleft()
        if done.cancelled():
            return
        try:
            tty.write(data)
        except PortError as error:
            self._on_loop(_finish, done, error)
            raise
        self._on_loop(_finish, done)

    def _keep(self, data: bytes, now: float) -> None:
        with self._changed:
            while self._pending > PENDING_BYTES - len(data) and self._pending and not self._stopping:
                self._changed.wait()
            self._pending += len(data)
            room = CHUNK_BYTES - len(self._chunks[-1][0]) if self._chunks else 0
            if len(data) <= room and now - self._chunks[-1][1] < SAME_TIME_S:
                self._chunks[-1][0].extend(data)
            else:
                for start in range(0, len(data), CHUNK_BYTES):
                    self._chunks.append((bytearray(data[start : start + CHUNK_BYTES]), now))
            call, self._called = not self._called, True
        if call:
            self._on_loop(self._deliver)

    def _deliver(self) -> None:
        """Hand one chunk over, and come back for the next one after everybody else had a turn."""
        with self._changed:
            if not self._chunks or self._stopping:
                self._called = False
                return
            data, seconds = self._chunks.popleft()
            self._pending -= len(data)
            self._called = bool(self._chunks)
            self._changed.notify()
        if self._called:
            self._loop.call_soon(self._deliver)
        try:
            self._on_data(bytes(data), seconds)
        except Exception as error:  # noqa: BLE001 - nothing is swallowed: `run` raises it
            if not self.failed.done():
                self.failed.set_result(error)

    async def write(self, data: bytes) -> None:
        done: asyncio.Future[None] = self._loop.create_future()
        with self._changed:
            self._writes.append((data, done))
            if self._tty is not None:
                self._tty.wake()
        await done

    def stop(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify()
            if self._tty is not None:
                self._tty.wake()

    def refuse_writes(self, error: BaseException) -> None:
        with self._changed:
            writes = [done for _, done in self._writes]
            self._writes.clear()
        for done in writes:
            _finish(done, error)

    def _on_loop(self, function: Callable[..., None], *args: object) -> None:
        # The loop is closed at the end of the process: then nobody waits for the bytes any more.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *args)


def _finish(done: asyncio.Future[None], error: BaseException | None = None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)


def _look_at(ended: asyncio.Future[None]) -> None:
    # A close that outlives the cancelled `run` tells nobody; asyncio would warn of it.
    ended.exception()

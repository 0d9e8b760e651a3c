"""A microphone: its samples arrive on the event loop, its thread does all the waiting.

Samples that the card dropped, or that the loop did not fetch in time, are counted and told with the next ones.
Nothing is written and nothing is copied elsewhere: what was handed over is forgotten here.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from edgegw.ports.audio.alsa import Card
from edgegw.ports.audio.faults import described
from edgegw.ports.thread import PortThread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# The thread looks this often whether it shall stop, ms.
LOOK_MS: Final = 250
# Chunks of READ_SAMPLES that wait for the loop: 2 s, longer than any stall of a healthy loop.
PENDING: Final = 8
# A card without a sample for so long is stuck: the kernel itself gives up after 10 s, where it notices.
STALLED_S: Final = 10.0
# How far the count of samples may be from what the clock says: the card's buffer and a pause of the thread, and a
# share for clocks (crystals keep 0.01 %; 44.1 kHz sold as 48 kHz is 8 % off and found after 30 s).
SLACK_S: Final = 1.5
DRIFT: Final = 0.03
# How long a cancelled `run` waits for the card to be closed, so that it can be opened again at once.
CLOSE_S: Final = 1.0
_BYTES: Final = 4


class Microphone:
    """One capture device.

    `on_samples(samples, lost, seconds)` is called on the event loop with 1 to READ_SAMPLES samples (signed 32 bits,
    little-endian, one channel), how many were dropped just before them, and the monotonic second of the last one; what it
    raises ends `run`. `on_open(switches)` is called there each time that the card is open, with the names of its switches
    for automatic gain and the like that are on.
    """

    def __init__(
        self,
        device: str,
        rate: int,
        *,
        on_samples: Callable[[bytes, int, float], None],
        on_open: Callable[[Sequence[str]], None] | None = None,
    ) -> None:
        """Take the device of that ALSA name; opens nothing yet."""
        self._device = device
        self._rate = rate
        self._on_samples = on_samples
        self._on_open = on_open

    async def run(self) -> None:
        """Open the card and read until it goes away; opening it again is the caller's decision.

        Cancelling closes the card in its thread and returns within CLOSE_S.

        Raises:
            PortError: As `alsa.Card`, and `wrong_rate` or `stalled` when samples come too fast, too slowly or not.
        """
        session = _Session(self._on_samples, self._on_open, asyncio.get_running_loop())
        thread = PortThread(f"audio {self._device}")
        ended = thread.call(session.work, self._device, self._rate)
        thread.stop()
        ended.add_done_callback(_look_at)
        either: set[asyncio.Future[Any]] = {ended, session.failed}
        try:
            while not (await asyncio.wait(either, timeout=STALLED_S, return_when=asyncio.FIRST_COMPLETED))[0]:
                if not session.heard:
                    raise described(self._device, self._rate, "stalled", f"{STALLED_S:.0f}")
                session.heard = False
        finally:
            session.stop()
            await asyncio.wait({ended}, timeout=CLOSE_S)
        if session.failed.done():
            raise session.failed.result()
        ended.result()


class _Session:
    """One time that the card is open. `work` runs in the thread, everything else on the loop."""

    def __init__(
        self,
        on_samples: Callable[[bytes, int, float], None],
        on_open: Callable[[Sequence[str]], None] | None,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._on_samples = on_samples
        self._on_open = on_open
        self._loop = loop
        #: What a listener raised.
        self.failed: asyncio.Future[Exception] = loop.create_future()
        #: Whether samples came since it was last put to False.
        self.heard = False
        self._lock = threading.Lock()
        # Under the lock:
        self._stopping = False
        self._chunks: deque[tuple[bytes, int, float]] = deque()
        self._lost = 0

    def work(self, device: str, rate: int) -> None:
        """Open, read, close; PortError when the card goes."""
        card = Card(device, rate)
        try:
            if self._on_open is not None:
                self._on_loop(self._told, self._on_open, card.meddling())
            self._listen(card, device, rate)
        finally:
            card.close()

    def _listen(self, card: Card, device: str, rate: int) -> None:
        begun = newest = time.monotonic()
        counted = 0
        while not self._stopping:
            samples = card.read(LOOK_MS)
            now = time.monotonic()
            if samples is None:
                # Everything since the last read is gone, what the card still held of it too.
                with self._lock:
                    self._lost += round((now - newest) * rate)
                begun, counted = now, 0
            elif samples:
                counted += len(samples) // _BYTES
                expected = (now - begun) * rate
                if abs(counted - expected) > SLACK_S * rate + DRIFT * expected:
                    raise described(device, rate, "wrong_rate", f"{counted / max(now - begun, 1e-3):.0f}")
                self._keep(samples, now)
            else:
                continue
            newest = now

    def _keep(self, samples: bytes, now: float) -> None:
        with self._lock:
            if len(self._chunks) >= PENDING:
                self._lost += len(samples) // _BYTES
                return
            self._chunks.append((samples, self._lost, now))
            self._lost = 0
        self._on_loop(self._deliver)

    def _deliver(self) -> None:
        """Hand one chunk over; each was announced by itself, so that everybody else has a turn in between."""
        with self._lock:
            if self._stopping:
                return
            samples, lost, now = self._chunks.popleft()
        self.heard = True
        self._told(self._on_samples, samples, lost, now)

    def _told(self, listener: Callable[..., None], *args: object) -> None:
        try:
            listener(*args)
        except Exception as error:  # noqa: BLE001 - nothing is swallowed: `run` raises it
            if not self.failed.done():
                self.failed.set_result(error)

    def stop(self) -> None:
        with self._lock:
            self._stopping = True
            self._chunks.clear()

    def _on_loop(self, function: Callable[..., None], *args: object) -> None:
        # The loop is closed at the end of the process: then nobody waits for sound any more.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *args)


def _look_at(ended: asyncio.Future[None]) -> None:
    # A close that outlives the cancelled `run` tells nobody; asyncio would warn of it.
    ended.exception()

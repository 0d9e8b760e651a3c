"""Devices of the local network that say their values in documents: fetched, pushed to us, or on a broker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgegw.driver import FrameError, Message, Pull, Push
from edgegw.ports.errors import PortError
from edgegw.sampling import Sampler
from edgegw.sensing.sensing import until_first_ends

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from typing import Any

    from edgegw.driver import MessageDriver, Reading, Subscription
    from edgegw.ports.mqtt_local import Arrived
    from edgegw.sensing.sensing import Sensing

# How often a document is fetched where the sensor says `interval = "all"`: there is no such thing as every document.
USUAL_S: Final = 10.0
# Pauses before a way that closed is tried again: first and longest, seconds. The decoder is kept meanwhile, so that
# the passages that a running total counted while the broker was away are not lost.
AGAIN_S: Final = (0.5, 30.0)


async def run(sensing: Sensing, driver: MessageDriver) -> None:
    """Take the device's documents for ever; a way that is closed costs what came on it, not the decoder."""
    source = driver.source()
    reader = _Reader(sensing, driver)
    if isinstance(source, Pull):
        await _fetched(reader, source)
    elif isinstance(source, Push):
        await _posted(reader, source)
    else:
        await _published(reader, source)


class _Reader:
    """One device: its decoder, and where its readings go."""

    def __init__(self, sensing: Sensing, driver: MessageDriver) -> None:
        self.sensing = sensing
        self.decoder = driver.decoder()
        interval = sensing.sensor.interval
        self.sampler = Sampler(interval) if interval is not None else None

    def decoded(self, body: bytes, topic: str, now: float) -> tuple[Sequence[Reading], str]:
        """Readings of a document, and why it was refused as a whole (empty: it was not); both are counted."""
        readings: Sequence[Reading] = ()
        refusal = ""
        try:
            readings = self.sensing.readings(self.decoder.decode(Message(body, topic), now))
        except FrameError as error:
            self.sensing.view.error(error.reason)
            refusal = error.reason
        if not readings:
            # The way is open again, whatever came on it: what was wrong with it is no longer the trouble.
            view = self.sensing.view
            view.trouble, view.why, view.todo = None, "", ""
        return readings, refusal

    def take_posted(self, body: bytes, now: float) -> str:
        """Record what was posted, before the device is told that it was taken; why it was not, else empty."""
        readings, refusal = self.decoded(body, "", now)
        if readings:
            # At once, whatever the interval: what waits in a window is lost with the power, and was acknowledged.
            self.sensing.emit(readings, now)
        return f"The document was not understood: {refusal}." if refusal else ""

    def take_published(self, message: Arrived) -> None:
        """Take a message of a broker."""
        if message.retained:
            # The broker kept it, nobody knows for how long: an old value must not become a new reading.
            self.sensing.view.error("retained")
            return
        readings, _ = self.decoded(message.payload, message.topic, message.at)
        if self.sampler is not None:
            self.sampler.feed(readings, message.at)
        elif readings:
            self.sensing.emit(readings, message.at)

    def lost(self, count: int) -> None:
        """Count messages that came faster than they could be taken."""
        for _ in range(count):
            self.sensing.view.error("dropped")


async def _fetched(reader: _Reader, source: Pull) -> None:
    """Fetch the document each interval."""
    sensing = reader.sensing
    average = sensing.sensor.average
    averager = Sampler(average) if average is not None else None
    documents = sensing.wires.documents()
    async for _ in sensing.ticks(sensing.sensor.interval or USUAL_S):
        try:
            body = await documents.fetch(source)
        except PortError as error:
            sensing.fails(error)
            continue
        now = sensing.clock.monotonic()
        readings, _ = reader.decoded(body, "", now)
        if readings:
            sensing.emit(readings, now)
        if averager is not None:
            averager.feed(readings, now)
            if means := averager.due(now):
                sensing.emit(means, now)


async def _posted(reader: _Reader, source: Push) -> None:
    """Wait for what the device posts."""
    sensing = reader.sensing

    async def wait() -> None:
        await sensing.wires.documents().receive(sensing.name, source.token, reader.take_posted)

    await _kept_open(sensing, wait)


async def _published(reader: _Reader, source: Subscription) -> None:
    """Listen on the broker; values become one per interval, as of every device that talks."""
    sensing, sampler, interval = reader.sensing, reader.sampler, reader.sensing.sensor.interval

    async def wait() -> None:
        await sensing.wires.documents().listen(source, reader.take_published, reader.lost)

    together: list[Coroutine[Any, Any, None]] = [_kept_open(sensing, wait)]
    if sampler is not None and interval is not None:
        together.append(sensing.sample(sampler, interval))
    try:
        await until_first_ends(together)
    finally:
        if sampler is not None and interval is not None:
            # The open window ends with the sensor: what it holds was measured, passages above all.
            now = sensing.clock.monotonic()
            if readings := sampler.due(now + interval):
                sensing.emit(readings, now)


async def _kept_open(sensing: Sensing, way: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Open a way again and again, with growing pauses while nothing comes on it."""
    first, longest = AGAIN_S
    pause = first
    while True:
        seen = sensing.view.readings
        try:
            await way()
        except PortError as error:
            sensing.fails(error)
        pause = first if sensing.view.readings > seen else min(longest, 2 * pause)
        await sensing.clock.sleep(pause)

"""Devices on a serial line that talk."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from edgegw.driver import ToldDecoder
from edgegw.framing import Framer
from edgegw.sampling import Sampler
from edgegw.sensing.sensing import until_first_ends
from edgegw.views import CHECK_DEVICE, State

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from edgegw.driver import FrameError, Outcome, StreamDecoder, StreamDriver
    from edgegw.sensing.sensing import Sensing
    from edgegw.sensing.wires import Port

# So many frames' bytes in which no frame begins are counted as one `framing`: another device, or other line settings.
STRANGE_FRAMES: Final = 4
_OPEN_AGAIN: Final = "The port is open again, and no reading has come since."


async def run(sensing: Sensing, driver: StreamDriver) -> None:
    """Read the device until its port goes: then PortError."""
    sensor = sensing.sensor
    framer, decoder = Framer(driver.framing), driver.decoder()
    sampler = Sampler(sensor.interval) if sensor.interval is not None else None
    arrived = 0.0
    strange = _Strange(framer, STRANGE_FRAMES * driver.framing.longest)

    def decode(frame: bytes) -> Sequence[Outcome]:
        return decoder.decode(frame, arrived)

    def refuse(error: FrameError) -> None:
        sensing.view.error(error.reason)

    def on_data(chunk: bytes, now: float) -> None:
        nonlocal arrived
        arrived = now
        frames = framer.feed(chunk, decode, refuse)
        if not frames:
            if strange.enough():
                sensing.view.error("framing")
            return
        outcomes = frames[0] if len(frames) == 1 else [outcome for frame in frames for outcome in frame]
        readings = sensing.readings(outcomes)
        if sampler is not None:
            sampler.feed(readings, now)
        elif readings:
            sensing.emit(readings, now)

    opened = asyncio.Event()

    def on_open() -> None:
        opened.set()
        view = sensing.view
        if view.trouble is State.UNPLUGGED:
            # Whoever looks for a plug that is out would look in vain.
            view.trouble = State.NO_ANSWER if view.at is None else State.STALE
            view.why, view.todo = _OPEN_AGAIN, CHECK_DEVICE

    port = sensing.port(driver.line, on_data, on_open)
    together: list[Coroutine[Any, Any, None]] = [port.run()]
    if sampler is not None and sensor.interval is not None:
        together.append(sensing.sample(sampler, sensor.interval))
    if driver.setup() or driver.request():
        together.append(_speak(sensing, driver, decoder, framer, port, opened))
    try:
        await until_first_ends(together)
    finally:
        if sampler is not None and sensor.interval is not None:
            # The open window ends with its port: what it holds was measured, passages above all.
            now = sensing.clock.monotonic()
            if readings := sampler.due(now + sensor.interval):
                sensing.emit(readings, now)


class _Strange:
    """Whether a stream holds more bytes without a frame than the middle of one, in which listening may begin."""

    def __init__(self, framer: Framer, enough: int) -> None:
        self._framer = framer
        self._enough = enough
        self._candidates = 0
        self._dropped = 0

    def enough(self) -> bool:
        """Whether that many bytes were dropped since the last candidate, or since it last said so."""
        framer = self._framer
        if framer.accepted + framer.refused != self._candidates:
            self._candidates, self._dropped = framer.accepted + framer.refused, framer.dropped
        if framer.dropped - self._dropped < self._enough:
            return False
        self._dropped = framer.dropped
        return True


async def _speak(
    sensing: Sensing,
    driver: StreamDriver,
    decoder: StreamDecoder,
    framer: Framer,
    port: Port,
    opened: asyncio.Event,
) -> None:
    """Send the set-up once, then the request each interval; one that nothing answered is counted `no_reply`."""
    await opened.wait()
    for each in driver.setup():
        if each.changes and not sensing.sensor.allow_setup:
            continue
        await sensing.clock.sleep(each.after_s)
        if isinstance(decoder, ToldDecoder):
            # Before it is written: a quick reply must not find a decoder that does not wait for it.
            decoder.sent(each, sensing.clock.monotonic())
        await port.write(each.data)
    heard = -1
    async for _ in sensing.ticks(sensing.sensor.interval or 1.0):
        if request := driver.request():
            if framer.accepted + framer.refused == heard:
                sensing.view.error("no_reply")
            heard = framer.accepted + framer.refused
            await port.write(request)

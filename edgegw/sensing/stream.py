"""Devices on a serial line that talk."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from edgegw.driver import ToldDecoder
from edgegw.framing import Framer
from edgegw.sampling import Sampler
from edgegw.sensing.sensing import until_first_ends

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from edgegw.driver import FrameError, Outcome, StreamDecoder, StreamDriver
    from edgegw.sensing.sensing import Sensing
    from edgegw.sensing.wires import Port


async def run(sensing: Sensing, driver: StreamDriver) -> None:
    """Read the device until its port goes: then PortError."""
    sensor = sensing.sensor
    framer, decoder = Framer(driver.framing), driver.decoder()
    sampler = Sampler(sensor.interval) if sensor.interval is not None else None
    arrived = 0.0

    def decode(frame: bytes) -> Sequence[Outcome]:
        return decoder.decode(frame, arrived)

    def refuse(error: FrameError) -> None:
        sensing.view.error(error.reason)

    def on_data(chunk: bytes, now: float) -> None:
        nonlocal arrived
        arrived = now
        frames = framer.feed(chunk, decode, refuse)
        if not frames:
            return
        outcomes = frames[0] if len(frames) == 1 else [outcome for frame in frames for outcome in frame]
        readings = sensing.readings(outcomes)
        if sampler is not None:
            sampler.feed(readings, now)
        elif readings:
            sensing.emit(readings, now)

    opened = asyncio.Event()
    port = sensing.port(driver.line, on_data, opened.set)
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

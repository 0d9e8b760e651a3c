"""A gateway that hears the addresses on its standard input for one window, commits its index, and then waits.

Its own process, so that a test can look at its memory: it is given the addresses as bare octets, and overwrites them
where it got them. Everything behind the radio is the real thing. `HOARD=1` makes it keep what it heard.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from fakes_clock import FakeClock
from keeping import ISS, LIMITS, keeper

from edgegw.clock import Timeline, look
from edgegw.config import Sensor
from edgegw.driver import Advert
from edgegw.ports.thread import PortThread
from edgegw.recorder import Recorder
from edgegw.sensors import Sensors
from edgegw.wire import senml

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgegw.driver import Reading
    from edgegw.ports.ble import Ear

MOST = 4096
WINDOW_S = 60.0
FRAMES = 4
HOARD: list[Advert] = []


class Radio:
    """A radio in the hands of this program."""

    def __init__(self) -> None:
        self.ear: Ear | None = None

    async def listen(self, ear: Ear) -> None:
        self.ear = ear
        ear.hearing()
        await asyncio.Event().wait()

    def facts(self) -> dict[str, Any]:
        return {}


class Wires:
    """No other wire than the radio."""

    def __init__(self) -> None:
        self.the_radio = Radio()

    def radio(self) -> Radio:
        return self.the_radio


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def told(sensor: str, readings: Sequence[Reading], now: float) -> None:
    """What an onlooker (`sensors tail`) sees."""
    say(sensor, now, [(each.quantity.name, each.value, each.meta) for each in readings])


def speak(ear: Ear, octets: bytearray, count: int, now: float) -> None:
    """Each address says something once."""
    for at in range(0, 6 * count, 6):
        address = ":".join(f"{octet:02X}" for octet in octets[at : at + 6])
        advert = Advert(address, True, -60, {0x004C: b"\x10\x05"}, {})
        if os.environ.get("HOARD"):
            HOARD.append(advert)
        ear.heard(advert, now)


async def main(directory: Path) -> None:
    octets = bytearray(6 * MOST)
    count = os.readv(0, [octets]) // 6
    clock, wires, worker, log = FakeClock(), Wires(), PortThread("store"), keeper(directory)
    recorder = Recorder(
        log,
        worker,
        writer=senml.RecordWriter(ISS),
        clock=clock,
        timeline=Timeline(look(clock), boot_id="b", floor=0.0),
        limits=LIMITS,
        on_commit=lambda _: None,
    )
    task = asyncio.create_task(recorder.run())
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    logger = structlog.get_logger()
    sensors = Sensors(wires, recorder, clock, logger, simulated=False, listen=told)  # type: ignore[arg-type]
    sensor = Sensor(
        driver="ble_presence", interval=None, stale_after=300.0, options={"window": f"{WINDOW_S:g}s"}
    )
    await sensors.apply({"square-1": sensor})
    await clock.run(1)
    ear = wires.the_radio.ear
    assert ear is not None
    for _ in range(FRAMES):
        speak(ear, octets, count, clock.monotonic())
        await clock.run(WINDOW_S / FRAMES / 2)
    octets[:] = bytes(len(octets))
    await clock.run(WINDOW_S)
    await recorder.flush()
    say("status", sensors.views["square-1"].as_dict(clock.monotonic()))
    gc.collect()
    say("closed")
    # The other side looks at the memory of this process now, while everything still runs.
    await asyncio.to_thread(os.read, 0, 1)
    await sensors.stop()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    await worker.call(log.close)
    worker.stop()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))

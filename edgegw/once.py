"""Read each sensor once, store nothing, send nothing: what a technician does after wiring."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import structlog

from edgegw import registry
from edgegw.driver import AskDriver, PollDriver
from edgegw.sensors import Sensors
from edgegw.wires import RealWires

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgegw.clock import Clock
    from edgegw.config import Bluetooth, Endpoint, Sensor
    from edgegw.driver import Reading

# The slowest device of the catalogue speaks within 2.5 s; a line that has to be opened again needs a few more.
PATIENCE_S: Final = 10.0


class _Collector:
    """A sink that remembers the first readings of each sensor."""

    def __init__(self, wanted: int) -> None:
        self.found: dict[str, Sequence[Reading]] = {}
        self.complete = asyncio.Event()
        self._wanted = wanted

    def readings(self, sensor: str, readings: Sequence[Reading], monotonic: float) -> int:
        del monotonic
        self.found.setdefault(sensor, readings)
        if len(self.found) >= self._wanted:
            self.complete.set()
        return len(readings)


async def read_once(
    sensors: Mapping[str, Sensor],
    clock: Clock,
    patience_s: float = PATIENCE_S,
    bluetooth: Bluetooth | None = None,
    endpoint: Endpoint | None = None,
) -> list[dict[str, Any]]:
    """One entry per enabled sensor: `id`, `driver`, `readings`, and `state`, `errors`, `why`, `todo` … of its view.

    Waits until each has spoken, at most `patience_s` seconds. A talker's first frame counts, not its interval.
    """
    wanted = {
        name: replace(sensor, interval=_once(sensor)) for name, sensor in sensors.items() if sensor.enabled
    }
    collector = _Collector(len(wanted))
    quiet = structlog.wrap_logger(structlog.testing.CapturingLogger())
    running = Sensors(
        RealWires(bluetooth, endpoint), collector, clock, quiet, simulated=False, listen=lambda *_: None
    )
    try:
        await running.apply(wanted)
        views = dict(running.views)
        if wanted:
            waiting = asyncio.ensure_future(collector.complete.wait())
            patience = asyncio.ensure_future(clock.sleep(patience_s))
            await asyncio.wait({waiting, patience}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            patience.cancel()
    finally:
        now = clock.monotonic()
        await running.stop()
    return [
        {
            **views[name].as_dict(now),
            "why": views[name].why,
            "todo": views[name].todo,
            "readings": [
                {
                    "quantity": each.quantity.name,
                    "value": each.value,
                    "unit": each.quantity.unit,
                    "qc": each.checks,
                }
                for each in collector.found.get(name, ())
            ],
        }
        for name in wanted
    ]


def _once(sensor: Sensor) -> float | None:
    """Every frame of a talker counts, and a second of sound; what is asked is asked at its own pace."""
    try:
        asked = issubclass(registry.load(sensor.driver), (AskDriver, PollDriver))
    except registry.DriverError:
        asked = True  # its own task says what is wrong with it
    return sensor.interval if asked else None

"""Modbus devices, polled over a line or a host that several share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgegw.ports.errors import PortError
from edgegw.sampling import Sampler
from edgegw.views import State

if TYPE_CHECKING:
    from edgegw.driver import PollDriver
    from edgegw.sensing.sensing import Sensing


async def run(sensing: Sensing, driver: PollDriver) -> None:
    """Poll the device for ever; a bus that fails costs the poll, not the sensor."""
    sensor, view = sensing.sensor, sensing.view
    bus = sensing.buses.of(sensing.name, sensor, driver)
    decoder, blocks = driver.decoder(), driver.blocks()
    averager = Sampler(sensor.average) if sensor.average is not None else None
    async for _ in sensing.ticks(sensor.interval or 1.0):
        try:
            answers = await bus.poll(
                sensor.unit, blocks, timeout_s=driver.timeout_s, min_gap_s=driver.min_gap_s
            )
        except PortError as error:
            sensing.fails(error)
            continue
        now = sensing.clock.monotonic()
        no_reply = view.errors.get("no_reply", 0)
        readings = sensing.take(decoder.decode(answers, now), now)
        if view.errors.get("no_reply", 0) > no_reply and not readings:
            view.trouble = State.NO_ANSWER
        if averager is not None:
            averager.feed(readings, now)
            means = averager.due(now)
            if means:
                sensing.emit(means, now)

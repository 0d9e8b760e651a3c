"""Modbus lines and hosts that several sensors share: one object each, closed with its last user."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgegw.config import Sensor
    from edgegw.driver import PollDriver
    from edgegw.sensing.wires import Bus, Wires


class Buses:
    """The buses in use, by device or host."""

    def __init__(self, wires: Wires) -> None:
        self._wires = wires
        self._found: dict[str, tuple[Bus, set[str]]] = {}

    def of(self, name: str, sensor: Sensor, driver: PollDriver) -> Bus:
        """The bus of a sensor, made for its first user; `release` gives it back.

        Two names of one adapter are one line: what one sensor asks must not meet what another asks.
        """
        key = str(sensor.host) if sensor.host is not None else os.path.realpath(str(sensor.port))
        if key not in self._found:
            if sensor.host is not None:
                bus = self._wires.tcp(sensor.host.host, sensor.host.port)
            else:
                bus = self._wires.rtu(str(sensor.port), driver.lines()[0])
            self._found[key] = (bus, set())
        bus, users = self._found[key]
        users.add(name)
        return bus

    async def release(self, name: str) -> None:
        """This sensor uses its bus no longer."""
        for key, (bus, users) in list(self._found.items()):
            if name in users:
                users.discard(name)
                if not users:
                    # Before the close, which is waited for: sensors are stopped side by side.
                    del self._found[key]
                    await bus.close()

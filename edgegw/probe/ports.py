"""The serial ports of this machine, by names that stay the same, and which sensors are configured on them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from serial.tools import list_ports

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgegw.config import Sensor

#: Where udev keeps a name for each adapter that does not depend on the order of plugging in.
BY_ID: Final = Path("/dev/serial/by-id")
BY_PATH: Final = Path("/dev/serial/by-path")


class SerialPortFound(NamedTuple):
    """A serial port: the name to configure, the device behind it now, what it is, the sensors on it."""

    name: str
    device: str
    what: str
    sensors: tuple[str, ...]


def serial_ports(sensors: Mapping[str, Sensor]) -> list[SerialPortFound]:
    """Every serial port that the kernel has, by name; nothing is opened.

    The name is the adapter's own where it has one, else that of its USB socket, else the kernel's.
    """
    stable = {**_links(BY_PATH), **_links(BY_ID)}
    users: dict[str, list[str]] = {}
    for name, sensor in sensors.items():
        if sensor.port is not None:
            users.setdefault(os.path.realpath(sensor.port), []).append(name)
    found = []
    for port in list_ports.comports():
        device = os.path.realpath(port.device)
        what = " ".join(dict.fromkeys(filter(None, (port.manufacturer, port.product)))) or port.description
        found.append(
            SerialPortFound(
                stable.get(device, device),
                device,
                what if what != "n/a" else "",
                tuple(users.get(device, ())),
            )
        )
    return sorted(found)


def stable_name(port: str) -> str:
    """The name of a port that stays when adapters move, where udev made one for what the kernel calls `port`.

    Whoever named the port otherwise keeps that name.
    """
    stable = {**_links(BY_PATH), **_links(BY_ID)}
    return port if Path(port).is_symlink() else stable.get(os.path.realpath(port), port)


def _links(folder: Path) -> dict[str, str]:
    """Names by the device they lead to; nothing where udev made none."""
    try:
        return {os.path.realpath(link): str(link) for link in sorted(folder.iterdir(), reverse=True)}
    except OSError:
        return {}

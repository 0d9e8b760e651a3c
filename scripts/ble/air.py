"""A virtual radio for the kernel's hci_vhci, and two devices on the air: one whose data changes each second, one whose never does.

Runs until it is killed; the adapter vanishes with it. Needs root, /dev/vhci and bumble.
"""

from __future__ import annotations

import asyncio
import importlib
import struct
from typing import Any

COMPANY = 0x0499
SERVICE = 0xFCD2


def part(module: str, name: str) -> Any:
    """A class of bumble, which is installed in the virtual machine only."""
    return getattr(importlib.import_module(f"bumble.{module}"), name)


async def device(link: Any, address: str) -> Any:
    """A device on the air, switched on."""
    host = part("host", "Host")()
    host.controller = part("controller", "Controller")(f"device {address}", link=link)
    found = part("device", "Device")(name="", address=part("hci", "Address")(address), host=host)
    await found.power_on()
    return found


async def say(sender: Any, kind: int, data: bytes) -> None:
    """Advertise this from now on, each 100 ms."""
    if sender.is_advertising:
        await sender.stop_advertising()
    elements = bytes((2, 0x01, 0x06, len(data) + 1, kind)) + data
    await sender.start_advertising(
        advertising_data=elements,
        auto_restart=False,
        advertising_interval_min=100,
        advertising_interval_max=100,
    )


async def main() -> None:
    """Play until killed."""
    link = part("link", "LocalLink")()
    open_transport = part("transport", "open_transport")
    controller = part("controller", "Controller")
    # All of bumble before the adapter appears: the kernel gives up on one that does not answer for 10 s.
    for module, name in (("host", "Host"), ("device", "Device"), ("hci", "Address")):
        part(module, name)
    async with await open_transport("vhci") as air:
        controller(
            "kernel",
            host_source=air.source,
            host_sink=air.sink,
            link=link,
            public_address="00:11:22:33:44:55/P",
        )
        changing, constant = await device(link, "F0:F1:F2:F3:F4:F5"), await device(link, "F0:F1:F2:F3:F4:F6")
        await say(constant, 0x16, struct.pack("<H", SERVICE) + b"constant")
        number = 0
        while True:
            await say(changing, 0xFF, struct.pack("<HH", COMPANY, number & 0xFFFF))
            number += 1
            await asyncio.sleep(1)


if __name__ == "__main__":
    asyncio.run(main())

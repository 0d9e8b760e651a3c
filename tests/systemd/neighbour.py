"""What stands beside the gateway in the rig: `neighbour.py sensor PORT` or `neighbour.py bluez`."""

from __future__ import annotations

import asyncio
import os
import pty
import shutil
import sys
import time
import tty
from pathlib import Path

from dbus_fast import BusType
from dbus_fast.aio import MessageBus


def sensor(port: Path) -> None:
    """A dust sensor on a pty: one SDS011 frame each second, whether somebody reads or not."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    name = os.ttyname(slave)
    shutil.chown(name, "root", "dialout")
    Path(name).chmod(0o660)
    port.parent.mkdir(exist_ok=True)
    port.symlink_to(name)
    os.set_blocking(master, False)
    while True:
        values = bytes((0x34, 0x01, 0x9A, 0x01, 0xA1, 0x60))  # PM2.5 30.8, PM10 41.0
        frame = b"\xaa\xc0" + values + bytes((sum(values) & 0xFF, 0xAB))
        try:
            os.write(master, frame)
        except BlockingIOError:
            os.read(slave, 4096)
        time.sleep(1)


async def bluez() -> None:
    """Owns BlueZ's name on the system bus, as only root may."""
    bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
    await bus.request_name("org.bluez")
    await asyncio.Event().wait()


if __name__ == "__main__":
    if sys.argv[1] == "sensor":
        sensor(Path(sys.argv[2]))
    else:
        asyncio.run(bluez())

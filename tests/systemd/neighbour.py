"""What stands beside the gateway in the rig: `python -m systemd.neighbour serial|radio|sound|site`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import shutil
import sys
import time
import tty
from pathlib import Path

import numpy as np
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from sound_card import RATE, SoundCard
from systemd.rig import NODE, SERIAL_PORT, SERIAL_SERVER, TAG, WEB

from edgegw.simulate.bluez import Bluez

# PM2.5 30.8, PM10 41.0 (SDS011), with the frame's checksum behind it.
DUST = bytes((0x34, 0x01, 0x9A, 0x01, 0xA1, 0x60))
DUST_FRAME = b"\xaa\xc0" + DUST + bytes((sum(DUST) & 0xFF, 0xAB))
# Data format 5 of Ruuvi, 24.3 °C; its counter stands in between.
TAG_DATA = "0512fc5394c37c0004fffc040cac3642", "cbb8334c884f"


def serial() -> None:
    """A dust sensor on a pty: one frame each second, whether somebody reads or not."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    name = os.ttyname(slave)
    shutil.chown(name, "root", "dialout")
    Path(name).chmod(0o660)
    SERIAL_PORT.parent.mkdir(exist_ok=True)
    SERIAL_PORT.symlink_to(name)
    os.set_blocking(master, False)
    while True:
        try:
            os.write(master, DUST_FRAME)
        except BlockingIOError:
            os.read(slave, 4096)
        time.sleep(1)


async def radio() -> None:
    """BlueZ on the system's bus, as only root may be, and a tag on the air."""
    bluez = Bluez()
    await bluez.start("unix:path=/run/dbus/system_bus_socket")
    number = 0
    while True:
        number = (number + 1) % 0xFFFF
        data = bytes.fromhex(f"{TAG_DATA[0]}{number:04x}{TAG_DATA[1]}")
        bluez.advertise(TAG, rssi=-60, companies={0x0499: data})
        await asyncio.sleep(0.2)


def sound() -> None:
    """A microphone for the system's ALSA, with the rights of a real card, in a tone of 1 kHz at 94 dB."""
    folder = Path("/run/rig-sound")
    folder.mkdir()
    card = SoundCard(folder)
    os.umask(0o077)
    card.plug()
    pipe = folder / "microphone.pipe"
    shutil.chown(pipe, "root", "audio")
    pipe.chmod(0o660)
    shutil.copy(card.configuration, "/etc/asound.conf")
    Path("/etc/asound.conf").chmod(0o644)
    tone = 10 ** (-26 / 20) * np.sin(2 * np.pi * 1000 * np.arange(3 * RATE) / RATE)
    card.play((tone * 2**31).astype("<i4").tobytes())


async def site() -> None:
    """The local network: a serial server, a web device, and a device on the site's broker."""

    async def dust(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while True:
                writer.write(DUST_FRAME)
                await writer.drain()
                await asyncio.sleep(1)

    async def web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            body = json.dumps(NODE).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            await writer.drain()
        writer.close()

    device = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
    device.connect_async("127.0.0.1", 1883)
    device.loop_start()
    async with await asyncio.start_server(dust, *SERIAL_SERVER), await asyncio.start_server(web, *WEB):
        while True:
            device.publish("site/node", json.dumps(NODE), qos=1)
            await asyncio.sleep(0.5)


if __name__ == "__main__":
    match sys.argv[1]:
        case "serial":
            serial()
        case "radio":
            asyncio.run(radio())
        case "sound":
            sound()
        case "site":
            asyncio.run(site())

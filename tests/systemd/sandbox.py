"""What a process may do inside the gateway's unit: started in its place, leaves one JSON object, then ends."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import socket
import sqlite3
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import serial
from dbus_fast import BusType, Message
from dbus_fast.aio import MessageBus

from edgegw import keys
from edgegw.clock import SystemClock
from edgegw.config import Reference
from edgegw.problems import GatewayError

if TYPE_CHECKING:
    from collections.abc import Callable


def attempt(act: Callable[[], object]) -> str:
    """What came of it: the answer, or the name of the error's number."""
    try:
        return str(act())
    except OSError as error:
        return f"{type(error).__name__} {error.errno}"
    except GatewayError as error:
        return error.text()


def store() -> object:
    """A write to a database as the gateway opens it."""
    with sqlite3.connect(Path(os.environ["STATE_DIRECTORY"]) / "sandbox.db") as database:
        mode = database.execute("pragma journal_mode=wal").fetchone()[0]
        database.execute("pragma synchronous=full")
        database.execute("create table if not exists t (x)")
        database.execute("insert into t values (1)")
    return mode


def credential() -> object:
    """Whether a key that systemd hands over is accepted."""
    return keys.signer(Reference("cred", "sign.key"), os.environ).kid.hex()


def bytes_of(port: str) -> object:
    """Whether the serial port says something."""
    with serial.Serial(port, 9600, timeout=10, exclusive=True) as line:
        return bool(line.read(10))


async def ask_bluez() -> object:
    """The answer of BlueZ's name on the system bus, as a Bluetooth sensor would ask for it."""
    bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
    introspect = Message("org.bluez", "/", "org.freedesktop.DBus.Introspectable", "Introspect")
    answer = await asyncio.wait_for(bus.call(introspect), 10)
    bus.disconnect()
    return answer.message_type.name


def main() -> None:
    """Try everything once; the answers are in the state directory."""
    clock = SystemClock()
    status = Path("/proc/self/status").read_text().split()
    answers = {
        "clock": clock.discipline().sync.name,
        "boot id hidden": attempt(lambda: Path("/proc/sys/kernel/random/boot_id").read_text()),
        "boot id": clock.boot_id(),
        "store": attempt(store),
        "credential": attempt(credential),
        "serial": attempt(lambda: bytes_of(sys.argv[1])),
        "bluez": attempt(lambda: asyncio.run(ask_bluez())),
        "callback": ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 7)(),
        "set the clock": attempt(lambda: time.clock_settime(time.CLOCK_REALTIME, time.time())),
        "write /etc": attempt(lambda: Path("/etc/edgegw/edgegw.toml").write_text("")),
        "write /opt": attempt(lambda: Path("/opt/edgegw/x").write_text("")),
        "read /root": attempt(lambda: list(Path("/root").iterdir())),
        "raw packets": attempt(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)),
        "radio": attempt(lambda: socket.socket(socket.AF_BLUETOOTH, socket.SOCK_RAW, 1)),
        "capabilities": status[status.index("CapEff:") + 1],
    }
    (Path(os.environ["STATE_DIRECTORY"]) / "sandbox.json").write_text(json.dumps(answers))


if __name__ == "__main__":
    main()

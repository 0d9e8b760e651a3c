"""What a process may do inside the gateway's unit: started in its place, leaves one JSON object, then ends."""

from __future__ import annotations

import asyncio
import ctypes
import json
import mmap
import os
import shutil
import socket
import sqlite3
import subprocess
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

STATE = Path(os.environ["STATE_DIRECTORY"])
OBJECTS = "org.freedesktop.DBus.ObjectManager"
DEVICE = "/org/bluez/hci0/dev_CB_B8_33_4C_88_4F"
SYSTEMD = "org.freedesktop.systemd1"
UNITS = "org.freedesktop.systemd1.Manager"


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
    with sqlite3.connect(STATE / "sandbox.db") as database:
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


def run_own() -> object:
    """Whether a program that was written here can be started."""
    program = STATE / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    return subprocess.run([program], check=False).returncode


def load_own() -> object:
    """Whether a library that was written here can be loaded."""
    library = next(Path("/usr/lib").glob("*/libasound.so.2")).resolve()
    return ctypes.CDLL(str(shutil.copy(library, STATE / "library.so")))


def mounts(option: str) -> list[str]:
    """Where something is mounted with this option; the mount on top counts."""
    # Fields 5 and 6 of each line are the place and its options (proc_pid_mountinfo(5)).
    lines = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    options = {fields[4]: fields[5].split(",") for fields in lines}
    return sorted(place for place, each in options.items() if option in each)


def listen() -> object:
    """Whether a port can be opened."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return bool(server.getsockname()[1])


async def ask(name: str, path: str, interface: str, member: str) -> object:
    """How a method call on the system bus is answered, or the name of the error."""
    bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
    answer = await asyncio.wait_for(bus.call(Message(name, path, interface, member)), 10)
    bus.disconnect()
    return answer.error_name or answer.message_type.name


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
        "bluez": attempt(lambda: asyncio.run(ask("org.bluez", "/", OBJECTS, "GetManagedObjects"))),
        "pair": attempt(lambda: asyncio.run(ask("org.bluez", DEVICE, "org.bluez.Device1", "Pair"))),
        "ask systemd": attempt(
            lambda: asyncio.run(ask(SYSTEMD, "/org/freedesktop/systemd1", UNITS, "ListUnits"))
        ),
        "callback": ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 7)(),
        "write its own": attempt(lambda: (STATE / "x").write_text("x")),
        "set the clock": attempt(lambda: time.clock_settime(time.CLOCK_REALTIME, time.time())),
        "write /etc": attempt(lambda: Path("/etc/edgegw/edgegw.toml").write_text("")),
        "write the maps": attempt(lambda: Path("/etc/edgegw/maps/x").write_text("")),
        "write /opt": attempt(lambda: Path("/opt/edgegw/x").write_text("")),
        "write /var/lib": attempt(lambda: Path("/var/lib/x").write_text("")),
        "write /run/lock": attempt(lambda: Path("/run/lock/x").write_text("")),
        "write /dev/shm": attempt(lambda: Path("/dev/shm/x").write_text("")),
        "read /root": attempt(lambda: list(Path("/root").iterdir())),
        "open a tunnel": attempt(lambda: os.open("/dev/net/tun", os.O_RDWR)),
        "writable code": attempt(lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)),
        "run what it wrote": attempt(run_own),
        "load what it wrote": attempt(load_own),
        "listen": attempt(listen),
        "writable": mounts("rw"),
        "not to be run": mounts("noexec"),
        "raw packets": attempt(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)),
        "netlink": attempt(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)),
        "radio": attempt(lambda: socket.socket(socket.AF_BLUETOOTH, socket.SOCK_RAW, 1)),
        "capabilities": status[status.index("CapEff:") + 1],
    }
    (STATE / "sandbox.json").write_text(json.dumps(answers))


if __name__ == "__main__":
    main()

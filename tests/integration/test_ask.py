"""Devices that are asked, on real ptys and real sockets: what they may do wrong, and that nothing wrong is read."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import select
import socket
import struct
import threading
import time
import tty
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import pytest
import structlog

from edgegw.clock import SystemClock
from edgegw.config import Address, Sensor
from edgegw.once import read_once
from edgegw.sensors import Sensors
from edgegw.wires import RealWires
from edgegw_drivers.sps30.shdlc import answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence
    from pathlib import Path

    from edgegw.driver import Reading
    from edgegw.views import View

PATIENCE_S = 90
INTERVAL_S = 0.1
# The driver waits half a second for an answer: this comes surely after it.
LATE_S = 0.8
READ = 0x03
# What is counted on a machine that is too busy to answer within half a second, as this one may be.
BUSY = {"no_reply", "unasked"}


class Wire(Protocol):
    """The device's end of a wire, which can be pulled out and plugged in again at the same place."""

    def sensor(self) -> Sensor: ...
    def plug(self) -> None: ...
    def unplug(self) -> None: ...
    def read(self) -> bytes: ...
    def write(self, data: bytes) -> None: ...


SENSOR = Sensor(
    driver="sps30", interval=INTERVAL_S, stale_after=1000.0, allow_setup=True, options={"warm_up_time": "0s"}
)


class Pty:
    """A pseudo-terminal behind a name that stays the same, as udev makes it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._device = self._line = -1

    def sensor(self) -> Sensor:
        return replace(SENSOR, port=self._path)

    def plug(self) -> None:
        self._device, self._line = pty.openpty()
        tty.setraw(self._device)
        fresh = self._path.with_suffix(".new")
        fresh.symlink_to(os.ttyname(self._line))
        fresh.replace(self._path)

    def unplug(self) -> None:
        self._path.unlink(missing_ok=True)
        for each in (self._line, self._device):
            os.close(each)

    def read(self) -> bytes:
        ready, _, _ = select.select([self._device], [], [], 0.05)
        return os.read(self._device, 4096) if ready else b""

    def write(self, data: bytes) -> None:
        os.write(self._device, data)


class Tcp:
    """A serial server with one client at a time, on a port that stays the same."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self._port = probe.getsockname()[1]
        self._listener: socket.socket | None = None
        self._client: socket.socket | None = None

    def sensor(self) -> Sensor:
        return replace(SENSOR, host=Address("127.0.0.1", self._port))

    def plug(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self._port))

    def unplug(self) -> None:
        for each in (self._client, self._listener):
            if each is not None:
                each.close()
        self._client = None

    def read(self) -> bytes:
        assert self._listener is not None
        ends = [self._listener, *([self._client] if self._client else [])]
        ready, _, _ = select.select(ends, [], [], 0.05)
        if self._listener in ready:
            self._client, _ = self._listener.accept()
        if self._client not in ready:
            return b""
        assert self._client is not None
        return self._client.recv(4096)

    def write(self, data: bytes) -> None:
        assert self._client is not None
        self._client.sendall(data)


class Device:
    """An SPS30 that says with each reading how often it was asked for one; `say` may spoil what it says."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.reads = 0
        self.say: Callable[[bytes], None] = wire.write
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def plug(self) -> None:
        self.wire.plug()
        self._stop.clear()
        self._thread = threading.Thread(target=self._live, name="virtual sps30")
        self._thread.start()

    def unplug(self) -> None:
        if self._thread is not None:
            self._stop.set()
            self._thread.join()
            self._thread = None
            self.wire.unplug()

    def _live(self) -> None:
        heard = b""
        while not self._stop.is_set():
            try:
                heard += self.wire.read()
                while heard.count(b"\x7e") >= 2:
                    _, content, heard = heard.split(b"\x7e", 2)
                    self._answer(content.replace(b"\x7d\x31", b"\x11"))
            except OSError:
                heard = b""  # the other side closed; it comes again

    def _answer(self, request: bytes) -> None:
        command, data = request[1], request[3:-1]
        if command == READ:
            self.reads += 1
            self.say(answer(READ, struct.pack(">10f", self.reads, *[1.0] * 9)))
        elif command == 0xD0:
            self.wire.write(answer(0xD0, b"00080000\0" if data == b"\0" else b"S1\0"))
        else:
            self.wire.write(answer(command, bytes(5) if command == 0xD2 else b""))


@pytest.fixture(params=["pty", "tcp"])
def device(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Device]:
    device = Device(Pty(tmp_path / "usb-0") if request.param == "pty" else Tcp())
    device.plug()
    yield device
    device.unplug()


class Street:
    """The gateway's side: one sensor, and what it gave."""

    def __init__(self) -> None:
        #: Readings of pm1: how often the device had been asked when it said so.
        self.said: list[float] = []
        log = structlog.wrap_logger(structlog.testing.CapturingLogger())
        self.sensors = Sensors(RealWires(), self, SystemClock(), log, simulated=False, listen=lambda *_: None)

    def readings(self, sensor: str, readings: Sequence[Reading], monotonic: float) -> int:
        del sensor, monotonic
        self.said += [each.value for each in readings if each.quantity.name == "pm1"]
        return len(readings)

    async def read(self, device: Device) -> View:
        await self.sensors.apply({"dust-1": device.wire.sensor()})
        return self.sensors.views["dust-1"]

    async def more(self, count: int = 3) -> None:
        """Wait for so many more readings."""
        wanted = len(self.said) + count
        await until(lambda: len(self.said) >= wanted)


@pytest.fixture
async def street() -> AsyncIterator[Street]:
    street = Street()
    yield street
    await street.sensors.stop()


async def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    for _ in iter(true, True):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def in_order(said: list[float]) -> bool:
    """Whether each reading was said once, and after the one before it."""
    return said == sorted(set(said))


def state(view: View) -> str:
    return view.state(time.monotonic())


async def test_a_device_is_asked_and_what_it_says_is_read(device: Device, street: Street) -> None:
    view = await street.read(device)
    await street.more(5)
    assert in_order(street.said)
    assert state(view) == "ok"
    assert view.errors.keys() <= BUSY
    assert view.as_dict(time.monotonic())["answer_ms"]["median"] > 0


async def test_answers_in_pieces_are_read_whole(device: Device, street: Street) -> None:
    def torn(data: bytes) -> None:
        for at in range(0, len(data), 7):
            device.wire.write(data[at : at + 7])
            time.sleep(0.002)

    device.say = torn
    view = await street.read(device)
    await street.more()
    assert in_order(street.said)
    assert view.errors.keys() <= BUSY


async def test_an_answer_that_is_said_twice_is_read_once(device: Device, street: Street) -> None:
    device.say = lambda data: device.wire.write(2 * data)
    view = await street.read(device)
    await street.more(5)
    assert in_order(street.said)
    await until(lambda: view.errors.get("unasked", 0) >= 3)


async def test_foreign_and_damaged_answers_are_counted_and_the_right_one_is_waited_for(
    device: Device, street: Street
) -> None:
    def among_others(data: bytes) -> None:
        damaged = bytearray(data)
        damaged[9] ^= 1
        device.wire.write(b"\x00\xff" + answer(0xD2, bytes(5)) + bytes(damaged) + data)

    device.say = among_others
    view = await street.read(device)
    await street.more()
    assert in_order(street.said)
    assert view.errors["command"] >= 3
    assert view.errors["checksum"] >= 3


async def test_a_device_that_answers_late_is_never_heard_a_request_behind(
    device: Device, street: Street
) -> None:
    def late(data: bytes) -> None:
        time.sleep(LATE_S)
        device.wire.write(data)

    device.say = late
    view = await street.read(device)
    await until(lambda: view.errors.get("no_reply", 0) >= 3 and view.errors.get("unasked", 0) >= 3)
    device.say = device.wire.write
    await street.more()
    # What is read now is what is said now: nothing lags behind for ever.
    await until(lambda: street.said[-1] == device.reads)
    assert in_order(street.said)


async def test_a_talker_behind_a_serial_server_is_read_too(street: Street) -> None:
    wire = Tcp()
    wire.plug()
    stop = threading.Event()

    def talk() -> None:
        while not stop.is_set():
            wire.read()
            with contextlib.suppress(AssertionError):  # nobody is connected yet
                wire.write(bytes.fromhex("aac0d4043a0aa1601dab"))

    talker = threading.Thread(target=talk)
    talker.start()
    sensor = replace(wire.sensor(), driver="sds011", allow_setup=False, options={"warm_up_time": "0s"})
    try:
        await street.sensors.apply({"air-1": sensor})
        view = street.sensors.views["air-1"]
        await until(lambda: view.readings >= 4)
        assert view.last == {"pm2_5": 123.6, "pm10": 261.8}
    finally:
        stop.set()
        talker.join()
        await street.sensors.stop()
        wire.unplug()


async def test_a_device_that_falls_silent_is_told_and_heals_by_itself(device: Device, street: Street) -> None:
    view = await street.read(device)
    await street.more(1)
    device.say = lambda data: None  # noqa: ARG005 -- the answer that is not given
    await until(lambda: state(view) == "no_answer")
    assert view.errors["no_reply"] >= 1
    assert "power" in view.todo
    device.say = device.wire.write
    await street.more()
    assert state(view) == "ok"


async def test_a_device_that_is_pulled_out_heals_when_it_is_plugged_in_again(
    device: Device, street: Street
) -> None:
    view = await street.read(device)
    await street.more()
    for _ in range(2):
        device.unplug()
        await until(lambda: state(view) == "unplugged")
        assert view.todo
        device.plug()
        await street.more()
        assert state(view) == "ok"


async def test_half_an_answer_before_the_plug_was_pulled_is_gone_with_it(
    device: Device, street: Street
) -> None:
    device.say = lambda data: device.wire.write(data[:20])
    view = await street.read(device)
    await until(lambda: view.errors.get("no_reply", 0) >= 1)
    device.unplug()
    await until(lambda: state(view) == "unplugged")
    device.say = device.wire.write
    device.plug()
    await street.more()
    assert "checksum" not in view.errors


async def test_reading_once_asks_as_often_as_is_configured_and_shows_what_came(device: Device) -> None:
    sensor = replace(device.wire.sensor(), interval=30.0)
    (found,) = await read_once({"dust-1": sensor}, SystemClock(), PATIENCE_S)
    assert found["state"] == "ok"
    assert [each["quantity"] for each in found["readings"]][:2] == ["pm1", "pm2_5"]
    assert device.reads <= 1 + PATIENCE_S / 30


async def test_a_gas_board_that_talks_by_itself_is_read_all_the_same(tmp_path: Path, street: Street) -> None:
    wire = Pty(tmp_path / "usb-1")
    wire.plug()
    said = bytes.fromhex("ff8600042c01000049")
    stop = threading.Event()

    def talk() -> None:
        while not stop.is_set():
            wire.write(said)
            if b"\xff\x01\x86" in wire.read():
                wire.write(said)

    talker = threading.Thread(target=talk)
    talker.start()
    options = {"model": "dfrobot", "gas": "no2", "warm_up_time": "0s"}
    sensor = replace(wire.sensor(), driver="winsen", options=options)
    try:
        await street.sensors.apply({"no2-1": sensor})
        view = street.sensors.views["no2-1"]
        await until(lambda: view.readings >= 5 and view.errors.get("unasked", 0) >= 1)
        assert view.last == {"no2": 0.4}
        assert state(view) == "ok"
    finally:
        stop.set()
        talker.join()
        await street.sensors.stop()
        wire.unplug()

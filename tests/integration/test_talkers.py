"""Devices that talk, on real ptys: what they are told after opening, what they keep otherwise, and a replug."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import tty
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from edgegw.clock import SystemClock
from edgegw.config import Sensor
from edgegw.sensors import Sensors
from edgegw.wires import RealWires
from edgegw_drivers.ld2450 import Ld2450

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from edgegw.driver import Reading

PATIENCE_S = 60.0
# A command of the SDS011 family, and one of Hi-Link's radars.
COMMAND_BYTES = 19
MEASUREMENT = bytes.fromhex("aac0d4043a0aa1601dab")
DAMAGED = bytes.fromhex("aac0d4043a0aa16000ab")
NOBODY = bytes.fromhex("aaff0300" + "00" * 24 + "55cc")


class Device:
    """A device behind a stable name; `answer` makes what it says of what it hears."""

    def __init__(self, name: Path, answer: Callable[[bytes], bytes]) -> None:
        self._name = name
        self._answer = answer
        self._fd = -1
        self.heard = b""
        self.plug()

    def plug(self) -> None:
        self._fd, slave = pty.openpty()
        tty.setraw(self._fd)
        os.set_blocking(self._fd, False)
        self._name.unlink(missing_ok=True)
        self._name.symlink_to(os.ttyname(slave))
        os.close(slave)
        asyncio.get_running_loop().add_reader(self._fd, self._read)

    def unplug(self) -> None:
        if self._fd >= 0:
            asyncio.get_running_loop().remove_reader(self._fd)
            os.close(self._fd)
        self._fd = -1

    def say(self, data: bytes) -> None:
        with contextlib.suppress(BlockingIOError):  # nobody reads: a device on a wire talks on and it is lost
            os.write(self._fd, data)

    def _read(self) -> None:
        try:
            data = os.read(self._fd, 4096)
        except OSError:  # nobody has the other end open: the kernel says EIO until somebody does
            return
        self.heard += data
        if said := self._answer(data):
            self.say(said)


class Cabinet:
    """Sensors on real ports, and what they said."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, str, float]] = []
        log = structlog.wrap_logger(structlog.testing.CapturingLogger())
        self.sensors = Sensors(RealWires(), self, SystemClock(), log, simulated=False, listen=lambda *_: None)

    def readings(self, sensor: str, readings: Sequence[Reading], monotonic: float) -> int:
        del monotonic
        self.taken += [(sensor, each.quantity.name, each.value) for each in readings]
        return len(readings)

    def said(self, sensor: str) -> list[tuple[str, float]]:
        return [(quantity, value) for name, quantity, value in self.taken if name == sensor]

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not true():  # noqa: ASYNC110 -- what is waited for is the state of several objects
                await asyncio.sleep(0.02)


@pytest.fixture
async def cabinet() -> AsyncIterator[Cabinet]:
    made = Cabinet()
    yield made
    await made.sensors.stop()


def sensor(driver: str, port: Path, *, interval: float | None = None, **given: Any) -> Sensor:
    options = {key: value for key, value in given.items() if key != "allow_setup"}
    return Sensor(
        driver=driver,
        port=port,
        interval=interval,
        stale_after=30.0,
        allow_setup=given.get("allow_setup", False),
        options=options,
    )


def sds011(mode: int, period: int) -> Callable[[bytes], bytes]:
    """What an SDS011 answers to questions about its settings, and to a query of its data."""

    pending = bytearray()

    def answer(heard: bytes) -> bytes:
        said = b""
        pending.extend(heard)
        while len(pending) >= COMMAND_BYTES:
            command, setting = pending[2], pending[3]
            del pending[:COMMAND_BYTES]
            if command == 4:
                said += MEASUREMENT
            elif not setting:
                content = bytes((command, 0, {2: mode, 8: period}[command], 0, 0xA1, 0x60))
                said += b"\xaa\xc5" + content + bytes((sum(content) & 0xFF, 0xAB))
        return said

    return answer


async def test_what_a_dust_sensor_kept_otherwise_is_told_and_nothing_is_changed(
    cabinet: Cabinet, tmp_path: Path
) -> None:
    device = Device(tmp_path / "air", sds011(mode=1, period=5))
    await cabinet.sensors.apply({"air-1": sensor("sds011", tmp_path / "air")})
    view = cabinet.sensors.views["air-1"]
    await cabinet.until(lambda: "once in 5 minutes" in view.notices.get("settings", ""))
    # get_mode and get_period, and nothing that sets anything
    assert [device.heard[at + 2 : at + 4].hex() for at in range(0, len(device.heard), COMMAND_BYTES)] == [
        "0200",
        "0800",
    ]
    device.unplug()


async def test_a_dust_sensor_is_asked_each_interval_and_asked_again_after_a_replug(
    cabinet: Cabinet, tmp_path: Path
) -> None:
    device = Device(tmp_path / "air", sds011(mode=1, period=0))
    asked = sensor("sds011", tmp_path / "air", mode="ask", warm_up_time="0s", interval=0.2, allow_setup=True)
    await cabinet.sensors.apply({"air-1": asked})
    await cabinet.until(lambda: ("air-1", "pm2_5", 123.6) in cabinet.taken)
    # wake, wake, set_query, then how it is set, then the queries
    told = [device.heard[at + 2 : at + 5].hex() for at in range(0, len(device.heard), COMMAND_BYTES)]
    assert told[:6] == ["060101", "060101", "020101", "020000", "080000", "040000"]
    device.unplug()
    view = cabinet.sensors.views["air-1"]
    await cabinet.until(lambda: view.errors.get("unplugged", 0) + view.errors.get("missing", 0) > 0)
    cabinet.taken.clear()
    device.heard = b""
    device.plug()
    await cabinet.until(lambda: ("air-1", "pm2_5", 123.6) in cabinet.taken)
    assert device.heard[2:5].hex() == "060101"
    device.unplug()


async def test_a_dust_sensor_that_does_not_answer_is_counted(cabinet: Cabinet, tmp_path: Path) -> None:
    device = Device(tmp_path / "air", lambda _: b"")
    await cabinet.sensors.apply({"air-1": sensor("sds011", tmp_path / "air", mode="ask", interval=0.1)})
    view = cabinet.sensors.views["air-1"]
    await cabinet.until(lambda: view.errors.get("no_reply", 0) >= 2)
    assert cabinet.taken == []
    device.say(MEASUREMENT)  # late, and taken all the same
    await cabinet.until(lambda: ("air-1", "pm2_5", 123.6) in cabinet.taken)
    device.unplug()


async def test_what_was_measured_before_a_device_went_is_not_lost(cabinet: Cabinet, tmp_path: Path) -> None:
    device = Device(tmp_path / "air", lambda _: b"")
    hour = sensor("sds011", tmp_path / "air", interval=3600.0, warm_up_time="0s")
    await cabinet.sensors.apply({"air-1": hour})
    await cabinet.until(lambda: len(device.heard) > 0)
    device.say(MEASUREMENT[:5])
    device.say(MEASUREMENT[5:] + b"\xaa\xc0")
    await cabinet.until(
        lambda: b"\x08" in device.heard
    )  # the last question went out: the frame was read before
    view = cabinet.sensors.views["air-1"]
    device.unplug()
    await cabinet.until(lambda: view.errors.get("unplugged", 0) + view.errors.get("missing", 0) > 0)
    assert ("air-1", "pm10", 261.8) in cabinet.taken


async def test_a_radar_that_acknowledges_nothing_is_told_and_one_that_does_is_not(
    cabinet: Cabinet, tmp_path: Path
) -> None:
    def acknowledge(heard: bytes) -> bytes:
        said = b""
        for part in heard.split(b"\xfd\xfc\xfb\xfa")[1:]:
            payload = {0x91: b"\x02\x00", 0xA5: bytes((8, 5, 4, 3, 2, 1))}.get(part[2], b"")
            content = bytes((part[2], 1, 0, 0)) + payload
            said += b"\xfd\xfc\xfb\xfa" + bytes((len(content), 0)) + content + b"\x04\x03\x02\x01" + NOBODY
        return said

    deaf, good = Device(tmp_path / "deaf", lambda _: b""), Device(tmp_path / "good", acknowledge)
    await cabinet.sensors.apply(
        {name: sensor("ld2450", tmp_path / name, allow_setup=True) for name in ("deaf", "good")}
    )
    views = cabinet.sensors.views

    def told() -> bool:
        deaf.say(NOBODY)  # it says what it sees, whatever it is told
        return "did not acknowledge" in views["deaf"].notices.get("settings", "")

    await cabinet.until(told)
    # What it sees comes behind each acknowledgement, the last one too.
    await cabinet.until(lambda: len(cabinet.said("good")) >= len(Ld2450().setup()))
    assert b"\xa4\x00\x00\x00" in deaf.heard
    assert views["good"].notices == {}
    deaf.unplug()
    good.unplug()

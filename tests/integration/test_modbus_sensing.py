"""Modbus sensors as the daemon reads them, over real ptys: lines that are searched, settings, swapped devices."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from modbus_device import Device, SerialDevices, holding

from edgegw.clock import SystemClock
from edgegw.config import Sensor
from edgegw.ports.modbus import rtu
from edgegw.sensors import Sensors
from edgegw.views import State
from edgegw.wires import RealWires

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from edgegw.driver import Reading
    from edgegw.views import View

PATIENCE_S = 60
PROFILES = Path(__file__).parents[2] / "drivers" / "edgegw_drivers" / "modbus" / "profiles"


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """These devices are never late: what is left of the pauses after a lost answer is enough."""
    monkeypatch.setattr(rtu, "LATE_S", 0.05)
    monkeypatch.setattr(rtu, "LATE_TIMES", 1)


@pytest.fixture
def line() -> Iterator[SerialDevices]:
    line = SerialDevices({})
    yield line
    line.stop()


@dataclass
class Street:
    """Sensors that are read, and what they gave."""

    running: Sensors
    taken: list[tuple[str, str, float]] = field(default_factory=list)

    def view(self, name: str) -> View:
        return self.running.views[name]

    async def until(self, reached: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not reached():  # noqa: ASYNC110 - the sensors tell nobody
                await asyncio.sleep(0.01)

    async def read(self, name: str, more: int = 1) -> None:
        """Until a sensor gave so many more readings."""
        wanted = self.view(name).readings + more
        await self.until(lambda: self.view(name).readings >= wanted)

    def values(self, quantity: str) -> list[float]:
        return [value for _, each, value in self.taken if each == quantity]


class Sink:
    def readings(self, sensor: str, readings: Sequence[Reading], monotonic: float) -> int:
        del sensor, monotonic
        return len(readings)


@contextlib.asynccontextmanager
async def reading(**sensors: Sensor) -> AsyncIterator[Street]:
    taken: list[tuple[str, str, float]] = []

    def listen(name: str, readings: Sequence[Reading], _: float) -> None:
        taken.extend((name, each.quantity.name, each.value) for each in readings)

    log = structlog.wrap_logger(structlog.testing.CapturingLogger())
    running = Sensors(RealWires(), Sink(), SystemClock(), log, simulated=False, listen=listen)
    await running.apply(sensors)
    try:
        yield Street(running, taken)
    finally:
        await running.stop()


def sensor(line: SerialDevices, profile: str, unit: int = 1, **more: Any) -> Sensor:
    options = {"profile": profile, **more.pop("options", {})}
    given = {"interval": 0.2, "stale_after": 30.0, **more}
    return Sensor(driver="modbus", port=Path(line.path), unit=unit, options=options, **given)


# --- line settings


async def test_a_device_with_another_baud_rate_is_found_and_its_line_is_shown(line: SerialDevices) -> None:
    line.devices[1] = Device(holding(713), baud=2400)
    async with reading(sound=sensor(line, "renke-noise")) as street:
        await street.read("sound", 3)
        assert street.view("sound").as_dict(0.0)["notices"]["line"] == "2400 8N1"
        assert street.view("sound").state(SystemClock().monotonic()) is State.OK
    baud_rates = [baud for _, baud in line.asked]
    assert list(dict.fromkeys(baud_rates)) == [9600, 4800, 2400]
    found = baud_rates.index(2400)
    assert set(baud_rates[found:]) == {2400}, "a line that was found is kept"


async def test_a_silent_sensor_never_flips_the_line_under_one_that_answers(line: SerialDevices) -> None:
    line.devices[1] = Device(holding(713), baud=9600)
    both = {"here": sensor(line, "renke-noise"), "gone": sensor(line, "renke-noise", 2)}
    async with reading(**both) as street:
        await street.read("here", 20)
        await street.until(lambda: street.view("gone").trouble is State.NO_ANSWER)
        answered = line.asked.index((1, 9600))
        assert {baud for _, baud in line.asked[answered:]} == {9600}
        assert {unit for unit, _ in line.asked} == {1, 2}
        await street.until(lambda: "Others on this line answer at 9600 8N1" in street.view("gone").why)


async def test_two_names_of_one_adapter_are_one_line(line: SerialDevices, tmp_path: Path) -> None:
    line.devices = {1: Device(holding(713)), 2: Device(holding(500))}
    other = tmp_path / "usb-adapter-port0"
    other.symlink_to(line.path)
    second = sensor(line, "renke-noise", 2)
    both = {"one": sensor(line, "renke-noise"), "two": second.__class__(**{**vars(second), "port": other})}
    async with reading(**both) as street:
        await street.read("one", 2)
        await street.read("two", 2)
        assert set(street.values("la_sampled")) == {71.3, 50.0}


async def test_means_stand_beside_polled_values(line: SerialDevices) -> None:
    line.devices[1] = Device(holding(600))
    async with reading(sound=sensor(line, "renke-noise", interval=0.25, average=1.0)) as street:
        await street.until(lambda: street.values("laeq"))
        assert set(street.values("laeq")) == {60.0}
        assert set(street.values("la_sampled")) == {60.0}


# --- settings


def scd30(**more: int) -> Device:
    words = holding(0x43DB, 0x8C2E, 0x41D9, 0xE7FF, 0x4243, 0x3A1B, start=0x28)
    return Device({(3, 0x20): 0x0342, (3, 0x27): 1, (3, 0x25): 2, (3, 0x3A): 1, **words}, baud=19200, **more)  # type: ignore[arg-type]


async def test_nothing_is_written_that_is_right_already(line: SerialDevices) -> None:
    line.devices[97] = scd30()
    right = sensor(line, "scd30", 97, allow_setup=True, options={"settings": {"interval_s": 2, "asc": 1}})
    async with reading(co2=right) as street:
        await street.read("co2", 9)
        assert "settings" not in street.view("co2").notices
        assert street.view("co2").notices["device"] == "firmware 3.66"
    assert line.writes == []


async def test_what_differs_is_told_and_not_written_without_permission(line: SerialDevices) -> None:
    line.devices[97] = scd30()
    async with reading(co2=sensor(line, "scd30", 97, options={"settings": {"asc": 0}})) as street:
        await street.read("co2", 9)
        told = street.view("co2").notices["settings"]
        assert told == "asc reads 1, not 0: allow_setup = true would have it written"
    assert line.writes == []


async def test_what_differs_is_written_once_read_back_and_told(line: SerialDevices) -> None:
    device = line.devices[97] = scd30()
    wanted = {"asc": 0, "interval_s": 5}
    async with reading(
        co2=sensor(line, "scd30", 97, allow_setup=True, options={"settings": wanted})
    ) as street:
        await street.read("co2", 9)
        told = street.view("co2").notices["settings"]
        assert told == "interval_s was 2 and is 5 now; asc was 1 and is 0 now"
    assert line.writes == [(6, 0x25, 5), (6, 0x3A, 0)]
    assert device.registers[3, 0x3A] == 0


async def test_a_device_that_does_not_measure_is_started(line: SerialDevices, tmp_path: Path) -> None:
    quick = tmp_path / "scd30.toml"
    quick.write_text((PROFILES / "scd30.toml").read_text().replace("settle_s = 10", "settle_s = 1"))
    device = scd30()
    device.registers[3, 0x27] = 0
    device.wrote = lambda register, _: device.registers.update({(3, 0x27): 1}) if register == 0x36 else None
    line.devices[97] = device
    async with reading(co2=sensor(line, f"file:{quick}", 97, allow_setup=True)) as street:
        await street.read("co2", 3)
        assert street.view("co2").errors["no_data"] >= 1
        await street.until(lambda: "settings" in street.view("co2").notices)
        assert street.view("co2").notices["settings"] == "start was 0 and is 1 now"
    assert line.writes == [(6, 0x36, 0)]


async def test_a_refused_write_is_told_and_the_sensor_goes_on(line: SerialDevices) -> None:
    device = line.devices[97] = scd30()
    device.refuses = {(6, 0x3A): 4}
    async with reading(
        co2=sensor(line, "scd30", 97, allow_setup=True, options={"settings": {"asc": 0}})
    ) as street:
        await street.read("co2", 9)
        told = street.view("co2").notices["settings"]
        assert told == "asc reads 1, not 0, and the device refuses to change it: modbus_exception_4"
    assert line.writes == [(6, 0x3A, 0)]


async def test_a_device_that_does_not_keep_a_setting_is_told_of_and_not_written_again(
    line: SerialDevices,
) -> None:
    device = line.devices[97] = scd30()
    device.forgetful = True
    async with reading(
        co2=sensor(line, "scd30", 97, allow_setup=True, options={"settings": {"asc": 0}})
    ) as street:
        await street.read("co2", 3)
        assert street.view("co2").notices["settings"] == "asc was written and still reads 1, not 0"
        del line.devices[97]
        await street.until(lambda: street.view("co2").trouble is State.NO_ANSWER)
        line.devices[97] = device
        await street.until(lambda: "again" in street.view("co2").notices["settings"])
    assert line.writes == [(6, 0x3A, 0)], "its memory is spared"


async def test_a_setting_is_written_through_an_adapter_that_hears_itself(line: SerialDevices) -> None:
    line.echoes = True
    line.devices[97] = scd30()
    async with reading(
        co2=sensor(line, "scd30", 97, allow_setup=True, options={"settings": {"asc": 0}})
    ) as street:
        await street.read("co2", 9)
        assert street.view("co2").notices["settings"] == "asc was 1 and is 0 now"
    assert line.writes == [(6, 0x3A, 0)]


# --- identity


def senseair(serial: int, co2: int) -> Device:
    words = holding(0, 0, 0, co2, function=4)
    return Device({**words, (4, 0x1D): serial >> 16, (4, 0x1E): serial & 0xFFFF, (4, 0x1C): 0x0105})


async def test_a_swapped_device_is_noticed_when_it_answers(line: SerialDevices) -> None:
    line.devices[254] = senseair(0x11223344, 600)
    async with reading(co2=sensor(line, "senseair", 254)) as street:
        await street.read("co2", 2)
        assert street.view("co2").notices["device"] == "serial 11223344, firmware 1.5"
        del line.devices[254]
        await street.until(lambda: street.view("co2").trouble is State.NO_ANSWER)
        line.devices[254] = senseair(0x55667788, 700)
        await street.until(lambda: 700 in street.values("co2"))
        told = street.view("co2").notices["device"]
        assert told == (
            "another device answers: serial 55667788, firmware 1.5; before it was serial 11223344, firmware 1.5"
        )


async def test_a_device_that_does_not_say_who_it_is_is_read_all_the_same(line: SerialDevices) -> None:
    line.devices[104] = Device(holding(0, 0, 0, 769, function=4))
    async with reading(co2=sensor(line, "senseair", 104)) as street:
        await street.read("co2", 2)
        assert "device" not in street.view("co2").notices


async def test_a_swapped_counter_begins_anew(line: SerialDevices, tmp_path: Path) -> None:
    file = tmp_path / "counter.toml"
    identity = '[[identity]]\nname = "serial"\nfunction = 3\nregister = 9\n'
    file.write_text(
        (PROFILES / "traffic-pulse.toml").read_text().replace("[[read]]", f"{identity}[[read]]", 1)
    )
    line.devices[1] = Device(holding(100) | {(3, 9): 1})
    async with reading(cars=sensor(line, f"file:{file}")) as street:
        await street.read("cars")
        line.devices[1].registers[3, 0] = 107
        await street.until(lambda: 7 in street.values("count_in"))
        del line.devices[1]
        await street.until(lambda: street.view("cars").trouble is State.NO_ANSWER)
        line.devices[1] = Device(holding(400) | {(3, 9): 2})  # 293 more, and nobody passed
        first = street.view("cars").errors["first_count"]
        await street.until(lambda: street.view("cars").errors["first_count"] > first)
        line.devices[1].registers[3, 0] = 402
        await street.until(lambda: 2 in street.values("count_in"))
        assert set(street.values("count_in")) == {0, 2, 7}


async def test_a_lost_answer_is_asked_for_again_within_its_interval(line: SerialDevices) -> None:
    line.devices[1] = Device(holding(713))
    async with reading(sound=sensor(line, "renke-noise", interval=20.0, stale_after=60.0)) as street:
        await street.read("sound")
        assert street.view("sound").errors == {}
    line.devices[1].baud = 4800
    async with reading(sound=sensor(line, "renke-noise", interval=20.0, stale_after=60.0)) as street:
        await street.read("sound")
        assert street.view("sound").errors == {"no_reply": 1}
        assert street.view("sound").readings == 1

"""Sensors that advertise, from the radio to their readings."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from fake_bluez import until
from fakes_clock import FakeClock

from edgegw import registry
from edgegw.config import Bluetooth, Sensor
from edgegw.driver import QUANTITIES, Advert, AdvertDriver, FrameError, Notice, Reading
from edgegw.ports.ble.survey import decoders, survey
from edgegw.ports.errors import PortError
from edgegw.sensors import Sensors
from edgegw.simulate.bluez import Bluez
from edgegw.simulate.radio import VARIABLE, Radio
from edgegw.views import State
from edgegw.wires import RealWires

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgegw.driver import Outcome
    from edgegw.ports.ble import Ear

TEMPERATURE = QUANTITIES["temperature"]
TAG, OTHER = "C0:FF:EE:00:00:01", "C0:FF:EE:00:00:02"
COMPANY = 0xFFFF


@dataclass(frozen=True)
class Tag(AdvertDriver):
    """One byte of manufacturer data is the temperature; 0xFE is refused, 0xFF a defect."""

    company_ids = frozenset({COMPANY})
    quantities = ("temperature",)

    def decoder(self) -> Tag:
        return self

    def decode(self, advert: Advert, now: float) -> Sequence[Outcome]:
        del now
        value = advert.companies[COMPANY][0]
        if value == 0xFF:
            raise ZeroDivisionError("a defect")
        if value == 0xFE:
            raise FrameError("checksum")
        return [Reading(TEMPERATURE, float(value))]

    def due(self, now: float) -> Sequence[Outcome]:
        del now
        return ()


@dataclass(frozen=True)
class Crowd(AdvertDriver):
    """How many advertisements there were in each second."""

    quantities = ("temperature",)

    def decoder(self) -> Count:
        return Count()


class Count:
    def __init__(self) -> None:
        self._count = 0

    def decode(self, advert: Advert, now: float) -> Sequence[Outcome]:
        del advert, now
        self._count += 1
        return ()

    def due(self, now: float) -> Sequence[Outcome]:
        del now
        count, self._count = self._count, 0
        return [Reading(TEMPERATURE, float(count))]


@dataclass
class World:
    """Wires with one radio that the test plays, a sink and a clock."""

    clock: FakeClock = field(default_factory=FakeClock)
    ears: list[Ear] = field(default_factory=list)
    taken: list[tuple[str, float]] = field(default_factory=list)

    def radio(self) -> World:
        return self

    async def listen(self, ear: Ear) -> None:
        self.ears.append(ear)
        try:
            await asyncio.Event().wait()
        finally:
            self.ears.remove(ear)

    def facts(self) -> dict[str, Any]:
        return {"scanning": "passive"}

    def say(self, value: int, address: str = TAG, company: int = COMPANY) -> None:
        for ear in self.ears:
            ear.heard(Advert(address, True, -60, {company: bytes((value,))}, {}), self.clock.monotonic())

    def hearing(self) -> None:
        for ear in self.ears:
            ear.hearing()

    def readings(self, sensor: str, readings: Sequence[Reading], monotonic: float) -> int:
        del monotonic
        self.taken += [(sensor, reading.value) for reading in readings]
        return len(readings)

    def newest(self) -> tuple[str, float] | None:
        return self.taken[-1] if self.taken else None

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)


@pytest.fixture
def _drivers(monkeypatch: pytest.MonkeyPatch) -> None:
    made = {"tag": Tag, "crowd": Crowd}
    monkeypatch.setattr(registry, "make", lambda name, options, **_: made[name](**options))


async def pass_time(world: World, seconds: float) -> None:
    """Let time pass, second by second, and everybody do what is then due."""
    for _ in range(int(seconds)):
        world.clock.advance(1.0)
        for _ in range(10):
            await asyncio.sleep(0)


def sensor(driver: str = "tag", interval: float | None = None, **options: Any) -> Sensor:
    return Sensor(driver=driver, interval=interval, stale_after=30.0, options=options)


def sensors(world: Any, said: list[Any] | None = None) -> Sensors:
    log = structlog.wrap_logger(
        structlog.testing.CapturingLogger() if said is None else Log(said), processors=[]
    )
    return Sensors(world, world, world.clock, log, simulated=False, listen=lambda *_: None)


class Log:
    """A logger that keeps what it is told."""

    def __init__(self, said: list[Any]) -> None:
        self._said = said

    def __getattr__(self, name: str) -> Any:
        return lambda **event: self._said.append((name, event))


@pytest.fixture
async def world() -> World:
    return World()


@pytest.mark.usefixtures("_drivers")
async def test_each_sensor_takes_the_advertisements_that_it_hears(world: World) -> None:
    running = sensors(world)
    await running.apply({"a": sensor(address=TAG), "b": sensor(address=OTHER), "any": sensor()})
    await until(lambda: len(world.ears) == 3)
    world.say(20)
    world.say(21, OTHER)
    world.say(22, company=1)
    assert sorted(world.taken) == [("a", 20), ("any", 20), ("any", 21), ("b", 21)]
    await running.stop()
    assert not world.ears


@pytest.mark.usefixtures("_drivers")
async def test_what_a_driver_refuses_is_counted_and_its_defect_stays_its_own(world: World) -> None:
    running = sensors(world)
    await running.apply({"a": sensor(address=TAG), "b": sensor(address=OTHER)})
    await until(lambda: len(world.ears) == 2)
    world.say(0xFE)
    world.say(0xFF)
    world.say(23)  # comes too late for the one that failed
    world.say(24, OTHER)
    await until(lambda: running.views["a"].trouble is State.DRIVER_FAILED)
    assert running.views["a"].errors == {"checksum": 1, "driver": 1}
    assert world.taken == [("b", 24)]
    await until(lambda: len(world.ears) == 1)
    await pass_time(world, 5.0)
    await until(lambda: len(world.ears) == 2)  # started afresh
    world.say(25)
    assert world.taken == [("b", 24), ("a", 25)]
    await running.stop()


@pytest.mark.usefixtures("_drivers")
async def test_a_deaf_radio_costs_what_was_not_heard_and_not_the_sensor(world: World) -> None:
    said: list[Any] = []
    running = sensors(world, said)
    await running.apply({"a": sensor()})
    await until(lambda: world.ears)
    view = running.views["a"]
    error = PortError("no_bluez", "bluetoothd does not run.", "Start it.")
    for _ in range(3):
        world.ears[0].deaf(error)
    assert (view.trouble, view.why, view.todo) == (State.UNPLUGGED, error.why, error.todo)
    assert view.errors == {"no_bluez": 3}
    world.ears[0].hearing()
    assert view.trouble is None
    assert not view.why
    world.say(20)
    assert world.taken == [("a", 20)]
    warned = [event for level, event in said if level == "warning"]
    assert len(warned) == 1
    await running.stop()


@pytest.mark.usefixtures("_drivers")
async def test_a_deaf_radio_is_no_empty_place(world: World) -> None:
    running = sensors(world)
    await running.apply({"crowd": sensor("crowd")})
    await until(lambda: world.ears)
    assert world.ears[0].wants.everything
    await pass_time(world, 3.0)
    assert world.newest() is None  # it has not begun to hear
    world.hearing()
    world.say(1)
    world.say(1, OTHER)
    await pass_time(world, 1.0)
    await until(lambda: world.taken)
    assert world.newest() == ("crowd", 2)
    await pass_time(world, 1.0)
    await until(lambda: world.newest() == ("crowd", 0))  # heard, and nobody there
    world.say(1)
    world.ears[0].deaf(None)
    before = len(world.taken)
    await pass_time(world, 5.0)
    assert len(world.taken) == before
    world.hearing()
    await pass_time(world, 1.0)
    await until(lambda: len(world.taken) > before)
    assert world.newest() == ("crowd", 0)  # the window with the hole was thrown away
    await running.stop()


@pytest.mark.usefixtures("_drivers")
async def test_a_notice_of_the_radio_stands_at_every_sensor_and_is_said_once(world: World) -> None:
    said: list[Any] = []
    running = sensors(world, said)
    await running.apply({"a": sensor(), "b": sensor()})
    await until(lambda: len(world.ears) == 2)
    for number, ear in enumerate(world.ears):
        ear.notice(Notice("bluetooth_scanning", "Scanning is passive."), first=not number)
    assert {view.notices["bluetooth_scanning"] for view in running.views.values()} == {"Scanning is passive."}
    assert len(said) == 1
    assert running.views["b"].as_dict(0.0)["bluetooth"] == {"scanning": "passive"}
    await running.stop()


@pytest.mark.usefixtures("_drivers")
async def test_values_are_combined_to_one_an_interval(world: World) -> None:
    running = sensors(world)
    await running.apply({"a": sensor(interval=10.0)})
    await until(lambda: world.ears)
    for value in (20, 22):
        world.say(value)
    assert world.taken == []
    await pass_time(world, 20.0)
    await until(lambda: world.taken)
    assert world.taken == [("a", 21.0)]
    await running.stop()


# -- the real radio's way


async def test_a_ruuvitag_on_the_air_becomes_readings(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    async with Radio() as radio:
        monkeypatch.setenv(VARIABLE, radio.address)
        running = Sensors(
            RealWires(Bluetooth(adapter="hci0", scanning="active")),
            world,
            FakeClock(),
            structlog.wrap_logger(structlog.testing.CapturingLogger()),
            simulated=False,
            listen=lambda *_: None,
        )
        await running.apply({"tag-1": sensor("ruuvi", address="cb:b8:33:4c:88:4f")})
        data = bytes.fromhex("0512fc5394c37c0004fffc040cac364200cdcbb8334c884f")
        await until(lambda: radio.bluez.discovery)
        radio.advertise("CB:B8:33:4C:88:4F", True, -60, {0x0499: data}, {})
        await until(lambda: world.taken)
        assert ("tag-1", 24.3) in world.taken
        about = running.views["tag-1"].as_dict(0.0)["bluetooth"]
        assert (about["adapter"], about["scanning"], about["adverts"]) == ("hci0", "active", 1)
        await running.stop()
        assert not radio.bluez.discovery


async def test_who_is_on_the_air_and_which_driver_may_decode_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Radio() as radio:
        monkeypatch.setenv(VARIABLE, radio.address)
        looking = asyncio.create_task(survey(3.0))
        await until(lambda: radio.bluez.discovery)
        radio.advertise(TAG, True, -70, {0x0499: b"\x05"}, {}, name="Ruuvi 884F")
        radio.advertise(OTHER, False, -50, {}, {0xFCD2: b"\x40"})
        radio.advertise(OTHER, False, -40, {}, {0xFCD2: b"\x44"})
        near, far = await looking
    assert (near.address, near.random, near.rssi, near.name, near.count) == (OTHER, False, -40, "", 2)
    assert near.services == {0xFCD2: b"\x44"}
    assert "bthome" in near.drivers
    assert (far.address, far.name, far.companies) == (TAG, "Ruuvi 884F", {0x0499: b"\x05"})
    assert "ruuvi" in far.drivers
    assert decoders([0x004C], [0xFEAA]) == []


async def test_a_survey_that_cannot_listen_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    bluez = Bluez()
    bluez.present = False
    async with Radio(bluez) as radio:
        monkeypatch.setenv(VARIABLE, radio.address)
        with pytest.raises(PortError, match="no Bluetooth adapter"):
            await survey(0.1)


def test_a_gateway_without_bluetooth_sensors_loads_no_bluetooth() -> None:
    program = (
        "import edgegw.daemon, edgegw.wires, sys; edgegw.wires.RealWires().radio();"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"bleak", "dbus_fast"} & set(done.stdout.split())

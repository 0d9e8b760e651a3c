from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from fakes_clock import FakeClock

from edgegw import registry
from edgegw.config import Sensor
from edgegw.driver import (
    QUANTITIES,
    Block,
    FixedLength,
    FrameError,
    PollDriver,
    Reading,
    SerialLine,
    StreamDriver,
    Write,
)
from edgegw.ports.errors import PortError
from edgegw.problems import GatewayError
from edgegw.sensors import Sensors
from edgegw.views import MAX_REASONS, View

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

TEMPERATURE = QUANTITIES["temperature"]


@dataclass(frozen=True)
class Talker(StreamDriver):
    """One byte is a frame: its value; 0xFF is a defect of the driver."""

    line = SerialLine(9600)
    framing = FixedLength(b"T", 2)
    quantities = ("temperature",)

    def decode(self, frame: bytes) -> Sequence[Reading]:
        if frame[1] == 0xFF:
            raise ZeroDivisionError("a defect")
        if frame[1] == 0xFE:
            raise FrameError("checksum")
        return [Reading(TEMPERATURE, float(frame[1]))]


@dataclass(frozen=True)
class Polled(PollDriver):
    """One register is the temperature."""

    quantities = ("temperature",)

    def lines(self) -> Sequence[SerialLine]:
        return [SerialLine(9600)]

    def blocks(self) -> Sequence[Block]:
        return [Block(3, 0, 1)]

    def decoder(self) -> Polled:
        return self

    def decode(
        self, answers: Sequence[Sequence[int] | FrameError], now: float
    ) -> Sequence[Reading | FrameError]:
        del now
        return [
            answer if isinstance(answer, FrameError) else Reading(TEMPERATURE, float(answer[0]))
            for answer in answers
        ]


class FakePort:
    """A serial device whose bytes and end come from the test."""

    def __init__(self, on_data: Callable[[bytes, float], None], on_open: Callable[[], None]) -> None:
        self._on_data = on_data
        self._on_open = on_open
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.written: list[bytes] = []

    async def run(self) -> None:
        self._on_open()
        await self._ended

    async def write(self, data: bytes) -> None:
        self.written.append(data)

    def say(self, data: bytes, now: float) -> None:
        try:
            self._on_data(data, now)
        except Exception as error:  # noqa: BLE001 -- as the real port: what on_data raises ends run
            self._ended.set_exception(error)

    def unplug(self) -> None:
        self._ended.set_exception(PortError("unplugged", "It was pulled out.", "Plug it in."))


class FakeBus:
    """A Modbus line whose answers come from the test."""

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.polls = 0
        self.closed = False
        self.line: SerialLine | None = None

    async def write(self, unit: int, write: Write, *, timeout_s: float, min_gap_s: float) -> None:
        raise AssertionError(f"nothing is written: {unit} {write} {timeout_s} {min_gap_s}")

    async def poll(
        self,
        unit: int,
        blocks: Sequence[Block],
        *,
        timeout_s: float,
        min_gap_s: float,
        lines: Sequence[SerialLine] = (),
    ) -> Any:
        del unit, blocks, timeout_s, min_gap_s, lines
        self.polls += 1
        answer = self.answers.pop(0) if self.answers else [[20]]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close(self) -> None:
        self.closed = True


@dataclass
class World:
    """Wires, sink and clock in one."""

    clock: FakeClock = field(default_factory=FakeClock)
    ports: dict[str, list[FakePort]] = field(default_factory=dict)
    buses: dict[str, FakeBus] = field(default_factory=dict)
    taken: list[tuple[str, float]] = field(default_factory=list)
    close_s: float = 1.0

    def serial(self, path: str, line: SerialLine, on_data: Any, on_open: Any) -> FakePort:
        del line
        port = FakePort(on_data, on_open)
        self.ports.setdefault(path, []).append(port)
        return port

    def socket(self, host: str, port: int, on_data: Any, on_open: Any) -> FakePort:
        return self.serial(f"{host}:{port}", SerialLine(9600), on_data, on_open)

    def rtu(self, path: str, line: SerialLine) -> FakeBus:
        del line
        return self.buses.setdefault(path, FakeBus())

    def radio(self) -> Any:
        raise NotImplementedError

    def documents(self) -> Any:
        raise NotImplementedError

    def microphone(self, *given: Any) -> Any:
        raise NotImplementedError

    def tcp(self, host: str, port: int) -> FakeBus:
        return self.buses.setdefault(f"{host}:{port}", FakeBus())

    def readings(self, sensor: str, readings: Sequence[Reading], monotonic: float) -> int:
        del monotonic
        self.taken += [(sensor, reading.value) for reading in readings]
        return len(readings)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def sensors(world: World, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sensors]:
    drivers = {"talker": Talker(), "polled": Polled()}
    monkeypatch.setattr(registry, "make", lambda name, _, **__: drivers[name])
    made = Sensors(
        world,
        world,
        world.clock,
        structlog.wrap_logger(structlog.testing.CapturingLogger()),
        simulated=False,
        listen=lambda *_: None,
    )
    yield made
    await made.stop()


def talker(port: str, interval: float | None = None) -> Sensor:
    from pathlib import Path

    return Sensor(driver="talker", port=Path(port), interval=interval, stale_after=30.0)


async def test_a_frame_becomes_a_reading_and_a_state(sensors: Sensors, world: World) -> None:
    await sensors.apply({"air-1": talker("/dev/a")})
    await world.clock.run(0)
    view = sensors.views["air-1"]
    assert view.state(world.clock.monotonic()) == "starting"
    world.ports["/dev/a"][0].say(b"T\x15", world.clock.monotonic())
    assert world.taken == [("air-1", 21.0)]
    assert view.as_dict(world.clock.monotonic())["last"] == {"temperature": 21.0}
    assert view.state(world.clock.monotonic()) == "ok"
    assert view.state(world.clock.monotonic() + 31) == "stale"


async def test_a_refused_frame_is_counted_by_its_reason(sensors: Sensors, world: World) -> None:
    await sensors.apply({"air-1": talker("/dev/a")})
    await world.clock.run(0)
    world.ports["/dev/a"][0].say(b"T\xfeT\x01", world.clock.monotonic())
    assert sensors.views["air-1"].errors == {"checksum": 1}
    assert world.taken == [("air-1", 1.0)]


async def test_a_driver_that_raises_stops_only_its_own_sensor_and_starts_afresh(
    sensors: Sensors, world: World
) -> None:
    await sensors.apply({"air-1": talker("/dev/a"), "air-2": talker("/dev/b")})
    await world.clock.run(0)
    world.ports["/dev/a"][0].say(b"T\xff", world.clock.monotonic())
    await world.clock.run(0)
    assert sensors.views["air-1"].state(world.clock.monotonic()) == "driver_failed"
    world.ports["/dev/b"][0].say(b"T\x02", world.clock.monotonic())
    assert world.taken == [("air-2", 2.0)]
    await world.clock.run(2.0)
    world.ports["/dev/a"][1].say(b"T\x03", world.clock.monotonic())
    assert sensors.views["air-1"].state(world.clock.monotonic()) == "ok"


async def test_a_port_that_goes_away_is_opened_again_within_ten_seconds_for_ever(
    sensors: Sensors, world: World
) -> None:
    await sensors.apply({"air-1": talker("/dev/a")})
    for attempt in range(8):
        await world.clock.run(10.0)
        assert len(world.ports["/dev/a"]) == attempt + 1
        world.ports["/dev/a"][attempt].unplug()
        await world.clock.run(0)
        assert sensors.views["air-1"].state(world.clock.monotonic()) == "unplugged"
    assert sensors.views["air-1"].errors == {"unplugged": 8}


async def test_a_polled_sensor_is_polled_at_once_and_then_each_interval(
    sensors: Sensors, world: World
) -> None:
    from edgegw.config import Address

    host = Address("10.0.0.5", 502)
    await sensors.apply({"sound-1": Sensor(driver="polled", host=host, interval=10.0, stale_after=30.0)})
    await world.clock.run(0)
    bus = world.buses["10.0.0.5:502"]
    assert bus.polls == 1
    bus.answers = [[FrameError("no_reply")], PortError("refused", "It refuses.", "Look.")]
    await world.clock.run(10.0)
    assert sensors.views["sound-1"].state(world.clock.monotonic()) == "no_answer"
    await world.clock.run(10.0)
    assert sensors.views["sound-1"].state(world.clock.monotonic()) == "unplugged"
    await world.clock.run(10.0)
    assert bus.polls == 4
    assert sensors.views["sound-1"].errors == {"no_reply": 1, "refused": 1}
    assert world.taken == [("sound-1", 20.0)] * 2


async def test_apply_leaves_what_did_not_change_alone(sensors: Sensors, world: World) -> None:
    assert await sensors.apply({"air-1": talker("/dev/a"), "air-2": talker("/dev/b")}) == ["air-1", "air-2"]
    await world.clock.run(0)
    changed = {"air-1": talker("/dev/a"), "air-2": talker("/dev/c"), "air-3": talker("/dev/d")}
    assert await sensors.apply(changed) == ["air-2", "air-3"]
    await world.clock.run(0)
    assert [len(world.ports[path]) for path in ("/dev/a", "/dev/b", "/dev/c", "/dev/d")] == [1, 1, 1, 1]
    assert await sensors.apply({}) == []
    assert sensors.views == {}


async def test_a_bus_is_shared_and_closed_with_its_last_sensor(sensors: Sensors, world: World) -> None:
    from pathlib import Path

    both = {
        name: Sensor(driver="polled", port=Path("/dev/bus"), unit=unit, interval=1.0, stale_after=3.0)
        for unit, name in enumerate(("sound-1", "sound-2"), 1)
    }
    await sensors.apply(both)
    await world.clock.run(0)
    (bus,) = world.buses.values()
    await sensors.apply({"sound-1": both["sound-1"]})
    assert not bus.closed
    await sensors.apply({})
    assert bus.closed


async def test_a_lent_wire_is_left_alone_by_all_its_sensors_until_it_is_given_back(
    sensors: Sensors, world: World
) -> None:
    from pathlib import Path

    bus = Path("/dev/bus")
    wanted = {
        name: Sensor(driver="polled", port=bus, unit=unit, interval=1.0, stale_after=3.0)
        for unit, name in enumerate(("sound-1", "sound-2"), 1)
    }
    await sensors.apply({**wanted, "air-1": talker("/dev/a")})
    await world.clock.run(0)
    (line,) = world.buses.values()
    async with sensors.lent("sound-1") as paused:
        assert paused == ["sound-1", "sound-2"]
        assert line.closed
        polls = line.polls
        await world.clock.run(5.0)
        assert line.polls == polls
        states = {name: str(view.state(world.clock.monotonic())) for name, view in sensors.views.items()}
        assert states == {"sound-1": "paused", "sound-2": "paused", "air-1": "starting"}
        world.ports["/dev/a"][0].say(b"T\x07", world.clock.monotonic())
        assert world.taken[-1] == ("air-1", 7.0)
    await world.clock.run(0)
    assert line.polls == polls + 2
    assert sensors.views["sound-1"].state(world.clock.monotonic()) == "ok"


async def test_what_the_configuration_changed_during_a_loan_is_not_started_twice(
    sensors: Sensors, world: World
) -> None:
    await sensors.apply({"air-1": talker("/dev/a"), "air-2": talker("/dev/b")})
    await world.clock.run(0)
    async with sensors.lent("air-1"), sensors.lent("air-2"):
        await sensors.apply({"air-1": talker("/dev/c")})
        await world.clock.run(0)
    await world.clock.run(0)
    assert {path: len(ports) for path, ports in world.ports.items()} == {
        "/dev/a": 1,
        "/dev/b": 1,
        "/dev/c": 1,
    }


async def test_a_sensor_is_lent_once_at_a_time(sensors: Sensors, world: World) -> None:
    await sensors.apply({"air-1": talker("/dev/a")})
    async with sensors.lent("air-1"):
        with pytest.raises(GatewayError, match="wire of air-1"):
            async with sensors.lent("air-1"):
                pass
    await world.clock.run(0)
    assert len(world.ports["/dev/a"]) == 1


class SlowPort(FakePort):
    """A device that takes a second to close, as an adapter in trouble does."""

    def __init__(self, world: World, on_data: Any, on_open: Any) -> None:
        super().__init__(on_data, on_open)
        self._world = world

    async def run(self) -> None:
        try:
            await super().run()
        finally:
            await self._world.clock.sleep(self._world.close_s)


@pytest.fixture
def slow(sensors: Sensors, world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    del sensors  # they are stopped after this fixture is over

    def serial(path: str, line: SerialLine, on_data: Any, on_open: Any) -> FakePort:
        del line
        port = SlowPort(world, on_data, on_open)
        world.ports.setdefault(path, []).append(port)
        return port

    monkeypatch.setattr(world, "serial", serial)
    yield world
    world.close_s = 0.0


async def settled(world: World, task: asyncio.Task[Any], seconds: float = 60.0) -> None:
    """Let time go on until the task has ended."""
    for _ in range(int(seconds * 10)):
        if task.done():
            break
        await world.clock.run(0.1)
    await task


async def test_devices_that_take_their_time_to_close_are_closed_side_by_side(
    sensors: Sensors, slow: World
) -> None:
    await sensors.apply({f"air-{n}": talker(f"/dev/{n}") for n in range(30)})
    await slow.clock.run(0)
    begin = slow.clock.monotonic()
    await settled(slow, asyncio.create_task(sensors.stop()))
    # One after the other they would take 30 s: as long as systemd waits before it kills.
    assert slow.clock.monotonic() - begin < 3.0


async def test_buses_that_take_their_time_to_close_are_closed_side_by_side(
    sensors: Sensors, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pathlib import Path

    async def close(bus: FakeBus) -> None:
        await world.clock.sleep(1.0)
        assert not bus.closed, "closed twice"
        bus.closed = True

    monkeypatch.setattr(FakeBus, "close", close)
    await sensors.apply(
        {
            f"sound-{n}": Sensor(
                driver="polled", port=Path(f"/dev/{n // 2}"), unit=n + 1, interval=1.0, stale_after=3.0
            )
            for n in range(20)
        }
    )
    await world.clock.run(0)
    begin = world.clock.monotonic()
    await settled(world, asyncio.create_task(sensors.stop()))
    assert len(world.buses) == 10
    assert all(bus.closed for bus in world.buses.values())
    assert world.clock.monotonic() - begin < 3.0


async def test_a_reload_during_a_reload_waits_for_it_and_wins(sensors: Sensors, slow: World) -> None:
    await sensors.apply({"air-1": talker("/dev/a"), "air-2": talker("/dev/b")})
    await slow.clock.run(0)
    first = asyncio.create_task(sensors.apply({"air-1": talker("/dev/c"), "air-2": talker("/dev/b")}))
    await slow.clock.run(0)
    second = asyncio.create_task(sensors.apply({"air-1": talker("/dev/d")}))
    await settled(slow, first)
    await settled(slow, second)
    await slow.clock.run(0)
    assert list(sensors.views) == ["air-1"]
    slow.ports["/dev/d"][0].say(b"T\x07", slow.clock.monotonic())
    assert slow.taken == [("air-1", 7.0)]


async def test_a_reload_after_the_stop_starts_nothing(sensors: Sensors, world: World) -> None:
    await sensors.stop()
    assert await sensors.apply({"air-1": talker("/dev/a")}) == []
    await world.clock.run(0)
    assert not world.ports


async def test_who_goes_before_the_wire_was_lent_gives_it_back(sensors: Sensors, slow: World) -> None:
    await sensors.apply({"air-1": talker("/dev/a")})
    await slow.clock.run(0)

    async def borrow() -> None:
        async with sensors.lent("air-1"):
            raise AssertionError("the one who asked is gone")

    borrower = asyncio.create_task(borrow())
    await slow.clock.run(0)
    borrower.cancel()
    with pytest.raises(asyncio.CancelledError):
        await settled(slow, borrower)
    await slow.clock.run(2.0)
    slow.ports["/dev/a"][-1].say(b"T\x07", slow.clock.monotonic())
    assert slow.taken == [("air-1", 7.0)]


async def test_a_sensor_that_is_removed_while_its_wire_is_being_lent_leaves_the_others_alive(
    sensors: Sensors, slow: World
) -> None:
    await sensors.apply({"air-1": talker("/dev/a"), "air-2": talker("/dev/a")})
    await slow.clock.run(0)

    async def borrow() -> None:
        async with sensors.lent("air-1"):
            await slow.clock.sleep(1.0)

    borrower = asyncio.create_task(borrow())
    await slow.clock.run(0)
    reload = asyncio.create_task(sensors.apply({"air-2": talker("/dev/a")}))
    await settled(slow, borrower)
    await settled(slow, reload)
    await slow.clock.run(2.0)
    slow.ports["/dev/a"][-1].say(b"T\x07", slow.clock.monotonic())
    assert slow.taken == [("air-2", 7.0)]


async def test_two_who_borrow_at_once_do_not_share_a_wire(sensors: Sensors, slow: World) -> None:
    await sensors.apply({"air-1": talker("/dev/a")})
    await slow.clock.run(0)
    at_once: list[int] = []

    async def borrow() -> int:
        async with sensors.lent("air-1"):
            at_once.append(1)
            await slow.clock.sleep(5.0)
            most = len(at_once)
            at_once.pop()
            return most

    tasks = [asyncio.create_task(borrow()) for _ in range(2)]
    done = asyncio.gather(*tasks, return_exceptions=True)
    for _ in range(200):
        await slow.clock.run(0.1)
        if done.done():
            break
    results = await done
    assert results[0] == 1
    assert isinstance(results[1], GatewayError)


def test_reasons_are_bounded_whatever_a_driver_invents() -> None:
    view = View("air-1", "talker", 30.0, 0.0, simulated=False)
    for number in range(10 * MAX_REASONS):
        view.error(f"reason {number}")
    assert len(view.errors) <= MAX_REASONS + 1
    assert sum(view.errors.values()) == 10 * MAX_REASONS

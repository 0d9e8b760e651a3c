"""A conversation with a device that is asked: a scripted port, a clock that the test owns."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import structlog
from fakes_clock import FakeClock

from edgegw.config import Address, Sensor
from edgegw.driver import (
    QUANTITIES,
    AskDriver,
    FixedLength,
    FrameError,
    Notice,
    Reading,
    Request,
    SerialLine,
)
from edgegw.ports.errors import PortError
from edgegw.sensing import ask
from edgegw.sensing.buses import Buses
from edgegw.sensing.sensing import Sensing
from edgegw.views import View

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from edgegw.driver import Outcome

TEMPERATURE = QUANTITIES["temperature"]
READ = Request(b"?r", "read", timeout_s=1.0)
WHO = Request(b"?w", "who", timeout_s=1.0)
WAKE = Request(b"!w", "wake", timeout_s=1.0, changes=True)


class Script:
    """What the decoder asks; what it was told."""

    def __init__(self) -> None:
        self.opens: list[Request] = []
        self.asks: list[Request] = [READ]
        self.silent: list[str] = []
        self.decoded: list[tuple[str, bytes, float]] = []


@dataclass(frozen=True)
class Thermometer(AskDriver):
    """Frames `<NX`: N is the number of the request it answers (r, w), X a temperature or a word of trouble."""

    script: Script = field(hash=False)
    line: ClassVar[SerialLine] = SerialLine(9600)
    framing: ClassVar[FixedLength] = FixedLength(start=b"<", length=3)
    quantities: ClassVar[Sequence[str]] = ("temperature",)

    def decoder(self) -> Conversation:
        return Conversation(self.script)


class Conversation:
    def __init__(self, script: Script) -> None:
        self.script = script

    def opening(self) -> Sequence[Request]:
        return tuple(self.script.opens)

    def cycle(self) -> Sequence[Request]:
        return tuple(self.script.asks)

    def decode(self, request: Request, frame: bytes, now: float) -> Sequence[Outcome]:
        self.script.decoded.append((request.name, frame, now))
        if frame[1:2] != request.data[1:2]:
            raise FrameError("command")
        said = frame[2:]
        if said == b"~":
            raise FrameError("warming_up", whole=True)
        if said == b"#":
            raise ZeroDivisionError("a defect")
        if said == b"N":
            return [Notice("device", "another one")]
        if said == b"P":
            return [Reading(TEMPERATURE, 1.0), FrameError("not_available", whole=True)]
        return [Reading(TEMPERATURE, float(said[0]))]

    def silent(self, request: Request, now: float) -> Sequence[Outcome]:
        del now
        self.script.silent.append(request.name)
        return [Notice("restart", "it was away")] if request is WHO else []


class Port:
    """A wire whose device answers what `answer` says, at once; whose end comes from the test."""

    def __init__(self, on_data: Callable[[bytes, float], None], on_open: Callable[[], None]) -> None:
        self.say = on_data
        self._on_open = on_open
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        self._on_open()
        await self._ended

    def end(self, error: Exception) -> None:
        self._ended.set_exception(error)

    async def write(self, data: bytes) -> None:
        raise NotImplementedError


class World:
    """One sensor on a scripted wire."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.script = Script()
        self.sent: list[tuple[float, bytes]] = []
        #: What the device says to each request, and how long it takes.
        self.answers: dict[bytes, list[bytes]] = {}
        self.after_s = 0.0
        self.emitted: list[tuple[float, float]] = []
        self.ports: list[Port] = []
        self.where: list[object] = []
        self._later: set[asyncio.Task[None]] = set()

    def serial(self, path: str, line: SerialLine, on_data: Any, on_open: Any) -> Port:
        self.where.append((path, line.baudrate))
        return self._port(on_data, on_open)

    def socket(self, host: str, port: int, on_data: Any, on_open: Any) -> Port:
        self.where.append((host, port))
        return self._port(on_data, on_open)

    def rtu(self, *_: Any) -> Any:
        raise AssertionError

    def tcp(self, *_: Any) -> Any:
        raise AssertionError

    def sensing(self, sensor: Sensor) -> Sensing:
        log = structlog.wrap_logger(structlog.testing.CapturingLogger())
        view = View("t-1", "thermometer", 30.0, self.clock.monotonic(), simulated=False)

        def emit(readings: Sequence[Reading], now: float) -> None:
            self.emitted += [(round(now - self.start, 6), reading.value) for reading in readings]
            view.took(readings, now)

        self.start = self.clock.monotonic()
        return Sensing("t-1", sensor, view, self, Buses(self), self.clock, log, emit)  # type: ignore[arg-type]

    @property
    def times(self) -> list[tuple[float, bytes]]:
        return [(round(at - self.start, 6), data) for at, data in self.sent]

    def _port(self, on_data: Any, on_open: Any) -> Port:
        port = Port(on_data, on_open)
        port.write = partial(self._write, port)  # type: ignore[method-assign]
        self.ports.append(port)
        return port

    async def _write(self, port: Port, data: bytes) -> None:
        self.sent.append((self.clock.monotonic(), data))
        for part in self.answers.get(data, []):
            if self.after_s:
                task = asyncio.create_task(self._say_later(port, part))
                self._later.add(task)
                task.add_done_callback(self._later.discard)
            else:
                port.say(part, self.clock.monotonic())

    async def _say_later(self, port: Port, part: bytes) -> None:
        await self.clock.sleep(self.after_s)
        port.say(part, self.clock.monotonic())


@pytest.fixture
def world() -> World:
    return World()


class Running:
    """The sensor while it is read."""

    def __init__(self, world: World, **of_sensor: Any) -> None:
        given: dict[str, Any] = {"port": Path("/dev/t"), "interval": 10.0, "stale_after": 30.0, **of_sensor}
        self.sensing = world.sensing(Sensor(driver="thermometer", **given))
        self.task = asyncio.create_task(ask.run(self.sensing, Thermometer(world.script)))

    @property
    def view(self) -> View:
        return self.sensing.view

    def state(self) -> str:
        return self.view.state(self.sensing.clock.monotonic())


@pytest.fixture
async def start(world: World) -> AsyncIterator[Callable[..., Running]]:
    found: list[Running] = []

    def run(**of_sensor: Any) -> Running:
        found.append(Running(world, **of_sensor))
        return found[-1]

    yield run
    for each in found:
        each.task.cancel()
    await asyncio.gather(*(each.task for each in found), return_exceptions=True)


async def test_the_opening_is_asked_once_and_then_a_cycle_each_interval(world: World, start: Any) -> None:
    world.script.opens = [WHO]
    world.answers = {b"?w": [b"<wN"], b"?r": [b"<r\x15"]}
    running = start()
    await world.clock.run(25.0)
    assert world.times == [(0.0, b"?w"), (0.0, b"?r"), (10.0, b"?r"), (20.0, b"?r")]
    assert world.emitted == [(0.0, 21.0), (10.0, 21.0), (20.0, 21.0)]
    assert running.view.notices == {"device": "another one"}
    assert running.view.errors == {}
    assert running.state() == "ok"


async def test_the_wire_is_the_line_of_the_driver_or_the_socket_that_the_sensor_names(
    world: World, start: Any
) -> None:
    start()
    start(port=None, host=Address("10.0.0.5", 2255))
    await world.clock.run(0)
    assert world.where == [("/dev/t", 9600), ("10.0.0.5", 2255)]


async def test_requests_go_out_one_by_one_each_after_its_pause(world: World, start: Any) -> None:
    world.script.asks = [READ, Request(b"?x", "x", after_s=2.0), READ]
    world.answers = {b"?r": [b"<r\x15"], b"?x": [b"<x\x16"]}
    world.after_s = 0.5
    start()
    await world.clock.run(9.0)
    assert world.times == [(0.0, b"?r"), (2.5, b"?x"), (3.0, b"?r")]
    assert world.emitted == [(0.5, 21.0), (3.0, 22.0), (3.5, 21.0)]


async def test_a_request_may_have_several_answers_or_none_at_all(world: World, start: Any) -> None:
    world.script.asks = [Request(b"?r", replies=2), Request(b"!", "poke", replies=0), WHO]
    world.answers = {b"?r": [b"<r\x15<r", b"\x16"], b"?w": [b"<w\x17"]}
    running = start()
    await world.clock.run(1.0)
    assert [value for _, value in world.emitted] == [21.0, 22.0, 23.0]
    assert world.times == [(0.0, b"?r"), (0.0, b"!"), (0.0, b"?w")]
    assert running.view.errors == {}


async def test_one_answer_of_two_is_a_request_that_was_not_answered(world: World, start: Any) -> None:
    world.script.asks = [Request(b"?r", replies=2, timeout_s=3.0), WHO]
    world.answers = {b"?r": [b"<r\x15"], b"?w": [b"<w\x17"]}
    running = start()
    await world.clock.run(8.0)
    assert running.view.errors == {"no_reply": 1}
    assert world.times == [(0.0, b"?r"), (6.0, b"?w")]
    assert world.emitted == [(0.0, 21.0), (6.0, 23.0)]


async def test_a_silent_device_is_counted_told_to_the_decoder_and_has_a_state(
    world: World, start: Any
) -> None:
    world.script.asks = [WHO, READ]
    running = start()
    await world.clock.run(5.0)
    assert world.script.silent == ["who", "read"]
    assert running.view.errors == {"no_reply": 2}
    assert running.view.notices == {"restart": "it was away"}
    assert running.state() == "no_answer"
    assert "power" in running.view.todo
    world.answers = {b"?r": [b"<r\x15"]}
    await world.clock.run(10.0)
    assert running.state() == "ok"
    assert running.view.todo == ""


async def test_a_device_that_answers_without_a_value_is_there_and_warms_up(world: World, start: Any) -> None:
    running = start()
    await world.clock.run(5.0)
    assert running.state() == "no_answer"
    world.answers = {b"?r": [b"<r~"]}
    await world.clock.run(10.0)
    assert running.view.errors == {"no_reply": 1, "warming_up": 1}
    assert running.state() == "warm_up"
    world.answers = {b"?r": [b"<r\x15"]}
    await world.clock.run(10.0)
    assert running.state() == "ok"


async def test_readings_and_refusals_of_one_answer_both_count(world: World, start: Any) -> None:
    world.answers = {b"?r": [b"<rP"]}
    running = start()
    await world.clock.run(1.0)
    assert world.emitted == [(0.0, 1.0)]
    assert running.view.errors == {"not_available": 1}


async def test_another_requests_answer_is_counted_and_the_waiting_goes_on(world: World, start: Any) -> None:
    world.answers = {b"?r": [b"<w\x01", b"noise", b"<r\x15"]}
    running = start()
    await world.clock.run(1.0)
    assert world.emitted == [(0.0, 21.0)]
    assert running.view.errors == {"command": 1}


async def test_an_answer_in_pieces_is_one_answer(world: World, start: Any) -> None:
    world.answers = {b"?r": [b"<", b"r", b"\x15"]}
    running = start()
    await world.clock.run(1.0)
    assert world.emitted == [(0.0, 21.0)]
    assert running.view.errors == {}


async def test_a_doubled_answer_gives_its_reading_once(world: World, start: Any) -> None:
    world.answers = {b"?r": [b"<r\x15<r\x15", b"<r\x15"]}
    running = start()
    await world.clock.run(1.0)
    assert world.emitted == [(0.0, 21.0)]
    assert running.view.errors == {"unasked": 2}


async def test_an_answer_that_comes_after_its_time_is_never_the_next_requests(
    world: World, start: Any
) -> None:
    world.answers = {b"?r": [b"<r\x15"]}
    world.after_s = 1.5
    running = start()
    await world.clock.run(5.0)
    assert world.emitted == []
    assert running.view.errors == {"no_reply": 1, "unasked": 1}
    world.after_s = 0.5
    await world.clock.run(10.0)
    assert world.emitted == [(10.5, 21.0)]


async def test_a_device_that_is_always_a_little_late_never_answers_the_request_after(
    world: World, start: Any
) -> None:
    world.script.asks = [READ, READ, READ]
    world.answers = {b"?r": [b"<r\x15"]}
    world.after_s = 1.5
    running = start(interval=1.0)
    await world.clock.run(59.5)
    assert world.emitted == []
    assert running.view.errors == {"no_reply": 30, "unasked": 30}
    assert world.times[:3] == [(0.0, b"?r"), (2.0, b"?r"), (4.0, b"?r")]


async def test_the_beginning_of_an_answer_that_came_too_late_does_not_spoil_the_next(
    world: World, start: Any
) -> None:
    world.answers = {b"?r": [b"<r"]}
    running = start()
    await world.clock.run(5.0)
    assert running.view.errors == {"no_reply": 1}
    world.answers = {b"?r": [b"\x15<r\x16"]}
    await world.clock.run(10.0)
    assert world.emitted == [(10.0, 22.0)]


async def test_what_was_read_before_the_request_went_out_does_not_answer_it(world: World, start: Any) -> None:
    running = start()
    await world.clock.run(0.1)
    # Read by the port's thread before the request, told to the loop after it.
    world.ports[0].say(b"<r\x15", world.start - 0.01)
    assert world.emitted == []
    assert running.view.errors == {"unasked": 1}


async def test_a_device_that_talks_unasked_costs_nothing_but_a_count(world: World, start: Any) -> None:
    running = start()
    world.answers = {b"?r": [b"<r\x15"]}
    await world.clock.run(1.0)
    for _ in range(1000):
        world.ports[0].say(b"<r\x09" * 100, world.clock.monotonic())
    await world.clock.run(9.0)
    assert world.emitted == [(0.0, 21.0), (10.0, 21.0)]
    assert running.view.errors == {"unasked": 1000}


async def test_what_changes_the_device_goes_out_only_where_that_is_allowed(world: World, start: Any) -> None:
    world.script.opens, world.script.asks = [WAKE, WHO], [WAKE, READ]
    world.answers = {b"?w": [b"<wN"], b"?r": [b"<r\x15"], b"!w": [b"<wN"]}
    running = start()
    await world.clock.run(1.0)
    assert [data for _, data in world.sent] == [b"?w", b"?r"]
    assert world.script.silent == []
    assert running.view.errors == {}
    world.sent.clear()
    start(allow_setup=True)
    await world.clock.run(1.0)
    assert [data for _, data in world.sent] == [b"!w", b"?w", b"!w", b"?r"]


async def test_a_cycle_of_which_nothing_may_be_sent_says_nothing_about_the_device(
    world: World, start: Any
) -> None:
    world.script.asks = [WAKE]
    running = start()
    await world.clock.run(15.0)
    assert world.sent == []
    assert running.state() == "starting"


async def test_a_cycle_that_takes_longer_than_the_interval_skips_what_it_missed(
    world: World, start: Any
) -> None:
    world.script.asks = [Request(b"?r", after_s=12.0)]
    world.answers = {b"?r": [b"<r\x15"]}
    start()
    await world.clock.run(59.0)
    assert [at for at, _ in world.times] == [12.0, 32.0, 52.0]


async def test_means_are_added_to_the_asked_values(world: World, start: Any) -> None:
    world.answers = {b"?r": [b"<r\x14"]}
    start(interval=10.0, average=20.0)
    await world.clock.run(15.0)
    world.answers = {b"?r": [b"<r\x16"]}
    await world.clock.run(15.0)
    assert world.emitted == [(0.0, 20.0), (10.0, 20.0), (20.0, 22.0), (20.0, 20.0), (30.0, 22.0)]


async def test_the_time_that_answers_take_is_known(world: World, start: Any) -> None:
    world.answers = {b"?r": [b"<r\x15"]}
    running = start()
    for world.after_s in (0.1, 0.2, 0.6):
        await world.clock.run(9.9)
    shown = running.view.as_dict(world.clock.monotonic())
    assert shown["answer_ms"] == {"last": 600.0, "median": 200.0}


async def test_the_end_of_the_port_ends_the_conversation(world: World, start: Any) -> None:
    running = start()
    await world.clock.run(0.5)
    world.ports[0].end(PortError("unplugged", "It was pulled out.", "Plug it in."))
    with pytest.raises(PortError):
        await running.task


async def test_what_a_driver_raises_goes_to_the_port_that_ends_with_it(world: World, start: Any) -> None:
    start()
    await world.clock.run(0.5)
    with pytest.raises(ZeroDivisionError):
        world.ports[0].say(b"<r#", world.clock.monotonic())

"""A sensor that talks: what is sent to it after its port was opened, and what becomes of its last window."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from fakes_clock import FakeClock

from edgegw.config import Sensor
from edgegw.driver import QUANTITIES, FixedLength, FrameError, Reading, Request, SerialLine, StreamDriver
from edgegw.ports.errors import PortError
from edgegw.sensing import stream
from edgegw.sensing.buses import Buses
from edgegw.sensing.sensing import Sensing
from edgegw.views import State, View

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from edgegw.driver import Outcome

COUNT_IN = QUANTITIES["count_in"]


@dataclass(frozen=True)
class Gate(StreamDriver):
    """`G` and a byte: so many passed. It is woken, its mode set and read back; then perhaps asked."""

    line = SerialLine(9600)
    framing = FixedLength(b"G", 2)
    quantities = ("count_in",)

    asks: bool = False
    told: list[tuple[str, float]] = field(default_factory=list, hash=False)

    def decoder(self) -> Gate:
        return self

    def decode(self, frame: bytes, now: float = 0.0) -> Sequence[Outcome]:
        del now
        if frame[1] == 0xFF:
            raise FrameError("warming_up", whole=True)
        return (Reading(COUNT_IN, frame[1]),)

    def sent(self, request: Request, now: float) -> None:
        self.told.append((request.name, now))

    def setup(self) -> Sequence[Request]:
        return (
            Request(b"wake", "wake", changes=True),
            Request(b"mode", "mode", after_s=0.5, changes=True),
            Request(b"how?", "how", after_s=0.25),
        )

    def request(self) -> bytes:
        return b"read" if self.asks else b""


class Port:
    """A serial device whose bytes and end come from the test."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.written: list[tuple[bytes, float]] = []
        self.on_data: Callable[[bytes, float], None] = lambda *_: None
        self.on_open: Callable[[], None] = lambda: None

    async def run(self) -> None:
        self.on_open()
        await self.ended

    async def write(self, data: bytes) -> None:
        self.written.append((data, self._clock.monotonic()))

    def say(self, *values: int) -> None:
        self.on_data(b"".join(b"G" + bytes((value,)) for value in values), self._clock.monotonic())


class Bench:
    """One sensor on one port, with a clock that the test moves."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.port = Port(self.clock)
        self.emitted: list[tuple[float, float]] = []
        self.view = View("gate-1", "gate", 30.0, 0.0, simulated=False)
        self.task: asyncio.Task[None] | None = None

    def serial(self, path: str, line: SerialLine, on_data: Any, on_open: Any) -> Port:
        del path, line
        self.port.on_data, self.port.on_open = on_data, on_open
        return self.port

    def rtu(self, path: str, line: SerialLine) -> Any:
        raise NotImplementedError

    def radio(self) -> Any:
        raise NotImplementedError

    def documents(self) -> Any:
        raise NotImplementedError

    def tcp(self, host: str, port: int) -> Any:
        raise NotImplementedError

    def emit(self, readings: Sequence[Reading], now: float) -> None:
        self.emitted += [(reading.value, now) for reading in readings]

    async def start(self, driver: Gate, *, interval: float | None = 10.0, allow_setup: bool = False) -> None:
        sensor = Sensor(
            driver="gate",
            port=Path("/dev/gate"),
            interval=interval,
            allow_setup=allow_setup,
            stale_after=30.0,
        )
        log = structlog.wrap_logger(structlog.testing.CapturingLogger())
        wires: Any = self
        sensing = Sensing("gate-1", sensor, self.view, wires, Buses(wires), self.clock, log, self.emit)
        self.task = asyncio.create_task(stream.run(sensing, driver))
        await self.clock.run(0)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    if made.task is not None:
        made.task.cancel()
        with contextlib.suppress(asyncio.CancelledError, PortError):
            await made.task


async def test_what_changes_the_device_is_sent_only_where_it_is_allowed(bench: Bench) -> None:
    await bench.start(Gate())
    await bench.clock.run(5)
    assert [data for data, _ in bench.port.written] == [b"how?"]


async def test_the_set_up_goes_out_once_in_order_with_its_pauses_and_the_decoder_is_told(
    bench: Bench,
) -> None:
    driver, opened = Gate(), bench.clock.monotonic()
    await bench.start(driver, allow_setup=True)
    await bench.clock.run(25)
    assert bench.port.written == [(b"wake", opened), (b"mode", opened + 0.5), (b"how?", opened + 0.75)]
    assert driver.told == [("wake", opened), ("mode", opened + 0.5), ("how", opened + 0.75)]


async def test_a_request_goes_out_each_interval_and_one_without_an_answer_is_counted(bench: Bench) -> None:
    await bench.start(Gate(asks=True))
    await bench.clock.run(1)
    assert bench.view.errors == {}
    bench.port.say(1)
    await bench.clock.run(10)
    assert bench.view.errors == {}
    await bench.clock.run(10)
    assert bench.view.errors == {"no_reply": 1}
    bench.port.say(0xFF)  # late, and without a value: it has its own reason
    await bench.clock.run(10)
    assert bench.view.errors == {"no_reply": 1, "warming_up": 1}
    assert [data for data, _ in bench.port.written] == [b"how?", *[b"read"] * 4]


async def test_the_open_window_goes_out_when_the_port_goes(bench: Bench) -> None:
    await bench.start(Gate())
    bench.port.say(1, 2)
    assert bench.emitted == []
    bench.port.ended.set_exception(PortError("unplugged", "It was pulled out.", "Plug it in."))
    assert bench.task is not None
    with pytest.raises(PortError):
        await bench.task
    assert bench.emitted == [(3, bench.clock.monotonic())]


async def test_the_open_window_goes_out_when_the_sensor_is_stopped(bench: Bench) -> None:
    await bench.start(Gate())
    bench.port.say(4)
    assert bench.task is not None
    bench.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await bench.task
    assert bench.emitted == [(4, bench.clock.monotonic())]


async def test_nothing_goes_out_at_the_end_of_a_window_in_which_nothing_came(bench: Bench) -> None:
    await bench.start(Gate())
    bench.port.say(1)
    await bench.clock.run(20)
    assert [value for value, _ in bench.emitted] == [1]
    bench.port.ended.set_result(None)
    assert bench.task is not None
    await bench.task
    assert [value for value, _ in bench.emitted] == [1]


async def test_without_an_interval_each_frame_is_a_reading(bench: Bench) -> None:
    await bench.start(Gate(), interval=None)
    bench.port.say(1, 2)
    assert [value for value, _ in bench.emitted] == [1, 2]


async def test_bytes_in_which_no_frame_begins_are_counted_and_a_few_of_them_are_not(bench: Bench) -> None:
    await bench.start(Gate())
    bench.port.on_data(b"....", 0.0)
    assert bench.view.errors == {}
    bench.port.say(1)
    bench.port.on_data(b"......", 0.0)
    assert bench.view.errors == {}
    bench.port.on_data(b"." * 100, 0.0)
    assert bench.view.errors == {"framing": 1}
    bench.port.on_data(b"." * 100, 0.0)
    assert bench.view.errors == {"framing": 2}


async def test_a_device_that_is_plugged_in_again_and_says_nothing_is_not_called_unplugged(
    bench: Bench,
) -> None:
    await bench.start(Gate())
    bench.port.say(1)
    bench.view.took((Reading(COUNT_IN, 1),), bench.clock.monotonic())
    bench.view.trouble, bench.view.why = State.UNPLUGGED, "It was pulled out."
    bench.port.on_open()
    seen = bench.view.as_dict(bench.clock.monotonic())
    assert (seen["state"], seen["why"]) == ("stale", "The port is open again, and no reading has come since.")
    assert "power" in seen["todo"]


def test_a_silent_device_has_a_sentence_and_something_to_do() -> None:
    view = View("gate-1", "gate", 30.0, 0.0, simulated=False)
    assert "why" not in view.as_dict(29.0)
    never = view.as_dict(31.0)
    assert (never["state"], never["why"]) == (
        "no_answer",
        "No reading has come since its start 31 s ago.",
    )
    view.took((Reading(COUNT_IN, 1),), 40.0)
    assert "why" not in view.as_dict(41.0)
    silent = view.as_dict(100.0)
    assert (silent["state"], silent["why"]) == ("stale", "No reading has come for 60 s.")
    assert "power" in silent["todo"]

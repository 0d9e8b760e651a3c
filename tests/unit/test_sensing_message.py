"""How devices with documents are read: each way of a document, with a clock that the test moves."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from fakes_clock import FakeClock

from edgegw.config import Sensor
from edgegw.driver import (
    QUANTITIES,
    FrameError,
    Message,
    MessageDriver,
    Pull,
    Push,
    Reading,
    Source,
    Subscription,
)
from edgegw.ports.errors import PortError
from edgegw.ports.mqtt_local import Arrived
from edgegw.sensing import message
from edgegw.sensing.buses import Buses
from edgegw.sensing.sensing import Sensing
from edgegw.views import State, View

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from edgegw.driver import Outcome

PULL, PUSH = Pull("http://node/"), Push("t0ken")
TOPIC = Subscription("mqtt://broker", ("a",))
GONE = PortError("refused", "It refuses.", "Look.")


@dataclass(frozen=True)
class Gate(MessageDriver):
    """A document is a running total; the first one gives nothing, `defect` is one, other text is refused."""

    way: Source = PULL
    quantities = ("count_in",)

    def source(self) -> Source:
        return self.way

    def decoder(self) -> Total:
        return Total()


@dataclass
class Total:
    counted: int | None = None

    def decode(self, message: Message, now: float) -> Sequence[Outcome]:
        del now
        if message.body == b"defect":
            raise ZeroDivisionError("a defect")
        if not message.body.isdigit():
            raise FrameError("malformed")
        before, self.counted = self.counted, int(message.body)
        if before is None:
            return [FrameError("first_count")]
        return [Reading(QUANTITIES["count_in"], float(self.counted - before))]


@dataclass
class Network:
    """The ways of documents, opened, closed and used by the test."""

    answers: list[bytes | PortError] = field(default_factory=list)
    fetched: int = 0
    opened: list[Any] = field(default_factory=list)
    take: Any = None
    lost: Any = None
    ended: asyncio.Future[None] | None = None

    async def fetch(self, pull: Pull) -> bytes:
        assert pull is PULL
        self.fetched += 1
        answer = self.answers.pop(0) if self.answers else GONE
        if isinstance(answer, PortError):
            raise answer
        return answer

    async def receive(self, name: str, token: str, take: Callable[[bytes, float], str]) -> None:
        await self._open((name, token), take)

    async def listen(
        self, source: Subscription, take: Callable[[Arrived], None], lost: Callable[[int], None]
    ) -> None:
        self.lost = lost
        await self._open(source, take)

    async def _open(self, what: object, take: Any) -> None:
        self.opened.append(what)
        self.take = take
        self.ended = asyncio.get_running_loop().create_future()
        await self.ended

    def close(self) -> None:
        assert self.ended is not None
        self.ended.set_exception(GONE)


class Bench:
    """One sensor on the network."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.network = Network()
        self.view = View("gate-1", "gate", 30.0, 0.0, simulated=False)
        self.emitted: list[float] = []
        self.task: asyncio.Task[None] | None = None

    def documents(self) -> Network:
        return self.network

    def emit(self, readings: Sequence[Reading], now: float) -> None:
        self.emitted += [reading.value for reading in readings]
        self.view.took(readings, now)

    async def start(self, way: Source, interval: float | None = 10.0, average: float | None = None) -> None:
        sensor = Sensor(driver="gate", interval=interval, average=average, stale_after=30.0)
        log = structlog.wrap_logger(structlog.testing.CapturingLogger())
        wires: Any = self
        sensing = Sensing("gate-1", sensor, self.view, wires, Buses(wires), self.clock, log, self.emit)
        self.task = asyncio.create_task(message.run(sensing, Gate(way)))
        await self.clock.run(0)

    def publish(self, body: str, *, retained: bool = False) -> None:
        self.network.take(Arrived("a", body.encode(), retained, self.clock.monotonic()))


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    if made.task is not None:
        made.task.cancel()
        with contextlib.suppress(asyncio.CancelledError, ZeroDivisionError):
            await made.task


# Fetched


async def test_a_document_is_fetched_at_once_and_then_each_interval(bench: Bench) -> None:
    bench.network.answers = [b"5", b"7", b"7"]
    await bench.start(PULL)
    assert bench.network.fetched == 1
    await bench.clock.run(20.0)
    assert bench.emitted == [2.0, 0.0]
    assert bench.view.errors == {"first_count": 1}


async def test_a_device_that_is_away_costs_documents_and_not_what_was_counted(bench: Bench) -> None:
    bench.network.answers = [b"5", GONE, GONE, b"9"]
    await bench.start(PULL)
    await bench.clock.run(20.0)
    assert bench.view.state(bench.clock.monotonic()) == State.UNPLUGGED
    assert (bench.view.why, bench.view.todo) == ("It refuses.", "Look.")
    await bench.clock.run(10.0)
    assert bench.emitted == [4.0]
    assert bench.view.trouble is None
    assert bench.view.errors == {"first_count": 1, "refused": 2}


async def test_a_document_without_a_reading_still_shows_that_the_way_is_open(bench: Bench) -> None:
    bench.network.answers = [GONE, b"nonsense"]
    await bench.start(PULL)
    await bench.clock.run(10.0)
    assert bench.view.trouble is None
    assert bench.view.errors == {"refused": 1, "malformed": 1}


async def test_means_are_added_where_they_are_wanted(bench: Bench) -> None:
    bench.network.answers = [str(total).encode() for total in range(0, 100, 2)]
    await bench.start(PULL, average=30.0)
    await bench.clock.run(80.0)
    assert 6.0 in bench.emitted


# Pushed


async def test_what_is_posted_is_recorded_before_it_is_acknowledged_whatever_the_interval(
    bench: Bench,
) -> None:
    await bench.start(PUSH, interval=3600.0)
    assert bench.network.opened == [("gate-1", "t0ken")]
    assert bench.network.take(b"5", 1.0) == ""
    assert bench.network.take(b"8", 2.0) == ""
    assert bench.emitted == [3.0]


async def test_what_is_posted_and_not_understood_is_said_to_the_device(bench: Bench) -> None:
    await bench.start(PUSH)
    assert bench.network.take(b"nonsense", 1.0) == "The document was not understood: malformed."
    assert bench.view.errors == {"malformed": 1}


async def test_an_endpoint_that_is_off_is_tried_again_with_growing_pauses(bench: Bench) -> None:
    await bench.start(PUSH)
    for _ in range(3):
        bench.network.close()
        await bench.clock.run(60.0)
    assert len(bench.network.opened) == 4
    assert bench.view.trouble is State.UNPLUGGED


# Published


async def test_what_is_published_becomes_one_reading_per_interval_and_passages_are_added(
    bench: Bench,
) -> None:
    await bench.start(TOPIC)
    for body in ("5", "6", "9"):
        bench.publish(body)
    assert bench.emitted == []
    await bench.clock.run(20.0)
    assert bench.emitted == [4.0]


async def test_with_all_each_message_is_a_reading(bench: Bench) -> None:
    await bench.start(TOPIC, interval=None)
    for body in ("5", "6", "nonsense", "9"):
        bench.publish(body)
    assert bench.emitted == [1.0, 3.0]
    assert bench.view.errors == {"first_count": 1, "malformed": 1}


async def test_what_the_broker_had_kept_is_no_new_value(bench: Bench) -> None:
    await bench.start(TOPIC, interval=None)
    bench.publish("5", retained=True)
    bench.publish("500")
    bench.publish("501")
    assert bench.emitted == [1.0]
    assert bench.view.errors == {"retained": 1, "first_count": 1}


async def test_a_broker_that_goes_away_costs_messages_and_not_what_was_counted(bench: Bench) -> None:
    await bench.start(TOPIC, interval=None)
    bench.publish("5")
    bench.network.close()
    await bench.clock.run(60.0)
    assert bench.network.opened == [TOPIC, TOPIC]
    bench.publish("9")
    assert bench.emitted == [4.0]


async def test_dropped_messages_are_counted(bench: Bench) -> None:
    await bench.start(TOPIC)
    bench.network.lost(3)
    assert bench.view.errors == {"dropped": 3}


async def test_the_open_window_is_recorded_when_the_sensor_stops(bench: Bench) -> None:
    await bench.start(TOPIC, interval=3600.0)
    bench.publish("5")
    bench.publish("6")
    assert bench.task is not None
    bench.task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await bench.task
    assert bench.emitted == [1.0]


async def test_a_defect_of_the_driver_ends_the_sensor(bench: Bench) -> None:
    bench.network.answers = [b"defect"]
    await bench.start(PULL)
    assert bench.task is not None
    with pytest.raises(ZeroDivisionError):
        await bench.task


def test_the_ways_of_the_daemon_are_off_unless_configured() -> None:
    from edgegw.wires import RealWires

    async def receive() -> None:
        await RealWires().documents().receive("gate-1", "", lambda _body, _now: "")

    with pytest.raises(PortError) as refused:
        asyncio.run(receive())
    assert refused.value.reason == "no_endpoint"

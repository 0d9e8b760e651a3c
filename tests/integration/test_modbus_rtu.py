"""The RTU bus and pymodbus's own slave on a pair of ptys, with a hostile relay in between."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import random
import select
import threading
import tty
from typing import TYPE_CHECKING, Any

import pytest
from modbus_device import Slave
from pymodbus.server import ModbusSerialServer

from edgegw.driver import Block, FrameError, SerialLine
from edgegw.ports.errors import PortError
from edgegw.ports.modbus import RtuBus, rtu

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

LINE = SerialLine(19200)
FOUR = Block(3, 0, 4)
PATIENCE_S = 60
#: What goes over a wire instead of the bytes that came in: seconds from now, and bytes.
Parts = list[tuple[float, bytes]]


def honest(data: bytes) -> Parts:
    return [(0, data)]


def deaf_nine(data: bytes) -> Parts:
    """Nobody hears what is said to unit 9 (pymodbus's slave would answer for it); a question has 8 bytes."""
    questions = [data[begin : begin + 8] for begin in range(0, len(data), 8)]
    return [(0, question) for question in questions if question[0] != 9]


class PtyWire:
    """Two ptys and a thread between them that passes bytes on, or does worse."""

    def __init__(self) -> None:
        self._ends: list[int] = []
        self.gateway, self._near = self._pty()
        self.slave, self._far = self._pty()
        self.sent = bytearray()
        self.asked = threading.Event()
        self.to_gateway: Callable[[bytes], Parts] = honest
        self.to_slave: Callable[[bytes], Parts] = deaf_nine
        self._thread = threading.Thread(target=self._relay, name="relay")
        self._stop_r, self._stop_w = os.pipe()
        self._thread.start()

    def _pty(self) -> tuple[str, int]:
        ours, theirs = pty.openpty()
        tty.setraw(ours)
        name = os.ttyname(theirs)
        self._ends += [ours, theirs]  # a pty stays while one slave end is open
        return name, ours

    def _relay(self) -> None:
        ends = {self._near: (self._far, "to_slave"), self._far: (self._near, "to_gateway")}
        while True:
            ready, _, _ = select.select([*ends, self._stop_r], [], [])
            if self._stop_r in ready:
                return
            for end in ready:
                data = os.read(end, 4096)
                other, direction = ends[end]
                if end == self._near:
                    self.sent += data
                    self.asked.set()
                for delay_s, part in getattr(self, direction)(data):
                    threading.Timer(delay_s, self._say, (other, part)).start() if delay_s else self._say(
                        other, part
                    )

    def _say(self, end: int, data: bytes) -> None:
        with contextlib.suppress(OSError):  # a late answer after the end of the test
            os.write(end, data)

    def unplug(self) -> None:
        if self._thread.is_alive():
            os.write(self._stop_w, b".")
            self._thread.join()
            for end in (*self._ends, self._stop_r, self._stop_w):
                os.close(end)


@pytest.fixture
def wire() -> Iterator[PtyWire]:
    wire = PtyWire()
    yield wire
    wire.unplug()


@contextlib.asynccontextmanager
async def rtu_slave(wire: PtyWire, *units: int) -> AsyncIterator[Slave]:
    slave = Slave(*units)
    server = ModbusSerialServer(
        slave.devices, port=wire.slave, baudrate=LINE.baudrate, ignore_missing_devices=True
    )
    await server.serve_forever(background=True)
    try:
        yield slave
    finally:
        await server.shutdown()  # type: ignore[no-untyped-call]  # pymodbus has no types here


@contextlib.asynccontextmanager
async def rtu_bus(wire: PtyWire) -> AsyncIterator[RtuBus]:
    bus = RtuBus(wire.gateway, LINE)
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield bus
    finally:
        await bus.close()


def reasons(answers: object) -> list[str]:
    assert isinstance(answers, list)
    return [answer.reason if isinstance(answer, FrameError) else "answer" for answer in answers]


async def ask(bus: RtuBus, unit: int, *blocks: Block, timeout_s: float = 0.2) -> Any:
    return await bus.poll(unit, blocks, timeout_s=timeout_s, min_gap_s=0.0)


async def test_rtu_reads_registers_and_bits_of_all_four_functions(wire: PtyWire) -> None:
    async with rtu_slave(wire, 1, 7) as slave, rtu_bus(wire) as bus:
        for unit in (1, 7):
            for block in (FOUR, Block(4, 100, 3), Block(3, 20, 125 - 20)):
                assert await ask(bus, unit, block, timeout_s=1) == [slave.expect(unit, block)]
        assert await ask(bus, 1, Block(1, 3, 5), Block(2, 0, 9), timeout_s=1) == [
            [1, 0, 0, 1, 0],
            [1, 0, 0, 1, 0, 0, 1, 0, 0],
        ]


async def test_rtu_tells_an_exception_from_an_answer_and_goes_on_with_the_next_block(wire: PtyWire) -> None:
    async with rtu_slave(wire, 1) as slave, rtu_bus(wire) as bus:
        answers = await ask(bus, 1, Block(3, 5000, 1), FOUR, timeout_s=1)
        assert reasons(answers) == ["modbus_exception_2", "answer"]
        assert answers[1] == slave.expect(1, FOUR)


async def test_a_silent_rtu_unit_gives_no_reply_once_for_all_its_blocks(wire: PtyWire) -> None:
    async with rtu_slave(wire, 1), rtu_bus(wire) as bus:
        assert reasons(await ask(bus, 9, FOUR, Block(4, 0, 1))) == ["no_reply", "no_reply"]
        assert wire.sent.count(b"\x09") == 1


@pytest.mark.parametrize(
    ("trick", "reason"),
    [
        (lambda data: [(0, data[:-3])], "truncated"),
        (lambda data: [(0, data[:-1] + bytes([data[-1] ^ 1]))], "crc"),
        (lambda data: [(0, b"\x00\xff" + data)], "answer"),
        (lambda data: [(0, data), (0, data)], "answer"),
        (lambda data: [(0, data[:1]), (0.02, data[1:4]), (0.04, data[4:])], "answer"),
        (lambda _: [], "no_reply"),
        (lambda _: [(0, bytes.fromhex("0203020103bdd5"))], "wrong_address"),
        (lambda _: [(0, bytes.fromhex("0104020103f8a1"))], "wrong_function"),
        (lambda _: [(0, bytes.fromhex("01030202c97972"))], "byte_count"),
    ],
)
async def test_what_a_bad_rtu_line_does_to_an_answer_has_its_word(
    wire: PtyWire, trick: Callable[[bytes], Parts], reason: str
) -> None:
    async with rtu_slave(wire, 1), rtu_bus(wire) as bus:
        wire.to_gateway = trick
        assert reasons(await ask(bus, 1, FOUR, timeout_s=0.3)) == [reason]


async def test_an_adapter_that_hears_itself_is_no_hindrance(wire: PtyWire) -> None:
    async with rtu_slave(wire, 1) as slave, rtu_bus(wire) as bus:

        def echo(data: bytes) -> Parts:
            wire._say(wire._near, data)
            return [(0, data)]

        wire.to_slave = echo
        assert await ask(bus, 1, FOUR, timeout_s=1) == [slave.expect(1, FOUR)]


async def test_hundreds_of_hostile_rtu_answers_give_no_wrong_register(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    late_s = 0.4  # what comes later than half of this is dropped by the relay, so that a busy machine is safe
    monkeypatch.setattr(rtu, "LATE_S", late_s)
    monkeypatch.setattr(rtu, "LATE_TIMES", 1)
    monkeypatch.setattr("edgegw.ports.modbus.patience.SHARE", 1)
    chooser = random.Random(20260101)

    def hostile(data: bytes) -> Parts:
        bit, cut = chooser.randrange(len(data) * 8), chooser.randrange(1, len(data))
        flipped = (int.from_bytes(data, "big") ^ 1 << bit).to_bytes(len(data), "big")
        tricks: list[Parts] = [
            [(0, data)],
            [(chooser.uniform(0.06, late_s / 2), data)],
            [(0, data), (0, data)],
            [(0, data[:cut])],
            [(0, data[:cut]), (chooser.uniform(0.02, late_s / 2), data[cut:])],
            [(0, flipped)],
            [(0, bytes.fromhex("0903020103b4d5")), (0, data)],
            [(0, b"\x00\xff"), (0, data)],
            [],
        ]
        return chooser.choice(tricks)

    async def torment() -> tuple[int, int]:
        wire = PtyWire()
        right = wrong = 0
        async with rtu_slave(wire, 1, 2) as slave, rtu_bus(wire) as bus:
            wire.to_gateway = hostile
            for _ in range(40):
                unit, block = chooser.choice((1, 2)), chooser.choice((FOUR, Block(3, 50, 4), Block(4, 0, 4)))
                (answer,) = await ask(bus, unit, block, timeout_s=0.05)
                if not isinstance(answer, FrameError):
                    right += answer == slave.expect(unit, block)
                    wrong += answer != slave.expect(unit, block)
        wire.unplug()
        return right, wrong

    results = await asyncio.gather(*(torment() for _ in range(6)))
    assert sum(wrong for _, wrong in results) == 0
    assert sum(right for right, _ in results) > 40


async def test_neighbours_of_a_dead_unit_are_asked_as_often_as_without_it(wire: PtyWire) -> None:
    async with rtu_slave(wire, 1, 2) as slave, rtu_bus(wire) as bus:
        for _ in range(8):
            assert reasons(await ask(bus, 9, FOUR)) == ["no_reply"]
            for unit in (1, 2):
                assert await ask(bus, unit, FOUR, timeout_s=1) == [slave.expect(unit, FOUR)]
        # Two times it was asked in vain; from then on it rests, and costs nothing.
        assert wire.sent.count(b"\x09\x03") == 2


async def test_a_line_that_is_pulled_out_is_named_and_comes_back_by_itself(wire: PtyWire) -> None:
    other = PtyWire()
    name = f"{wire.gateway.replace('/', '-')}.link"
    link = os.path.join(os.environ.get("TMPDIR", "/tmp"), name)  # noqa: PTH118 - the daemon takes strings
    os.symlink(wire.gateway, link)  # noqa: PTH211 - the same
    try:
        async with rtu_slave(wire, 1), rtu_slave(other, 1) as slave:
            bus = RtuBus(link, LINE)
            assert reasons(await ask(bus, 1, FOUR, timeout_s=1)) == ["answer"]
            wire.unplug()
            with pytest.raises(PortError) as caught:
                await ask(bus, 1, FOUR)
            assert caught.value.reason == "unplugged"
            os.unlink(link)  # noqa: PTH108 - the same
            with pytest.raises(PortError) as caught:
                await ask(bus, 1, FOUR)
            assert caught.value.reason == "missing"
            os.symlink(other.gateway, link)  # noqa: PTH211 - the same
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    with contextlib.suppress(PortError):
                        answers = await ask(bus, 1, FOUR, timeout_s=1)
                        break
                    await asyncio.sleep(0.05)
            assert answers == [slave.expect(1, FOUR)]
            await bus.close()
    finally:
        other.unplug()
        os.unlink(link)  # noqa: PTH108 - the same


async def test_closing_an_rtu_bus_ends_the_question_under_way_and_frees_the_line(wire: PtyWire) -> None:
    bus = RtuBus(wire.gateway, LINE)
    question = asyncio.create_task(ask(bus, 1, FOUR, timeout_s=PATIENCE_S))
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.to_thread(wire.asked.wait, PATIENCE_S)
        await bus.close()
        with pytest.raises(PortError) as caught:
            await question
    assert caught.value.reason == "closed"
    async with rtu_slave(wire, 1), rtu_bus(wire) as again:
        assert reasons(await ask(again, 1, FOUR, timeout_s=1)) == ["answer"]


@pytest.mark.parametrize("function", [0, 5, 6, 8, 15, 16, 22, 23, 43, 131])
async def test_nothing_but_reads_leaves_the_port(wire: PtyWire, function: int) -> None:
    async with rtu_bus(wire) as bus:
        with pytest.raises(ValueError, match="not a read"):
            await ask(bus, 1, FOUR, Block(function, 0, 1))
    assert not wire.sent


async def test_the_broadcast_address_is_never_asked_on_a_serial_line(wire: PtyWire) -> None:
    async with rtu_bus(wire) as bus:
        with pytest.raises(ValueError, match="unit 0 is everybody"):
            await ask(bus, 0, FOUR)
    assert not wire.sent

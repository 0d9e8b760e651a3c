"""Several sensors on one bus at once, while answers come late, doubled, torn, damaged, from others or not at all.

Every answer names unit, function and address of its question in its registers, and its number in the last one: an
answer that is taken for another question's, or an old one for a new one's, is found.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
import threading
import time
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from modbus_device import SerialDevices

from edgegw.driver import Block, FrameError, SerialLine
from edgegw.ports.errors import PortError
from edgegw.ports.modbus import RtuBus, TcpBus, patience, rtu
from edgegw.ports.modbus.pdu import with_crc

if TYPE_CHECKING:
    from collections.abc import Iterator

UNITS = (1, 2, 3)
BLOCKS = (Block(3, 0, 4), Block(3, 50, 4), Block(4, 0, 4), Block(4, 7, 6))
#: Lost answers are waited for so long; the wires deliver nothing after half of it, so that a busy machine is safe.
LATE_S = 1.0
TIMEOUT_S = 0.05
PATIENCE_S = 120


class Trick(NamedTuple):
    """What becomes of one answer: a word, and a number from 0 to 1 that says how much."""

    name: str
    amount: float


names = ["good", "late", "doubled", "torn", "flipped", "noise", "foreign", "echo", "silent", "exception"]
tricks = st.builds(Trick, st.sampled_from(["good", "good", *names]), st.floats(0, 1))
polls = st.lists(st.tuples(st.sampled_from(UNITS), st.sampled_from(BLOCKS)), min_size=1, max_size=3)
#: What each sensor asks, in order; and what becomes of the answers, in the order of the questions.
plans = st.tuples(st.lists(polls, min_size=2, max_size=3), st.lists(tricks, min_size=6, max_size=12))


def truth(unit: int, function: int, first: int, count: int, number: int) -> bytes:
    """The PDU of the true answer."""
    words = [unit << 8 | function, first, *([0] * (count - 3)), number & 0xFFFF]
    return bytes([function, 2 * count]) + struct.pack(f">{count}H", *words)


def parts_of(
    trick: Trick, question: bytes, answer: bytes, refusal: bytes, foreign: bytes, guarded: int
) -> list[Any]:
    """What goes over the wire instead of the answer: seconds from now, and bytes.

    Bits are flipped among the first `guarded` bytes, where somebody can notice it.
    """
    some = trick.amount
    cut = 1 + int(some * (len(answer) - 2))
    bit = 8 * (len(answer) - guarded) + int(some * (8 * guarded - 1))
    flipped = int.from_bytes(answer, "big") ^ 1 << bit
    soon = TIMEOUT_S + some * (LATE_S / 2 - TIMEOUT_S)
    found: dict[str, list[Any]] = {
        "good": [(0, answer)],
        "late": [(soon, answer)],
        "doubled": [(0, answer), (some * 0.09, answer)],
        "torn": [(0, answer[:cut]), (soon, answer[cut:])],
        "flipped": [(0, flipped.to_bytes(len(answer), "big"))],
        "noise": [(0, b"\x00\xff" + answer + b"\x00")],
        "foreign": [(0, foreign), (0, answer)],
        "echo": [(0, question), (0, answer)],
        "silent": [],
        "exception": [(0, refusal)],
    }
    return found[trick.name]


class HostileLine(SerialDevices):
    """A serial line with three units behind a relay that does with each answer what it is told."""

    def __init__(self, plan: list[Trick]) -> None:
        self.number = 0
        self._plan = plan
        self._speaking = threading.Lock()
        self._stopped = False
        super().__init__({})

    def stop(self) -> None:
        with self._speaking:  # a descriptor that is closed may soon be another line's
            self._stopped = True
        super().stop()

    def _hear(self, question: bytes) -> None:
        heard_at = time.monotonic()
        unit, function, first, count = struct.unpack(">BBHH", question[:6])
        trick = self._plan[self.number % len(self._plan)]
        self.number += 1
        answer = with_crc(unit, truth(unit, function, first, count, self.number))
        refusal = with_crc(unit, bytes([function | 0x80, 6]))
        foreign = with_crc(unit + 10, truth(unit, function, first, count, 0))
        for delay_s, part in parts_of(trick, question, answer, refusal, foreign, len(answer)):
            if delay_s:
                threading.Timer(delay_s, self._say, (heard_at, part)).start()
            else:
                self._say(heard_at, part)

    def _say(self, heard_at: float, part: bytes) -> None:
        with self._speaking:
            if not self._stopped and time.monotonic() - heard_at <= LATE_S * 0.6:
                os.write(self._ours, part)


@pytest.fixture(autouse=True)
def _quick() -> Iterator[None]:
    """A lost answer is waited for briefly, and silent units are asked as often as the others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rtu, "LATE_S", LATE_S)
        patch.setattr(rtu, "LATE_TIMES", 1)
        patch.setattr(patience, "SHARE", 1)
        yield


def belongs(answer: Any, unit: int, block: Block, before: int, after: int) -> bool:
    """Whether an answer is to a question for this block of this unit that was asked meanwhile."""
    if isinstance(answer, FrameError):
        return True
    return (
        len(answer) == block.count
        and list(answer[:2]) == [unit << 8 | block.function, block.address]
        and before < answer[-1] <= after
    )


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(plans, min_size=4, max_size=4))
def test_no_answer_of_a_hostile_line_reaches_another_sensor(plans: list[Any]) -> None:
    async def one(bus: RtuBus, wire: HostileLine, polls: list[tuple[int, Block]]) -> list[bool]:
        right = []
        for unit, block in polls:
            before = wire.number
            answers = await bus.poll(unit, [block, block], timeout_s=TIMEOUT_S, min_gap_s=0.0)
            right += [belongs(answer, unit, block, before, wire.number) for answer in answers]
        return right

    async def line(plan: tuple[list[Any], list[Trick]]) -> list[bool]:
        wire = HostileLine(plan[1])
        bus = RtuBus(wire.path, SerialLine(19200))
        try:
            return [*chain(*await asyncio.gather(*(one(bus, wire, polls) for polls in plan[0])))]
        finally:
            await bus.close()
            wire.stop()

    async def together() -> list[list[bool]]:
        async with asyncio.timeout(PATIENCE_S):
            return await asyncio.gather(*map(line, plans))

    assert all(map(all, asyncio.run(together())))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(plans)
def test_no_answer_of_a_hostile_host_reaches_another_sensor(plan: tuple[list[Any], list[Trick]]) -> None:
    number = 0
    talks: list[asyncio.Task[None]] = []

    # TCP keeps the order of bytes: however late the rest of a message is, no other message gets into it.
    turn = asyncio.Lock()

    async def say(writer: asyncio.StreamWriter, parts: list[Any], *, torn: bool) -> None:
        now = 0.0
        async with turn if torn else contextlib.nullcontext():
            for delay_s, part in parts:
                await asyncio.sleep((delay_s - now) / 4)
                now = delay_s
                async with contextlib.nullcontext() if torn else turn:
                    writer.write(part)

    def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.append(asyncio.create_task(talk(reader, writer)))

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal number
        with contextlib.closing(writer), contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                question = await reader.readexactly(12)
                unit, function, first, count = struct.unpack(">BBHH", question[6:])
                trick = plan[1][number % len(plan[1])]
                number += 1
                pdu = truth(unit, function, first, count, number)
                head = question[:4]
                answer = head + struct.pack(">HB", len(pdu) + 1, unit) + pdu
                refusal = head + struct.pack(">HBBB", 3, unit, function | 0x80, 6)
                foreign = struct.pack(">H", int.from_bytes(head[:2], "big") - 1 & 0xFFFF) + answer[2:]
                # TCP has no CRC of its own: only the number of the question shows that it was damaged.
                parts = parts_of(trick, question, answer, refusal, foreign, 2)
                talks.append(asyncio.create_task(say(writer, parts, torn=trick.name == "torn")))

    async def one(bus: TcpBus, polls: list[tuple[int, Block]]) -> list[bool]:
        right = []
        for unit, block in polls:
            before = number
            bus._connector._next_at = 0.0  # the pauses after failures are another test's
            with contextlib.suppress(PortError):
                answers = await bus.poll(unit, [block, block], timeout_s=TIMEOUT_S, min_gap_s=0.0)
                right += [belongs(answer, unit, block, before, number) for answer in answers]
        return right

    async def together() -> list[bool]:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        bus = TcpBus("127.0.0.1", server.sockets[0].getsockname()[1])
        try:
            async with asyncio.timeout(PATIENCE_S):
                return [*chain(*await asyncio.gather(*(one(bus, polls) for polls in plan[0])))]
        finally:
            await bus.close()
            server.close()
            for each in talks:
                each.cancel()
            await asyncio.gather(*talks, return_exceptions=True)
            talks.clear()

    assert all(asyncio.run(together()))

"""A Modbus line where answers come late, doubled, torn, damaged or from others, for years of virtual time.

Every register that the slave sends carries the number of its question, so a register that is attributed to
another question is found. The line is the real one on a virtual clock; only the serial device is replaced.
"""

from __future__ import annotations

import heapq
import random
from typing import TYPE_CHECKING

import pytest

from edgegw.driver import Block, FrameError, SerialLine
from edgegw.ports.modbus import rtu
from edgegw.ports.modbus.pdu import question, with_crc

if TYPE_CHECKING:
    from collections.abc import Callable

UNITS = (1, 2, 3)
BLOCKS = (Block(3, 0, 2), Block(3, 100, 2), Block(4, 0, 2), Block(3, 50, 5))
# The longest time that the devices are said to take; good answers take a tenth of it.
TIMEOUT_S = 0.5
WORST_S = max(rtu.LATE_S, rtu.LATE_TIMES * TIMEOUT_S)
# Row D1 of the table of faults asks for this many.
HOSTILE = 100_000


class World:
    """Virtual time, a wire, and three slaves behind a hostile relay."""

    def __init__(self, seed: int) -> None:
        self.now = 1000.0
        self.number = 0
        self.hostile = 0
        self.functions: set[int] = set()
        self._wire: list[tuple[float, int, bytes]] = []
        self._sent = 0
        self._random = random.Random(seed)
        self._tricks = [
            self._late,
            self._doubled,
            self._foreign,
            self._torn,
            self._flipped,
            self._noise,
            self._echo,
            self._silent,
            self._exception,
        ]

    def monotonic(self) -> float:
        return self.now

    def open(self, path: str, line: SerialLine) -> World:
        assert path
        assert line.baudrate
        return self

    def close(self) -> None:
        self._wire.clear()

    def wake(self) -> None:
        raise AssertionError("nobody stops this line")

    def read(self, timeout_s: float) -> bytes:
        end = self.now + max(0.0, timeout_s)
        if not self._wire or self._wire[0][0] > end:
            self.now = end
            return b""
        self.now = max(self.now, self._wire[0][0])
        data = b""
        while self._wire and self._wire[0][0] <= self.now:
            data += heapq.heappop(self._wire)[2]
        return data

    def write(self, message: bytes) -> None:
        self.number += 1
        unit, function = message[0], message[1]
        self.functions.add(function)
        first, count = int.from_bytes(message[2:4], "big"), int.from_bytes(message[4:6], "big")
        answer = self.answer(unit, function, first, count)
        if self._random.random() < 0.4:
            self._say(self._soon(), answer)
        else:
            self.hostile += 1
            self._random.choice(self._tricks)(message, answer)

    def answer(self, unit: int, function: int, first: int, count: int) -> bytes:
        """The last register is the question's number, the others name unit, function and address."""
        words = [unit << 8 | function, first, *([0] * (count - 3)), self.number & 0xFFFF][-count:]
        data = b"".join(word.to_bytes(2, "big") for word in words)
        return with_crc(unit, bytes([function, len(data)]) + data)

    def _say(self, delay_s: float, data: bytes) -> None:
        self._sent += 1
        heapq.heappush(self._wire, (self.now + delay_s, self._sent, data))

    def _soon(self) -> float:
        return self._random.uniform(0.001, 0.05)

    def _after(self) -> float:
        """Any time after the timeout at which an answer may still come."""
        return self._random.uniform(TIMEOUT_S, WORST_S - 0.001)

    def _late(self, _: bytes, answer: bytes) -> None:
        self._say(self._after(), answer)

    def _doubled(self, _: bytes, answer: bytes) -> None:
        soon = self._soon()
        self._say(soon, answer)
        self._say(soon + self._random.uniform(0, rtu.ALIKE_S - 0.001), answer)

    def _foreign(self, message: bytes, answer: bytes) -> None:
        soon = self._soon()
        kind = self._random.randrange(3)
        if kind == 0:  # a unit that we never ask, before ours
            self._say(soon / 2, self.answer(message[0] + 10, message[1], 9999, 2))
            self._say(soon, answer)
        elif kind == 1:  # the right unit answers to another function
            self._say(soon, self.answer(message[0], 7 - message[1], 9999, 2))
        else:  # the right unit answers with another count
            self._say(soon, self.answer(message[0], message[1], 9999, 3))

    def _torn(self, _: bytes, answer: bytes) -> None:
        cut = self._random.randrange(1, len(answer))
        self._say(self._soon(), answer[:cut])
        if self._random.random() < 0.7:
            self._say(self._random.choice((0.06, 0.2, self._after())), answer[cut:])

    def _flipped(self, _: bytes, answer: bytes) -> None:
        damaged = int.from_bytes(answer, "big")
        for _flip in range(self._random.randint(1, 3)):  # up to three flips are always found by the CRC
            damaged ^= 1 << self._random.randrange(len(answer) * 8)
        self._say(self._soon(), damaged.to_bytes(len(answer), "big"))

    def _noise(self, _: bytes, answer: bytes) -> None:
        soon = self._soon()
        self._say(soon, self._random.choice((b"\x00", b"\xff", b"\x00\xff\x00")) + answer + b"\x00")

    def _echo(self, message: bytes, answer: bytes) -> None:
        self._say(0.0, message)
        self._say(self._soon(), answer)

    def _silent(self, _: bytes, __: bytes) -> None:
        pass

    def _exception(self, message: bytes, _: bytes) -> None:
        self._say(self._soon(), with_crc(message[0], bytes([message[1] | 0x80, 4])))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], World]:
    def make(seed: int) -> World:
        world = World(seed)
        monkeypatch.setattr(rtu, "time", world)
        monkeypatch.setattr(rtu, "Tty", world.open)
        return world

    return make


def test_no_register_of_a_hostile_line_is_attributed_to_another_question(
    world: Callable[[int], World],
) -> None:
    wire = world(20260101)
    line = rtu._Line("/dev/ttyUSB0", SerialLine(9600))
    chooser = random.Random(7)
    right, reasons = 0, set()
    while wire.hostile < HOSTILE:
        unit, block = chooser.choice(UNITS), chooser.choice(BLOCKS)
        asked = question(unit, block)
        wire.now += max(0.0, line.wait_s(asked))
        before = wire.number
        answer = line.exchange(asked, TIMEOUT_S, 0.0)
        if isinstance(answer, FrameError):
            reasons.add(answer.reason)
        else:
            assert wire.number == before + 1
            assert answer[-1] == wire.number & 0xFFFF, "an answer to another question was taken for this one"
            if block.count > 2:
                assert list(answer[:2]) == [unit << 8 | block.function, block.address]
            right += 1
    assert wire.functions == {3, 4}
    assert right > HOSTILE / 2
    assert {"no_reply", "truncated", "crc", "wrong_function", "byte_count", "modbus_exception_4"} <= reasons


def test_a_unit_that_owes_an_answer_is_not_asked_until_it_can_no_longer_come(
    world: Callable[[int], World],
) -> None:
    wire = world(1)
    wire._tricks = [wire._silent]
    line = rtu._Line("/dev/ttyUSB0", SerialLine(9600))
    asked = question(1, BLOCKS[0])
    while not isinstance(line.exchange(asked, TIMEOUT_S, 0.0), FrameError):
        pass
    number = wire.number
    assert line.wait_s(asked) == pytest.approx(WORST_S - TIMEOUT_S, abs=0.1)
    assert isinstance(line.exchange(asked, TIMEOUT_S, 0.0), FrameError)
    assert wire.number == number, "it was asked all the same"
    line.exchange(question(2, BLOCKS[0]), TIMEOUT_S, 0.0)
    assert wire.number == number + 1, "its neighbour waits for nothing"


def test_a_line_that_never_falls_silent_gives_noise_and_is_not_talked_into(
    world: Callable[[int], World],
) -> None:
    wire = world(1)
    line = rtu._Line("/dev/ttyUSB0", SerialLine(9600))
    for n in range(20_000):
        wire._say(n / 1000, b"\x55")
    answer = line.exchange(question(1, BLOCKS[0]), TIMEOUT_S, 0.0)
    assert isinstance(answer, FrameError)
    assert answer.reason == "noise"
    assert wire.number == 0


def test_a_device_that_talks_on_and_on_is_cut_off_at_a_bound(world: Callable[[int], World]) -> None:
    wire = world(1)
    wire._tricks = [lambda *_: wire._say(0.01, b"\x55" * (rtu.HEARD_BYTES + 1))]
    line = rtu._Line("/dev/ttyUSB0", SerialLine(9600))
    answer: object = None
    while not isinstance(answer, FrameError):
        answer = line.exchange(question(1, BLOCKS[0]), TIMEOUT_S, 0.0)
    assert answer.reason == "noise"


def test_the_silence_that_a_device_wants_is_kept_before_and_after_its_question(
    world: Callable[[int], World],
) -> None:
    wire = world(1)
    wire._tricks = [lambda _, answer: wire._say(0.01, answer)]
    line = rtu._Line("/dev/ttyUSB0", SerialLine(9600))
    line.exchange(question(1, BLOCKS[0]), TIMEOUT_S, 0.0)
    for unit, gap_s in ((2, 0.2), (3, 0.0)):
        before = wire.now
        line.exchange(question(unit, BLOCKS[0]), TIMEOUT_S, gap_s)
        assert wire.now - before >= 0.2

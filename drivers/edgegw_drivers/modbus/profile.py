"""A profile: what a Modbus device is asked, and what its answers mean. Data, and the arithmetic on it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from edgegw.driver import Block, FrameError, Quantity, SerialLine
from edgegw_drivers.modbus.words import WIDTHS, number, pattern

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Status:
    """A register that says whether the values tied to it can be believed.

    `faults` names the bits that forbid a value; `states`, where given, are the only codes that allow one.
    """

    block: Block
    faults: Mapping[int, str]
    states: frozenset[int] | None

    def check(self, word: int) -> None:
        """FrameError `sensor_status_XXXX` when it forbids a value, with the faults' names as notes."""
        if self.states is not None:
            found, code = [], 0 if word in self.states else word or 0x10000
        else:
            found = [bit for bit in self.faults if word >> bit & 1]
            code = sum(1 << bit for bit in found)
        if code:
            error = FrameError(f"sensor_status_{code & 0xFFFF:04X}")
            for bit in found:
                error.add_note(f"bit {bit}: {self.faults[bit]}")
            raise error


@dataclass(frozen=True, slots=True)
class Value:
    """How the bits of some registers become a number; the defaults are a plain u16."""

    kind: str = "u16"
    order: str = "ABCD"
    scale: Decimal = Decimal(1)
    offset: Decimal = Decimal(0)
    valid: tuple[Decimal, Decimal] | None = None
    invalid: frozenset[int] = frozenset()
    bits: tuple[int, int] | None = None

    @property
    def width(self) -> int:
        """Registers (or bits) that one value takes."""
        return WIDTHS[self.kind]

    def raw(self, words: Sequence[int]) -> int:
        """The value's bits; FrameError `not_available` when they are a code that says so."""
        bits = pattern(words, self.order)
        if self.bits is not None:
            first, last = self.bits
            bits = bits >> first & (1 << last - first + 1) - 1
        if bits in self.invalid:
            raise FrameError("not_available")
        return bits

    def of(self, words: Sequence[int]) -> float:
        """The scaled number; FrameError `not_available` or `out_of_range` when there is none.

        The arithmetic is decimal: 523 times 0.1 is 52.3.
        """
        return self.scaled(number(self.raw(words), self.kind))

    def scaled(self, value: float) -> float:
        """A raw number scaled, shifted and held against the valid range."""
        exact = Decimal(value) * self.scale + self.offset
        if self.valid is not None and not self.valid[0] <= exact <= self.valid[1]:
            raise FrameError("out_of_range")
        return float(exact)


@dataclass(frozen=True, slots=True)
class Read:
    """One quantity of the device.

    `max_step` makes it a counter: the reading is what was added since the previous poll, and more than
    `max_step` raw counts is a counter that was reset. `status` is an index into `Profile.statuses`.
    """

    quantity: Quantity
    block: Block
    value: Value
    status: int | None = None
    max_step: int | None = None


@dataclass(frozen=True, slots=True)
class Discover:
    """How the one device on a bus tells its address: asked at `address`, it answers with its true one."""

    address: int
    block: Block
    #: What the registers of the answer mean, in order.
    meta: Sequence[str]


@dataclass(frozen=True, slots=True)
class Example:
    """A worked example: the words of each block, and the value or the refusal's reason by quantity."""

    words: Sequence[Sequence[int]]
    expect: Mapping[str, float | str]


@dataclass(frozen=True, slots=True)
class Profile:
    """A whole profile; `blocks` is what one poll asks, in order."""

    model: str
    lines: Sequence[SerialLine] = (SerialLine(9600),)
    min_gap_s: float = 0.0
    timeout_s: float = 0.5
    blocks: Sequence[Block] = ()
    reads: Sequence[Read] = ()
    statuses: Sequence[Status] = ()
    discover: Discover | None = None
    examples: Sequence[Example] = ()
    #: SHA-256 of the text, in hexadecimal.
    sha256: str = ""


def joined(parts: Sequence[Block], gap: int) -> tuple[Block, ...]:
    """The fewest blocks that cover all parts, by function and address.

    Parts with up to `gap` unwanted values between them are read together; none is divided.
    """
    blocks: list[Block] = []
    for part in sorted(parts, key=lambda part: (part.function, part.address, -part.count)):
        if blocks and blocks[-1].function == part.function:
            last = blocks[-1]
            count = max(last.count, part.address + part.count - last.address)
            if part.address <= last.address + last.count + gap and count <= most(part.function):
                blocks[-1] = Block(last.function, last.address, count)
                continue
        blocks.append(part)
    return tuple(blocks)


def most(function: int) -> int:
    """The most values of one request (Application Protocol V1.1b3, sections 6.1 and 6.3)."""
    return 125 if function in {3, 4} else 2000


def place(blocks: Sequence[Block], part: Block) -> tuple[int, int]:
    """Which block covers `part`, and at which offset it begins there."""
    for index, block in enumerate(blocks):
        offset = part.address - block.address
        if block.function == part.function and 0 <= offset <= block.count - part.count:
            return index, offset
    raise ValueError(f"{part} is in none of the blocks")

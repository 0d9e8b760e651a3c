"""A profile: what a Modbus device is asked, and what its answers mean. Data, and the arithmetic on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from edgegw.driver import Block, Discovery, FrameError, Quantity, SerialLine, Write
from edgegw_drivers.modbus.words import WIDTHS, bits_of, number, pattern

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


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

    @property
    def size(self) -> int:
        """Bits of the raw number: those of the type, or of the bit field."""
        return bits_of(self.kind) if self.bits is None else self.bits[1] - self.bits[0] + 1

    def raw(self, words: Sequence[int]) -> int:
        """The value's bits; FrameError `not_available` when they are a code that says so."""
        bits = pattern(words, self.order)
        if self.bits is not None:
            bits = bits >> self.bits[0] & (1 << self.size) - 1
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
class Status:
    """A register that says whether the values tied to it can be believed.

    `faults` names the bits that forbid a value, `flags` those that make it suspect; `states`, where given, are
    the only codes that allow a value. `reason` stands for the usual `sensor_status_XXXX`; an `apart` register
    is asked for by itself.
    """

    name: str
    block: Block
    faults: Mapping[int, str] = field(default_factory=dict)
    flags: Mapping[int, str] = field(default_factory=dict)
    states: frozenset[int] | None = None
    reason: str = ""
    apart: bool = False

    def check(self, word: int) -> tuple[str, ...]:
        """The names of the flags that are set; FrameError `sensor_status_XXXX` when it forbids a value."""
        found = [bit for bit in self.faults if word >> bit & 1]
        code = sum(1 << bit for bit in found)
        forbidden = bool(found)
        if self.states is not None and word not in self.states:
            code, forbidden = word, True
        if forbidden:
            error = FrameError(self.reason or f"sensor_status_{code:04X}")
            for bit in found:
                error.add_note(f"bit {bit}: {self.faults[bit]}")
            raise error
        return tuple(name for bit, name in self.flags.items() if word >> bit & 1)


@dataclass(frozen=True, slots=True)
class Read:
    """One quantity of the device.

    `max_step` makes it a counter: the reading is what was added since the previous poll, and more than
    `max_step` raw counts cannot be. `status` is an index into `Profile.statuses`. While a `needed` one has no
    value, none of the others is believed.
    """

    quantity: Quantity
    block: Block
    value: Value
    status: int | None = None
    max_step: int | None = None
    needed: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """Registers that are no measurement: shown beside readings (`[[meta]]`), or telling a device from another."""

    name: str
    block: Block
    value: Value
    #: `number`, `hex`, `version` (high byte, dot, low byte) or `text` (two ASCII characters a register).
    form: str = "number"

    def of(self, words: Sequence[int]) -> Any:
        """What the registers say, in the mark's form."""
        if self.form == "text":
            raw = b"".join(word.to_bytes(2, "big") for word in words)
            return raw.decode("ascii", "replace").strip("\0 ")
        bits = pattern(words, self.value.order)
        if self.form == "hex":
            return f"{bits:0{4 * len(words)}x}"
        if self.form == "version":
            return f"{bits >> 8}.{bits & 0xFF}"
        value = float(number(bits, self.value.kind))
        value = float(Decimal(value) * self.value.scale + self.value.offset)
        return int(value) if value.is_integer() else value


@dataclass(frozen=True, slots=True)
class Choice:
    """A setting that a profile knows: where it is read, how it is written, and what it may be.

    `default` is what it should be unless the sensor says otherwise; None: it is left alone.
    """

    name: str
    value: Value
    write: Write
    read: Block
    #: Lowest and highest number, and where only some are possible, these.
    allowed: tuple[int, int]
    default: int | None = None
    #: What the read-back must say where that is not the written value itself.
    shows: int | None = None
    settle_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Meant:
    """How the one device on a bus tells its address, and what the registers of the answer mean, in order."""

    discovery: Discovery
    meta: Sequence[str]


@dataclass(frozen=True, slots=True)
class Example:
    """A worked example: the words of each block, and the value or the refusal's reason by quantity.

    `before` holds the words of the poll before it, which counters need.
    """

    words: Sequence[Sequence[int]]
    expect: Mapping[str, float | str]
    before: Sequence[Sequence[int]] = ()


@dataclass(frozen=True, slots=True)
class Profile:
    """A whole profile; `blocks` is what one poll asks, in order."""

    model: str
    description: str = ""
    units: Sequence[int] = (1,)
    lines: Sequence[SerialLine] = (SerialLine(9600),)
    min_gap_s: float = 0.0
    timeout_s: float = 0.5
    retries: int = 0
    blocks: Sequence[Block] = ()
    reads: Sequence[Read] = ()
    statuses: Sequence[Status] = ()
    metas: Sequence[Mark] = ()
    identity: Sequence[Mark] = ()
    choices: Sequence[Choice] = ()
    discover: Meant | None = None
    examples: Sequence[Example] = ()
    #: SHA-256 of the text, in hexadecimal.
    sha256: str = ""


def planned(
    reads: Sequence[Read], statuses: Sequence[Status], metas: Sequence[Mark], gap: int
) -> tuple[Block, ...]:
    """What one poll asks for: a status in the same request as the values tied to it, wherever one can hold both."""
    parts = [mark.block for mark in metas]
    parts += [status.block for status in statuses if not status.apart]
    for read in reads:
        part = read.block
        if read.status is not None and not statuses[read.status].apart:
            part = _spanning(part, statuses[read.status].block)
        parts.append(part)
    alone = [status.block for status in statuses if status.apart]
    return tuple(
        sorted([*joined(parts, gap), *alone], key=lambda block: (block.function, block.address, block.count))
    )


def _spanning(part: Block, status: Block) -> Block:
    first = min(part.address, status.address)
    count = max(part.address + part.count, status.address + status.count) - first
    fits = part.function == status.function and count <= most(part.function)
    return Block(part.function, first, count) if fits else part


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


def inside(part: Block, block: Block) -> bool:
    """Whether `block` covers `part`."""
    offset = part.address - block.address
    return block.function == part.function and 0 <= offset <= block.count - part.count


def place(blocks: Sequence[Block], part: Block) -> tuple[int, int]:
    """Which block covers `part`, and at which offset it begins there."""
    for index, block in enumerate(blocks):
        if inside(part, block):
            return index, part.address - block.address
    raise ValueError(f"{part} is in none of the blocks")

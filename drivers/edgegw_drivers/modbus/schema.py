"""The schema of profiles: from TOML text to a Profile, with every mistake at once. Data only, no expressions."""

from __future__ import annotations

import hashlib
import tomllib
from decimal import Decimal
from typing import Final

from edgegw.driver import QUANTITIES, Block, SerialLine
from edgegw_drivers.modbus.profile import Discover, Example, Profile, Read, Status, Value, joined
from edgegw_drivers.modbus.table import Table, is_integer, is_number, nearest, shown
from edgegw_drivers.modbus.words import ORDERS, WIDTHS, bits_for, bits_of

# The largest profile; the longest that ship are below 4 KiB.
TEXT_BYTES: Final = 65536
# The most quantities of one device: the table of quantities has fewer than 64.
READS: Final = 64
# The most requests of one poll: at 9600 baud they take about a second.
BLOCKS: Final = 16
# Silence and answer times of devices; a bus cannot wait longer for one of them.
LONGEST_MS: Final = 10_000
BAUD: Final = (300, 4_000_000)


class ProfileError(ValueError):
    """A profile with mistakes; `mistakes` holds a sentence for each."""

    def __init__(self, name: str, mistakes: list[str]) -> None:
        self.mistakes = tuple(mistakes)
        count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        super().__init__(f"{name} has {count}:\n  " + "\n  ".join(mistakes))


def parse(name: str, text: str) -> Profile:
    """The profile that `text` spells; `name` is what messages call it. ProfileError with every mistake."""
    if len(text) > TEXT_BYTES:
        raise ProfileError(name, [f"it has {len(text)} characters, at most {TEXT_BYTES} are read"])
    try:
        data = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(name, [f"it is no TOML: {error}"]) from error
    mistakes: list[str] = []
    profile = _profile(Table("", data, mistakes), mistakes, hashlib.sha256(text.encode()).hexdigest())
    if mistakes:
        raise ProfileError(name, mistakes)
    return profile


def _profile(table: Table, mistakes: list[str], sha256: str) -> Profile:
    device = Table("device", table.any("device", {}), mistakes)
    model = device.text("model", needed=True)
    device.text("description")
    device.values("sources")
    device.finish()
    link = Table("link", table.any("link", {}), mistakes)
    lines = _lines(link)
    min_gap_ms = link.integer("min_gap_ms", 0, LONGEST_MS, 0)
    timeout_ms = link.integer("timeout_ms", 1, LONGEST_MS, 500)
    gap = link.integer("gap", 0, 124, 0)
    link.finish()
    statuses: dict[str, Status] = {}
    for index, part in enumerate(table.values("status"), 1):
        _status(Table(f"status {index}", part, mistakes), statuses)
    reads: list[Read] = []
    for index, part in enumerate(table.values("read")[:READS], 1):
        _read(Table(f"read {index}", part, mistakes), list(statuses), reads)
    if not reads:
        table.wrong("it reads nothing: write at least one [[read]]")
    if len(table.values("read")) > READS:
        table.wrong(f"it has more than {READS} [[read]]")
    parts = [*(status.block for status in statuses.values()), *(read.block for read in reads)]
    blocks = joined(parts, gap)
    if len(blocks) > BLOCKS:
        table.wrong(
            f"one poll would take {len(blocks)} requests, at most {BLOCKS}: gap = N reads across gaps"
        )
    discover = (
        _discover(Table("discover", table.any("discover"), mistakes)) if table.has("discover") else None
    )
    names = [read.quantity.name for read in reads]
    examples = [
        _example(Table(f"example {index}", part, mistakes), blocks, names)
        for index, part in enumerate(table.values("example"), 1)
    ]
    if not examples:
        table.wrong("it has no [[example]]: write one with known registers and their values")
    table.finish()
    return Profile(
        model=model,
        lines=lines,
        min_gap_s=min_gap_ms / 1000,
        timeout_s=timeout_ms / 1000,
        blocks=blocks,
        reads=reads,
        statuses=list(statuses.values()),
        discover=discover,
        examples=examples,
        sha256=sha256,
    )


def _lines(table: Table) -> list[SerialLine]:
    parity = table.choice("parity", ["N", "E", "O"], "N")
    data_bits = table.integer("data_bits", 7, 8, 8)
    stop_bits = table.integer("stop_bits", 1, 2, 1)
    lines = []
    for baud in table.values("baud", alone=True) or [9600]:
        if is_integer(baud) and BAUD[0] <= baud <= BAUD[1]:
            lines.append(SerialLine(baud, data_bits, parity, stop_bits))
        else:
            table.wrong(f"baud is {shown(baud)}, not {BAUD[0]} to {BAUD[1]}")
    return lines


def _block(table: Table, count: int) -> Block:
    function = table.integer("function", 1, 4)
    highest = 0x10000 - count
    return Block(function, table.integer("register", 0, highest), count)


def _status(table: Table, statuses: dict[str, Status]) -> None:
    name = table.text("name", needed=True)
    block = _block(table, 1)
    faults: dict[int, str] = {}
    for key, fault in table.items("faults"):
        if key.isdecimal() and int(key) < 16 and isinstance(fault, str):
            faults[int(key)] = fault
        else:
            table.wrong(f'faults has {shown(key)} = {shown(fault)}, not a bit from 0 to 15 = "what it means"')
    states = table.values("states")
    if not all(is_integer(state) and 0 <= state <= 0xFFFF for state in states):
        table.wrong("states are not whole numbers from 0 to 65535")
        states = []
    if bool(faults) == bool(states):
        table.wrong("needs either faults (bits that forbid a value) or states (codes that allow one)")
    if name in statuses:
        table.wrong(f"the name {shown(name)} is taken")
    statuses[name] = Status(block, faults, frozenset(states) or None)
    table.finish()


def _read(table: Table, statuses: list[str], reads: list[Read]) -> None:
    name = table.text("quantity", needed=True)
    table.where += f" ({name})" if name else ""
    if name and name not in QUANTITIES:
        table.wrong(f"there is no quantity {shown(name)}{nearest(name, list(QUANTITIES))}")
    quantity = QUANTITIES.get(name, QUANTITIES["temperature"])
    if name in QUANTITIES and table.any("unit", quantity.unit) != quantity.unit:
        table.wrong(f"{name} has the unit {shown(quantity.unit)}: scale the value to it")
    if any(read.quantity.name == name for read in reads):
        table.wrong("this quantity is read twice: a second one is a second sensor with its own profile")
    kind = table.choice("type", list(WIDTHS), "bit" if table.any("function") in (1, 2) else "u16")
    block = _block(table, WIDTHS[kind])
    if (kind == "bit") != (block.function in {1, 2}):
        table.wrong("functions 1 and 2 read bits, 3 and 4 registers: type and function do not fit")
    max_step = _max_step(table, quantity.mean == "sum", kind)
    status = table.text("status")
    if status and status not in statuses:
        table.wrong(f"there is no status {shown(status)}{nearest(status, statuses) if statuses else ''}")
    value = _value(table, kind)
    if max_step is not None and (value.offset or kind == "f32"):
        table.wrong("a counter has no offset and is no float")
    known = statuses.index(status) if status in statuses else None
    reads.append(Read(quantity, block, value, known, max_step))
    table.finish()


def _max_step(table: Table, counts: bool, kind: str) -> int | None:
    if counts:
        if not table.has("max_step"):
            table.wrong("counts what was added since the last poll: max_step is the most that can be")
        return table.integer("max_step", 1, (1 << bits_of(kind)) - 1, 1)
    if table.any("max_step") is not None:
        table.wrong("max_step belongs to counted quantities only")
    return None


def _value(table: Table, kind: str) -> Value:
    bits = None
    if table.has("bits"):
        found, width = table.values("bits"), bits_of(kind)
        if kind in {"u16", "u32"} and len(found) == 2 and all(map(is_integer, found)):
            bits = (found[0], found[1])
        if bits is None or not 0 <= bits[0] <= bits[1] < width:
            table.wrong(f"bits are {shown(found)}, not [first, last] within a u16 or u32, 0 the lowest")
            bits = None
    invalid = set()
    for value in table.values("invalid_raw", alone=True):
        try:
            invalid.add(bits_for(float(value) if isinstance(value, Decimal) else value, kind))
        except (ValueError, OverflowError):
            table.wrong(f"invalid_raw has {shown(value)}, which is no {kind}")
    scale = table.decimal("scale", 1)
    if not scale:
        table.wrong("scale is 0: every value would be the same")
    return Value(
        kind=kind,
        order=table.choice("order", ORDERS, "ABCD"),
        scale=scale,
        offset=table.decimal("offset", 0),
        valid=table.pair("valid"),
        invalid=frozenset(invalid),
        bits=bits,
    )


def _discover(table: Table) -> Discover:
    meta = table.values("meta")
    if not meta or not all(isinstance(name, str) for name in meta) or len(meta) > 125:
        table.wrong("meta names what each register of the answer means, in order")
        meta = ["address"]
    address = table.integer("address", 0, 255)
    found = Discover(address, _block(table, len(meta)), meta)
    if found.block.function not in {3, 4}:
        table.wrong("function is 3 or 4")
    table.finish()
    return found


def _example(table: Table, blocks: tuple[Block, ...], names: list[str]) -> Example:
    table.text("name")
    words = table.values("registers")
    if len(blocks) == 1 and all(map(is_integer, words)):
        words = [words]
    shape = [len(part) if isinstance(part, list) else -1 for part in words]
    good = shape == [block.count for block in blocks] and all(
        is_integer(word) and 0 <= word <= 0xFFFF for part in words for word in part
    )
    if not good:
        wanted = ", ".join(
            f"{block.count} from {block.address} (function {block.function})" for block in blocks
        )
        table.wrong(f"registers do not fit what one poll reads: {wanted}")
    expect: dict[str, float | str] = {}
    for name, value in table.items("expect"):
        if name not in names:
            table.wrong(f"expect has {shown(name)}{nearest(name, names)}")
        elif isinstance(value, str) or is_number(value):
            expect[name] = value if isinstance(value, str) else float(value)
        else:
            table.wrong(f"expect has {name} = {shown(value)}, neither a number nor a reason")
    if not expect:
        table.wrong("expect is missing: the value, or the reason for none, by quantity")
    table.finish()
    return Example(words if good else [], expect)

"""The tables of a profile, each read on its own: from TOML values to the parts of a Profile."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from edgegw.driver import QUANTITIES, Block, Discovery, SerialLine, Write
from edgegw_drivers.modbus.profile import Choice, Mark, Meant, Read, Status, Value, most
from edgegw_drivers.modbus.table import is_integer, nearest, shown
from edgegw_drivers.modbus.words import FLOATS, ORDERS, WIDTHS, bits_for, bits_of

if TYPE_CHECKING:
    from edgegw_drivers.modbus.table import Table

BAUD: Final = (300, 4_000_000)
#: Forms of registers that are no measurement.
FORMS: Final = ("number", "hex", "version", "text")
# A text of a device: a model or serial number; Modbus's own identification allows 245 characters, nobody uses them.
TEXT_REGISTERS: Final = 32
# The longest time until a device shows a new setting; SCD30's slowest interval is longer, its usual one is 2 s.
LONGEST_SETTLE_S: Final = 60
_WORD: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")


def lines(table: Table) -> list[SerialLine]:
    """Line settings, the usual one first."""
    parity = table.choice("parity", ["N", "E", "O"], "N")
    data_bits = table.integer("data_bits", 7, 8, 8)
    stop_bits = table.integer("stop_bits", 1, 2, 1)
    found = []
    for baud in table.values("baud", alone=True) or [9600]:
        if is_integer(baud) and BAUD[0] <= baud <= BAUD[1]:
            found.append(SerialLine(baud, data_bits, parity, stop_bits))
        else:
            table.wrong(f"baud is {shown(baud)}, not {BAUD[0]} to {BAUD[1]}")
    return found


def block(table: Table, count: int) -> Block:
    """The registers that a table is about."""
    function = table.integer("function", 1, 4)
    return Block(function, table.integer("register", 0, 0x10000 - count), count)


def status(table: Table, known: dict[str, Status]) -> None:
    """A register that values are tied to, added to `known`."""
    name = table.text("name", needed=True)
    states = table.values("states")
    if not all(is_integer(state) and 0 <= state <= 0xFFFF for state in states):
        table.wrong("states are not whole numbers from 0 to 65535")
        states = []
    faults, flags = _bits(table, "faults"), _bits(table, "flags")
    if not (faults or flags or states) or (faults and states):
        table.wrong(
            "needs either faults (bits that forbid a value) or states (codes that allow one); "
            "flags (bits that make it suspect) may stand beside them"
        )
    if name in known:
        table.wrong(f"the name {shown(name)} is taken", "name")
    reason = table.text("reason")
    if reason and not _WORD.fullmatch(reason):
        table.wrong(f"reason is {shown(reason)}, not one word of a-z, 0-9 and _")
    named = {bit: re.sub(r"\W+", "_", text.lower()).strip("_") for bit, text in flags.items()}
    where = block(table, 1)
    if where.function not in {3, 4}:
        table.wrong("function is 3 or 4")
    known[name] = Status(
        name, where, faults, named, frozenset(states) or None, reason, apart=table.flag("apart")
    )
    table.finish()


def _bits(table: Table, key: str) -> dict[int, str]:
    found: dict[int, str] = {}
    for bit, text in table.items(key):
        if bit.isdecimal() and int(bit) < 16 and isinstance(text, str):
            found[int(bit)] = text
        else:
            table.wrong(
                f'{key} has {shown(bit)} = {shown(text)}, not a bit from 0 to 15 = "what it means"', key
            )
    return found


def read(table: Table, statuses: list[str], reads: list[Read]) -> None:
    """One quantity, added to `reads`."""
    name = table.text("quantity", needed=True)
    table.where += f" ({name})" if name else ""
    if name and name not in QUANTITIES:
        table.wrong(f"there is no quantity {shown(name)}{nearest(name, list(QUANTITIES))}", "quantity")
    quantity = QUANTITIES.get(name, QUANTITIES["temperature"])
    if name in QUANTITIES and table.any("unit", quantity.unit) != quantity.unit:
        table.wrong(f"{name} has the unit {shown(quantity.unit)}: scale the value to it", "unit")
    if any(each.quantity.name == name for each in reads):
        table.wrong("this quantity is read twice: a second one is a second sensor with its own profile")
    kind = table.choice("type", list(WIDTHS), "bit" if table.any("function") in (1, 2) else "u16")
    where = block(table, WIDTHS[kind])
    if (kind == "bit") != (where.function in {1, 2}):
        table.wrong("functions 1 and 2 read bits, 3 and 4 registers: type and function do not fit", "type")
    tied = table.text("status")
    if tied and tied not in statuses:
        table.wrong(
            f"there is no status {shown(tied)}{nearest(tied, statuses) if statuses else ''}", "status"
        )
    found = value(table, kind)
    max_step = _max_step(table, quantity.mean == "sum", found)
    index = statuses.index(tied) if tied in statuses else None
    reads.append(Read(quantity, where, found, index, max_step, needed=table.flag("needed")))
    table.finish()


def _max_step(table: Table, counts: bool, found: Value) -> int | None:
    if counts:
        if not table.has("max_step"):
            table.wrong("counts what was added since the last poll: max_step is the most that can be")
        if found.offset or found.kind in FLOATS:
            table.wrong("a counter has no offset and is no float")
        return table.integer("max_step", 1, (1 << found.size) - 1, 1)
    if table.any("max_step") is not None:
        table.wrong("max_step belongs to counted quantities only")
    return None


def value(table: Table, kind: str) -> Value:
    """How the bits become a number."""
    bits = None
    if table.has("bits"):
        found, width = table.values("bits"), bits_of(kind)
        if kind in {"u16", "u32", "u64"} and len(found) == 2 and all(map(is_integer, found)):
            bits = (found[0], found[1])
        if bits is None or not 0 <= bits[0] <= bits[1] < width:
            table.wrong(f"bits are {shown(found)}, not [first, last] within a u16, u32 or u64, 0 the lowest")
            bits = None
    invalid = set()
    for code in table.values("invalid_raw", alone=True):
        try:
            invalid.add(bits_for(float(code) if isinstance(code, Decimal) else code, kind))
        except (ValueError, OverflowError):
            table.wrong(f"invalid_raw has {shown(code)}, which is no {kind}")
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


def mark(table: Table, taken: list[str]) -> Mark:
    """Registers that are no measurement."""
    name = table.text("name", needed=True)
    if name in taken:
        table.wrong(f"the name {shown(name)} is taken", "name")
    taken.append(name)
    form = table.choice("format", FORMS, "number")
    if form == "text":
        kind, count = "u16", table.integer("count", 1, TEXT_REGISTERS)
    else:
        kind = table.choice("type", [kind for kind in WIDTHS if kind != "bit"], "u16")
        count = WIDTHS[kind]
    if form == "version" and kind != "u16":
        table.wrong("a version is one u16: high byte, dot, low byte", "format")
    where = block(table, count)
    if where.function not in {3, 4}:
        table.wrong("function is 3 or 4")
    order = table.choice("order", ORDERS, "ABCD")
    found = Mark(name, where, Value(kind, order, table.decimal("scale", 1), table.decimal("offset", 0)), form)
    table.finish()
    return found


def choice(table: Table, taken: list[str]) -> Choice:
    """A setting: written once, only where the sensor allows it."""
    name = table.text("name", needed=True)
    if name in taken or (name and not _WORD.fullmatch(name)):
        table.wrong(f"the name {shown(name)} is taken, or not one word of a-z, 0-9 and _", "name")
    taken.append(name)
    table.text("description")
    function = table.any("function", 6)
    if function not in (5, 6, 16) or isinstance(function, bool):
        table.wrong(f"function is {shown(function)}: 5 sets a coil, 6 one register, 16 several")
        function = 6
    kind = "bit" if function == 5 else table.choice("type", ["u16", "s16", "u32", "s32"], "u16")
    if function == 6 and WIDTHS[kind] > 1:
        table.wrong("function 6 sets one register: a longer type takes function 16", "type")
    how = Value(kind, table.choice("order", ORDERS, "ABCD"))
    register = table.integer("register", 0, 0x10000 - how.width)
    reading = table.integer("read_function", 1, 4, 1 if function == 5 else 3)
    where = Block(reading, table.integer("read_register", 0, 0x10000 - how.width, register), how.width)
    if (reading in {1, 2}) != (function == 5):
        table.wrong("a coil is read with functions 1 and 2, registers with 3 and 4", "read_function")
    limits = table.pair("allowed") or (Decimal(0), Decimal(1))
    if not table.has("allowed"):
        table.wrong("allowed is missing: [lowest, highest] number that may be written")
    lowest, highest = int(limits[0]), int(limits[1])
    default = table.any("default")
    if default is not None and not (is_integer(default) and lowest <= default <= highest):
        table.wrong(f"default is {shown(default)}, not a whole number from {lowest} to {highest}")
        default = None
    shows = table.any("shows")
    if shows is not None and not (is_integer(shows) and 0 <= shows <= 0xFFFF):
        table.wrong(f"shows is {shown(shows)}, not a whole number from 0 to 65535")
        shows = None
    settle_s = table.integer("settle_s", 0, LONGEST_SETTLE_S, 0)
    table.finish()
    write = Write(function, register, ())
    return Choice(name, how, write, where, (lowest, highest), default, shows, float(settle_s))


def discover(table: Table) -> Meant:
    """How a lone device tells its address."""
    meta = table.texts("meta")
    if not meta or len(meta) > most(3):
        table.wrong("meta names what each register of the answer means, in order")
        meta = ["address"]
    unit = table.integer("address", 0, 255)
    found = block(table, len(meta))
    if found.function not in {3, 4}:
        table.wrong("function is 3 or 4")
    table.finish()
    return Meant(Discovery(unit, found, meta.index("address") if "address" in meta else None), meta)

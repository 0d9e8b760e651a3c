"""The schema of maps: from TOML text to a Map, with every mistake at once. Data only, no expressions."""

from __future__ import annotations

import hashlib
import tomllib
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from edgegw.driver import QUANTITIES
from edgegw_drivers.json_map import path
from edgegw_drivers.json_map.document import DOCUMENT_BYTES
from edgegw_drivers.json_map.map import Condition, Counter, Example, Map, Note, Payload, Read, Rows
from edgegw_drivers.json_map.milesight import PAYLOAD_BYTES, TABLES
from edgegw_drivers.modbus.table import Mistakes, Table, is_number, nearest, shown

if TYPE_CHECKING:
    from edgegw_drivers.json_map.path import Path

#: The largest map; the longest that ship are below 8 KiB.
TEXT_BYTES: Final = 65536
# The most quantities and notes of one device; the table of quantities has fewer than 100.
READS: Final = 100
# Alternatives of one value: the makes of sensors on one kind of node.
PATHS: Final = 16


class MapError(ValueError):
    """A map with mistakes; `mistakes` holds a sentence for each."""

    def __init__(self, name: str, mistakes: list[str]) -> None:
        self.mistakes = tuple(mistakes)
        count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        super().__init__(f"{name} has {count}:\n  " + "\n  ".join(mistakes))


def parse(name: str, text: str) -> Map:
    """The map that `text` spells; `name` is what messages call it. MapError with every mistake."""
    if len(text) > TEXT_BYTES:
        raise MapError(name, [f"it has more than {TEXT_BYTES} characters"])
    try:
        data = tomllib.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError, ArithmeticError) as error:
        raise MapError(name, [f"it is no TOML: {error}"]) from error
    mistakes = Mistakes(name, text)
    found = _map(Table("", data, mistakes), mistakes, hashlib.sha256(text.encode()).hexdigest())
    if mistakes.found:
        raise MapError(name, mistakes.found)
    return found


def _map(table: Table, mistakes: Mistakes, sha256: str) -> Map:
    device = Table("device", table.any("device", {}), mistakes)
    model = device.text("model", needed=True)
    device.text("description")
    device.values("sources")
    identity, restart = _paths(device, "identity"), _paths(device, "restart")
    device.finish()
    match = _match(Table("match", table.any("match", {}), mistakes))
    if not match:
        table.wrong("[match] is missing: without it any document would be taken for one of this device")
    rows = _rows(Table("rows", table.any("rows", {}), mistakes))
    payload = _payload(Table("payload", table.any("payload"), mistakes)) if table.has("payload") else None
    reads = tuple(
        _read(Table(f"read {index}", part, mistakes), mistakes)
        for index, part in enumerate(table.values("read")[:READS], 1)
    )
    if not 1 <= len(table.values("read")) <= READS:
        table.wrong(f"it needs 1 to {READS} [[read]]")
    _refuse_twins(table, reads)
    notes = _notes(table, mistakes)
    names = [read.quantity.name for read in reads]
    examples = tuple(
        _example(Table(f"example {index}", part, mistakes), names)
        for index, part in enumerate(table.values("example"), 1)
    )
    if not examples:
        table.wrong("it has no [[example]]: write one with a known document and its values")
    table.finish()
    return Map(model, match, identity, restart, rows, payload, reads, notes, examples, sha256)


def _refuse_twins(table: Table, reads: tuple[Read, ...]) -> None:
    plain = [read.quantity.name for read in reads if not read.when]
    for name in sorted({name for name in plain if plain.count(name) > 1}):
        table.wrong(f"{name} is read twice: write path = [first, second] where one stands for the other")


def _paths(table: Table, key: str) -> tuple[Path, ...]:
    """One path or several, of which the first that leads somewhere counts; nothing when the key is absent."""
    found = []
    values = table.values(key, alone=True)
    if len(values) > PATHS:
        table.wrong(f"{key} has more than {PATHS} paths")
    for value in values[:PATHS]:
        parsed = _path(table, key, value)
        if parsed is not None:
            found.append(parsed)
    return tuple(found)


def _path(table: Table, key: str, value: object) -> Path | None:
    if not isinstance(value, str):
        table.wrong(f"{key} is {shown(value)}, not a path in quotes")
        return None
    try:
        return path.parse(value)
    except ValueError as error:
        table.wrong(f"{key} = {shown(value)} {error}")
        return None


def _match(table: Table) -> tuple[Condition, ...]:
    found = []
    for value in table.values("present", alone=True):
        # A list in the list: one of these is enough.
        alternatives = [
            _path(table, "present", each) for each in (value if isinstance(value, list) else [value])
        ]
        found.append(Condition(tuple(each for each in alternatives if each is not None)))
    found += _conditions(table, "equals")
    for key, value in table.items("starts"):
        where = _path(table, "starts", key)
        if not isinstance(value, str) or not value:
            table.wrong(f"starts has {shown(key)} = {shown(value)}, not the beginning of a text")
        elif where is not None:
            found.append(Condition((where,), start=value))
    table.finish()
    return tuple(found)


def _conditions(table: Table, key: str) -> tuple[Condition, ...]:
    """`{ path = value }` or `{ path = [value, value] }`: what must stand there."""
    found = []
    for text, value in table.items(key):
        values = value if isinstance(value, list) else [value]
        where = _path(table, key, text)
        if not values or not all(isinstance(each, str | int) for each in values):
            table.wrong(
                f"{key} has {shown(text)} = {shown(value)}, neither a text or whole number nor a list"
            )
        elif where is not None:
            words = tuple(str(each).lower() if isinstance(each, bool) else str(each) for each in values)
            found.append(Condition((where,), words))
    return tuple(found)


def _rows(table: Table) -> Rows:
    where = _paths(table, "path")
    unique, name = _paths(table, "unique"), _paths(table, "name")
    if len(where) > 1 or len(name) > 1:
        table.wrong("path and name are one path each")
    if where and where[0].up:
        table.wrong("path starts from the whole document as it is")
    table.finish()
    return Rows(where[0] if where else None, unique, name[0] if name else None)


def _payload(table: Table) -> Payload:
    paths = _paths(table, "path")
    if not paths:
        table.wrong("path is missing: where the bytes stand")
    found = Payload(
        paths, table.choice("encoding", ["base64", "hex"]), table.choice("milesight", list(TABLES))
    )
    table.finish()
    return found


def _read(table: Table, mistakes: Mistakes) -> Read:
    name = table.text("quantity", needed=True)
    table.where += f" ({name})" if name else ""
    if name and name not in QUANTITIES:
        table.wrong(f"there is no quantity {shown(name)}{nearest(name, list(QUANTITIES))}")
    quantity = QUANTITIES.get(name, QUANTITIES["temperature"])
    if name in QUANTITIES and table.any("unit", quantity.unit) != quantity.unit:
        table.wrong(f"{name} has the unit {shown(quantity.unit)}: scale the value to it")
    paths = _paths(table, "path")
    if not paths:
        table.wrong("path is missing")
    scale = table.decimal("scale", 1)
    if not scale:
        table.wrong("scale is 0: every value would be the same")
    counter = None
    if table.has("counter"):
        counter = _counter(Table(f"{table.where} counter", table.any("counter"), mistakes))
        if quantity.mean != "sum":
            table.wrong(f"{name} is no quantity that is counted: it has no running total")
    found = Read(
        quantity=quantity,
        paths=paths,
        scale=scale,
        offset=table.decimal("offset", 0),
        valid=table.pair("valid"),
        missing=_missing(table),
        optional=table.flag("optional"),
        sums=table.flag("sum"),
        counter=counter,
        when=_conditions(table, "when"),
    )
    if counter is not None and found.offset:
        table.wrong("a running total has no offset")
    table.finish()
    return found


def _counter(table: Table) -> Counter:
    bits = table.integer("bits", 0, 64, 0)
    found = Counter(table.integer("max_step", 1, 1_000_000), bits)
    if bits and found.max_step >= 1 << bits:
        table.wrong(f"max_step does not fit into {bits} bits")
    table.finish()
    return found


def _missing(table: Table) -> frozenset[Decimal | str]:
    found: set[Decimal | str] = set()
    for value in table.values("missing", alone=True):
        if is_number(value):
            found.add(Decimal(value))
        elif isinstance(value, str):
            found.add(value)
        else:
            table.wrong(f"missing has {shown(value)}, neither a number nor a text")
    return frozenset(found)


def _notes(table: Table, mistakes: Mistakes) -> tuple[Note, ...]:
    found = []
    for name, value in table.items("meta")[:READS]:
        about = Table(f"meta {name}", value if isinstance(value, dict) else {"path": value}, mistakes)
        paths, number = _paths(about, "path"), about.flag("number")
        if not paths:
            about.wrong("path is missing")
        about.finish()
        found.append(Note(name, paths, number))
    return tuple(found)


def _example(table: Table, names: list[str]) -> Example:
    table.text("name")
    documents = [each for each in table.values("document", alone=True) if isinstance(each, str)]
    payload = _payload_bytes(table)
    if not documents and payload is None:
        table.wrong(
            "document is missing: the JSON text, or a list of texts in order; or payload, in hexadecimal"
        )
    if any(len(each) > DOCUMENT_BYTES for each in documents):
        table.wrong(f"document has more than {DOCUMENT_BYTES} characters")
    expect: dict[str, float] = {}
    for name, value in table.items("expect"):
        if name not in names:
            table.wrong(f"expect has {shown(name)}{nearest(name, names)}")
        elif is_number(value):
            expect[name] = float(value)
        else:
            table.wrong(f"expect has {name} = {shown(value)}, which is no number")
    reasons = table.texts("reasons")
    if not expect and not reasons:
        table.wrong("expect is missing, or reasons for no value at all")
    table.finish()
    texts = [each.encode() for each in documents]
    return Example(texts, payload, expect, tuple(reasons))


def _payload_bytes(table: Table) -> bytes | None:
    value: Any = table.any("payload")
    if value is None:
        return None
    try:
        found = bytes.fromhex(value) if isinstance(value, str) else b""
    except ValueError:
        found = b""
    if not 1 <= len(found) <= PAYLOAD_BYTES:
        table.wrong(f"payload is {shown(value)}, not 1 to {PAYLOAD_BYTES} bytes in hexadecimal")
    return found

"""Payloads of Milesight people counters: channel, type, little-endian data, again and again.

Source: Milesight-IoT/SensorDecoders, vs-series/*/README.md (VS121, VS132, VS133, VS135, VS350, VS351, VS360). The
length of a value follows from its channel and type alone: behind an unknown one nothing can be read.
"""

from __future__ import annotations

import struct
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from edgegw.driver import FrameError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: The longest payload: LoRaWAN's largest is 242 bytes, a network server may join two.
PAYLOAD_BYTES: Final = 512

_Reader = tuple[int, "Callable[[bytes, dict[str, Any]], None]"]
_Table = dict[tuple[int, int], _Reader]


def decode(payload: bytes, model: str) -> dict[str, Any]:
    """Every value of a payload by its name.

    FrameError: `truncated`, `unknown_channel`, `unsupported_length` or `no_data`, and then no value at all.
    ValueError for a model that is not known.
    """
    table = TABLES.get(model.lower())
    if table is None:
        raise ValueError(f"model: {model!r} is none of {', '.join(TABLES)}")
    if not payload:
        raise FrameError("no_data")
    if len(payload) > PAYLOAD_BYTES:
        raise FrameError("unsupported_length")
    found: dict[str, Any] = {}
    at = 0
    while at < len(payload):
        if at + 2 > len(payload):
            raise FrameError("truncated")
        size, read = table.get((payload[at], payload[at + 1]), (-1, _nothing))
        if size < 0:
            raise FrameError("unknown_channel")
        data = payload[at + 2 :]
        if read is _history:
            if len(data) < size:
                raise FrameError("truncated")
            size += 4 * _has_totals(data)
        if len(data) < size:
            raise FrameError("truncated")
        read(data[:size], found)
        at += 2 + size
    return found


def by_line(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The totals of each counting line, of a model that has several; empty for the others."""
    lines = []
    for line in "1234":
        totals = {way: found.get(f"total_{way}_{line}") for way in ("in", "out")}
        known = {f"total_{way}": total for way, total in totals.items() if total is not None}
        if known:
            lines.append({"line": line, **known})
    return lines


def _numbers(form: str, *names: str) -> _Reader:
    """Numbers by name, in `struct`'s letters."""

    def read(data: bytes, found: dict[str, Any]) -> None:
        found.update(zip(names, struct.unpack(f"<{form}", data), strict=True))

    return struct.calcsize(f"<{form}"), read


def _in_and_out(prefix: str, alarm: str = "") -> _Reader:
    names = (f"{prefix}_in", f"{prefix}_out")
    return _numbers("HHB", *names, alarm) if alarm else _numbers("HH", *names)


def _tenths(*names: str) -> _Reader:
    """A temperature in tenths of a degree, and where there is one its alarm."""

    def read(data: bytes, found: dict[str, Any]) -> None:
        found[names[0]] = Decimal(int.from_bytes(data[:2], "little", signed=True)) / 10
        found.update(zip(names[1:], data[2:], strict=True))

    return 1 + len(names), read


def _hexadecimal(name: str, size: int) -> _Reader:
    def read(data: bytes, found: dict[str, Any]) -> None:
        found[name] = data.hex()

    return size, read


def _people(data: bytes, found: dict[str, Any]) -> None:
    """VS121: people, regions, and a mask of regions that is the one number with its high byte first."""
    found["people_count"], found["region_count"], mask = struct.unpack(">BBH", data)
    found["regions"] = [mask >> region & 1 for region in range(min(16, data[1]))]


def _regions(first: int) -> Callable[[bytes, dict[str, Any]], None]:
    def read(data: bytes, found: dict[str, Any]) -> None:
        counts = found.setdefault("region_counts", {})
        counts.update({str(first + number): count for number, count in enumerate(data)})

    return read


def _dwell(data: bytes, found: dict[str, Any]) -> None:
    region, mean, longest = struct.unpack("<BHH", data)
    found.setdefault("dwell", []).append({"region": region, "avg": mean, "max": longest})


def _event(data: bytes, found: dict[str, Any]) -> None:
    found.setdefault("events", []).append({"type": data[0], "status": data[1]})


def _has_totals(record: bytes) -> bool:
    if record[4] > 1:
        raise FrameError("unsupported_length")  # a kind of record whose length is not known
    return record[4] == 1


def _history(data: bytes, found: dict[str, Any]) -> None:
    """A stored record: UNIX seconds, its kind, passages of the period, and where it has them the totals."""
    values = struct.unpack(f"<IB{(len(data) - 5) // 2}H", data)
    names = ("timestamp", "", "period_in", "period_out", "total_in", "total_out")
    record = {name: value for name, value in zip(names, values, strict=False) if name}
    found.setdefault("history", []).append(record)


def _flow(origin: str) -> _Reader:
    return _numbers("HHHH", *(f"{origin}_to_{target}" for target in "abcd"))


def _nothing(data: bytes, found: dict[str, Any]) -> None:
    del data, found


_ATTRIBUTES: Final[_Table] = {
    (0xFF, 0x01): _numbers("B", "protocol_version"),
    (0xFF, 0x08): _hexadecimal("serial", 6),
    (0xFF, 0x16): _hexadecimal("serial", 8),
    (0xFF, 0x09): _hexadecimal("hardware", 2),
    (0xFF, 0x0A): _hexadecimal("firmware", 2),
    (0xFF, 0x1F): _hexadecimal("firmware", 4),
    (0xFF, 0xFF): _hexadecimal("tsl_version", 2),
    (0xFF, 0x0F): _numbers("B", "lorawan_class"),
    (0xFF, 0xFE): _numbers("B", "reset_event"),
    (0xFF, 0x0B): _numbers("B", "device_status"),
}
_PASSAGE: Final[_Table] = {
    **_ATTRIBUTES,
    (0x01, 0x75): _numbers("B", "battery"),
    (0x03, 0x67): _tenths("temperature"),
    (0x04, 0xCC): _in_and_out("total"),
    (0x05, 0xCC): _in_and_out("period"),
    (0x0A, 0xEF): _numbers("I", "timestamp"),
    (0x83, 0x67): _tenths("temperature", "temperature_alarm"),
    (0x84, 0xCC): _in_and_out("total", "total_alarm"),
    (0x85, 0xCC): _in_and_out("period", "period_alarm"),
    (0x20, 0xCE): (9, _history),
}
_CEILING: Final[_Table] = {
    **_ATTRIBUTES,
    (0x03, 0xD2): _numbers("I", "total_in_1"),
    (0x04, 0xD2): _numbers("I", "total_out_1"),
    (0x05, 0xCC): _in_and_out("period"),
}
_LINES: Final[_Table] = {
    **_ATTRIBUTES,
    **{(3 * line, 0xD2): _numbers("I", f"total_in_{line}") for line in range(1, 5)},
    **{(3 * line + 1, 0xD2): _numbers("I", f"total_out_{line}") for line in range(1, 5)},
    **{(3 * line + 2, 0xCC): _in_and_out(f"l{line}") for line in range(1, 5)},
    (0x0F, 0xE3): (4, _regions(1)),
    (0x10, 0xE4): (5, _dwell),
}
_WORKPLACE: Final[_Table] = {
    **_ATTRIBUTES,
    (0x04, 0xC9): (4, _people),
    (0x05, 0xCC): _in_and_out("people"),
    (0x06, 0xCD): _numbers("B", "people_max"),
    (0x07, 0xD5): (8, _regions(1)),
    (0x08, 0xD5): (8, _regions(9)),
    **{(0x09 + number, 0xDA): _flow(origin) for number, origin in enumerate("abcd")},
    (0x0D, 0xCC): _in_and_out("total"),
    (0x0E, 0xE4): (5, _dwell),
    (0x0F, 0x85): _numbers("I", "timestamp"),
}
_BEAM: Final[_Table] = {
    **{key: reader for key, reader in _PASSAGE.items() if key[1] != 0x67},
    (0x02, 0x75): _numbers("B", "battery_node"),
    (0x03, 0xF4): (2, _event),
}
#: What each model sends, by channel and type.
TABLES: Final[Mapping[str, _Table]] = {
    "vs121": _WORKPLACE,
    "vs132": _CEILING,
    "vs133": _LINES,
    "vs135": _LINES,
    "vs350": _PASSAGE,
    "vs351": _PASSAGE,
    "vs360": _BEAM,
}

"""Records: resolved SenML in CBOR form (RFC 8428 §6), as WIRE §2 narrows it.

`RecordWriter` makes the bytes, `read_pack` cuts and checks the payload of a batch. Both know the common shape
of a record by heart, because a gateway writes and a receiver reads tens of thousands a second; whatever looks
otherwise goes the general way, with the same result.
"""

from __future__ import annotations

import re
import struct
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeGuard

from edgegw.wire import cbor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# SenML labels (RFC 8428 §6, table 6).
NAME, UNIT, VALUE, TEXT, BOOL, TIME, DATA = 0, 1, 2, 3, 4, 6, 8
# Below this SenML reads a time as relative (RFC 8428 §4.5.3).
MIN_TIME: Final = 2**28
# Year 10000: RFC 3339 writes four digits, and no calendar of a consumer goes further.
MAX_TIME: Final = 253_402_300_800
QUALITY, CHECKS = "q", "qc"
# A name is a URN of at most two 63-character ids and a quantity; far above it, a record is an attack.
MAX_NAME: Final = 255

_VALUES: Final = {VALUE: (int, float), TEXT: (str,), BOOL: (bool,), DATA: (bytes,)}
# RFC 8428 §4.5.1: letters, digits and -:./_ with a letter or digit first.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9\-:./_]*", re.ASCII)


class RecordError(ValueError):
    """Bytes that are no acceptable record; the text is one word, the named reason."""


def refusal(error: RecordError) -> str:
    """The reason in a verdict: `record`, or `record_name`, `record_time`... when one field is at fault."""
    return "record" if str(error) == "record" else f"record_{error}"


class Record(NamedTuple):
    """One decoded record.

    `value` is a number, text, bool or bytes; `t` POSIX seconds; `q` the quality flag (None: not evaluated) and
    `checks` what did not pass; `extra` holds the remaining text keys of an event.
    """

    name: str
    unit: str | None
    value: float | str | bool | bytes
    t: float
    q: int | None = None
    checks: tuple[str, ...] = ()
    extra: Mapping[str, Any] | None = None


class RecordWriter:
    """Writes the records of one gateway.

    `base` is the device's URN; names are `<base>:<sensor>:<quantity>`. The encoded name and unit of each
    quantity are kept: a gateway has tens of them.
    """

    def __init__(self, base: str) -> None:
        self._base = base
        self._prefixes: dict[tuple[str, str, str], bytes] = {}

    def reading(
        self,
        sensor: str,
        quantity: str,
        unit: str,
        value: float,
        t: float,
        flag: int | None = None,
        checks: Sequence[str] = (),
    ) -> bytes:
        """The record of one reading; `t` in POSIX seconds, already rounded to milliseconds.

        Raises CborError for a value that is not finite, RecordError for a time that is not absolute.
        """
        key = (sensor, quantity, unit)
        prefix = self._prefixes.get(key)
        if prefix is None:
            name = f"{self._base}:{sensor}:{quantity}"
            prefix = b"\x00" + cbor.encode(name) + b"\x01" + cbor.encode(unit) + b"\x02"
            self._prefixes[key] = prefix
        if not MIN_TIME <= t < MAX_TIME:
            raise RecordError("time")
        record = prefix + cbor.number(value) + b"\x06" + cbor.number(t)
        if flag is None and not checks:
            return b"\xa4" + record
        if flag is not None:
            record += b"\x61q" + cbor.encode(flag)
        if checks:
            record += b"\x62qc" + cbor.encode(list(checks))
        return bytes((0xA4 + (flag is not None) + bool(checks),)) + record

    def event(
        self, event: str, value: float | str, t: float, extra: Mapping[str, Any], unit: str = ""
    ) -> bytes:
        """The record of a gateway event (WIRE §7): number or text, with its text keys."""
        if not MIN_TIME <= t < MAX_TIME:
            raise RecordError("time")
        label = TEXT if isinstance(value, str) else VALUE
        record: dict[Any, Any] = {NAME: f"{self._base}:_gateway:{event}", label: value, TIME: t, **extra}
        if unit:
            record[UNIT] = unit
        return cbor.encode(record)


def _is_name(name: object) -> TypeGuard[str]:
    return isinstance(name, str) and len(name) <= MAX_NAME and _NAME.fullmatch(name) is not None


def record_of(value: object) -> Record:
    """A decoded CBOR map as a record; RecordError with a reason when it is not a resolved one of the wire."""
    if not isinstance(value, dict):
        raise RecordError("record")
    name, unit, t = value.get(NAME), value.get(UNIT), value.get(TIME)
    if not _is_name(name):
        raise RecordError("name")
    if not (unit is None or isinstance(unit, str)):
        raise RecordError("unit")
    if isinstance(t, bool) or not isinstance(t, (int, float)) or not MIN_TIME <= t < MAX_TIME:
        raise RecordError("time")
    present = [label for label in _VALUES if label in value]
    if len(present) != 1:
        raise RecordError("value")
    found = value[present[0]]
    if not isinstance(found, _VALUES[present[0]]) or (present[0] == VALUE and isinstance(found, bool)):
        raise RecordError("value")
    if isinstance(found, int) and abs(found) >= cbor.MAX_EXACT:
        raise RecordError("value")
    extra = {key: item for key, item in value.items() if key not in _KNOWN}
    for key in extra:
        # Base fields are negative; a label that ends in _ must be understood (RFC 8428 §4.4).
        if not isinstance(key, str) or key.endswith("_") or key in _BASE_LABELS:
            raise RecordError("field")
    q, checks = value.get(QUALITY), value.get(CHECKS, ())
    if QUALITY in value and (not isinstance(q, int) or isinstance(q, bool) or not 1 <= q <= 4):
        raise RecordError("quality")
    if not isinstance(checks, (list, tuple)) or not all(isinstance(check, str) for check in checks):
        raise RecordError("quality")
    return Record(name, unit, found, t, q, tuple(checks), extra or None)


_KNOWN: Final = frozenset({NAME, UNIT, VALUE, TEXT, BOOL, TIME, DATA, QUALITY, CHECKS})
_BASE_LABELS: Final = frozenset({"bn", "bt", "bu", "bv", "bs", "bver"})
# Bytes behind the initial byte of a number; integers of eight bytes go the general way, to be refused there.
_NUMBER_SIZES: Final = {
    **dict.fromkeys([*range(0x18), *range(0x20, 0x38)], 0),
    **dict.fromkeys([0x18, 0x38], 1),
    **dict.fromkeys([0x19, 0x39, 0xF9], 2),
    **dict.fromkeys([0x1A, 0x3A, 0xFA], 4),
    0xFB: 8,
}
_double = struct.Struct(">d").unpack_from
_single = struct.Struct(">f").unpack_from
_half = struct.Struct(">e").unpack_from


def read_pack(payload: bytes) -> tuple[list[bytes], list[Record]]:
    """The records of a batch's payload: the bytes of each as received, and each decoded.

    Raises RecordError with a reason when the payload is not exactly one definite array of acceptable records.
    """
    try:
        return _read_pack(payload)
    except cbor.CborError:
        raise RecordError("record") from None


def _read_pack(payload: bytes) -> tuple[list[bytes], list[Record]]:
    major, count, at = cbor.argument(payload, 0)
    if major != 4 or count > len(payload):
        raise RecordError("record")
    raws: list[bytes] = []
    records: list[Record] = []
    for _ in range(count):
        quick = _quick(payload, at)
        if quick is None:
            end = cbor.check(payload, at)
            record = record_of(cbor.decode_checked(payload[at:end]))
        else:
            record, end = quick
        raws.append(payload[at:end])
        records.append(record)
        at = end
    if at != len(payload):
        raise RecordError("record")
    return raws, records


def _quick(data: bytes, at: int) -> tuple[Record, int] | None:
    """A record `{0: name, 1: unit, 2: number, 6: number}`, perhaps with `q` and `qc`, and its end.

    None for any other shape or order, and for any fault: the general way then decides.
    """
    try:
        fields = data[at]
        if not 0xA4 <= fields <= 0xA6 or data[at + 1] != 0 or data[at + 2] != 0x78:
            return None
        unit_at = at + 4 + data[at + 3]
        if data[unit_at] != 1 or not 0x60 <= data[unit_at + 1] <= 0x77:
            return None
        value_at = unit_at + data[unit_at + 1] - 0x5E
        value_end = value_at + 2 + _NUMBER_SIZES[data[value_at + 1]]
        time_end = value_end + 2 + _NUMBER_SIZES[data[value_end + 1]]
        end = time_end if fields == 0xA4 else _marks_end(data, time_end, fields)
        if data[value_at] != 2 or data[value_end] != 6 or end > len(data):
            return None
    except (IndexError, KeyError):
        return None
    name = _name_and_unit(data[at + 1 : value_at])
    marks = _marks(data[time_end:end]) if end > time_end else _NO_MARKS
    value = _number(data, value_at + 1, value_end)
    t = _number(data, value_end + 1, time_end)
    if name is None or marks is None or not MIN_TIME <= t < MAX_TIME or value - value != 0:
        return None
    return Record(name[0], name[1], value, t, marks[0], marks[1]), end


_NO_MARKS: Final[tuple[int | None, tuple[str, ...]]] = (None, ())


# Names and units come again and again, in small batches even more so. A city's receiver sees some thousands, at
# half a kilobyte each; who sends others all the time only slows himself down.
@lru_cache(maxsize=8192)
def _name_and_unit(encoded: bytes) -> tuple[str, str] | None:
    """The name and unit of a record, by the bytes of these two fields; None when they are not acceptable."""
    try:
        fields = cbor.decode(b"\xa2" + encoded)
    except cbor.CborError:
        return None
    return (fields[NAME], fields[UNIT]) if _is_name(fields[NAME]) else None


@lru_cache(maxsize=256)
def _marks(encoded: bytes) -> tuple[int | None, tuple[str, ...]] | None:
    """The flag and checks of a record, by the bytes of these fields; None when they are not acceptable."""
    try:
        fields = cbor.decode((b"\xa1" if len(encoded) == 3 else b"\xa2") + encoded)
    except cbor.CborError:
        return None
    return fields[QUALITY], tuple(fields.get(CHECKS, ()))


def _marks_end(data: bytes, at: int, fields: int) -> int:
    """Where `"q": 1…4` and, in a map of six, `"qc": [short texts]` end; KeyError when they are not there."""
    if data[at : at + 2] != b"\x61q" or not 1 <= data[at + 2] <= 4:
        raise KeyError
    end = at + 3
    if fields == 0xA6:
        if data[end : end + 3] != b"\x62qc" or not 0x80 <= data[end + 3] <= 0x97:
            raise KeyError
        stop, end = data[end + 3] - 0x80, end + 4
        for _ in range(stop):
            if not 0x60 <= data[end] <= 0x77:
                raise KeyError
            end += data[end] - 0x5F
    return end


def _number(data: bytes, at: int, end: int) -> float:
    initial = data[at]
    if initial == 0xFB:
        return _double(data, at + 1)[0]  # type: ignore[no-any-return] # struct can't say that it is a float
    if initial == 0xFA:
        return _single(data, at + 1)[0]  # type: ignore[no-any-return] # the same
    if initial == 0xF9:
        return _half(data, at + 1)[0]  # type: ignore[no-any-return] # the same
    argument = initial & 0x1F if end == at + 1 else int.from_bytes(data[at + 1 : end])
    return argument if initial < 0x20 else -1 - argument

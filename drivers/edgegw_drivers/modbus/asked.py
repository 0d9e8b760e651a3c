"""What the shell's options say about an input: the question behind it, and what bare registers mean. Pure."""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final

from edgegw.driver import FrameError
from edgegw_drivers.modbus.profile import Value
from edgegw_drivers.modbus.table import nearest
from edgegw_drivers.modbus.words import ORDERS, WIDTHS, bits_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# Names of options by the names that other documents use for them.
NAMES: Final = {
    "slave": "address",
    "unit": "address",
    "asked": "address",
    "asked_address": "address",
    "start": "register",
    "model": "profile",
    "variant": "profile",
    "device": "profile",
    "data_type": "type",
    "word_order": "order",
    "invalid_raw": "invalid",
    "sentinel": "invalid",
    "width": "width_bits",
    "max_step": "max_plausible_step",
    "mean": "aggregate",
}
#: What may be said: which question was asked (`address` to `count`, `profile`), what bare registers mean
#: (`type` to `bits`), and what a row of numbers is (the last three).
OPTIONS: Final = (
    *("address", "function", "register", "count", "profile"),
    *("type", "order", "scale", "offset", "valid", "invalid", "bits"),
    *("width_bits", "max_plausible_step", "aggregate"),
)
# Types and word orders as other documents name them.
TYPES: Final = {
    "uint16": "u16",
    "int16": "s16",
    "i16": "s16",
    "uint32": "u32",
    "int32": "s32",
    "i32": "s32",
    "float": "f32",
    "float32": "f32",
    "uint64": "u64",
    "int64": "s64",
    "i64": "s64",
    "double": "f64",
    "float64": "f64",
}
SPELLINGS: Final = {"AB": "ABCD", "BA": "BADC", "BIG": "ABCD", "LITTLE": "DCBA"}


def named(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options under their own names; ValueError, with a sentence, for one that there is not."""
    found = {}
    for key, value in options.items():
        name = NAMES.get(key, key)
        if name not in OPTIONS:
            raise ValueError(f"a Modbus device has no option {key!r}{nearest(key, OPTIONS)}")
        found[name] = value
    return found


def whole(options: Mapping[str, Any], key: str, within: range, default: int | None = None) -> int:
    """A whole number among options, from a number or its text; ValueError when it is missing or none."""
    value = options.get(key, default)
    if value is None:
        raise ValueError(f"{key} is missing: {within[0]} to {within[-1]}")
    try:
        number = int(value, 0) if isinstance(value, str) else int(value)
    except (ValueError, TypeError, OverflowError):
        number = within[0] - 1
    if number not in within or isinstance(value, bool) or (isinstance(value, float) and number != value):
        raise ValueError(f"{key} is {value!r}, not a whole number from {within[0]} to {within[-1]}")
    return number


def value(options: Mapping[str, Any]) -> Value:
    """How bare registers become numbers, as `type`, `order`, `scale`, `offset`, `valid`, `invalid`, `bits` say."""
    name = str(options.get("type", "u16")).lower()
    kind = TYPES.get(name, name)
    spelt = str(options.get("order", "ABCD")).upper()
    order = SPELLINGS.get(spelt, spelt)
    if kind not in WIDTHS:
        raise ValueError(f"type is {name!r}{nearest(name, list(WIDTHS))}")
    if order not in ORDERS:
        raise ValueError(f"order is {spelt!r}{nearest(spelt, ORDERS)}")
    codes = _several(options, "invalid", lambda code: whole({"invalid": code}, "invalid", _CODES))
    try:
        invalid = frozenset(bits_for(code, kind) for code in codes)
    except ValueError as error:
        raise ValueError(f"invalid: {error}") from error
    valid = _several(options, "valid", lambda bound: exact({"valid": bound}, "valid", 0))
    bits = _several(options, "bits", lambda bit: whole({"bits": bit}, "bits", range(64)))
    if len(valid) not in {0, 2} or len(bits) not in {0, 2} or bits != sorted(bits):
        raise ValueError("valid is [lowest, highest] and bits is [first, last]")
    return Value(
        kind,
        order,
        exact(options, "scale", 1),
        exact(options, "offset", 0),
        valid=(valid[0], valid[1]) if valid else None,
        invalid=invalid,
        bits=(bits[0], bits[1]) if bits else None,
    )


_CODES: Final = range(-(1 << 63), 1 << 64)


def _several(options: Mapping[str, Any], key: str, one: Callable[[object], Any]) -> list[Any]:
    """A list among options, from a list, its JSON, words with commas, or a single value."""
    given = options.get(key, [])
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except ValueError:
            given = given.split(",")
    return [one(each) for each in (given if isinstance(given, list | tuple) else [given])]


def exact(options: Mapping[str, Any], key: str, default: int) -> Decimal:
    """A decimal number among options."""
    try:
        number = Decimal(str(options.get(key, default)))
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or abs(number.adjusted()) > 100:
        raise ValueError(f"{key} is {options[key]!r}, not a number")
    return number


def integers(data: bytes, width: int) -> list[int]:
    """Bytes as numbers of `width` bits, high byte first; FrameError `truncated` for part of one."""
    size = width // 8
    if not data or len(data) % size:
        raise FrameError("truncated")
    return [int.from_bytes(data[begin : begin + size], "big") for begin in range(0, len(data), size)]

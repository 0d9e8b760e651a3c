"""Registers as numbers: types, word orders, bit patterns.

A register is 16 bits, high byte first on the wire (MODBUS Application Protocol V1.1b3, section 4.2). How
devices spread longer numbers over registers is nowhere standardised; the four orders in use are named by what
becomes of the bytes ABCD.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Final

from edgegw.driver import FrameError

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Types by name, with the registers (of `bit`: the bits) that one value takes.
WIDTHS: Final = {"bit": 1, "u16": 1, "s16": 1, "u32": 2, "s32": 2, "f32": 2, "u64": 4, "s64": 4, "f64": 4}
#: High byte first; words swapped; bytes in each word swapped; low byte first.
ORDERS: Final = ("ABCD", "CDAB", "BADC", "DCBA")
SIGNED: Final = frozenset({"s16", "s32", "s64"})
#: IEEE 754 numbers by type, as `struct` writes them.
FLOATS: Final = {"f32": ">f", "f64": ">d"}


def bits_of(kind: str) -> int:
    """Width of a type in bits: 1, 16, 32 or 64."""
    return 1 if kind == "bit" else 16 * WIDTHS[kind]


def pattern(words: Sequence[int], order: str) -> int:
    """The bits of a value, as an unsigned number; `words` are registers (or one bit) in wire order."""
    words = words[::-1] if order in {"CDAB", "DCBA"} else words
    bits = 0
    for word in words:
        bits = bits << 16 | ((word & 0xFF) << 8 | word >> 8 if order in {"BADC", "DCBA"} else word)
    return bits


def number(bits: int, kind: str) -> int | float:
    """The number that a type makes of its bits; FrameError `not_available` for a float that is none."""
    if kind in FLOATS:
        (value,) = struct.unpack(FLOATS[kind], bits.to_bytes(bits_of(kind) // 8, "big"))
        if not math.isfinite(value):
            raise FrameError("not_available", whole=True)
        return float(value)
    width = bits_of(kind)
    return bits - (1 << width) if kind in SIGNED and bits >> width - 1 else bits


def bits_for(value: float, kind: str) -> int:
    """The bits that mean `value`, or that `value` spells where it is a bit pattern; ValueError if none do."""
    if kind in FLOATS and isinstance(value, float):
        return int.from_bytes(struct.pack(FLOATS[kind], value), "big")
    width = bits_of(kind)
    lowest = -(1 << width - 1) if kind in SIGNED else 0
    if not isinstance(value, int) or not lowest <= value < 1 << width:
        raise ValueError(f"{value} is no {kind}")
    return value % (1 << width)

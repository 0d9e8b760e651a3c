"""Frames of the TeraRanger Evo People Counter: counts, distances, commands, each with a CRC-8.

Source: TeraRanger Evo People Counter user manual, section 5.5 and table 10 (RosLD/UPCT_TerabeePC). The manual does
not say the byte order; big-endian fits its examples.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from edgegw.driver import EitherOf, FixedLength, FrameError, spelt

if TYPE_CHECKING:
    from collections.abc import Sequence

COUNTS: Final = FixedLength(start=b"PC", length=15)
DISTANCES: Final = FixedLength(start=b"DD", length=7)
FRAMING: Final = EitherOf((COUNTS, DISTANCES))

_LAYOUT: Final = struct.Struct(">2x4siHHx")
_TWO_DISTANCES: Final = struct.Struct(">2xHHx")

_COMMANDS: Final = {
    "binary output": b"\x00\x61\x01",
    "text output": b"\x00\x61\x02",
    "reset counters": b"\x00\x55\x08\x00\x00\x00\x00",
}


class Totals(NamedTuple):
    """What a counter has counted since its start: its id, people inside, passages in and out (0 to 65535)."""

    device: bytes
    inside: int
    passed_in: int
    passed_out: int


def parse(frame: bytes) -> Totals | None:
    """The totals in a frame, None for one of distances; FrameError when length, marker or CRC are wrong."""
    reason = FRAMING.refusal(frame)
    if reason:
        raise FrameError(reason)
    if crc8(frame[:-1]) != frame[-1]:
        raise FrameError("checksum")
    return Totals(*_LAYOUT.unpack(frame)) if frame.startswith(b"PC") else None


def distances(frame: bytes) -> Sequence[int]:
    """The two distances in mm of a frame that `parse` gives no totals for."""
    return _TWO_DISTANCES.unpack(frame)


def crc8(data: bytes) -> int:
    """CRC-8 with the polynomial 07, from 0."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x07) & 0xFF if crc & 0x80 else crc << 1
    return crc


def encode_totals(totals: Totals) -> bytes:
    """The frame in which a counter says these totals."""
    return _with_crc(b"PC" + struct.pack(">4siHH", *totals))


def encode_command(command: str) -> bytes:
    """The bytes of a command; ValueError for one that is not in the manual's table."""
    return _with_crc(_COMMANDS[spelt(command, _COMMANDS)])


def _with_crc(content: bytes) -> bytes:
    return content + bytes((crc8(content),))

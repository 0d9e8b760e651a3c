"""Frames of the Hi-Link LD2450: thirty bytes from the radar, and the commands it knows.

Layout: HLK-LD2450 serial protocol manual (csRon/HLK-LD2450): AA FF 03 00, three slots of four little-endian
words (x and y in mm, speed in cm/s, resolution in mm), 55 CC; no checksum. An empty slot is all zeros.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from edgegw.driver import EitherOf, FixedLength, FrameError
from edgegw_drivers.hilink import COMMON, REPLIES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FRAMING: Final = FixedLength(start=b"\xaa\xff\x03\x00", length=30, end=b"\x55\xcc")
#: What is on the line: reports, and replies to commands.
LINE: Final = EitherOf((FRAMING, REPLIES))
SLOTS: Final = 3
_LAYOUT: Final = struct.Struct("<4x12H2x")
# The numbers' sign: bit 15 set means positive, and the other bits are the magnitude.
_POSITIVE: Final = 0x8000
_MAGNITUDE: Final = 0x7FFF

#: Commands and their values (the same manual).
COMMANDS: Final[Mapping[str, bytes]] = {
    **COMMON,
    "single target tracking": b"\x80\x00",
    "multi target tracking": b"\x90\x00",
    "query tracking mode": b"\x91\x00",
    "query target tracking mode": b"\x91\x00",
    "query zones": b"\xc1\x00",
}
#: The first byte of `query tracking mode`, and what its reply says of a radar that follows one person alone.
TRACKING_MODE: Final = 0x91
SINGLE_TARGET: Final = b"\x01\x00"


class Target(NamedTuple):
    """One slot of a frame: 1 to 3, position in mm (y: away from the radar), radial speed, resolution."""

    slot: int
    x_mm: int
    y_mm: int
    speed_cm_s: int
    resolution_mm: int


def parse(frame: bytes) -> list[Target]:
    """The slots of thirty bytes that are not empty; FrameError when length or markers are wrong."""
    reason = FRAMING.refusal(frame)
    if reason:
        raise FrameError(reason)
    words = _LAYOUT.unpack(frame)
    found = []
    for slot in range(SLOTS):
        x, y, speed, resolution = words[slot * 4 : slot * 4 + 4]
        if x or y or speed or resolution:
            found.append(Target(slot + 1, _signed(x), _signed(y), _signed(speed), resolution))
    return found


def plausible(target: Target) -> bool:
    """Whether somebody can be there.

    Old coordinates stay in slots without a target, with resolution 0 (esphome issue 15025). The radar sees
    6 m, 60 degrees to both sides; the limits leave room for its errors (PeterkoCZ91/HLK-LD2450-security).
    """
    return (
        target.resolution_mm > 0
        and -6500 <= target.x_mm <= 6500
        and 0 <= target.y_mm <= 8000
        and -1000 <= target.speed_cm_s <= 1000
    )


def encode_frame(targets: Iterable[Target]) -> bytes:
    """The frame in which a radar reports these targets, each in its slot; the other slots are empty."""
    words = [0] * (4 * SLOTS)
    for slot, *numbers, resolution in targets:
        words[slot * 4 - 4 : slot * 4] = [*map(_sign_magnitude, numbers), resolution]
    return b"\xaa\xff\x03\x00" + struct.pack("<12H", *words) + b"\x55\xcc"


def _signed(word: int) -> int:
    return word & _MAGNITUDE if word & _POSITIVE else -word


def _sign_magnitude(value: int) -> int:
    return value | _POSITIVE if value >= 0 else -value

"""The bytes that the virtual sensors put on a serial line, written without the drivers' code.

Because nothing here is shared with the drivers, a reading that comes back equal is evidence for both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

# The SDS011 data sheet's range: 0.0 to 999.9 ug/m3, sent in tenths.
SDS011_MOST: Final = 9999
# The LD2450 tracks three people at most (HLK-LD2450 serial protocol manual).
LD2450_SLOTS: Final = 3


class Target(NamedTuple):
    """One slot of an LD2450 frame: position in mm, radial speed in cm/s, resolution in mm.

    A resolution of 0 says that nobody is in the slot, whatever the coordinates say (devices leave old ones).
    """

    x_mm: int
    y_mm: int
    speed_cm_s: int
    resolution_mm: int


NOBODY: Final = Target(0, 0, 0, 0)


def sds011_frame(pm2_5_tenths: int, pm10_tenths: int, device: bytes = b"\xa1\x60") -> bytes:
    """The ten bytes of one SDS011 measurement; values in tenths of ug/m3, 0 to 9999.

    Layout: SDS011 protocol (ricki-z/SDS011): AA C0, two little-endian words, id, sum of the six bytes, AB.
    """
    for tenths in (pm2_5_tenths, pm10_tenths):
        if not 0 <= tenths <= SDS011_MOST:
            raise ValueError(f"an SDS011 says 0.0 to 999.9 ug/m3, not {tenths / 10}")
    body = pm2_5_tenths.to_bytes(2, "little") + pm10_tenths.to_bytes(2, "little") + device
    return b"\xaa\xc0" + body + bytes([sum(body) % 256]) + b"\xab"


def ld2450_frame(targets: Sequence[Target]) -> bytes:
    """The thirty bytes of one LD2450 report of at most three slots; missing slots are empty.

    Layout: HLK-LD2450 serial protocol manual: AA FF 03 00, three slots of four little-endian words, 55 CC.
    """
    if len(targets) > LD2450_SLOTS:
        raise ValueError(f"an LD2450 has {LD2450_SLOTS} slots, not {len(targets)}")
    slots = [*targets, *[NOBODY] * (LD2450_SLOTS - len(targets))]
    return b"\xaa\xff\x03\x00" + b"".join(map(_slot, slots)) + b"\x55\xcc"


def _slot(target: Target) -> bytes:
    words = (
        _sign_magnitude(target.x_mm),
        _sign_magnitude(target.y_mm),
        _sign_magnitude(target.speed_cm_s),
        target.resolution_mm,
    )
    return b"".join(word.to_bytes(2, "little") for word in words)


def _sign_magnitude(value: int) -> int:
    """A signed number as this device writes it: bit 15 set means positive; zero has no bits at all."""
    if not -0x7FFF <= value <= 0x7FFF:
        raise ValueError(f"{value} does not fit in 15 bits")
    return value | 0x8000 if value > 0 else -value


def damaged(frame: bytes) -> bytes:
    """The frame with one bit of its check flipped: the byte before the last one.

    That is the checksum of an SDS011, half of the end marker of an LD2450 and half of the CRC of a Modbus RTU
    answer, so that no receiver may take it for a frame. Of an answer of one byte that byte is flipped.
    """
    at = max(0, len(frame) - 2)
    return frame[:at] + bytes(byte ^ 0x10 for byte in frame[at : at + 1]) + frame[at + 1 :]

"""Reports of the Hi-Link LD2410: F4 F3 F2 F1, length, content, F8 F7 F6 F5; no checksum.

Layout: HLK-LD2410 serial protocol manual; morian/aio-ld2410 (captured reports). All numbers are little-endian. The
content is a type, AA, what is seen, 55 and 00.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from edgegw.driver import EitherOf, FrameError, LengthPrefixed
from edgegw_drivers.hilink import COMMON, REPLIES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BASIC: Final = 13
ENGINEERING: Final = 35
# Which type each length has.
_TYPES: Final = {BASIC: 2, ENGINEERING: 1}
REPORTS: Final = LengthPrefixed(
    start=b"\xf4\xf3\xf2\xf1",
    at=4,
    order="little",
    lengths=frozenset(_TYPES),
    extra=10,
    end=b"\xf8\xf7\xf6\xf5",
)
FRAMING: Final = EitherOf((REPORTS, REPLIES))

_SEEN: Final = struct.Struct("<8xBHBHBH")
# Gates 0 to 8, each 0.75 m deep: the report names the farthest ones, and the energy in each.
_GATES: Final = 9
_MOVING: Final = 0x01
_STILL: Final = 0x02
# Energies are percentages, and the radar sees 6 m; the limit leaves room for its errors.
MOST_ENERGY: Final = 100
FARTHEST_CM: Final = 1000

COMMANDS: Final[Mapping[str, bytes]] = {
    **COMMON,
    "read parameters": b"\x61\x00",
    "engineering mode on": b"\x62\x00",
    "engineering mode off": b"\x63\x00",
}


class Report(NamedTuple):
    """What the radar sees: who moves and who is still, how far away in cm and how strongly in %.

    `details` holds what only an engineering report says: energies by gate, light, output pin.
    """

    moving: bool
    still: bool
    moving_distance_cm: int
    moving_energy: int
    still_distance_cm: int
    still_energy: int
    detection_distance_cm: int
    details: Mapping[str, int | Sequence[int]]


def parse(frame: bytes) -> Report:
    """The content of one report; FrameError when it is none, or says what cannot be."""
    reason = REPORTS.refusal(frame)
    if reason:
        raise FrameError(reason)
    length = len(frame) - REPORTS.extra
    if frame[6] != _TYPES[length] or frame[7] != 0xAA or frame[-6:-4] != b"\x55\x00":
        raise FrameError("malformed")
    state, *seen = _SEEN.unpack_from(frame)
    if state > (_MOVING | _STILL):
        raise FrameError("state")
    details: dict[str, int | Sequence[int]] = {}
    energies = [seen[1], seen[3]]
    if length == ENGINEERING:
        if frame[17] >= _GATES or frame[18] >= _GATES:
            raise FrameError("malformed")
        moving, still = list(frame[19 : 19 + _GATES]), list(frame[19 + _GATES : 19 + 2 * _GATES])
        energies += [*moving, *still]
        details = {"moving_gates": moving, "still_gates": still, "light": frame[37], "out_pin": frame[38]}
    if max(energies) > MOST_ENERGY or max(seen[0], seen[2], seen[4]) > FARTHEST_CM:
        raise FrameError("implausible")
    return Report(
        bool(state & _MOVING), bool(state & _STILL), seen[0], seen[1], seen[2], seen[3], seen[4], details
    )

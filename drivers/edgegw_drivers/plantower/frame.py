"""Frames of the Plantower PMS family: 42 4D, a length, words, a sum; and the commands it knows.

All numbers are big-endian. The length counts what follows it, the sum with it; the sum is that of all bytes before
it. Layout by length: avaldebe/PyPMS (sensors/plantower); commands: the same, and esphome components/pmsx003.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from edgegw.driver import FrameError, LengthPrefixed, spelt

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The reply to a command: it repeats the command and its value.
ACK: Final = 4
#: PMS3003; PMSx003, 5003S and 5003T; 5003ST.
SHORT: Final = 20
USUAL: Final = 28
LONG: Final = 36

FRAMING: Final = LengthPrefixed(start=b"BM", at=2, lengths=frozenset((ACK, SHORT, USUAL, LONG)), extra=4)

_COMMANDS: Final = {
    "passive_mode": b"\xe1\x00\x00",
    "active_mode": b"\xe1\x00\x01",
    "passive_read": b"\xe2\x00\x00",
    "sleep": b"\xe4\x00\x00",
    "wake": b"\xe4\x00\x01",
}


class Frame(NamedTuple):
    """A frame's length field, which says what it is, and its words without the sum; none of an acknowledgement."""

    length: int
    words: Sequence[int]


def parse(frame: bytes) -> Frame:
    """The content of one frame; FrameError when markers, length or sum are wrong."""
    reason = FRAMING.refusal(frame)
    if reason:
        raise FrameError(reason)
    if sum(frame[:-2]) & 0xFFFF != int.from_bytes(frame[-2:]):
        raise FrameError("checksum")
    length = len(frame) - 4
    return Frame(length, () if length == ACK else struct.unpack_from(f">{length // 2 - 1}H", frame, 4))


def signed(word: int) -> int:
    """A word as a number with a sign."""
    return word - 0x10000 if word & 0x8000 else word


def encode_frame(words: Sequence[int]) -> bytes:
    """The frame in which a device says these words (0 to 65535): 9 of a PMS3003, 13 of most, 17 of a 5003ST."""
    return _summed(b"BM" + struct.pack(f">H{len(words)}H", len(words) * 2 + 2, *words))


def encode_command(command: str) -> bytes:
    """The seven bytes of a command; ValueError for one that the family does not have."""
    return _summed(b"BM" + _COMMANDS[spelt(command, _COMMANDS)])


def _summed(content: bytes) -> bytes:
    return content + struct.pack(">H", sum(content) & 0xFFFF)

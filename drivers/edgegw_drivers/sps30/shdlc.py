"""SHDLC frames: two markers, an address, a command, in answers a state, a length, data, a sum.

Layout, escapes and sum: SPS30 data sheet (in paulvha/sps30), section on the UART interface;
Sensirion/embedded-uart-sps. The data sheet prints the wake-up command with its 11 unescaped, and two example
answers with a wrong sum and a wrong state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from edgegw.driver import FrameError

MARKER: Final = 0x7E
_MARK: Final = bytes((MARKER,))
_ESCAPE: Final = 0x7D
# Escaped bytes and what stands behind the escape for them: the marker, the escape, XON and XOFF.
_ESCAPED: Final = {0x7E: 0x5E, 0x7D: 0x5D, 0x11: 0x31, 0x13: 0x33}
_MEANT: Final = {behind: meant for meant, behind in _ESCAPED.items()}
# Address, command, state, length and sum of an answer.
_AROUND_DATA: Final = 5
# The longest answer holds ten floats; device information holds up to 32 characters.
MOST_DATA: Final = 40
# An answer of nothing but escaped bytes, and its markers.
LONGEST: Final = 2 * (_AROUND_DATA + MOST_DATA) + 2


class Reply(NamedTuple):
    """An answer: its command, its state byte (bit 7: the device reports an error; the rest: refusal), its data."""

    command: int
    state: int
    data: bytes


@dataclass(frozen=True)
class Shdlc:
    """What stands between two markers. One marker may end a frame and, where a byte was lost, begin the next."""

    @property
    def longest(self) -> int:
        """Length in bytes of the longest frame with every byte escaped."""
        return LONGEST

    def find(self, buffer: bytes, start: int) -> tuple[int, int]:
        """See `Framing.find`."""
        size = len(buffer)
        while True:
            begin = buffer.find(_MARK, start)
            if begin < 0:
                return size, size
            end = buffer.find(_MARK, begin + 1, begin + LONGEST)
            if end < 0 and size < begin + LONGEST:
                return begin, begin
            if end - begin > _AROUND_DATA:
                return begin, end + 1
            # Too little between them: the first one ended something; or nothing that short ends: noise.
            start = end if end >= 0 else begin + 1

    def refusal(self, data: bytes) -> str | None:
        """`truncated`, `header` or `framing` (more than one frame); None for what stands between two markers."""
        if data[:1] not in (b"", _MARK):
            return "header"
        if len(data) > LONGEST or MARKER in data[1:-1]:
            return "framing"
        if len(data) < 2 or data[-1] != MARKER:
            return "truncated"
        return None


def request(command: int, data: bytes = b"") -> bytes:
    """The frame of a command to the one device on the line (address 0)."""
    content = bytes((0, command, len(data))) + data
    return _MARK + _escape(content + bytes((_sum(content),))) + _MARK


def answer(command: int, data: bytes = b"", state: int = 0) -> bytes:
    """The frame in which a device answers a command."""
    content = bytes((0, command, state, len(data))) + data
    return _MARK + _escape(content + bytes((_sum(content),))) + _MARK


def parse(frame: bytes) -> Reply:
    """The answer in a frame; FrameError when length, sum or address are wrong."""
    content = _unescape(frame[1:-1])
    if len(content) < _AROUND_DATA or len(content) < _AROUND_DATA + content[3]:
        raise FrameError("truncated")
    if len(content) > _AROUND_DATA + content[3]:
        raise FrameError("framing")
    if _sum(content[:-1]) != content[-1]:
        raise FrameError("checksum")
    if content[0] != 0:
        raise FrameError("wrong_address")
    return Reply(content[1], content[2], content[4:-1])


def _sum(content: bytes) -> int:
    return ~sum(content) & 0xFF


def _escape(content: bytes) -> bytes:
    found = bytearray()
    for byte in content:
        found += bytes((_ESCAPE, _ESCAPED[byte])) if byte in _ESCAPED else bytes((byte,))
    return bytes(found)


def _unescape(content: bytes) -> bytes:
    """One pass from left to right: replaced pair by pair, 7D 5D 31 would become 11 instead of 7D 31."""
    found = bytearray()
    rest = iter(content)
    for byte in rest:
        if byte != _ESCAPE:
            found.append(byte)
            continue
        meant = _MEANT.get(next(rest, 0))
        if meant is None:
            raise FrameError("malformed")
        found.append(meant)
    return bytes(found)

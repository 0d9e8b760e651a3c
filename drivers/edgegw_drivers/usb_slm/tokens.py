"""The tokens of a CEM DT-8852 and its clones: 0xA5, what it is about, and for two of them digits.

Token table: PyPI dt8852 1.1.0. Digits are binary-coded decimals, two in a byte.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from edgegw.driver import FrameError

MARK: Final = 0xA5
_LEVEL: Final = 0x0D
_TIME: Final = 0x06
# Digits behind a token, in bytes; every other token stands alone.
_DIGITS: Final = {_LEVEL: 2, _TIME: 3}

_FREQUENCY: Final = {0x1B: "A", 0x1C: "C"}
_WEIGHTED: Final = {0x02: "F", 0x03: "S"}
_RANGE: Final = {0x07: "over", 0x08: "under", 0x11: "ok"}
_HOLD: Final = {0x0E: "live", 0x04: "max", 0x05: "min"}


@dataclass(frozen=True)
class Tokens:
    """Each token with its digits is a frame."""

    longest: int = 5

    def find(self, buffer: bytes, start: int) -> tuple[int, int]:
        """See `Framing.find`."""
        begin = buffer.find(MARK, start)
        if begin < 0:
            return len(buffer), len(buffer)
        if begin + 1 == len(buffer):
            return begin, begin
        end = begin + 2 + _DIGITS.get(buffer[begin + 1], 0)
        return (begin, end) if end <= len(buffer) else (begin, begin)

    def refusal(self, data: bytes) -> str | None:
        """`header`, `truncated` or `framing`; None for one token."""
        if data[:1] not in {b"", bytes((MARK,))}:
            return "header"
        begin, end = self.find(data, 0)
        if begin == end:
            return "truncated"
        return "framing" if end < len(data) else None


@dataclass
class Display:
    """What the meter's display shows, as far as its tokens have said it."""

    frequency: str = ""
    time: str = ""
    range_state: str = ""
    hold: str = ""

    def take(self, token: bytes) -> float | None:
        """The level in dB that a token states; None for one that is about something else, and remembered.

        FrameError `malformed` when digits are none.
        """
        about, digits = token[1], token[2:]
        if about == MARK:
            raise FrameError("malformed")
        if MARK in digits or (about == _LEVEL and not digits.hex().isdecimal()):
            raise FrameError("malformed")
        self.frequency = _FREQUENCY.get(about, self.frequency)
        self.time = _WEIGHTED.get(about, self.time)
        self.range_state = _RANGE.get(about, self.range_state)
        self.hold = _HOLD.get(about, self.hold)
        return int(digits.hex()) / 10 if about == _LEVEL else None

    @property
    def meta(self) -> dict[str, object]:
        """What is known, by name."""
        known = {
            "frequency_weighting": self.frequency,
            "time_weighting": self.time,
            "range_state": self.range_state,
            "hold": self.hold,
        }
        return {key: value for key, value in known.items() if value}

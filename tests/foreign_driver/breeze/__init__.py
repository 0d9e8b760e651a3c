"""A wind sensor: the driver that CONTRIBUTING.md writes in an hour."""

from dataclasses import dataclass
from typing import ClassVar

from edgegw.driver import QUANTITIES, FixedLength, FrameError, Reading, SerialLine, StreamDriver


@dataclass(frozen=True)
class Breeze(StreamDriver):
    """A wind sensor that sends b"W", the speed in tenths of m/s (u16, big-endian) and a sum, at 9600 baud."""

    quantities: ClassVar = ("wind_speed",)
    line: ClassVar = SerialLine(baudrate=9600)
    framing: ClassVar = FixedLength(start=b"W", length=4)

    def decode(self, frame: bytes) -> list[Reading]:
        """One reading; FrameError when the sum is wrong."""
        if sum(frame[:3]) & 0xFF != frame[3]:
            raise FrameError("checksum")
        return [Reading(QUANTITIES["wind_speed"], int.from_bytes(frame[1:3]) / 10)]

"""Frames of the Nova SDS011 family: ten bytes from the device, nineteen bytes to it.

Layout and commands: ricki-z/SDS011; lewapek/sds-dust-sensors-arduino-library (command tables); the SDS198's
frame: avaldebe/PyPMS.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from edgegw.driver import FixedLength, FrameError, spelt

if TYPE_CHECKING:
    from collections.abc import Mapping

# The second byte says what a frame is: PM2.5 and PM10, PM100 (SDS198), or the reply to a command.
MEASUREMENT: Final = 0xC0
MEASUREMENT_198: Final = 0xCF
REPLY: Final = 0xC5

FRAMING: Final = FixedLength(
    start=tuple(bytes((0xAA, kind)) for kind in (MEASUREMENT, MEASUREMENT_198, REPLY)), length=10, end=b"\xab"
)
_LAYOUT: Final = struct.Struct("<xBHH2sxx")

#: Commands whose replies say a setting that survives a power cut.
MODE: Final = 0x02
PERIOD: Final = 0x08
#: The two id bytes that address any device on the line.
ANY_DEVICE: Final = "ffff"
# The data bytes that make each command; what is not named is zero.
_COMMANDS: Final = {
    "get_mode": b"\x02",
    "set_active": b"\x02\x01\x00",
    "set_query": b"\x02\x01\x01",
    "query_data": b"\x04",
    "sleep": b"\x06\x01\x00",
    "wake": b"\x06\x01\x01",
    "get_firmware": b"\x07",
    "get_period": b"\x08",
    "set_period": b"\x08\x01",
}
#: Longest work period in minutes: measure half a minute, then be off for the rest. 0 is always on.
LONGEST_PERIOD: Final = 30


class Frame(NamedTuple):
    """What a frame says: its kind, two words (for a measurement: PM2.5 and PM10 in 0.1 ug/m3), two id bytes."""

    kind: int
    first: int
    second: int
    device: bytes


def parse(frame: bytes) -> Frame:
    """The content of ten bytes; FrameError when length, markers or checksum are wrong."""
    reason = FRAMING.refusal(frame)
    if reason:
        raise FrameError(reason)
    if sum(frame[2:8]) & 0xFF != frame[8]:
        raise FrameError("checksum")
    return Frame(*_LAYOUT.unpack(frame))


def encode_frame(pm2_5: float, pm10: float, device: str = "a160") -> bytes:
    """The frame in which a device says PM2.5 and PM10 in ug/m3 (0 to 6553.5); `device` in four hex digits."""
    content = struct.pack("<HH", round(pm2_5 * 10), round(pm10 * 10)) + _device(device)
    return bytes((0xAA, MEASUREMENT)) + content + bytes((sum(content) & 0xFF, 0xAB))


def encode_command(command: str, options: Mapping[str, Any]) -> bytes:
    """The nineteen bytes of a command; options `dev` (four hex digits) and, for `set_period`, `period`.

    ValueError for a command that the family does not have, or one that would change a calibration or an id:
    those are not sent by this driver.
    """
    command = spelt(command, _COMMANDS)
    data = _COMMANDS[command]
    if command == "set_period":
        period = options.get("period")
        if not isinstance(period, int) or not 0 <= period <= LONGEST_PERIOD:
            raise ValueError(f"period: 0 to {LONGEST_PERIOD} minutes, not {period!r}")
        data += bytes((period,))
    content = data.ljust(13, b"\0") + _device(options.get("dev", ANY_DEVICE))
    return b"\xaa\xb4" + content + bytes((sum(content) & 0xFF, 0xAB))


def _device(text: str) -> bytes:
    device = bytes.fromhex(text)
    if len(device) != 2:
        raise ValueError(f"a device id has four hexadecimal digits, not {text!r}")
    return device

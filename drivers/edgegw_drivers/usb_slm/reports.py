"""What a GM1356 says in a HID report, and a UT353BT in a Bluetooth notification.

GM1356: dobra-noc/gm1356, pvachon/gm1356. UT353BT: koivunen/ut353bt, labitat/ESP32-UT353BT_Sound-Level-Logger; the
checksum was worked out from their two published frames.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from edgegw.driver import FrameError

# Both meters state 30 to 130 dB; a little more is a meter out of adjustment, much more is damage.
LOWEST_DB: Final = 20.0
HIGHEST_DB: Final = 145.0

_FAST: Final = 0x40
_MAX: Final = 0x20
_C: Final = 0x10
_RANGES: Final = 5

_HEAD: Final = b"\xaa\xbb"
_SAID: Final = re.compile(rb"\s*(\d{1,3}\.\d)\s*dB([AC])(?:=(\w))?\s*\Z")
_OVER: Final = re.compile(rb"\s*[O0]L", re.IGNORECASE)


class Shown(NamedTuple):
    """What a meter shows: a level in dB, its weighting (`A`, `C`), whether it holds a maximum, and the rest."""

    level: float
    frequency: str
    held: bool
    meta: dict[str, object]


def gm1356(report: bytes) -> Shown:
    """The eight bytes of a report. FrameError for another length, `malformed`, `implausible`.

    Level in 0.1 dB, high byte first; then settings in four bits and the range in four; the rest means nothing.
    """
    if len(report) != 8:
        raise FrameError("truncated" if len(report) < 8 else "framing")
    settings = report[2]
    if settings & 0x0F >= _RANGES:
        raise FrameError("malformed")
    frequency, held = "C" if settings & _C else "A", bool(settings & _MAX)
    meta: dict[str, object] = {
        "time_weighting": "F" if settings & _FAST else "S",
        "frequency_weighting": frequency,
        "max_hold": held,
        "range_index": settings & 0x0F,
    }
    return Shown(_plausible(int.from_bytes(report[:2], "big") / 10), frequency, held, meta)


def ut353bt(notification: bytes) -> Shown:
    """One notification. FrameError `header`, `truncated`, `framing`, `checksum`, `overload`, `malformed`, `implausible`.

    AA BB, the number of bytes behind that, two bytes of state, text, 00, and the sum of all bytes before it in two.
    """
    if notification[:2] != _HEAD[: len(notification)]:
        raise FrameError("header")
    if len(notification) < 3 or len(notification) < 3 + notification[2]:
        raise FrameError("truncated")
    if len(notification) > 3 + notification[2] or len(notification) < 8:
        raise FrameError("framing")
    if sum(notification[:-2]) & 0xFFFF != int.from_bytes(notification[-2:], "big"):
        raise FrameError("checksum")
    state, text = notification[3:5], notification[5:-2].rstrip(b"\0")
    if _OVER.match(text):
        raise FrameError("overload")
    said = _SAID.fullmatch(text)
    if said is None:
        raise FrameError("malformed")
    meta: dict[str, object] = {"frequency_weighting": said[2].decode(), "state": state.hex()}
    return Shown(_plausible(float(said[1])), said[2].decode(), held=False, meta=meta)


def _plausible(level: float) -> float:
    if not LOWEST_DB <= level <= HIGHEST_DB:
        raise FrameError("implausible")
    return level

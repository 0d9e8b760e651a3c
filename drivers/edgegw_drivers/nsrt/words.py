"""What is asked of an NSRT, and what its answers hold: bytes without markers, numbers or checksums.

A request is three words of 32 bits, low byte first: command (bit 31: read), address, count of bytes. The answer is
exactly that many bytes. Commands: xanderhendriks/nsrt-mk3-dev, which follows the instrument's data sheet.
"""

from __future__ import annotations

import datetime as dt
import math
import struct
from dataclasses import dataclass
from typing import Final, NamedTuple

from edgegw.driver import FrameError

_READ: Final = 0x8000_0000
_EPOCH: Final = dt.datetime(1904, 1, 1, tzinfo=dt.UTC)

#: Weightings by the number that the instrument says.
WEIGHTINGS: Final = ("C", "A", "Z")
# What the microphone can hear is 30 to 130 dB; the words go a good deal further before they are damaged bytes.
LEVELS_DB: Final = (0.0, 160.0)
#: Operating range of the instrument with ample room, degrees Celsius.
TEMPERATURES: Final = (-60.0, 100.0)


class Word(NamedTuple):
    """One thing to read: its command without the direction, bytes of the answer, and what they are."""

    command: int
    length: int
    kind: str


WORDS: Final = {
    "level": Word(0x10, 4, "float"),
    "leq": Word(0x11, 4, "float"),
    "temperature": Word(0x12, 4, "float"),
    "weighting": Word(0x20, 1, "integer"),
    "sample_rate": Word(0x21, 2, "integer"),
    "tau": Word(0x22, 4, "float"),
    "model": Word(0x31, 32, "text"),
    "serial": Word(0x32, 32, "text"),
    "firmware": Word(0x33, 32, "text"),
    "calibration": Word(0x34, 8, "date"),
    "birth": Word(0x35, 8, "date"),
    "user_id": Word(0x36, 32, "text"),
}
# Other words for the same, as people write them; the first that occurs decides.
_CALLED: Final = {
    "level": "level",
    "leq": "leq",
    "temp": "temperature",
    "weight": "weighting",
    "sampl": "sample_rate",
    "fs": "sample_rate",
    "tau": "tau",
    "time constant": "tau",
    "model": "model",
    "serial": "serial",
    "firmware": "firmware",
    "calib": "calibration",
    "birth": "birth",
    "user": "user_id",
}


@dataclass(frozen=True)
class Octets:
    """Each byte is a frame: nothing in an answer says where it begins or ends, only the question says how long it is."""

    longest: int = 1

    def find(self, buffer: bytes, start: int) -> tuple[int, int]:
        """See `Framing.find`."""
        return start, min(start + 1, len(buffer))

    def refusal(self, data: bytes) -> str | None:
        """`truncated` or `framing`; None for one byte."""
        return None if len(data) == 1 else "framing" if data else "truncated"


def called(command: str) -> str:
    """Which word a command in words means, such as "read Leq and restart the integration"; ValueError for none.

    Nothing that writes is made here: no setting of the instrument is changed by this driver.
    """
    words = command.lower().replace("_", " ")
    if not words.startswith(("write", "set")):
        found = [(words.index(each), name) for each, name in _CALLED.items() if each in words]
        if found:
            return min(found)[1]
    raise ValueError(f"no command {command!r}; there are {', '.join(f'read {name}' for name in WORDS)}")


def request(name: str) -> bytes:
    """The twelve bytes that read a word."""
    command, length, _ = WORDS[name]
    return struct.pack("<III", _READ | command, 0, length)


def content(name: str, answer: bytes) -> float | str:
    """What an answer says: a number, a text, or a date as YYYY-MM-DD.

    FrameError `truncated` or `byte_count` for another length, `not_a_number`, `implausible`, `malformed`.
    """
    _, length, kind = WORDS[name]
    if len(answer) != length:
        raise FrameError("truncated" if len(answer) < length else "byte_count")
    if kind == "text":
        return _text(answer)
    if kind == "date":
        return _date(int.from_bytes(answer, "little"))
    if kind == "integer":
        number = int.from_bytes(answer, "little")
        if name == "weighting" and number >= len(WEIGHTINGS):
            raise FrameError("implausible", whole=True)
        return number
    return _float(name, struct.unpack("<f", answer)[0])


def _float(name: str, value: float) -> float:
    if not math.isfinite(value):
        raise FrameError("not_a_number", whole=True)
    lowest, highest = {"temperature": TEMPERATURES, "tau": (0.0, 3600.0)}.get(name, LEVELS_DB)
    if not lowest <= value <= highest:
        raise FrameError("implausible", whole=True)
    # A float of 32 bits holds about seven digits; the rest of its conversion says nothing.
    return float(f"{value:.7g}")


def _text(answer: bytes) -> str:
    text = answer.split(b"\0")[0]
    if not text or not all(0x20 <= byte < 0x7F for byte in text):
        raise FrameError("malformed")
    return text.decode("ascii").strip()


def _date(seconds: int) -> str:
    try:
        return (_EPOCH + dt.timedelta(seconds=seconds)).date().isoformat()
    except OverflowError:
        raise FrameError("implausible", whole=True) from None

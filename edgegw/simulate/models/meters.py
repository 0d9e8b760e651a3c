"""Sound level meters that answer in lines of text, on a serial line or a socket, and the NSRT's binary words."""

from __future__ import annotations

import math
import struct
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final, NamedTuple

from edgegw.simulate import numbers
from edgegw.simulate.answering import Answer, SerialAnswerer, TcpAnswerer
from edgegw.simulate.devices import Said, Talker
from edgegw.simulate.model import Model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgegw.simulate.model import Setting

# No question of these meters is longer; more without its end is none.
_LONGEST: Final = 512
_NSRT_REQUEST: Final = 12
_NSRT_PAUSE_S: Final = 0.5


class Levels(NamedTuple):
    """What a meter shows, in tenths of dB."""

    leq: int
    highest: int
    lowest: int


def _levels(setting: Setting, number: int, t: float) -> Levels:
    level = numbers.level(number) if setting.numbered else setting.street.level(number, t)
    return Levels(level, level + 63, max(level - 41, 200))


class _Meter(ABC):
    """A meter that takes one question up to each end mark; `end` is the byte that ends a question."""

    end: bytes

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._pending = b""

    def asked(self, data: bytes, number: int, t: float) -> Sequence[Answer]:
        """See `Behaviour.asked`."""
        *questions, rest = (self._pending + data).split(self.end)
        self._pending = rest[-_LONGEST:]
        found = []
        for question in questions:
            answer = self.says(question.decode("ascii", "replace").strip(), number, t)
            if answer is not None:
                found.append(answer)
                number += bool(answer.values)
        return found

    @abstractmethod
    def says(self, question: str, number: int, t: float) -> Answer | None:
        """The answer to one question; None where the meter is silent."""


class Svantek(_Meter):
    """A SVAN 971 that measures: profile 1 with filter A and detector fast."""

    end = b";"

    def says(self, question: str, number: int, t: float) -> Answer | None:
        """Functions #1 (settings), #2 (results) and #7 (battery) of its manual's appendix on remote control."""
        if question == "#1":
            return Answer(b"#1,U971,N34567,Q0,M1,F2:1,F3:2,F1:3,C1:1,C1:2,C2:3,J3:1,S1,D1s;", {})
        if question.startswith("#2") and self._setting.blank(number, t):
            return Answer(b"#2,?;", {})
        if question.startswith("#2,1"):
            levels = _levels(self._setting, number, t)
            shown = [f"{tenths / 10:.1f}" for tenths in levels]
            text = f"#2,1,V0,v0,T{number + 1},P{shown[1]},M{shown[1]},N{shown[2]},S{shown[0]},R{shown[0]};"
            values = dict(zip(("laeq", "lafmax", "lafmin"), (each / 10 for each in levels), strict=True))
            return Answer(text.encode(), values)
        return Answer(b"#7,BS,80;", {}) if question == "#7,BS" else None


class Xl2(_Meter):
    """An XL2 with the option Remote Measurement, running."""

    end = b"\n"

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._held = Levels(0, 0, 0)
        self._held_number = 0

    def says(self, question: str, number: int, t: float) -> Answer | None:
        """Questions of the Remote Measurement reference manual."""
        if question == "*IDN?":
            return Answer(b"NTiAudio,XL2,A2A-02345-D1,FW4.21\r\n", {})
        if question == "INIT:STATE?":
            return Answer(b"RUNNING\r\n", {})
        if question == "MEAS:INIT":
            self._held = _levels(self._setting, number, t)
            return None
        names = {"LAEQ": ("laeq", 0), "LAFMAX": ("lafmax", 1), "LAFMIN": ("lafmin", 2)}
        asked = question.removeprefix("MEAS:SLM:123? ")
        if asked == question:
            return None
        if asked not in names:
            return Answer(b";\r\n", {})
        if self._setting.blank(number, t):
            return Answer(b"-999 dB, UNDEF\r\n", {})
        quantity, place = names[asked]
        value = self._held[place] / 10
        return Answer(f"{value:.1f} dB, OK\r\n".encode(), {quantity: value})


class Rion(_Meter):
    """An NL-53 that measures, weighted A and fast."""

    end = b"\r\n"

    def says(self, question: str, number: int, t: float) -> Answer | None:
        """Commands of the NL-43/NL-53 Communication Guide: a line with the result code, a line of data."""
        known = {
            "Type?": "NL-53",
            "Serial Number?": "00123456",
            "Frequency Weighting (Main)?": "A",
            "Time Weighting (Main)?": "F",
            "Measure?": "Start",
            "Battery Level?": "Full",
        }
        if question in known:
            return Answer(f"R+0000\r\n{known[question]}\r\n$ ".encode(), {})
        if question != "DOD?":
            return Answer(b"R+0001\r\n$ ", {})
        levels = _levels(self._setting, number, t)
        leq, highest, lowest = (f"{each / 10:5.1f}" for each in levels)
        if self._setting.blank(number, t):
            return Answer(f"R+0000\r\n{','.join(['--.-'] * 14)},0,0\r\n$ ".encode(), {})
        fields = [
            leq,
            leq,
            leq,
            highest,
            lowest,
            leq,
            leq,
            leq,
            lowest,
            lowest,
            highest,
            leq,
            leq,
            leq,
            "0",
            "0",
        ]
        values = dict(zip(("laeq", "lafmax", "lafmin"), (each / 10 for each in levels), strict=True))
        return Answer(f"R+0000\r\n{','.join(fields)}\r\n$ ".encode(), values)


class Nsrt:
    """An NSRT mk3, weighted A: three words of 32 bits in, as many bytes as were asked for out."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._pending = b""
        self._heard = 0.0

    def asked(self, data: bytes, number: int, t: float) -> Sequence[Answer]:
        """See `Behaviour.asked`; commands: xanderhendriks/nsrt-mk3-dev."""
        # What was no request is forgotten after a pause, or no later one would begin where it does.
        pending = self._pending if t - self._heard < _NSRT_PAUSE_S else b""
        self._heard = t
        self._pending = (pending + data)[-_LONGEST:]
        found = []
        while len(self._pending) >= _NSRT_REQUEST:
            command, _, count = struct.unpack("<III", self._pending[:_NSRT_REQUEST])
            self._pending = self._pending[_NSRT_REQUEST:]
            blank = self._setting.blank(number, t)
            level = math.nan if blank else _levels(self._setting, number, t).leq / 10
            as_sent = float(f"{struct.unpack('<f', struct.pack('<f', level))[0]:.7g}")
            known: dict[int, tuple[bytes, Mapping[str, float]]] = {
                0x80000010: (struct.pack("<f", level), {"la_sampled": as_sent}),
                0x80000011: (struct.pack("<f", level), {"laeq": as_sent}),
                0x80000012: (struct.pack("<f", 21.5), {}),
                0x80000020: (b"\x01", {}),
                0x80000022: (struct.pack("<f", 0.125), {}),
                0x80000031: (b"NSRT_mk3".ljust(32, b"\0"), {}),
                0x80000032: (b"AbCdEf1234567890".ljust(32, b"\0"), {}),
            }
            content, values = known.get(command, (bytes(count), {}))
            values = {} if blank else values
            found.append(Answer(content[:count], values))
            number += bool(values)
        return found


def _dt8852(setting: Setting) -> Talker:
    """A CEM DT-8852: tokens of A5 and what they are about, digits as binary-coded decimals (PyPI dt8852)."""

    def say(number: int, t: float) -> Said:
        tenths = _levels(setting, number, t).leq
        digits = bytes.fromhex(f"{tenths:04d}")
        # Weighted A and fast, live; without a value it says that its range is too low, and no level.
        state = b"\xa5\x1b\xa5\x02\xa5\x0e"
        if setting.blank(number, t):
            return Said(state + b"\xa5\x08", {})
        level = b"\xa5\x0d" + digits
        return Said(state + b"\xa5\x11" + level, {"la_sampled": tenths / 10}, damaged=state + level[:2])

    return Talker(setting.link, setting.sensor.period_s, say, setting.around)


def _svantek(setting: Setting) -> SerialAnswerer:
    return SerialAnswerer(setting.link, Svantek(setting), setting.around)


def _xl2(setting: Setting) -> SerialAnswerer:
    return SerialAnswerer(setting.link, Xl2(setting), setting.around)


def _rion(setting: Setting) -> TcpAnswerer:
    return TcpAnswerer(Rion(setting), setting.around)


def _nsrt(setting: Setting) -> SerialAnswerer:
    return SerialAnswerer(setting.link, Nsrt(setting), setting.around)


MODELS: Final[Mapping[str, Model]] = {
    "dt8852": Model("usb_slm", _dt8852, interval="1s", period_s=0.5),
    "svantek": Model("ascii_slm", _svantek, numbered_interval="1s", keys={"model": "svantek"}),
    "nti-xl2": Model("ascii_slm", _xl2, numbered_interval="1s", keys={"model": "nti-xl2"}),
    "rion-nl53": Model("ascii_slm", _rion, "host", numbered_interval="5s", keys={"model": "rion-nl43"}),
    "nsrt": Model("nsrt", _nsrt, numbered_interval="1s"),
}

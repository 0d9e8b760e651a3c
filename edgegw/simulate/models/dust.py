"""Particle sensors: SDS011, Plantower PMS, Sensirion SPS30."""

from __future__ import annotations

import struct
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from edgegw.simulate import numbers
from edgegw.simulate.answering import Answer, SerialAnswerer
from edgegw.simulate.devices import Said, Talker
from edgegw.simulate.frames import sds011_frame
from edgegw.simulate.model import Model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgegw.simulate.model import Setting

# SHDLC (SPS30 data sheet §4): marker, and what is sent for the bytes that may not stand in a frame.
_MARKER: Final = b"\x7e"
_STUFFED: Final = {0x7E: b"\x7d\x5e", 0x7D: b"\x7d\x5d", 0x11: b"\x7d\x31", 0x13: b"\x7d\x33"}
# State bytes (SPS30 data sheet §4.1): done; not allowed in this state.
_DONE, _NOT_NOW = 0x00, 0x43
# A request is a few bytes; more without a marker is no request.
_LONGEST: Final = 64


def _dust(setting: Setting, number: int, t: float) -> tuple[int, int]:
    return numbers.air(number) if setting.numbered else setting.street.dust(number, t)


def _sds011(setting: Setting) -> Talker:
    def say(number: int, t: float) -> Said:
        if setting.blank(number, t):
            return Said(sds011_frame(0, 0), {})
        fine, coarse = _dust(setting, number, t)
        return Said(sds011_frame(fine, coarse), {"pm2_5": fine / 10, "pm10": coarse / 10})

    return Talker(setting.link, setting.sensor.period_s, say, setting.around)


def pms_frame(words: Sequence[int]) -> bytes:
    """A Plantower frame of these words: 42 4D, the length of what follows, the words, the sum of all before it.

    Layout: PMS5003 and PMS7003 series data manuals, appendix on the transport protocol.
    """
    body = b"\x42\x4d" + (2 * len(words) + 2).to_bytes(2) + b"".join(word.to_bytes(2) for word in words)
    return body + (sum(body) & 0xFFFF).to_bytes(2)


def _pms7003(setting: Setting) -> Talker:
    def say(number: int, t: float) -> Said:
        if setting.blank(number, t):
            return Said(pms_frame([0] * 12 + [0x9700]), {})
        # Whole micrograms, and the device's own PM1, which follows PM2.5.
        fine, coarse = (tenths // 10 for tenths in _dust(setting, number, t))
        pm1 = fine * 2 // 3
        # Particles larger than 10, 5, 2.5, 1, 0.5 and 0.3 um in 0.1 l of air: each number holds the ones before it.
        shares = (1 + coarse // 40, 1 + coarse // 8, fine, 5 + fine * 7, 14 + fine * 37, 40 + fine * 115)
        counts = list(accumulate(shares))[::-1]
        words = [pm1, fine, coarse, pm1, fine, coarse, *(min(count, 0xFFFF) for count in counts), 0x9700]
        return Said(pms_frame(words), {"pm1": pm1, "pm2_5": fine, "pm10": coarse})

    return Talker(setting.link, setting.sensor.period_s, say, setting.around)


class Sps30:
    """An SPS30: sleeps after power-on, answers what it is asked, measures once it was started."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._pending = b""
        self._measures = False

    def asked(self, data: bytes, number: int, t: float) -> Sequence[Answer]:
        """See `Behaviour.asked`."""
        self._pending = (self._pending + data)[-_LONGEST:]
        found = []
        while (end := self._frame_end()) is not None:
            frame, self._pending = self._pending[:end], self._pending[end:]
            content = _unstuffed(frame.strip(_MARKER))
            if len(content) >= 4 and (~sum(content[:-1]) & 0xFF) == content[-1]:
                found.append(self._answer(content[1], content[3:-1], number, t))
        return found

    def _frame_end(self) -> int | None:
        """Behind the first whole frame; what stands before its start marker is dropped."""
        start = self._pending.find(_MARKER)
        if start < 0:
            self._pending = b""
            return None
        self._pending = self._pending[start:]
        end = self._pending.find(_MARKER, 1)
        return None if end < 0 else end + 1

    def _answer(self, command: int, content: bytes, number: int, t: float) -> Answer:
        if command == 0x03:
            return self._values(number, t)
        if command in {0x00, 0x01}:
            allowed = self._measures is (command == 0x01)
            self._measures = command == 0x00
            return Answer(_shdlc(command, _DONE if allowed else _NOT_NOW, b""), {})
        known = {
            0xD0: b"00080000\0" if content[:1] == b"\x00" else b"A1B2C3D4E5F60718\0",
            0xD1: bytes((2, 2, 0, 7, 0, 2, 0)),
            0xD2: bytes(5),
        }
        return Answer(_shdlc(command, _DONE, known.get(command, b"")), {})

    def _values(self, number: int, t: float) -> Answer:
        if not self._measures:
            return Answer(_shdlc(0x03, _NOT_NOW, b""), {})
        if self._setting.blank(number, t):
            return Answer(_shdlc(0x03, _DONE, b""), {})
        fine, coarse = (tenths / 10 for tenths in _dust(self._setting, number, t))
        pm1, pm4 = fine * 0.75, (fine + coarse) / 2
        floats = (pm1, fine, pm4, coarse, fine * 6, fine * 7, fine * 7.25, fine * 7.5, fine * 7.5, 0.625)
        as_sent = struct.unpack(">10f", struct.pack(">10f", *floats))
        values = dict(zip(("pm1", "pm2_5", "pm4", "pm10"), as_sent, strict=False))
        return Answer(_shdlc(0x03, _DONE, struct.pack(">10f", *floats)), values)


def _shdlc(command: int, state: int, data: bytes) -> bytes:
    """A reply of device 0 (SPS30 data sheet §4.1)."""
    content = bytes((0, command, state, len(data))) + data
    content += bytes((~sum(content) & 0xFF,))
    return _MARKER + b"".join(_STUFFED.get(byte, bytes((byte,))) for byte in content) + _MARKER


def _unstuffed(content: bytes) -> bytes:
    """The content of a frame as it was before stuffing."""
    plain = {stuffed: bytes((byte,)) for byte, stuffed in _STUFFED.items()}
    found, at = b"", 0
    while at < len(content):
        step = 2 if content[at : at + 1] == b"\x7d" else 1
        found += plain.get(content[at : at + step], content[at : at + step])
        at += step
    return found


def _sps30(setting: Setting) -> SerialAnswerer:
    return SerialAnswerer(setting.link, Sps30(setting), setting.around)


MODELS: Final[Mapping[str, Model]] = {
    "sds011": Model("sds011", _sds011),
    "pms7003": Model("plantower", _pms7003),
    "sps30": Model("sps30", _sps30, interval="2s", numbered_interval="1s", keys={"allow_setup": True}),
}

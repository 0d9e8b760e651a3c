"""Radars and counters of people."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from edgegw.simulate.devices import Said, Say, Talker
from edgegw.simulate.frames import ld2450_frame
from edgegw.simulate.model import Model
from edgegw.simulate.people import LINE
from edgegw.simulate.radar import ParadeRadar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgegw.simulate.model import Setting


def _ld2450(setting: Setting) -> Talker:
    say = _parade() if setting.numbered else _watch(setting)
    return Talker(setting.link, setting.sensor.period_s, say, setting.around)


def _parade() -> Say:
    parade = ParadeRadar()

    def say(number: int, t: float) -> Said:
        targets = parade.targets(number, t)
        return Said(ld2450_frame(targets), {"targets": len(targets)}, parade.leg(t))

    return say


def _watch(setting: Setting) -> Say:
    crowd = setting.crowd()

    def say(number: int, t: float) -> Said:
        targets = crowd.targets(number, t)
        seen = sum(target.resolution_mm > 0 for target in targets)
        return Said(ld2450_frame(targets), {"targets": seen})

    return say


def ld2410_frame(*, moving: bool, still: bool, distance_cm: int) -> bytes:
    """A basic report of the LD2410: 13 bytes between the markers (HLK-LD2410 serial protocol manual)."""
    status = moving | still << 1
    energy = 60 if moving else 30
    inner = struct.pack("<BHBHBH", status, distance_cm, energy, distance_cm, energy, distance_cm)
    data = b"\x02\xaa" + inner + b"\x55\x00"
    return b"\xf4\xf3\xf2\xf1" + len(data).to_bytes(2, "little") + data + b"\xf8\xf7\xf6\xf5"


def _ld2410(setting: Setting) -> Talker:
    crowd = None if setting.numbered else setting.crowd()

    def say(number: int, t: float) -> Said:
        if crowd is None:
            there = number % 3 != 0
        else:
            there = any(target.resolution_mm > 0 for target in crowd.targets(number, t))
        frame = ld2410_frame(moving=there and number % 2 == 0, still=there, distance_cm=50 + number % 400)
        return Said(frame, {"occupancy": int(there)})

    return Talker(setting.link, setting.sensor.period_s, say, setting.around)


def terabee_frame(into: int, out: int) -> bytes:
    """A binary report of the Evo People Counter: PC, id, counter, in, out, CRC-8 (its user manual)."""
    body = b"PC" + (0x00A1B2C3).to_bytes(4) + (into - out & 0xFFFFFFFF).to_bytes(4)
    body += (into & 0xFFFF).to_bytes(2) + (out & 0xFFFF).to_bytes(2)
    check = 0
    for byte in body:
        check ^= byte
        for _ in range(8):
            check = (check << 1 ^ 0x07 if check & 0x80 else check << 1) & 0xFF
    return body + bytes((check,))


def _terabee(setting: Setting) -> Talker:
    crowd = None if setting.numbered else setting.crowd()

    def say(number: int, t: float) -> Said:
        if crowd is None:
            # One more goes in with each report, one more out with each second one; its first total says nothing.
            values = {"count_in": 1, "count_out": number % 2}
            return Said(terabee_frame(number + 1, (number + 1) // 2), values if number else {})
        passed = crowd.crowd.passed(t)
        return Said(terabee_frame(passed.into, passed.out), {})

    return Talker(setting.link, setting.sensor.period_s, say, setting.around)


MODELS: Final[Mapping[str, Model]] = {
    "ld2410": Model("ld2410", _ld2410, interval="1s", period_s=0.1),
    "ld2450": Model("ld2450", _ld2450, interval="1s", keys={"line": LINE}, period_s=0.1),
    "terabee": Model("terabee", _terabee, interval="10s"),
}

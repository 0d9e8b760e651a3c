"""Radars and counters of people."""

from __future__ import annotations

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


MODELS: Final[Mapping[str, Model]] = {
    "ld2450": Model("ld2450", _ld2450, interval="1s", keys={"line": LINE}, period_s=0.1)
}

"""Particle sensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgegw.simulate import numbers
from edgegw.simulate.devices import Said, Talker
from edgegw.simulate.frames import sds011_frame
from edgegw.simulate.model import Model

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgegw.simulate.model import Setting


def _sds011(setting: Setting) -> Talker:
    def say(number: int, t: float) -> Said:
        fine, coarse = numbers.air(number) if setting.numbered else setting.street.dust(number, t)
        return Said(sds011_frame(fine, coarse), {"pm2_5": fine / 10, "pm10": coarse / 10})

    return Talker(setting.link, setting.sensor.period_s, say, setting.around)


MODELS: Final[Mapping[str, Model]] = {"sds011": Model("sds011", _sds011)}

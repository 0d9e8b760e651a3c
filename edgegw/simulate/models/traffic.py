"""A Doppler radar over a street: OmniPreSense OPS243."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from edgegw.simulate.devices import Said, Talker
from edgegw.simulate.model import Model

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgegw.simulate.model import Setting


def _ops243(setting: Setting) -> Talker:
    """Lines of JSON, as the command OJ sets it: speeds in m/s with their direction."""

    def say(number: int, t: float) -> Said:
        hundredths = (
            100 + number % 3000 if setting.numbered else round(setting.street.slow("speed", 1100, 500, t))
        )
        inbound = number % 2 == 0
        line = {"speed": str(hundredths / 100), "direction": "inbound" if inbound else "outbound"}
        values = {"speed": hundredths / 100 if inbound else -hundredths / 100}
        return Said(json.dumps(line).encode() + b"\r\n", values)

    return Talker(setting.link, setting.sensor.period_s, say, setting.around)


MODELS: Final[Mapping[str, Model]] = {"ops243": Model("ops243", _ops243, interval="2s", period_s=0.5)}

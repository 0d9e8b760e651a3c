"""Sound level transmitters and meters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgegw.simulate import numbers
from edgegw.simulate.devices import RtuDevice, TcpDevice, Transmitter
from edgegw.simulate.model import Model

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgegw.simulate.model import Setting

# The transmitter's address as it leaves the factory (RT-ZS-BZ manual V2.2).
UNIT: Final = 1
# As quick as the transmitter updates (RT-ZS-BZ manual V2.2): each number becomes a reading.
NUMBERED: Final = "500ms"
_KEYS: Final = {"profile": "renke-noise", "unit": UNIT}


def _transmitter(setting: Setting) -> Transmitter:
    def level(number: int, t: float) -> int:
        return numbers.level(number) if setting.numbered else setting.street.level(number, t)

    return Transmitter(UNIT, level, setting.around)


def _rtu(setting: Setting) -> RtuDevice:
    return RtuDevice(setting.link, _transmitter(setting))


def _tcp(setting: Setting) -> TcpDevice:
    return TcpDevice(_transmitter(setting))


MODELS: Final[Mapping[str, Model]] = {
    "renke-rtu": Model("modbus", _rtu, "port", "1s", NUMBERED, _KEYS),
    "renke-tcp": Model("modbus", _tcp, "host", "1s", NUMBERED, _KEYS),
}

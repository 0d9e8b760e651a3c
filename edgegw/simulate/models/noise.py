"""Sound level transmitters and meters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgegw.simulate import numbers
from edgegw.simulate.devices import Measured, RtuDevice, Slave, TcpDevice
from edgegw.simulate.model import Model

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgegw.simulate.model import Setting

# Registers of the Renke transmitter (RT-ZS-BZ manual V2.2).
LEVEL_REGISTER: Final = 0x0000
ADDRESS_REGISTER: Final = 0x07D0
BAUD_REGISTER: Final = 0x07D1
BAUD_9600: Final = 2
# The transmitter's address as it leaves the factory (RT-ZS-BZ manual V2.2).
UNIT: Final = 1
# As quick as the transmitter updates (RT-ZS-BZ manual V2.2): each number becomes a reading.
NUMBERED: Final = "500ms"
_KEYS: Final = {"profile": "renke-noise", "unit": UNIT}


def _transmitter(setting: Setting) -> Slave:
    def measure(number: int, t: float) -> tuple[Measured, ...]:
        if setting.blank(number, t):
            return (Measured("", 0, {LEVEL_REGISTER: 0}),)  # its microphone is dead
        tenths = numbers.level(number) if setting.numbered else setting.street.level(number, t)
        return (Measured("la_sampled", tenths / 10, {LEVEL_REGISTER: tenths}),)

    fixed = {ADDRESS_REGISTER: UNIT, BAUD_REGISTER: BAUD_9600}
    return Slave(UNIT, measure, setting.around, fixed)


def _rtu(setting: Setting) -> RtuDevice:
    return RtuDevice(setting.link, _transmitter(setting))


def _tcp(setting: Setting) -> TcpDevice:
    return TcpDevice(_transmitter(setting))


MODELS: Final[Mapping[str, Model]] = {
    "renke-rtu": Model("modbus", _rtu, "port", "1s", NUMBERED, _KEYS),
    "renke-tcp": Model("modbus", _tcp, "host", "1s", NUMBERED, _KEYS),
}

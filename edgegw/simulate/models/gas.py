"""Gas sensors: MH-Z19 and DFRobot boards on a serial line, Senseair S8 on Modbus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgegw.simulate.answering import Answer, SerialAnswerer
from edgegw.simulate.devices import Measured, RtuDevice, Slave
from edgegw.simulate.model import Model

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edgegw.simulate.model import Setting

# A request of the Winsen family has nine bytes (MH-Z19B data sheet v1.5).
_REQUEST: Final = 9
# The S8 answers to 0xFE, whatever its own address (Senseair AN123).
_ANY_SENSOR: Final = 0xFE
# Type byte and decimals of a board with an NO2 cell (DFRobot/DFRobot_MultiGasSensor).
_NO2, _DECIMALS = 0x2C, 2


def winsen_frame(command: int, content: bytes) -> bytes:
    """FF, the command, six bytes of content, and what makes the sum of bytes 1 to 8 zero."""
    body = bytes((command,)) + content.ljust(6, b"\0")
    return b"\xff" + body + bytes((-sum(body) & 0xFF,))


class Winsen:
    """A device of the family: it answers `read` with `content(number, t)`, and takes a change of mode."""

    def __init__(self, content: Callable[[int, float], tuple[bytes, Mapping[str, float]]]) -> None:
        self._content = content
        self._pending = b""

    def asked(self, data: bytes, number: int, t: float) -> Sequence[Answer]:
        """See `Behaviour.asked`."""
        self._pending = (self._pending + data)[-4 * _REQUEST :]
        found = []
        while (start := self._pending.find(b"\xff\x01")) >= 0 and len(self._pending) >= start + _REQUEST:
            request, self._pending = (
                self._pending[start : start + _REQUEST],
                self._pending[start + _REQUEST :],
            )
            if -sum(request[1:8]) & 0xFF != request[8]:
                continue
            if request[2] == 0x86:
                content, values = self._content(number, t)
                found.append(Answer(winsen_frame(0x86, content), values))
                number += 1
            elif request[2] == 0x78:
                found.append(Answer(winsen_frame(0x78, b"\x01"), {}))
        return found


def _co2(setting: Setting, number: int, t: float) -> int:
    return 400 + number % 4000 if setting.numbered else round(setting.street.slow("co2", 460, 50, t))


def _mhz19(setting: Setting) -> SerialAnswerer:
    def content(number: int, t: float) -> tuple[bytes, Mapping[str, float]]:
        if setting.blank(number, t):
            return bytes((0, 0, 62)), {}
        ppm = _co2(setting, number, t)
        # The fourth byte is the inner temperature plus 40, which the data sheet does not mention.
        return ppm.to_bytes(2) + bytes((62,)), {"co2": ppm}

    return SerialAnswerer(setting.link, Winsen(content), setting.around)


def _no2(setting: Setting) -> SerialAnswerer:
    def content(number: int, t: float) -> tuple[bytes, Mapping[str, float]]:
        if setting.blank(number, t):
            # A board that does not know its cell names no gas.
            return bytes(4), {}
        hundredths = number % 2000 if setting.numbered else round(setting.street.slow("no2", 4, 3, t))
        return hundredths.to_bytes(2) + bytes((_NO2, _DECIMALS)), {"no2": hundredths / 100}

    return SerialAnswerer(setting.link, Winsen(content), setting.around)


def _senseair(setting: Setting) -> RtuDevice:
    def measure(number: int, t: float) -> tuple[Measured, ...]:
        if setting.blank(number, t):
            # Bit 4 of the status: it failed its own test.
            return (Measured("", 0, {0x00: 1 << 4, 0x03: 0}),)
        ppm = _co2(setting, number, t)
        return (Measured("co2", ppm, {0x00: 0, 0x03: ppm}),)

    # Two reserved registers; identity (Senseair AN123).
    fixed = {0x01: 0, 0x02: 0, 0x1C: 0x0205, 0x1D: 0x0012, 0x1E: 0x3456, 0x1F: 180}
    return RtuDevice(setting.link, Slave(_ANY_SENSOR, measure, setting.around, fixed))


MODELS: Final[Mapping[str, Model]] = {
    "mh-z19": Model("winsen", _mhz19, numbered_interval="1s", keys={"model": "mhz19", "allow_setup": True}),
    "dfrobot-no2": Model(
        "winsen", _no2, numbered_interval="1s", keys={"model": "dfrobot", "allow_setup": True}
    ),
    "senseair-s8": Model(
        "modbus", _senseair, numbered_interval="500ms", keys={"profile": "senseair", "unit": _ANY_SENSOR}
    ),
}

"""Weather on Modbus: a whole station, and a transmitter of temperature and humidity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgegw.simulate.devices import Measured, RtuDevice, Slave, TcpDevice
from edgegw.simulate.model import Model

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgegw.simulate.model import Setting

# Address as they leave the factory.
UNIT: Final = 1
# What such devices say for an element that they cannot reach.
NOTHING: Final = 0x7FFF


def _word(tenths: int) -> int:
    """A signed number as a register holds it."""
    return tenths & 0xFFFF


def _station(setting: Setting) -> TcpDevice:
    """The integrated station (DFRobot wiki, SEN0657): registers 0x1F4 to 0x202."""

    def measure(number: int, t: float) -> tuple[Measured, ...]:
        if setting.blank(number, t):
            # The cable to the station's head is broken; the rain gauge is its own.
            return (Measured("", 0, dict.fromkeys((*range(0x1F4, 0x200), 0x202), NOTHING)),)
        street = setting.street
        wind = number % 600 if setting.numbered else round(street.slow("wind", 30, 25, t))
        degrees = round(street.slow("direction", 180, 120, t)) % 360
        humidity, temperature = round(street.slow("rh", 600, 150, t)), round(street.slow("T", 85, 60, t))
        fine, coarse = (tenths // 10 for tenths in street.dust(number, t))
        pressure, level = round(street.slow("p", 1005, 8, t)), street.level(number, t)
        lux = round(street.slow("lux", 20_000, 15_000, t))
        return (
            Measured("wind_speed", wind / 10, {0x1F4: wind}),
            Measured("wind_direction", degrees, {0x1F7: degrees}),
            Measured("humidity", humidity / 10, {0x1F8: humidity}),
            Measured("temperature", temperature / 10, {0x1F9: _word(temperature)}),
            Measured("la_sampled", level / 10, {0x1FA: level}),
            Measured("pm2_5", fine, {0x1FB: fine}),
            Measured("pm10", coarse, {0x1FC: coarse}),
            Measured("pressure", pressure, {0x1FD: pressure}),
            Measured("illuminance", lux, {0x1FE: lux >> 16, 0x1FF: lux & 0xFFFF}),
            Measured("solar", lux // 100, {0x202: lux // 100}),
        )

    # Wind force and sector, a gap, and a rain gauge in dry weather.
    fixed = {0x1F5: 2, 0x1F6: 4, 0x200: 0, 0x201: 0}
    return TcpDevice(Slave(UNIT, measure, setting.around, fixed))


def _xy_md02(setting: Setting) -> RtuDevice:
    """Input registers 1 and 2: tenths of a degree and of a percent."""

    def measure(number: int, t: float) -> tuple[Measured, ...]:
        if setting.blank(number, t):
            return (Measured("", 0, {1: NOTHING, 2: NOTHING}),)
        tenths = number % 800 - 300 if setting.numbered else round(setting.street.slow("T", 85, 60, t))
        humidity = round(setting.street.slow("rh", 600, 150, t))
        return (
            Measured("temperature", tenths / 10, {1: _word(tenths)}),
            Measured("humidity", humidity / 10, {2: humidity}),
        )

    return RtuDevice(setting.link, Slave(UNIT, measure, setting.around))


MODELS: Final[Mapping[str, Model]] = {
    "weather-station": Model(
        "modbus",
        _station,
        "host",
        numbered_interval="500ms",
        keys={"profile": "weather-station", "unit": UNIT},
    ),
    "xy-md02": Model(
        "modbus", _xy_md02, numbered_interval="500ms", keys={"profile": "xy-md02", "unit": UNIT}
    ),
}

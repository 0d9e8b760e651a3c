"""What the four models advertise, little-endian throughout.

Layouts, steps and the codes for "no value": Anrijs/Aranet4-Python aranet4/client.py and tests/test_advertisements.py.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from edgegw.driver import FrameError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# The Aranet4 is the oldest and sends no type byte; seven bytes are its header, when it may say no more.
ARANET4_LENGTH: Final = 22
HEADER_LENGTH: Final = 7
# The others begin with their type.
TYPED_LENGTH: Final = 24
INTEGRATIONS: Final = 1 << 5

# Codes where a value should be: calibration of CO2, errors. A bit that no value of the sensor's range sets.
_BIT_15: Final = 1 << 15
_BIT_14: Final = 1 << 14
# 0x1F00 an error, 0x1F01 no data yet, 0x1F02 too humid in the chamber.
_RADON_CODES: Final = 0x1F00
_NANO: Final = 1_000_000_000


class Sample(NamedTuple):
    """What one advertisement says: values by quantity (None: not available), and the rest."""

    values: Mapping[str, float | None]
    meta: Mapping[str, Any]


def parse(data: bytes) -> Sample:
    """The sample in manufacturer data.

    FrameError: `integrations_off` (the owner has not allowed it in the maker's app), `truncated`,
    `unsupported_length`.
    """
    if len(data) < HEADER_LENGTH:
        raise FrameError("truncated")
    if len(data) in {HEADER_LENGTH, ARANET4_LENGTH} or data[0] not in _TYPED:
        return _aranet4(data)
    if not data[1] & INTEGRATIONS:
        raise FrameError("integrations_off")
    if len(data) != TYPED_LENGTH:
        raise FrameError("truncated" if len(data) < TYPED_LENGTH else "unsupported_length")
    model, read = _TYPED[data[0]]
    values, meta = read(data)
    battery, status, interval, age, counter = struct.unpack_from("<BBHHB", data, 17)
    about = {"interval_s": interval, "age_s": age, "counter": counter}
    meta = {"model": model, "firmware": _firmware(data[1:]), "status": status, **meta, **about}
    return Sample({**values, "battery": battery}, meta)


def _aranet4(data: bytes) -> Sample:
    if len(data) == HEADER_LENGTH or not data[0] & INTEGRATIONS:
        raise FrameError("integrations_off")
    if len(data) != ARANET4_LENGTH:
        raise FrameError("truncated" if len(data) < ARANET4_LENGTH else "unsupported_length")
    co2, temperature, pressure, humidity, battery, status, interval, age, counter = struct.unpack_from(
        "<HHHBBBHHB", data, 8
    )
    values = {
        "co2": None if co2 & _BIT_15 else co2,
        "temperature": _temperature(temperature),
        "humidity": humidity,
        "pressure": _pressure(pressure),
        "battery": battery,
    }
    meta = {"model": "Aranet4", "firmware": _firmware(data), "status": status}
    return Sample(values, {**meta, "interval_s": interval, "age_s": age, "counter": counter})


def _firmware(data: bytes) -> str:
    """The version behind the flags, its least significant part first."""
    return f"{data[3]}.{data[2]}.{data[1]}"


def _temperature(raw: int) -> float | None:
    return None if raw & _BIT_14 else raw * 5 / 100


def _pressure(raw: int) -> float | None:
    return None if raw & _BIT_15 else raw / 10


def _humidity(raw: int) -> float | None:
    return None if raw & _BIT_15 else raw / 10


_Read = tuple[dict[str, "float | None"], dict[str, Any]]


def _aranet2(data: bytes) -> _Read:
    temperature, humidity = struct.unpack_from("<H2xH", data, 10)
    status = data[18]
    # Two bits each: 0 as wished, 1 under, 2 over the owner's threshold.
    marks = {"status_humidity": status & 3, "status_temperature": status >> 2 & 3}
    return {"temperature": _temperature(temperature), "humidity": _humidity(humidity)}, marks


def _radiation(data: bytes) -> _Read:
    total, duration, rate = struct.unpack_from("<IIH", data, 6)
    return {"dose_rate": rate / _NANO}, {"total_nsv": total, "duration_s": duration}


def _radon(data: bytes) -> _Read:
    radon, temperature, pressure, humidity = struct.unpack_from("<HHHH", data, 8)
    # The Rn1 has no sensor of temperature and humidity and says zero for both.
    fitted = bool(temperature or humidity)
    values = {
        "radon": None if radon >= _RADON_CODES else radon,
        "temperature": _temperature(temperature) if fitted else None,
        "humidity": _humidity(humidity) if fitted else None,
        "pressure": _pressure(pressure),
    }
    return values, {}


_TYPED: Final[Mapping[int, tuple[str, Callable[[bytes], _Read]]]] = {
    1: ("Aranet2", _aranet2),
    2: ("Aranet Radiation", _radiation),
    3: ("Aranet Radon", _radon),
}

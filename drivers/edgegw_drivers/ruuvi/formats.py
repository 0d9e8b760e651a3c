"""The data formats 3, 5, 6 and E1 of Ruuvi, big-endian throughout.

Layouts, steps and "not available" codes: ruuvi/docs, communication/bluetooth-advertisements, data-format-*.md.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from edgegw.driver import FrameError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Sample(NamedTuple):
    """What one advertisement says: values by quantity (None: not available), and the rest.

    `sequence` numbers the samples of a device, None where the format has no number or the device none.
    """

    values: Mapping[str, float | None]
    meta: Mapping[str, Any]
    sequence: int | None
    calibrating: bool = False


def parse(data: bytes) -> Sample:
    """The sample in manufacturer data; FrameError: `truncated`, `unsupported_format`, `unsupported_length`."""
    if not data:
        raise FrameError("truncated")
    if data[0] not in _FORMATS:
        raise FrameError("unsupported_format")
    length, read = _FORMATS[data[0]]
    if len(data) != length:
        raise FrameError("truncated" if len(data) < length else "unsupported_length")
    return read(data)


def _unless(missing: int, raw: int, divisor: int = 1, offset: int = 0) -> float | None:
    """`(raw + offset) / divisor`, and None for the code that says "not available"."""
    if raw == missing:
        return None
    return raw + offset if divisor == 1 else (raw + offset) / divisor


def _mac(octets: bytes) -> str | None:
    return None if octets == b"\xff" * len(octets) else octets.hex()


def _air(data: bytes) -> dict[str, float | None]:
    """Temperature, humidity and pressure, which formats 5, 6 and E1 have in the same place."""
    temperature, humidity, pressure = struct.unpack_from(">hHH", data, 1)
    return {
        "temperature": _unless(-0x8000, temperature, 200),
        "humidity": _unless(0xFFFF, humidity, 400),
        "pressure": _unless(0xFFFF, pressure, 100, 50_000),
    }


def _format_3(data: bytes) -> Sample:
    """RAWv1: no code for what is not available, no number; the temperature's first bit is its sign."""
    humidity, whole, hundredths, pressure, *acceleration, millivolts = struct.unpack(">xBBBHhhhH", data)
    temperature = ((whole & 0x7F) * 100 + hundredths) / 100
    values = {
        "temperature": -temperature if whole & 0x80 else temperature,
        "humidity": humidity / 2,
        "pressure": (pressure + 50_000) / 100,
        "battery_voltage": millivolts / 1000,
    }
    return Sample(values, {"format": 3, "accel_mg": acceleration}, None)


def _format_5(data: bytes) -> Sample:
    """RAWv2: the power field holds 11 bits of mV above 1600 and 5 bits of 2 dBm steps from -40."""
    *acceleration, power, movements, sequence = struct.unpack_from(">hhhHBH", data, 7)
    values = {**_air(data), "battery_voltage": _unless(0x7FF, power >> 5, 1000, 1600)}
    number = None if sequence == 0xFFFF else sequence
    meta = {
        "format": 5,
        # One axis that is missing makes a vector of the others meaningless.
        "accel_mg": None if -0x8000 in acceleration else acceleration,
        "tx_power_dbm": None if power & 0x1F == 0x1F else 2 * (power & 0x1F) - 40,
        "movement_counter": None if movements == 0xFF else movements,
        "sequence": number,
        "mac": _mac(data[18:24]),
    }
    return Sample(values, meta, number)


def _index(high: int, low: int) -> float | None:
    """An index of nine bits, its last in the flags."""
    return _unless(0x1FF, high << 1 | low)


def _lux(code: int) -> float | None:
    """Light on the logarithmic scale of format 6: 0 to 65535 lx in 254 steps."""
    return None if code == 0xFF else round(math.exp(code * math.log(65536) / 254) - 1, 2)


def _format_6(data: bytes) -> Sample:
    """Ruuvi Air for Bluetooth 4. Byte 14 is reserved: what one peer reads there (a sound level) is not taken."""
    pm2_5, co2, voc, nox, light, _, sequence, flags = struct.unpack_from(">HHBBBBBB", data, 7)
    values = {
        **_air(data),
        "pm2_5": _unless(0xFFFF, pm2_5, 10),
        "co2": _unless(0xFFFF, co2),
        "voc_index": _index(voc, flags >> 6 & 1),
        "nox_index": _index(nox, flags >> 7),
        "illuminance": _lux(light),
    }
    calibrating = bool(flags & 1)
    meta = {"format": 6, "sequence": sequence, "calibrating": calibrating, "mac_tail": _mac(data[17:20])}
    return Sample(values, meta, sequence, calibrating)


def _format_e1(data: bytes) -> Sample:
    """Ruuvi Air for Bluetooth 5, on extended advertising alone."""
    *masses, co2, voc, nox = struct.unpack_from(">HHHHHBB", data, 7)
    flags, sequence = data[28], int.from_bytes(data[25:28], "big")
    names = ("pm1", "pm2_5", "pm4", "pm10")
    values = {
        **_air(data),
        **{name: _unless(0xFFFF, raw, 10) for name, raw in zip(names, masses, strict=True)},
        "co2": _unless(0xFFFF, co2),
        "voc_index": _index(voc, flags >> 6 & 1),
        "nox_index": _index(nox, flags >> 7),
        "illuminance": _unless(0xFFFFFF, int.from_bytes(data[19:22], "big"), 100),
    }
    calibrating = bool(flags & 1)
    number = None if sequence == 0xFFFFFF else sequence
    meta = {"format": 0xE1, "sequence": number, "calibrating": calibrating, "mac": _mac(data[34:40])}
    return Sample(values, meta, number, calibrating)


#: Length in bytes and reader of each format, by its first byte.
_FORMATS: Final[Mapping[int, tuple[int, Callable[[bytes], Sample]]]] = {
    3: (14, _format_3),
    5: (24, _format_5),
    6: (20, _format_6),
    0xE1: (40, _format_e1),
}

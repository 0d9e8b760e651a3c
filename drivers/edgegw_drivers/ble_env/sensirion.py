"""Manufacturer data 0x06D5 of Sensirion's gadgets (MyCO2, SHT4x and what is built with their library), little-endian.

Sample types and codings: Sensirion/arduino-ble-gadget (upt-core BLEProtocol.cpp).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from edgegw.driver import FrameError
from edgegw_drivers import ble
from edgegw_drivers.ble_env.sample import Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

COMPANY: Final = 0x06D5
# Advertisement type, sample type, and the last two octets of the address.
_HEADER: Final = 4
_FULL: Final = 65535

# Each value is sixteen bits of its range; two decimals are finer than their steps.
_CODINGS: Final[Mapping[str, tuple[str, Callable[[int], float]]]] = {
    "T": ("temperature", lambda raw: round(175 * raw / _FULL - 45, 2)),
    "H": ("humidity", lambda raw: round(100 * raw / _FULL, 2)),
    "H2": ("humidity", lambda raw: round(125 * raw / _FULL - 6, 2)),
    "CO2": ("co2", float),
    "VOC": ("voc_index", float),
    "NOX": ("nox_index", float),
    "PM2.5": ("pm2_5", lambda raw: round(1000 * raw / _FULL, 2)),
    "PM1v2": ("pm1", lambda raw: raw / 10),
    "PM2.5v2": ("pm2_5", lambda raw: raw / 10),
    "PM4v2": ("pm4", lambda raw: raw / 10),
    "PM10v2": ("pm10", lambda raw: raw / 10),
    # A volume fraction in ppb: the gateway's hcho is a mass, and nothing is converted here.
    "HCHO": ("hcho_ppb", lambda raw: raw / 5),
    "V": ("air_speed", lambda raw: round(1024 * raw / _FULL, 2)),
}
_SAMPLES: Final[Mapping[int, tuple[str, ...]]] = {
    3: ("T", "H", "VOC"),
    4: ("T", "H"),
    6: ("T", "H2"),
    8: ("T", "H", "CO2"),  # the library sends two reserved bytes behind these, the MyCO2 none
    10: ("T", "H", "CO2"),
    12: ("T", "H", "CO2", "PM2.5"),
    14: ("T", "H", "HCHO"),
    16: ("T", "H", "VOC", "PM2.5"),
    20: ("T", "H", "CO2", "VOC", "PM2.5", "HCHO"),
    22: ("T", "H", "VOC", "NOX"),
    24: ("T", "H", "VOC", "NOX", "PM2.5v2"),
    26: ("T", "H", "CO2", "VOC", "NOX", "PM2.5v2"),
    28: ("T", "H", "CO2", "PM2.5v2"),
    30: ("T", "H", "VOC", "PM2.5v2"),
    31: ("T", "H", "CO2", "VOC", "PM2.5v2", "HCHO"),
    34: ("PM1v2", "PM2.5v2", "PM4v2", "PM10v2"),
    36: ("CO2",),
    38: ("V", "T"),
}
_IN_META: Final = {"hcho_ppb", "air_speed"}
_WITH_RESERVE: Final = 8


def parse(data: bytes) -> Sample:
    """The sample in manufacturer data; FrameError: `truncated`, `unsupported_format`, `unsupported_length`."""
    if len(data) < _HEADER:
        raise FrameError("truncated")
    kinds = _SAMPLES.get(data[1])
    if data[0] != 0 or kinds is None:
        raise FrameError("unsupported_format")
    length = _HEADER + 2 * len(kinds)
    if len(data) != length and not (data[1] == _WITH_RESERVE and len(data) == length + 2):
        raise FrameError("truncated" if len(data) < length else "unsupported_length")
    values: dict[str, float] = {}
    meta: dict[str, Any] = {"sample_type": data[1], "device": data[2:4].hex()}
    for at, kind in enumerate(kinds):
        name, coding = _CODINGS[kind]
        begin = _HEADER + 2 * at
        value = coding(int.from_bytes(data[begin : begin + 2], "little"))
        (meta if name in _IN_META else values)[name] = value
    return Sample(values, meta, None, ble.PLAIN)

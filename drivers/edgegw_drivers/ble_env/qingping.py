"""Service data 0xFDCD of Qingping (Cleargrass): a header, then objects of type, length and value, little-endian.

Layout: custom-components/ble_monitor qingping.py and test_qingping_parser.py; theengs/decoder.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

from edgegw.driver import FrameError
from edgegw_drivers import ble
from edgegw_drivers.ble_env.sample import Sample

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVICE: Final = 0xFDCD
# Frame control, model, and the address, its last octet first.
_HEADER: Final = 8
_PACKET_ID: Final = (0x0F, 1)
_MODELS: Final[Mapping[int, str]] = {
    0x01: "CGG1",
    0x07: "CGG1",
    0x09: "CGP1W",
    0x0C: "CGD1",
    0x0E: "CGDN1",
    0x10: "CGDK2",
    0x12: "CGPR1",
    0x18: "CGP23W",
    0x24: "CGDN1",
    0x5D: "CGP22C",
}


def parse(data: bytes) -> Sample:
    """The sample in service data; FrameError `truncated` when an object is cut: nothing in it is then taken.

    The address in the header is not compared with the sender's: published captures of the CGDN1 differ there.
    """
    if len(data) < _HEADER:
        raise FrameError("truncated")
    values: dict[str, float] = {}
    mac = data[7:1:-1].hex()
    meta: dict[str, Any] = {"mac": mac, "model": _MODELS.get(data[1], f"{data[1]:02x}")}
    number, at = None, _HEADER
    while at < len(data):
        if at + 2 > len(data) or at + 2 + data[at + 1] > len(data):
            raise FrameError("truncated")
        kind, value = data[at], data[at + 2 : at + 2 + data[at + 1]]
        if (kind, len(value)) == _PACKET_ID:
            number = meta["packet_id"] = value[0]
        else:
            _take((kind, len(value)), value, values, meta)
        at += 2 + len(value)
    if not values:
        raise FrameError("no_data")
    return Sample(values, meta, number, ble.PLAIN)


def _take(kind: tuple[int, int], value: bytes, values: dict[str, float], meta: dict[str, Any]) -> None:
    """Put one object where it belongs."""
    match kind:
        case (0x01, 4):
            temperature, humidity = struct.unpack("<hH", value)
            values.update(temperature=temperature / 10, humidity=humidity / 10)
        case (0x02, 1):
            # The top bit of a CGP22C is no part of it (theengs/decoder, CGP22C_json.h).
            values["battery"] = value[0] & 0x7F
        case (0x07, 2):
            values["pressure"] = int.from_bytes(value, "little") / 10
        case (0x08, 4):
            meta["motion"] = bool(value[0])
            values["illuminance"] = int.from_bytes(value[1:], "little")
        case (0x09, 4):
            values["illuminance"] = int.from_bytes(value, "little")
        case (0x11, 1):
            meta["light"] = bool(value[0])
        case (0x12, 4):
            pm2_5, pm10 = struct.unpack("<HH", value)
            values.update(pm2_5=pm2_5, pm10=pm10)
        case (0x13, 2):
            values["co2"] = int.from_bytes(value, "little")
        case _:
            meta.setdefault("unknown", []).append(f"{kind[0]:02x}{value.hex()}")

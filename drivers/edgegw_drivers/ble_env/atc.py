"""Service data 0x181A of Xiaomi LYWSD03MMC with other firmware: the formats of atc1441 and of pvvx.

Layouts and encryption: pvvx/ATC_MiThermometer README; custom-components/ble_monitor atc.py. The length alone says
which of the four it is.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

from cryptography.exceptions import InvalidTag

from edgegw.driver import FrameError
from edgegw_drivers import ble
from edgegw_drivers.ble_env.sample import Sample

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESCCM

SERVICE: Final = 0x181A
_ATC: Final = 13
_CUSTOM: Final = 15
_ATC_ENCRYPTED: Final = 8
_CUSTOM_ENCRYPTED: Final = 11
#: A counter of eight bits comes round in minutes: what is encrypted is the device's own, but perhaps not of now.
UNDATED: Final = ("unauthenticated_time",)


def parse(data: bytes, address: str, cipher: AESCCM | None) -> Sample:
    """The sample in service data of `address`; the cipher is the device's, if it has a key.

    FrameError: `truncated`, `unsupported_length`, `wrong_address`, `downgrade` (plain, although there is a key),
    `key_missing`, `auth`.
    """
    if len(data) in {_ATC, _CUSTOM}:
        if cipher is not None:
            raise FrameError("downgrade")
        return _plain(data, address)
    if len(data) not in {_ATC_ENCRYPTED, _CUSTOM_ENCRYPTED}:
        raise FrameError("truncated" if len(data) < _CUSTOM else "unsupported_length")
    if cipher is None:
        raise FrameError("key_missing")
    return _encrypted(data, address, cipher)


def _plain(data: bytes, address: str) -> Sample:
    if len(data) == _ATC:
        mac = data[:6].hex()
        temperature, humidity, battery, millivolts, counter = struct.unpack_from(">hBBHB", data, 6)
        air: dict[str, float] = {"temperature": temperature / 10, "humidity": humidity}
        meta: dict[str, Any] = {"format": "atc1441"}
    else:
        mac = data[5::-1].hex()
        temperature, raw, millivolts, battery, counter, flags = struct.unpack_from("<hHHBBB", data, 6)
        air = {"temperature": temperature / 100, "humidity": raw / 100}
        meta = {"format": "custom", "flags": flags}
    ble.check_sender(address, mac)
    values = {**air, "battery": battery, "battery_voltage": millivolts / 1000}
    return Sample(values, {**meta, "mac": mac, "counter": counter}, counter, ble.PLAIN)


def _encrypted(data: bytes, address: str, cipher: AESCCM) -> Sample:
    # The nonce holds the advertisement's own header: length, type 0x16, the service's UUID.
    header = bytes((len(data) + 3, 0x16, 0x1A, 0x18))
    sender = bytes.fromhex(address.replace(":", ""))[::-1]
    try:
        plain = cipher.decrypt(sender + header + data[:1], data[1:], b"\x11")
    except InvalidTag:
        raise FrameError("auth") from None
    if len(data) == _CUSTOM_ENCRYPTED:
        temperature, humidity, battery, flags = struct.unpack("<hHBB", plain)
        values = {"temperature": temperature / 100, "humidity": humidity / 100, "battery": battery}
        meta: dict[str, Any] = {"format": "custom", "flags": flags}
    else:
        values = {"temperature": plain[0] / 2 - 40, "humidity": plain[1] / 2, "battery": plain[2] & 0x7F}
        meta = {"format": "atc1441", "trigger": plain[2] >> 7}
    return Sample(values, {**meta, "encrypted": True, "counter": data[0]}, data[0], UNDATED)

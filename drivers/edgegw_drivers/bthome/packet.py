"""The envelope of a BTHome v2 advertisement: version, flags, the sender's address, and encryption.

Layout and nonce: BTHome v2 encryption (bthome.io/encryption), Bluetooth-Devices/bthome-ble parser.py.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography.exceptions import InvalidTag

from edgegw.driver import FrameError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESCCM

VERSION: Final = 2
# Behind an encrypted payload: the counter and the tag of AES-CCM, four bytes each.
_TAIL: Final = 8
_TAG: Final = 4


class Packet(NamedTuple):
    """An advertisement's envelope, opened.

    `payload` holds the objects; `mac` the sender's address in hexadecimal, where the packet says it; `triggered`
    that the device speaks on events only; `counter` is None for a plain packet.
    """

    payload: bytes
    counter: int | None
    mac: str
    triggered: bool


def opened(data: bytes, address: str, cipher: AESCCM | None) -> Packet:
    """The packet in service data of `address` (upper case, colons); the cipher is the device's, if it has a key.

    FrameError: `truncated`, `unsupported_version`, `downgrade` (plain, although there is a key), `key_missing`,
    `auth` (wrong key, or forged).
    """
    if not data:
        raise FrameError("truncated")
    info = data[0]
    if info >> 5 != VERSION:
        raise FrameError("unsupported_version")
    body, mac = data[1:], ""
    if info & 2:
        if len(body) < 6:
            raise FrameError("truncated")
        body, mac = body[6:], body[5::-1].hex()
    triggered = bool(info & 4)
    if not info & 1:
        if cipher is not None:
            raise FrameError("downgrade")
        return Packet(body, None, mac, triggered)
    if cipher is None:
        raise FrameError("key_missing")
    if len(body) <= _TAIL:
        raise FrameError("truncated")
    secret, counter, tag = body[:-_TAIL], body[-_TAIL:-_TAG], body[-_TAG:]
    sender = bytes.fromhex(mac or address.replace(":", ""))
    try:
        payload = cipher.decrypt(sender + b"\xd2\xfc" + data[:1] + counter, secret + tag, None)
    except InvalidTag:
        raise FrameError("auth") from None
    return Packet(payload, struct.unpack("<I", counter)[0], mac, triggered)

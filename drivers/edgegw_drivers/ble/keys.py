"""Keys of encrypted advertisements: AES-128-CCM with a tag of four bytes (BTHome v2; pvvx)."""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESCCM

#: Length in bytes of a key, and of the tag behind a ciphertext.
KEY_BYTES: Final = 16
TAG_BYTES: Final = 4


def key_of(text: str) -> bytes:
    """The bytes of a key in hexadecimal, blanks and colons allowed; ValueError, which does not show it."""
    try:
        return bytes.fromhex(text.replace(":", " "))
    except ValueError:
        raise ValueError(
            "key: is not written in hexadecimal digits; what stands there is not shown"
        ) from None


def cipher(text: str) -> AESCCM | None:
    """The cipher of a key in hexadecimal, None where there is none; ValueError for another length than 16 bytes."""
    key = key_of(text)
    if not key:
        return None
    if len(key) != KEY_BYTES:
        raise ValueError(f"key: is {len(key)} bytes long; the key of a device has {KEY_BYTES}")
    return AESCCM(key, tag_length=TAG_BYTES)

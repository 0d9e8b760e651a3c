"""What one log's messages have in common: who speaks, about which log, and the salted leaves.

WIRE §3: leaf i = SHA-256(0x00 ‖ 0x82 0x50 salt_i record_i), salt_i = HMAC-SHA-256(seed, i)[:16].
"""

from __future__ import annotations

import hmac
import re
import struct
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from edgegw.wire import cose

if TYPE_CHECKING:
    from collections.abc import Sequence

# No message of the wire is larger (WIRE §9 step 1).
MAX_MESSAGE: Final = 256 * 1024
# No index, size or count reaches this (30 000 readings a second for 9 500 years), and below it JSON, SQLite
# and every float64 hold an integer exactly.
MAX_COUNT: Final = 2**53
PRIVATE: Final = "edgegw"  # label of the private header fields
FIRST, ROOT, SEED, SIZE, NUMBER, SEAL, CLOCK, PREVIOUS, PEAKS, SIMULATED = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
ISS, SUB, IAT = 1, 2, 6  # CWT claims (RFC 8392 §3.1)
SALT_BYTES: Final = 16
SEED_BYTES: Final = 32

_ISS = re.compile(r"urn:dev:ops:(\d{1,10})-([a-z0-9][a-z0-9-]{1,61}[a-z0-9])", re.ASCII)
_STREAM = re.compile(r"main/([0-9a-f]{8})", re.ASCII)


class Refused(ValueError):  # noqa: N818 -- the field's word for a message that a verifier does not take
    """A message that is not taken; `reason` is one named word, `gateway` who it claimed to be from."""

    def __init__(self, reason: str, gateway: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.gateway = gateway


class LogId(NamedTuple):
    """One log: the URN of its gateway and its epoch, 8 hexadecimal digits."""

    iss: str
    epoch: str

    @property
    def gateway(self) -> str:
        """The gateway's id."""
        return gateway_of(self.iss) or ""

    @property
    def stream(self) -> str:
        """The `sub` claim of its batches and heads."""
        return f"main/{self.epoch}"


def urn(pen: int, device: str) -> str:
    """The `iss` of a gateway or store: its private enterprise number and id as a URN."""
    return f"urn:dev:ops:{pen}-{device}"


def gateway_of(iss: object) -> str | None:
    """The id in an `iss`; None when it is not one of ours."""
    found = _ISS.fullmatch(iss) if isinstance(iss, str) else None
    return found[2] if found else None


def epoch_of(stream: object) -> str | None:
    """The epoch in `main/<epoch>`; None when it is not one."""
    found = _STREAM.fullmatch(stream) if isinstance(stream, str) else None
    return found[1] if found else None


def whole(value: object) -> int | None:
    """An integer from 0 to below 2^53 (an index, a size, a time in seconds), else None."""
    return (
        value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MAX_COUNT else None
    )


def seconds(value: object) -> int | None:
    """The whole POSIX seconds of an `iat` claim, integer or float (RFC 8392 §2), else None."""
    if isinstance(value, float) and 0 <= value < MAX_COUNT:
        return int(value)
    return whole(value)


def claims(message: cose.Sign1) -> dict[Any, Any]:
    """The CWT claims of the protected header; empty when there are none."""
    found = message.headers.get(cose.CLAIMS)
    return found if isinstance(found, dict) else {}


def private(message: cose.Sign1) -> dict[Any, Any]:
    """The private fields of the protected header; empty when there are none."""
    found = message.headers.get(PRIVATE)
    return found if isinstance(found, dict) else {}


def seed_of(secret: bytes, first: int) -> bytes:
    """Leaf seed of the batch that begins at `first`: HMAC-SHA-256(secret, first)."""
    return hmac.digest(secret, first.to_bytes(8), "sha256")


_INNER = bytes(x ^ 0x36 for x in range(256))
_OUTER = bytes(x ^ 0x5C for x in range(256))


def salts(seed: bytes, first: int, count: int) -> list[bytes]:
    """The salts of leaves first … first+count-1, 16 bytes each.

    HMAC (RFC 2104) with the key's two states computed once per batch: three times as fast as a call each.
    """
    key = seed.ljust(64, b"\0")
    inner, outer = sha256(key.translate(_INNER)), sha256(key.translate(_OUTER))
    found = []
    for index in struct.iter_unpack("8s", b"".join(i.to_bytes(8) for i in range(first, first + count))):
        within, without = inner.copy(), outer.copy()
        within.update(index[0])
        without.update(within.digest())
        found.append(without.digest()[:SALT_BYTES])
    return found


def entry(salt: bytes, record: bytes) -> bytes:
    """The log entry of a record: the CBOR of `[salt, record]`."""
    return b"\x82\x50" + salt + record


def leaves(seed: bytes, first: int, records: Sequence[bytes]) -> list[bytes]:
    """Leaf hashes of a batch's records."""
    return [
        sha256(b"\x00\x82\x50" + salt + record).digest()
        for salt, record in zip(salts(seed, first, len(records)), records, strict=True)
    ]

"""Who is heard within one window, under a key that dies with it.

No address is kept: a sender is the first eight bytes of a keyed BLAKE2b over its address. Without the key, which is
random, in memory alone and overwritten at the window's end, nobody can compute it for any address.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from typing import Final, NamedTuple

from edgegw_drivers.ble_presence.addresses import PUBLIC, RESERVED, STATIC, UNKNOWN, class_of

# Senders of one window that are told apart: a full square, and less than a megabyte. Beyond it the index is the end
# of its scale, and says so.
MOST_SENDERS: Final = 4096
# A collision of two of these senders under 64 bits: one window in two trillion.
_DIGEST: Final = 8
# A window is looked at in so many parts: whoever stays is heard in each of them.
PARTS: Final = 6
_EVERY_PART: Final = (1 << PARTS) - 1
# A beacon that hangs still varies by less; people in front of it and three channels make up so much. dB.
STEADY_DB: Final = 6.0
# A single frame may be torn or come from afar; whoever is here is heard again.
LEAST_FRAMES: Final = 2
# Phones, watches and earphones change their addresses; what has a fixed one may be a beacon.
_FIXED: Final = frozenset({PUBLIC, STATIC, UNKNOWN})


class Heard(NamedTuple):
    """A window in numbers: senders that move by class, those left out as fixed, frames, and whether it was full."""

    senders: Counter[str]
    fixed: int
    frames: int
    full: bool


class _Sender:
    """What is known of one sender: how often, how strongly, in which parts of the window."""

    __slots__ = ("frames", "kind", "parts", "power", "squares")

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.frames = self.parts = self.power = self.squares = 0

    def is_fixed(self) -> bool:
        """Whether it has stood still: heard all along with one strength, under an address that stays."""
        if self.kind not in _FIXED or self.parts != _EVERY_PART:
            return False
        mean = self.power / self.frames
        return math.sqrt(max(0.0, self.squares / self.frames - mean * mean)) <= STEADY_DB


class Window:
    """Counts the senders of one window of `length_s` seconds from monotonic second `start`."""

    def __init__(self, key: bytearray, start: float, length_s: float) -> None:
        self.start = start
        self._length_s = length_s
        self._key = key
        self._octets = bytearray(6)
        self._senders: dict[bytes, _Sender] = {}
        self._full = False

    def hear(self, address: str, random: bool | None, rssi: int, now: float) -> None:
        """Count one frame of `address` (upper case, colons)."""
        octets = self._octets
        for at in range(6):
            octets[at] = int(address[3 * at : 3 * at + 2], 16)
        kind = class_of(octets[0], random)
        name = hashlib.blake2b(octets, key=self._key, digest_size=_DIGEST).digest()
        sender = self._senders.get(name)
        if sender is None:
            if len(self._senders) >= MOST_SENDERS:
                self._full = True
                return
            sender = self._senders[name] = _Sender(kind)
        part = min(PARTS - 1, max(0, int((now - self.start) / self._length_s * PARTS)))
        sender.frames += 1
        sender.parts |= 1 << part
        sender.power += rssi
        sender.squares += rssi * rssi

    def close(self) -> Heard:
        """What was heard; the key and every trace of a sender are gone afterwards."""
        steady = [sender for sender in self._senders.values() if sender.frames >= LEAST_FRAMES]
        moving = Counter(
            sender.kind for sender in steady if sender.kind != RESERVED and not sender.is_fixed()
        )
        fixed = sum(sender.is_fixed() for sender in steady)
        heard = Heard(moving, fixed, sum(sender.frames for sender in self._senders.values()), self._full)
        self._senders.clear()
        wipe(self._octets)
        wipe(self._key)
        return heard


def wipe(secret: bytearray) -> None:
    """Overwrite with zeros, in place."""
    secret[:] = bytes(len(secret))

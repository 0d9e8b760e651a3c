"""How many devices BlueZ and bleak keep in memory for what was heard lately. Pure."""

from __future__ import annotations

from typing import Final

# BlueZ forgets a device 30 s after its last advertisement (main.conf TemporaryTimeout), and bleak with it.
KEPT_S: Final = 30.0
# Each costs 3.1 KiB here (measured) and more in bluetoothd: 50 MiB. One sender with made-up addresses reaches about
# 500 a second, which still passes; a crowded square has a few hundred devices.
MOST_DEVICES: Final = 16_384


class Crowd:
    """Counts different addresses in two halves of time, so that old ones fall out; each costs some 40 bytes."""

    def __init__(self, most: int = MOST_DEVICES) -> None:
        self._most = most
        self._since = float("-inf")
        self._newer: set[int] = set()
        self._older: set[int] = set()

    def heard(self, address: str, now: float) -> bool:
        """Whether, with this address, more devices than can be kept were heard within 30 to 60 s."""
        if now - self._since > KEPT_S:
            self._older = self._newer if now - self._since < 2 * KEPT_S else set()
            self._newer = set()
            self._since = now
        number = hash(address)
        if number not in self._older:
            self._newer.add(number)
        return len(self._newer) + len(self._older) > self._most

    def clear(self) -> None:
        """Begin anew."""
        self._newer.clear()
        self._older.clear()

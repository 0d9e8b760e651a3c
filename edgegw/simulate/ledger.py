"""A virtual sensor's own book of what it really sent: one JSON line per frame or answer."""

from __future__ import annotations

import json
import time
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, TextIO

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgegw.simulate.radar import Leg


class Fate(StrEnum):
    """What became of a frame on its way over the wire; only a sent one may turn into readings."""

    SENT = "sent"
    UNHEARD = "unheard"  # nobody had the line open, or its reader slept: a serial line waits for nobody
    DAMAGED = "damaged"  # its check does not fit
    LATE = "late"  # the answer came after the asker had given up


class Moment(NamedTuple):
    """When something was put on the wire: seconds of CLOCK_MONOTONIC and POSIX seconds."""

    mono: float
    wall: float


def moment() -> Moment:
    """Now, on both clocks."""
    return Moment(time.monotonic(), time.time())


class Ledger:
    """Appends to `FOLDER/<sensor>.jsonl`, line by line; without a folder it writes nothing.

    Keys of a line: `sensor`, `number`, `mono`, `wall`, `fate`, `values` {quantity: number exactly as the
    reading must carry it} and, for the parade's radar, `leg` and `passes` (the quantity that the leg counts).
    """

    def __init__(self, folder: Path | None, sensor: str) -> None:
        self._folder = folder
        self._sensor = sensor
        self._file: TextIO | None = None

    def write(
        self, number: int, when: Moment, fate: Fate, values: Mapping[str, float], leg: Leg | None = None
    ) -> None:
        """Append what was put on the wire as frame or answer `number`."""
        if self._folder is None:
            return
        if self._file is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file = (self._folder / f"{self._sensor}.jsonl").open("a", buffering=1, encoding="ascii")
        entry = {
            "sensor": self._sensor,
            "number": number,
            "mono": when.mono,
            "wall": when.wall,
            "fate": fate,
            "values": dict(values),
        }
        if leg is not None:
            entry |= {"leg": leg.number, "passes": leg.quantity}
        self._file.write(json.dumps(entry) + "\n")

    def close(self) -> None:
        """Close the file; another write would open it again."""
        if self._file is not None:
            self._file.close()
            self._file = None

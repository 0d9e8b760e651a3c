"""Passages out of the bursts in which a Doppler radar reports whatever moves."""

from __future__ import annotations

import math
from typing import Final

# A burst is a passage with its so-manieth line: a bird or a raindrop gives one or two.
LEAST_LINES: Final = 3


class Passages:
    """Bursts by direction: lines of one direction with less than `gap_s` between two of them are one burst."""

    def __init__(self, gap_s: float) -> None:
        self._gap_s = gap_s
        self._heard_at = [-math.inf, -math.inf]
        self._lines = [0, 0]

    def heard(self, approaching: bool, now: float) -> tuple[int, int]:
        """Passages in and out (0 or 1) that a line of monotonic second `now` makes: its burst has just enough."""
        which = 0 if approaching else 1
        if now - self._heard_at[which] >= self._gap_s:
            self._lines[which] = 0
        self._heard_at[which] = now
        self._lines[which] += 1
        passed = int(self._lines[which] == LEAST_LINES)
        return (passed, 0) if approaching else (0, passed)

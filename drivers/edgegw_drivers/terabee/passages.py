"""Passages out of running totals of sixteen bits: the first value, a wrap and a restart are three things."""

from __future__ import annotations

from typing import Final

from edgegw.driver import FrameError

_WIDTH: Final = 0x10000
# People who can pass one doorway in one direction in a second, with room to spare; and a group at once.
MOST_IN_A_SECOND: Final = 5
GROUP: Final = 20


class Passages:
    """One pair of totals, since the device was opened."""

    def __init__(self) -> None:
        self._totals: tuple[int, int] | None = None
        self._at = 0.0

    def forget(self) -> None:
        """Begin again: the next totals are first ones."""
        self._totals = None

    def since(self, totals: tuple[int, int], now: float) -> tuple[int, int] | None:
        """Passages in and out between the totals before and these of monotonic second `now`; None for first ones.

        FrameError `counter_reset` when a total went back, which a power cut does; `implausible` when more passed
        than can. These totals are then the first ones of what follows: what passed meanwhile is not known.
        """
        before, at = self._totals, self._at
        self._totals, self._at = totals, now
        if before is None:
            return None
        most = GROUP + MOST_IN_A_SECOND * max(0.0, now - at)
        steps = tuple((new - old) % _WIDTH for new, old in zip(totals, before, strict=True))
        if all(step <= most for step in steps):
            return steps[0], steps[1]
        back = any(new < old for new, old in zip(totals, before, strict=True))
        raise FrameError("counter_reset" if back else "implausible", whole=True)

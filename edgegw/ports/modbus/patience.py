"""How much time the silent units of a shared bus may cost the others."""

from __future__ import annotations

from typing import Final

# A silent unit gets at most one twentieth of the bus, so that the others keep 95 % of their rate.
SHARE: Final = 20
# One lost answer is noise; a unit is silent from the second failure in a row on.
FAILURES: Final = 2
# However many are silent: a unit that comes back is read again within two minutes.
LONGEST_S: Final = 120.0


class Patience:
    """Which units of one bus are left alone, and until when. Seconds are monotonic ones."""

    def __init__(self) -> None:
        # At most 256 units, what an address byte can name.
        self._failures: dict[int, int] = {}
        self._resting: dict[int, tuple[float, str]] = {}

    def rests(self, unit: int, now: float) -> str:
        """Why the unit is to be left alone now; empty when it may be asked."""
        until, reason = self._resting.get(unit, (0.0, ""))
        return reason if now < until else ""

    def answered(self, unit: int) -> None:
        """The unit is there."""
        self._failures[unit] = 0
        self._resting.pop(unit, None)

    def failed(self, unit: int, now: float, cost_s: float, reason: str) -> None:
        """The unit gave no answer for `reason`, which kept the bus busy for `cost_s` seconds.

        It rests only where another unit does answer: on a bus that is silent altogether nobody loses, and
        everybody is back as soon as the bus is.
        """
        self._failures[unit] = self._failures.get(unit, 0) + 1
        silent = sum(failures >= FAILURES for failures in self._failures.values())
        if self._failures[unit] >= FAILURES and 0 in self._failures.values():
            rest_s = min(LONGEST_S, (SHARE - 1) * cost_s * silent)
            self._resting[unit] = (now + rest_s, reason)

"""Which line settings a shared RTU line is asked with: found once, then kept. Pure.

A device whose settings nobody knows is tried with those that it may have, one after the other. As soon as anybody
on the line answers, its settings are everybody's: two devices on one pair of wires cannot have different ones,
and a search that went on would disturb the one that answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgegw.driver import SerialLine

# After so long without any answer on the whole line somebody may have put other devices there: the search goes on,
# every second try with the settings that were good before.
LOST_S: Final = 600.0


class Lines:
    """The settings of one line. Seconds are monotonic ones."""

    def __init__(self, usual: SerialLine) -> None:
        #: The settings with which somebody answered; None until then.
        self.found: SerialLine | None = None
        self._usual = usual
        self._heard_at = 0.0
        # At most 256 units, what an address byte can name.
        self._tries: dict[int, int] = {}

    def line(self, unit: int, possible: Sequence[SerialLine], now: float) -> SerialLine:
        """What to ask `unit` with, which may have any of the `possible` settings."""
        possible = possible or (self._usual,)
        tries = self._tries.get(unit, 0)
        if self.found is None:
            return possible[tries % len(possible)]
        if now - self._heard_at < LOST_S or not tries % 2:
            return self.found
        return possible[tries // 2 % len(possible)]

    def answered(self, line: SerialLine, now: float) -> None:
        """Somebody answered: these are the settings of the line."""
        self.found, self._heard_at = line, now
        self._tries.clear()

    def failed(self, unit: int) -> None:
        """The unit did not answer: next time it is asked with the next settings, where none are found."""
        self._tries[unit] = self._tries.get(unit, 0) + 1

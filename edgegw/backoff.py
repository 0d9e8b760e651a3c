"""How long to wait before the next attempt: full jitter, so that thousands of gateways never come back in step. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

TAKEN_OVER: Final = 5
"""What a take-over that the broker names counts for, in short connections: the next wait is up to 2^4 times the
first ceiling."""


class Backoff:
    """A wait before each attempt, also the first, drawn evenly from nothing to a ceiling that doubles.

    `least` and `most` are the first and the last ceiling in seconds; `random` gives numbers in [0, 1).
    """

    def __init__(self, least: float, most: float, random: Callable[[], float]) -> None:
        self._least = least
        self._most = most
        self._random = random
        self._attempts = 0
        self.short = 0
        """Short connections in a row."""

    def next(self) -> float:
        """Seconds to wait before the next attempt."""
        # 2^64 is far beyond any ceiling; a larger exponent would overflow the float.
        doublings = min(max(self._attempts, self.short - 1), 64)
        self._attempts += 1
        return min(self._most, self._least * 2.0**doublings) * self._random()

    def reset(self) -> None:
        """What was attempted worked: begin again with the first ceiling."""
        self._attempts = 0

    def thrown_out(self, *, taken_over: bool = False) -> None:
        """What worked was over soon. Each time in a row makes the waits longer, whatever worked in between.

        Two clients with one name throw each other out within seconds, and each gets its receipts until then.
        """
        self.short += TAKEN_OVER if taken_over else 1

    def steady(self) -> None:
        """What worked lasted, or its end has a reason that lies elsewhere: the broker is not there."""
        self.short = 0

"""Repetitions on the air: a device sends each sample several times, so that one of them is heard."""

from __future__ import annotations

from typing import Final

# Whoever was not heard for so long says something new: counters of eight bits have come round by then, and a
# device without a battery for a minute has started its own again. Seconds.
FORGET_S: Final = 300.0
# Different contents under one number: a device splits a sample over two advertisements, not over more than these.
MOST_CONTENTS: Final = 8


class Repeats:
    """Knows what one device said under its newest number (a sequence, a packet id)."""

    def __init__(self) -> None:
        self._number: int | None = None
        self._contents: list[bytes] = []
        self._heard = 0.0

    def is_new(self, number: int, content: bytes, now: float) -> bool:
        """Whether this was not heard before, at monotonic second `now`; remembered from then on."""
        if number != self._number or now - self._heard > FORGET_S:
            self._number, self._contents = number, []
        self._heard = now
        if content in self._contents:
            return False
        self._contents = [*self._contents[1 - MOST_CONTENTS :], content]
        return True

"""How fast the backlog may go, so that what is new is not held up behind it. Pure."""

from __future__ import annotations

from typing import Final

SLUGGISH_S: Final = 2.0
"""A PUBACK of the backlog that takes longer means that queues fill up on the way. Live data stands in them too, and
has to be there in 5 s (FAULTS L6): the backlog then keeps fewer messages on their way."""

AT_FIRST: Final = 2.0
"""Messages on their way at the beginning of a connection; each answer that comes soon allows one more."""


class Pace:
    """Of two kinds: what the link bears, found by its answers, and what the configuration allows.

    `rate` is in bytes a second, None for no limit; one second's worth can be saved up.
    """

    def __init__(self, rate: int | None) -> None:
        self._rate = rate
        self._allowance = float(rate or 0)
        self._allowed_at = 0.0
        self._on_their_way = AT_FIRST
        self._slowed_at = float("-inf")
        self._starting = True

    def connected(self, now: float) -> None:
        """A new connection: what it bears is not known yet."""
        self._allowed_at = now
        self._on_their_way, self._starting, self._slowed_at = AT_FIRST, True, float("-inf")

    def answered(self, sent: float, now: float, window: int) -> None:
        """The broker answered what was sent at `sent`: soon, or so late that queues must have filled up."""
        if now - sent <= SLUGGISH_S:
            more = 1.0 if self._starting else 1 / self._on_their_way
            self._on_their_way = min(self._on_their_way + more, float(window))
        elif sent > self._slowed_at:  # once for all messages that stood in the same queue
            self._on_their_way = max(1.0, self._on_their_way / 2)
            self._slowed_at, self._starting = now, False

    def on_their_way(self, window: int) -> int:
        """How many messages may wait for their PUBACK; one place of the window is kept for live data."""
        return max(1, min(int(self._on_their_way), window - 1))

    def allowed(self, now: float) -> bool:
        """Whether the configured rate leaves room now."""
        if not self._rate:
            return True
        earned = (now - self._allowed_at) * self._rate
        self._allowance = min(float(self._rate), self._allowance + earned)
        self._allowed_at = now
        return self._allowance > 0

    def spend(self, length: int, now: float) -> None:
        """A message of `length` bytes was sent."""
        if self._rate:
            self.allowed(now)
            self._allowance -= length

    def wake_at(self) -> float | None:
        """When the configured rate leaves room again; None when it does now."""
        if not self._rate or self._allowance > 0:
            return None
        return self._allowed_at + max(0.05, -self._allowance / self._rate)

"""What is due when nothing is heard: scan again, then power the adapter off and on, with growing pauses. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

# Nothing from anybody for so long, in seconds, is suspicious: the slowest periodic senders of the catalogue speak
# every 10 s, and an active scan of BlueZ hears 10 of 15 s.
QUIET_S: Final = 60.0
# In a place without devices the radio is tried again this often at most: a scan's restart costs nothing.
LONGEST_QUIET_S: Final = 3600.0
# Two power cycles lie at least this far apart, whatever is heard between them: each cuts other programs off.
POWER_PAUSE_S: Final = 600.0


class Step(StrEnum):
    """What is done about silence."""

    RESTART = "restart"
    POWER_CYCLE = "power_cycle"


class Watch:
    """Watches the silence: `heard` resets it, `due` says what to do and takes it for done.

    The first round waits `quiet` seconds before each of its two steps; each further one twice as long, up to
    `longest`.
    """

    def __init__(
        self,
        now: float,
        *,
        quiet: float = QUIET_S,
        longest: float = LONGEST_QUIET_S,
        power_pause: float = POWER_PAUSE_S,
    ) -> None:
        self._quiet = quiet
        self._longest = longest
        self._power_pause = power_pause
        self._powered = float("-inf")
        self.begin(now)

    def begin(self, now: float) -> None:
        """Start anew: the radio was away, and its silence says nothing."""
        self._last = now
        self._sign = now
        self._steps = 0

    def heard(self, now: float) -> None:
        """Somebody was heard at monotonic second `now`."""
        self._last = self._sign = now
        self._steps = 0

    @property
    def suspicious(self) -> bool:
        """Whether the silence has lasted long enough for a step already."""
        return self._steps > 0

    @property
    def helpless(self) -> bool:
        """Whether a whole round of steps has not helped."""
        return self._steps > 2

    def silence(self, now: float) -> float:
        """Seconds since somebody was heard, or since the beginning."""
        return now - self._last

    def due(self, now: float, quiet: float | None = None) -> Step | None:
        """The step that is due at monotonic second `now`, which is then taken for done; None while none is.

        `quiet` stands for the first pause where silence is usual.
        """
        if not self.is_due(now, quiet):
            return None
        step = Step.POWER_CYCLE if self._steps % 2 else Step.RESTART
        self._steps += 1
        self._sign = now
        if step is Step.POWER_CYCLE:
            if now - self._powered < self._power_pause:
                return Step.RESTART
            self._powered = now
        return step

    def is_due(self, now: float, quiet: float | None = None) -> bool:
        """Whether `due` would say a step."""
        # 2^32 times the first pause is beyond any longest one; a larger exponent would overflow the float.
        pause = min(self._longest, (quiet or self._quiet) * 2.0 ** min(self._steps // 2, 32))
        return now - self._sign >= pause

"""The counter of an encrypted device: what follows, what is a repetition, what is a replay.

Rules: it grows (BTHome v2 encryption); DEVICES card: equal with the same bytes is a repetition, with others an alarm.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

# A counter wraps at 2^32: so near to its end before, and so near to its beginning after. At ten advertisements a
# second this is three weeks of silence.
WRAP: Final = 1 << 24
LARGEST: Final = 2**32


class Verdict(Enum):
    """What an authentic packet's counter says about it."""

    NEW = "new"
    REPEATED = "repeated"
    #: The same counter for another content: two senders have the key, or the device's firmware is broken.
    TWICE = "twice"
    #: An older packet: recorded and sent again, or the device began to count anew (a battery was changed).
    FELL = "fell"


class Counter:
    """The newest counter of one device, and the packet that bore it (empty when only the number is known)."""

    def __init__(self, last: int | None, *, may_restart: bool) -> None:
        self._last = last
        self._packet = b""
        self._may_restart = may_restart

    def judge(self, counter: int, packet: bytes) -> Verdict:
        """What `counter` of an authentic packet means; remembered when the packet is new."""
        last = self._last
        if last is not None and counter == last:
            return Verdict.REPEATED if packet == self._packet or not self._packet else Verdict.TWICE
        if last is not None and not self._may_restart and not _follows(last, counter):
            return Verdict.FELL
        self._last, self._packet = counter, packet
        return Verdict.NEW


def _follows(last: int, counter: int) -> bool:
    """Whether `counter` is later than `last`, also over the wrap; a step back over it is none."""
    if last >= LARGEST - WRAP and counter < WRAP:
        return True
    if counter >= LARGEST - WRAP and last < WRAP:
        return False
    return counter > last

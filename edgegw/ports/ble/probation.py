"""Whether a passive scan hears what an active one does. Pure.

BlueZ tells of a device in a passive scan only when its data change (5.66, seen in a virtual machine; bluez/bluez#647),
and some radios report each device once. A sensor whose values stand still then looks like a dead one. So a passive
scan in which a device has fallen silent, or which is silent altogether, is compared with an active one: who speaks
there again and again is what the passive scan keeps from us.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from edgegw.driver import Advert
    from edgegw.ports.ble.patterns import Wants

# Senders that are compared at once; an attacker with more addresses only keeps the question open.
MOST_SENDERS: Final = 256
# The passive scan that was right gets this many times more patience at most: an hour at 60 s.
MOST_PATIENCE: Final = 64

Verdict = Literal["open", "passive", "active"]


class Probation:
    """The comparison: `heard` all the time, `suspicious` in a passive scan; `begin` an active one, then `verdict`."""

    def __init__(self, quiet: float) -> None:
        """`quiet` is the silence in seconds after which a passive scan comes under suspicion."""
        self._quiet = quiet
        self._patience = 1
        self._began: float | None = None
        # When each wanted sender was heard last in the passive scan, the longest ago first.
        self._passively: OrderedDict[int, float] = OrderedDict()
        self._suspects: frozenset[int] | None = None
        self._firsts: dict[int, float] = {}
        self._anybody = self._repeats = False

    @property
    def running(self) -> bool:
        """Whether an active scan is being compared."""
        return self._began is not None

    @property
    def patience(self) -> float:
        """Seconds of silence after which a passive scan comes under suspicion now."""
        return self._quiet * self._patience

    def suspicious(self, now: float) -> bool:
        """Whether a wanted sender has fallen silent in the passive scan."""
        last = next(iter(self._passively.values()), now)
        return now - last >= self.patience

    def begin(self, now: float, *, silence: bool = False) -> None:
        """An active scan begins at monotonic second `now`; with `silence` the passive one heard nobody at all."""
        silent = frozenset(each for each, last in self._passively.items() if now - last >= self.patience)
        # Who had not been heard before is no proof, unless nobody was.
        self._suspects = None if silence else silent
        self._passively.clear()
        self._firsts.clear()
        self._anybody = self._repeats = False
        self._began = now

    def cancel(self) -> None:
        """No comparison any more, and nothing known."""
        self._began = None
        self._passively.clear()

    def heard(self, advert: Advert, wants: Wants, now: float) -> None:
        """An advertisement in either scan. Only one that a passive scan would have to tell counts."""
        self._anybody = True
        if not wants.takes(advert):
            return
        # Addresses may be people's: they are not kept, and the hash is another one in each process.
        sender = hash(advert.address)
        if self._began is None:
            if sender in self._passively or len(self._passively) < MOST_SENDERS:
                self._passively[sender] = now
                self._passively.move_to_end(sender)
        elif self._suspects is None or sender in self._suspects:
            first = self._firsts.get(sender)
            if first is not None:
                # One burst of a device that speaks seldom is no proof: it might not have spoken before.
                self._repeats = self._repeats or now - first >= self._quiet / 4
            elif len(self._firsts) < MOST_SENDERS:
                self._firsts[sender] = now

    def verdict(self, now: float) -> Verdict:
        """Which kind of scan hears: `open` until there is an answer, which then ends the comparison.

        `passive` when none of the suspects was heard again and again for as long as they had been silent, but
        somebody was: the passive scan is given twice the patience the next time.
        """
        if self._began is None:
            return "open"
        if self._repeats:
            self._began = None
            return "active"
        if self._anybody and now - self._began >= self.patience:
            self._began = None
            self._patience = min(MOST_PATIENCE, 2 * self._patience)
            return "passive"
        return "open"

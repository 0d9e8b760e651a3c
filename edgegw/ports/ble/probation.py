"""Whether a passive scan hears what an active one does. Pure.

Some radios and kernels report a device once and then hold back what looks the same to them (bluez/bluez#647,
hbldh/bleak#235). A passive scan that hears nobody for a while is therefore compared with an active one: who speaks
there again and again, and was not heard before, is what a passive scan keeps from us.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edgegw.ports.ble.patterns import Wants

# Senders that are compared at once; an attacker with more addresses only keeps the question open.
MOST_SENDERS: Final = 256
# The passive scan that was right gets this many times more patience at most: an hour at 60 s.
MOST_PATIENCE: Final = 64

Verdict = Literal["open", "passive", "active"]


class Probation:
    """The comparison: `begin` with an active scan, `heard` while it runs, then `verdict`."""

    def __init__(self, quiet: float) -> None:
        """`quiet` is the silence in seconds after which a passive scan comes under suspicion."""
        self._quiet = quiet
        self._patience = 1
        self._began: float | None = None
        self._senders: dict[str, float] = {}
        self._anybody = False
        self._repeats = False

    @property
    def running(self) -> bool:
        """Whether an active scan is being compared."""
        return self._began is not None

    @property
    def patience(self) -> float:
        """Seconds of silence after which a passive scan comes under suspicion now."""
        return self._quiet * self._patience

    def begin(self, now: float) -> None:
        """An active scan begins at monotonic second `now`."""
        self._began = now
        self._senders.clear()
        self._anybody = self._repeats = False

    def cancel(self) -> None:
        """No comparison any more, and no addresses kept."""
        self._began = None
        self._senders.clear()

    def heard(
        self, address: str, companies: Iterable[int], services: Iterable[int], wants: Wants, now: float
    ) -> None:
        """An advertisement in the active scan. Only one that a passive scan would have to tell counts."""
        if self._began is None:
            return
        self._anybody = True
        if wants.everything or not (
            wants.companies.isdisjoint(companies) and wants.services.isdisjoint(services)
        ):
            first = self._senders.get(address)
            if first is None:
                if len(self._senders) < MOST_SENDERS:
                    self._senders[address] = now
            # One burst of a device that speaks seldom is no proof: it might not have spoken before.
            elif now - first >= self._quiet / 4:
                self._repeats = True

    def verdict(self, now: float) -> Verdict:
        """Which kind of scan hears: `open` until there is an answer, which then ends the comparison.

        `passive` when only others were heard for as long as the passive scan was silent: it will be given twice
        the patience the next time.
        """
        if self._began is None:
            return "open"
        if self._repeats:
            self.cancel()
            return "active"
        if self._anybody and now - self._began >= self.patience:
            self.cancel()
            self._patience = min(MOST_PATIENCE, 2 * self._patience)
            return "passive"
        return "open"

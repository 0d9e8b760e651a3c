"""When to ask a gateway for records again, and for which: pure, on a clock that is given.

A hole is normal while a backlog follows live batches. It is asked for when nothing filled it for a while, then
more and more seldom; any progress starts that anew. At most one hole of each gateway is followed, that of the log
that spoke last, so memory is bounded by the number of registered gateways.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

#: Seconds without progress before the first question: longer than a burst takes to become whole.
PATIENCE_S: Final = 2.0
#: The longest pause between two questions: a gateway that cannot answer costs one small message in this time.
LONGEST_S: Final = 300.0
#: Records that one question covers: 4 MiB of usual ones, what a gateway may have in flight.
MAX_RECORDS: Final = 65_536


class Hole(NamedTuple):
    """Records [first, stop) of a log are missing, or the head that takes the tree up again behind them."""

    log: int
    first: int
    stop: int


class Ask(NamedTuple):
    """Ask `gateway`, whose run is `boot`, for `hole`; `opened` when this hole was not spoken of before.

    Without a boot id no question is fresh: None says that there is a hole, and nobody to ask yet.
    """

    gateway: str
    boot: str | None
    hole: Hole
    opened: bool


@dataclass(slots=True)
class _Open:
    hole: Hole
    delay: float
    due: float
    asked: int = 0
    spoken: bool = False


class Holes:
    """The holes of all gateways; `random` gives numbers from 0 to 1. Times are seconds of a monotonic clock."""

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._open: dict[str, _Open] = {}
        self._boots: dict[str, str] = {}

    def runs(self, gateway: str, boot: str, now: float) -> None:
        """The gateway's run has this boot id; a new run is asked at once."""
        if self._boots.get(gateway) != boot:
            self._boots[gateway] = boot
            if gateway in self._open:
                self._open[gateway].delay = PATIENCE_S
                self._open[gateway].due = now

    def seen(self, gateway: str, hole: Hole | None, now: float, *, progress: bool) -> bool:
        """Note the first hole of the gateway's log; True when one that was spoken of is closed."""
        known = self._open.get(gateway)
        if hole is None:
            self._open.pop(gateway, None)
            return known is not None and known.spoken
        if known is None or known.hole.log != hole.log:
            self._open[gateway] = _Open(hole, PATIENCE_S, now + PATIENCE_S)
            return False
        known.hole = hole
        if progress:
            answered = 0 < known.asked <= hole.first
            known.delay = PATIENCE_S
            known.due = now if answered else now + PATIENCE_S
            known.asked = 0 if answered else known.asked
        return False

    def due(self, now: float) -> list[Ask]:
        """The questions for now."""
        found = []
        for gateway, known in self._open.items():
            if known.due > now:
                continue
            boot = self._boots.get(gateway)
            first, stop = known.hole.first, min(known.hole.stop, known.hole.first + MAX_RECORDS)
            found.append(Ask(gateway, boot, Hole(known.hole.log, first, stop), opened=not known.spoken))
            known.asked, known.spoken = stop, True
            known.due = now + known.delay * (0.75 + self._random() / 2)
            known.delay = min(LONGEST_S, known.delay * 2)
        return found

    def keep(self, gateways: Collection[str]) -> None:
        """Forget every gateway that is not one of these."""
        for table in (self._open, self._boots):
            for gateway in table.keys() - gateways:
                del table[gateway]

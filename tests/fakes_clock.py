"""A clock that tests own: the real interface, time that moves only when a test says so."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from typing import TYPE_CHECKING

from edgegw.clock import NO_IDEA_S, RELEASED, UNREADABLE, Discipline, Sync

if TYPE_CHECKING:
    from edgegw.clock import Clock

NOW = RELEASED + 100 * 86_400.0  # a believable wall clock: a hundred days after the release


class FakeClock:
    """Starts synchronised, `uptime` seconds after a boot; `wall` may be set, `truth` tells the true time."""

    def __init__(self, wall: float = NOW, *, uptime: float = 100.0) -> None:
        self.truth = wall
        self._wall = wall
        self._boottime = self._monotonic = uptime
        self._discipline = Discipline(Sync.SYNCHRONISED, 0.01)
        self._boots = itertools.count(1)
        self._boot_id = str(uuid.UUID(int=next(self._boots)))
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def monotonic(self) -> float:
        return self._monotonic

    def boottime(self) -> float:
        return self._boottime

    def wall(self) -> float:
        return self._wall

    def discipline(self) -> Discipline:
        return self._discipline

    def boot_id(self) -> str:
        return self._boot_id

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.get_running_loop().create_future()
        if seconds > 0:
            self._sleepers.append((self._monotonic + seconds, woken))
        else:
            woken.set_result(None)
        await woken

    def advance(self, seconds: float) -> None:
        """Let time pass; whoever slept until then wakes when the loop runs next."""
        self._monotonic += seconds
        self.suspend(seconds)
        due = [woken for deadline, woken in self._sleepers if deadline <= self._monotonic]
        self._sleepers = [s for s in self._sleepers if s[0] > self._monotonic]
        for woken in due:
            if not woken.done():
                woken.set_result(None)

    async def run(self, seconds: float) -> None:
        """Let time pass from sleeper to sleeper, so that loops that sleep again get all their turns."""
        end = self._monotonic + seconds
        while True:
            for _ in range(20):  # let the woken tasks reach their next sleep
                await asyncio.sleep(0)
            self._sleepers = [s for s in self._sleepers if not s[1].done()]
            nearest = min((s[0] for s in self._sleepers), default=end)
            if nearest > end or self._monotonic >= end:
                break
            self.advance(nearest - self._monotonic)
        self.advance(end - self._monotonic)
        for _ in range(20):
            await asyncio.sleep(0)

    def suspend(self, seconds: float) -> None:
        """Let the machine sleep: boot time and wall clock go on, the monotonic clock does not."""
        self._boottime += seconds
        self._wall += seconds
        self.truth += seconds

    def set_wall(self, wall: float) -> None:
        """Set the clock as `date -s` does: the kernel then counts it as unsynchronised."""
        self._wall = wall
        self.lose()

    def lose(self) -> None:
        """The kernel counts the clock as unsynchronised."""
        self._discipline = Discipline(Sync.FREE_RUNNING, NO_IDEA_S)

    def refuse(self) -> None:
        """The kernel does not answer."""
        self._discipline = Discipline(Sync.UNKNOWN, NO_IDEA_S, UNREADABLE)

    def synchronise(self, error_s: float = 0.01) -> None:
        """NTP arrives: the wall clock is the truth."""
        self._wall = self.truth
        self._discipline = Discipline(Sync.SYNCHRONISED, error_s)

    def grow_error(self, error_s: float) -> None:
        """The kernel counts the clock as synchronised, within this error; the wall clock stays."""
        self._discipline = Discipline(Sync.SYNCHRONISED, error_s)

    def reboot(self, *, off: float = 0.0, wall: float | None = None) -> None:
        """A power cut of `off` seconds; the wall clock wakes at `wall`, or right when there is a chip."""
        self.truth += off
        self._monotonic = self._boottime = 5.0
        self.set_wall(self.truth if wall is None else wall)
        self._boot_id = str(uuid.UUID(int=next(self._boots)))


if TYPE_CHECKING:
    _implements: Clock = FakeClock()

"""Keeps the record times of a run: looks at the clock, signs what turns out later, remembers across restarts."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Final

from edgegw.clock import Anchor, Stretch, Timeline, look
from edgegw.store import StoreFailed, StoreFull

if TYPE_CHECKING:
    from edgegw.clock import Clock, ClockSettings
    from edgegw.keeper import Keeper
    from edgegw.ports.thread import PortThread
    from edgegw.recorder import Recorder

# Between two looks at the clock, in seconds: an anchor comes at most so late.
LOOK_S: Final = 1.0


class Timekeeper:
    """The timeline of this run, and the free-running stretch that an earlier run of the same boot left open."""

    def __init__(self, clock: Clock, keeper: Keeper, worker: PortThread, settings: ClockSettings) -> None:
        self._clock = clock
        self._keeper = keeper
        self._worker = worker
        self._settings = settings
        self._kept: str | None = None
        self._first = 0
        self.timeline: Timeline

    async def start(self) -> None:
        """Make the timeline; before any reading is taken."""
        self._kept = _text(await self._worker.call(self._keeper.saved, "stretch"))
        saved, first = _saved(self._kept)
        self.timeline = Timeline(
            look(self._clock),
            boot_id=self._clock.boot_id(),
            floor=self._keeper.newest_time,
            saved=saved,
            settings=self._settings,
        )
        continues = saved is not None and self.timeline.stretch == saved
        self._first = first if continues else self._keeper.size

    async def run(self, recorder: Recorder) -> None:
        """Look at the clock for ever; record an anchor whenever a free-running stretch ends."""
        while True:
            outcome = self.timeline.observe(look(self._clock))
            if isinstance(outcome, Anchor):
                recorder.close_batch()
                about = {
                    "boot": outcome.stretch.boot_id,
                    "from": self._first,
                    "to": recorder.next_index,
                    "err": round(outcome.error_s, 3),
                }
                recorder.event("clock_anchor", round(outcome.seconds_to_add, 3), about, "s")
            elif outcome is not None:
                recorder.close_batch()
                self._first = recorder.next_index
            await self._keep(recorder)
            await self._clock.sleep(LOOK_S)

    async def _keep(self, recorder: Recorder) -> None:
        """Keep the open stretch on disk; one that ended stays there until its anchor is durable."""
        stretch = self.timeline.stretch
        text = json.dumps([*stretch, self._first]) if stretch else None
        if text == self._kept:
            return
        await recorder.flush()
        if recorder.trouble is None:
            with contextlib.suppress(StoreFull, StoreFailed):
                await self._worker.call(self._keeper.save, {"stretch": text})
                self._kept = text


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _saved(text: str | None) -> tuple[Stretch | None, int]:
    """A kept stretch and the index of its first record; damage reads as none."""
    try:
        boot, offset, since, first = json.loads(text or "")
        return Stretch(str(boot), float(offset), float(since)), int(first)
    except (ValueError, TypeError):
        return None, 0

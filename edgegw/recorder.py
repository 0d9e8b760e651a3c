"""From readings to committed batches: the event loop's side of the log.

Readings become records at once, records wait in the open batch, closed batches wait for the keeper's thread. What
waits is bounded: when the disk stands still longer than memory lasts, the newest readings are counted and dropped,
and a signed `lost` record says how many as soon as the disk writes again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from edgegw.journal import Closed, OpenBatch
from edgegw.store import StoreFailed, StoreFull
from edgegw.wire import cbor, senml

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edgegw.clock import Clock, Timeline
    from edgegw.journal import Limits
    from edgegw.keeper import Committed, Keeper
    from edgegw.ports.thread import PortThread
    from edgegw.reading import Reading

# Record bytes that wait for the disk: 8 MiB are 100,000 readings, minutes of the busiest cabinet.
WAITING_BYTES: Final = 8 * 1024 * 1024
# Batches that one visit to the keeper's thread commits. A loop that decodes a flood comes round every 10 ms: with one
# batch a visit it would take in thirty for each that it commits, and drop what other sensors say. Sixteen on a slow
# card (20 ms each) hold up the link for a third of a second.
AT_ONCE: Final = 16
# Between two tries of a disk that refuses, in seconds: recovery is noticed within one.
RETRY_S: Final = 1.0


class Counts(NamedTuple):
    """What happened since the start: readings taken in, refused as impossible, dropped unaccepted."""

    taken: int
    refused: int
    dropped: int


class Recorder:
    """Takes readings and events in, commits batches in order.

    `worker` runs the keeper. `on_commit` is called on the loop after each commit. All of its methods belong to the
    event loop.
    """

    def __init__(
        self,
        keeper: Keeper,
        worker: PortThread,
        *,
        writer: senml.RecordWriter,
        clock: Clock,
        timeline: Timeline,
        limits: Limits,
        on_commit: Callable[[Committed], None],
    ) -> None:
        self._keeper = keeper
        self._worker = worker
        self._writer = writer
        self._clock = clock
        self._timeline = timeline
        self._on_commit = on_commit
        self._open = OpenBatch(limits)
        self._waiting: deque[Closed] = deque()
        self._waiting_bytes = 0
        self._wake = asyncio.Event()
        self._turn = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._committed = keeper.size
        self._taken = self._refused = self._dropped = self._unnamed = 0
        self._lag = 0.0
        self._broken = False  # a write failed, and nothing may follow it before the store is open again
        self.trouble: StoreFull | StoreFailed | None = None
        """Why nothing can be accepted now; None while the disk writes."""

    @property
    def next_index(self) -> int:
        """The index that the next record will have, if nothing waiting is dropped."""
        return self._committed + sum(len(closed.records) for closed in self._waiting) + len(self._open)

    @property
    def counts(self) -> Counts:
        """What happened since the start."""
        return Counts(self._taken, self._refused, self._dropped)

    def readings(self, sensor: str, readings: Sequence[Reading], monotonic: float) -> int:
        """Record what a sensor gave at a monotonic second; how many of them could be recorded."""
        t = self.time(monotonic)
        before = self._refused
        for reading in readings:
            quantity, value, flag, checks, _ = reading
            try:
                record = self._writer.reading(sensor, quantity.name, quantity.unit, value, t, flag, checks)
            except (cbor.CborError, senml.RecordError):
                self._refused += 1
                continue
            self._add(record, t)
        return len(readings) - (self._refused - before)

    def event(self, name: str, value: float | str, extra: Mapping[str, object], unit: str = "") -> None:
        """Record an event of the gateway itself, as of now."""
        t = self.time(self._clock.monotonic())
        self._add(self._writer.event(name, value, t, dict(extra), unit), t)

    def time(self, monotonic: float) -> float:
        """The record time of a monotonic second of this run."""
        # Both clocks are read anew: a suspend moves them apart.
        return self._timeline.time(monotonic + self._clock.boottime() - self._clock.monotonic())

    def _add(self, record: bytes, t: float) -> None:
        self._taken += 1
        if not self._open.fits(record):
            self.close_batch()
        if not len(self._open):
            due = self._open.begin(self._clock.monotonic(), self._timeline.state)
            self._timer = asyncio.get_running_loop().call_later(due, self.close_batch)
        if self._open.add(record, t):
            self.close_batch()

    def close_batch(self) -> None:
        """Close the open batch, if there is anything in it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not len(self._open):
            return
        closed = self._open.close()
        size = sum(map(len, closed.records))
        if self._waiting_bytes + size > WAITING_BYTES:
            self._dropped += len(closed.records)
            self._unnamed += len(closed.records)
            return
        self._waiting.append(closed)
        self._waiting_bytes += size
        self._wake.set()

    async def run(self) -> None:
        """Commit what is closed, in order, for ever; a disk that refuses is tried again."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                accepted = await self._commit_waiting()
                self._turn.set()
                if not accepted:
                    await self._clock.sleep(RETRY_S)
            if self._unnamed:
                self._name_losses()

    async def _commit_waiting(self) -> bool:
        """Commit some of what waits; False when the disk refused one of them."""
        if self._broken and not await self._mend():
            return False
        issued = int(self._timeline.time(self._clock.boottime()))
        batches = list(islice(self._waiting, AT_ONCE))
        done, trouble = await self._worker.call(self._in_turn, batches, issued)
        for closed, committed in zip(batches, done, strict=False):
            self._waiting.popleft()
            self._waiting_bytes -= sum(map(len, closed.records))
            self._committed = committed.end
            self._lag = self._clock.monotonic() - closed.since
            self._on_commit(committed)
        self.trouble = trouble
        if isinstance(trouble, StoreFailed):
            self._broken = True
            await self._mend()
        return trouble is None

    async def _mend(self) -> bool:
        """Open the store again after a failed write; whether it is open."""
        try:
            await self._worker.call(self._keeper.reopen)
        except StoreFailed as again:
            self.trouble = again
            return False
        self._broken = False
        return True

    def _in_turn(
        self, batches: Sequence[Closed], issued: int
    ) -> tuple[list[Committed], StoreFull | StoreFailed | None]:
        """In the keeper's thread: each batch in a transaction of its own, until one is refused."""
        done: list[Committed] = []
        try:
            for closed in batches:
                done.append(self._keeper.commit(closed, issued))  # noqa: PERF401 -- what raises keeps the others
        except (StoreFull, StoreFailed) as refused:
            return done, refused
        except Exception:
            # What is committed must be known as committed; the defect meets the next visit again.
            if not done:
                raise
        return done, None

    def _name_losses(self) -> None:
        lost, self._unnamed = self._unnamed, 0
        self.event("lost", lost, {"why": "full"}, "count")

    @property
    def lag(self) -> float:
        """Seconds from the arrival of the last batch's first record to its commit."""
        return self._lag

    async def flush(self) -> None:
        """Wait until everything taken in so far is committed; gives up while the disk refuses."""
        self.close_batch()
        while self._waiting and self.trouble is None:
            self._turn.clear()
            await self._turn.wait()

"""A log of equal batches, an outbox, and a broker that answers when a test says so."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgegw.outbox import Lane, Outbox
from edgegw.refusals import SUCCESS

if TYPE_CHECKING:
    from collections.abc import Callable

MIB = 1024 * 1024


@dataclass
class Bench:
    """See above; `now` is the clock."""

    batches: int = 0
    receipted: int = 0
    window: int = 20
    in_flight: int = 4 * MIB
    length: int = 10_000
    wait_for_receipts: bool = True
    drain_rate: int | None = None
    records: int = 10
    now: float = 1000.0
    handles: int = 0
    waiting: dict[int, tuple[Lane, int]] = field(default_factory=dict)
    sent: list[tuple[Lane, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.box = Outbox(
            size=self.batches * self.records,
            receipted=self.receipted * self.records,
            window=self.window,
            in_flight=self.in_flight,
            random=random.Random(7).random,
            wait_for_receipts=self.wait_for_receipts,
            drain_rate=self.drain_rate,
        )

    def connect(self, receive_maximum: int = 65535) -> None:
        self.waiting.clear()
        self.box.connected(self.now, receive_maximum)

    def drop(self, *, poisoned: bool = False) -> None:
        self.box.disconnected(self.now, poisoned=poisoned)
        self.waiting.clear()

    def commit(self, number: int = 1) -> None:
        self.batches += number
        self.box.committed(self.batches * self.records)

    def step(self) -> tuple[Lane, int] | None:
        """Send one item; the lane and the number of the batch (-1: a head)."""
        while (want := self.box.next(self.now)) is not None:
            self.handles += 1
            if want.lane is Lane.HEAD:
                self.box.sent(want, 0, 0, 300, self.handles, self.now)
                item: tuple[Lane, int] = (want.lane, -1)
            else:
                number = want.position // self.records
                end = (number + 1) * self.records
                if self.box.quarantined(end):
                    self.box.skipped(want, end)
                    continue
                self.box.sent(want, want.position, end, self.length, self.handles, self.now)
                item = want.lane, number
            self.waiting[self.handles] = item
            self.sent.append(item)
            return item
        return None

    def send(self, most: int = 10**6) -> list[tuple[Lane, int]]:
        """Send what may be sent without an answer."""
        found: list[tuple[Lane, int]] = []
        while len(found) < most and (item := self.step()) is not None:
            found.append(item)
        return found

    def answer(self, code: Callable[[int], int] = lambda _number: SUCCESS) -> int | None:
        """The broker answers everything that waits, in order; the newest size that was freed."""
        freed = None
        for handle, (_, number) in list(self.waiting.items()):
            del self.waiting[handle]
            freed = self.box.acknowledged(handle, code(number) if number >= 0 else SUCCESS, self.now) or freed
        return freed

    def flow(self, code: Callable[[int], int] = lambda _number: SUCCESS, most: int = 10**6) -> list[int]:
        """Send and answer until nothing more goes; the numbers of the batches, in order."""
        found: list[int] = []
        while len(found) < most and (items := self.send()):
            found += [number for _, number in items if number >= 0]
            self.answer(code)
        return found

    def receipt(self, batches: int) -> None:
        self.box.progress(batches * self.records, self.now)

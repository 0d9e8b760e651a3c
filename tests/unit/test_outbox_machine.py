"""Anything may happen in any order: what must hold then, and that everything arrives in the end."""

from __future__ import annotations

import random
from bisect import bisect_right
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from edgegw.outbox import NO_SUBSCRIBERS, SUCCESS, Lane, Outbox, Want
from edgegw.pace import Pace
from edgegw.stretches import MAX_RANGES, MAX_STRETCHES, Again, Stretch, Unreceipted

if TYPE_CHECKING:
    from collections.abc import Sequence

CODES = [SUCCESS, SUCCESS, SUCCESS, NO_SUBSCRIBERS, 0x80, 0x83, 0x87, 0x90, 0x91, 0x95, 0x97, 0x99, 0xFF]
IN_FLIGHT = 20_000
LARGEST = 3_000


class Street(RuleBasedStateMachine):
    """A log whose batches differ, a store that loses some, a broker that does what it likes, and an upstream."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[int] = []  # end of each batch; a batch begins where the one before it ends
        self.lengths: list[int] = []
        self.lost: set[int] = set()
        self.now = 0.0
        self.handle = 0
        self.connected = False
        self.waiting: dict[int, int] = {}  # handle → number of the batch, -1 for a head
        self.upstream: set[int] = set()
        self.sent_since_receipt = 0
        self.receipts = 0

    @initialize(
        window=st.integers(1, 8),
        weak=st.booleans(),
        rate=st.sampled_from([None, 500, 50_000]),
        seed=st.integers(),
    )
    def begin(self, window: int, weak: bool, rate: int | None, seed: int) -> None:
        self.weak = weak
        self.window = self.granted = window
        self.box = Outbox(
            size=0,
            receipted=0,
            window=window,
            in_flight=IN_FLIGHT,
            random=random.Random(seed).random,
            wait_for_receipts=not weak,
            drain_rate=rate,
        )

    @rule(sizes=st.lists(st.tuples(st.integers(1, 9), st.integers(1, LARGEST)), min_size=1, max_size=12))
    def commit(self, sizes: Sequence[tuple[int, int]]) -> None:
        for records, length in sizes:
            self.ends.append((self.ends[-1] if self.ends else 0) + records)
            self.lengths.append(length)
        self.box.committed(self.ends[-1])

    @rule()
    def head(self) -> None:
        self.box.new_head()

    @rule(maximum=st.integers(1, 20))
    def connect(self, maximum: int) -> None:
        self.drop(poisoned=False)
        self.granted = min(self.window, maximum)
        self.connected = True
        self.sent_since_receipt = 0
        self.box.connected(self.now, maximum)

    @rule(poisoned=st.booleans())
    def drop(self, poisoned: bool) -> None:
        self.connected = False
        self.waiting.clear()
        self.box.disconnected(self.now, poisoned=poisoned)

    @rule(seconds=st.sampled_from([0.1, 1, 6, 12, 70, 400, 4000]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.ends)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        self.lost.add(data.draw(st.integers(0, len(self.ends) - 1)))

    def one(self) -> bool:
        """Send one item, as the link does."""
        want = self.box.next(self.now)
        if want is None:
            return False
        assert self.connected
        if want.lane is Lane.HEAD:
            self.publish(want, 0, 0, 100, -1)
            return True
        assert 0 <= want.position < want.end <= self.ends[-1]
        number = bisect_right(self.ends, want.position)
        while number in self.lost:
            number += 1
        begin = self.ends[number - 1] if number else 0
        if number >= len(self.ends) or begin >= want.end:
            self.box.nothing_there(want)
        elif self.box.quarantined(self.ends[number]):
            self.box.skipped(want, self.ends[number])
        else:
            self.publish(want, want.position, self.ends[number], self.lengths[number], number)
        return True

    def publish(self, want: Want, begin: int, end: int, length: int, number: int) -> None:
        self.handle += 1
        self.box.sent(want, begin, end, length, self.handle, self.now)
        self.waiting[self.handle] = number
        assert len(self.waiting) <= self.granted
        if number >= 0 and want.lane is not Lane.REQUEST:
            self.sent_since_receipt += length

    @rule(most=st.integers(1, 40))
    def send(self, most: int) -> None:
        for _ in range(most):
            if not self.one():
                return

    @precondition(lambda self: self.waiting)
    @rule(code=st.sampled_from(CODES), keep=st.booleans(), index=st.integers(0, 7), most=st.integers(1, 8))
    def answer(self, code: int, keep: bool, index: int, most: int) -> None:
        for handle in list(self.waiting)[index : index + most]:
            number = self.waiting.pop(handle)
            before = self.box.receipted
            freed = self.box.acknowledged(handle, code, self.now)
            assert (freed is not None) == (self.box.receipted > before)
            assert freed is None or (self.weak and code == SUCCESS and number >= 0)
            if code == SUCCESS and keep:
                self.upstream.add(number)

    @rule()
    def receipt(self) -> None:
        """The upstream signs the longest prefix that it holds; what the store lost is named and counts."""
        held = 0
        while held < len(self.ends) and (held in self.upstream or held in self.lost):
            held += 1
        if held and self.ends[held - 1] > self.box.receipted:
            self.box.progress(self.ends[held - 1], self.now)
            self.sent_since_receipt = 0
            self.receipts += 1

    @rule(first=st.integers(0, 200), length=st.integers(1, 100))
    def request(self, first: int, length: int) -> None:
        self.box.requested(first, first + length, self.now)

    @invariant()
    def positions_stay_in_order_and_collections_stay_small(self) -> None:
        if not hasattr(self, "box"):
            return
        box = self.box
        assert 0 <= box.receipted <= box._cursor <= box._gap_end <= box._live <= box.size
        assert len(box._again) <= MAX_RANGES
        assert len(box._prefix) + len(box._ahead) <= 2 * MAX_STRETCHES
        assert len(box._acked) <= 64
        assert box.poison <= 64
        assert box.in_flight >= 0

    @invariant()
    def never_more_in_flight_than_allowed_before_the_first_receipt_of_a_connection(self) -> None:
        if hasattr(self, "box") and not self.weak and not self.receipts and not self.box.poison:
            used = self.box._prefix.bytes + self.box._ahead.bytes
            assert used < IN_FLIGHT + 2 * LARGEST  # each of the two lanes may overshoot by one message

    def teardown(self) -> None:
        """The broker mends its ways: everything that is stored arrives, in a bounded number of rounds."""
        if not hasattr(self, "box") or not self.ends:
            return
        self.now += 8000  # what was set aside is tried again
        self.connect(20)
        for _ in range(2000):
            while self.one():
                pass
            for handle, number in list(self.waiting.items()):
                self.box.acknowledged(handle, SUCCESS, self.now)
                self.upstream.add(number)
            self.waiting.clear()
            self.receipt()
            if self.box.receipted == self.ends[-1] and not self.box.busy():
                break
            at = self.box.wake_at(self.now)
            if at is not None:
                self.now = max(self.now, at)
        assert self.box.receipted == self.ends[-1]
        assert self.box.in_flight == 0
        assert not self.box.busy()


def test_whatever_happens_windows_hold_and_everything_arrives_in_the_end() -> None:
    run_state_machine_as_test(
        Street, settings=settings(max_examples=150, stateful_step_count=40, deadline=None)
    )


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 100)), max_size=60), st.data())
def test_sent_runs_add_up_whatever_is_dropped(runs: list[tuple[int, int]], data: st.DataObject) -> None:
    sent = Unreceipted()
    ends: list[int] = []
    for number, (step, length) in enumerate(runs):
        ends.append((ends[-1] if ends else 0) + step)
        sent.add(Stretch(ends[-1], 1, length, float(number)))
    size = data.draw(st.integers(0, ends[-1] if ends else 0))
    sent.drop(size)
    left = [length for end, (_, length) in zip(ends, runs, strict=True) if end > size]
    assert (sent.batches, sent.bytes) == (len(left), sum(left))


def test_a_million_live_batches_ahead_of_the_backlog_cost_no_more_than_a_thousand_runs() -> None:
    sent = Unreceipted()
    for number in range(1, 100_001):
        sent.add(Stretch(number * 10, 1, 100, 0.0))
    assert len(sent) <= MAX_STRETCHES
    assert (sent.batches, sent.bytes) == (100_000, 10_000_000)
    sent.drop(1_000_000)
    assert (sent.batches, sent.bytes, len(sent)) == (0, 0, 0)


@given(
    st.lists(
        st.tuples(st.integers(0, 300), st.integers(1, 60), st.booleans(), st.integers(1, 80)), max_size=60
    )
)
def test_whatever_is_asked_for_is_served_once_per_asking(asked: list[tuple[int, int, bool, int]]) -> None:
    again = Again()
    open_: set[int] = set()
    for first, length, back, served in asked:
        if back:
            again.put_back((first, first + length))
        else:
            again.add([(first, first + length)])
        open_ |= set(range(first, first + length)) if back else set()
        assert len(again) <= MAX_RANGES
        if (span := again.next) is not None:
            end = min(span[1], span[0] + served)
            open_ -= set(range(span[0], end))
            again.sent(span[0], end)
    while (span := again.next) is not None:
        open_ -= set(range(*span))
        again.sent(*span)
    assert not open_


@pytest.mark.parametrize("rate", [1, 1000, 10**9])
def test_the_rate_holds_over_any_time(rate: int) -> None:
    pace = Pace(rate)
    pace.connected(0.0)
    now, total, chance = 0.0, 0, random.Random(rate)
    while now < 100 * max(1.0, 1000 / rate):
        if pace.allowed(now):
            length = chance.randrange(1, 1000)
            pace.spend(length, now)
            total += length
            if total > 10**8:
                return
        else:
            at = pace.wake_at()
            assert at is not None
            assert at > now
            now = at
    assert total <= rate * (now + 1) + 1000

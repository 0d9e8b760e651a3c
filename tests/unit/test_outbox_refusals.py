from __future__ import annotations

import pytest
from outbox_bench import MIB, Bench

from edgegw.outbox import Lane, Want
from edgegw.refusals import (
    ASIDE_S,
    MAX_ASIDE,
    NO_SUBSCRIBERS,
    NOT_AUTHORISED,
    QUOTA_EXCEEDED,
    SUCCESS,
    TOO_LARGE,
)

TROUBLE = 0x83  # "implementation specific error": says nothing about whose fault it is


@pytest.mark.parametrize("code", [*range(0x80, 0xA3), 0xFF])
def test_no_refusal_ever_frees_a_batch(code: int) -> None:
    for wait in (True, False):
        bench = Bench(batches=3, wait_for_receipts=wait)
        bench.connect()
        for _ in range(5):
            bench.flow(lambda _: code, most=100)
            bench.now += 400
        assert bench.box.receipted == 0


@pytest.mark.parametrize("code", [0x80, TROUBLE, 0x90, 0x91, TOO_LARGE, 0x99])
def test_one_message_that_the_broker_refuses_does_not_hold_up_the_rest(code: int) -> None:
    bench = Bench(batches=500, in_flight=MIB, length=64 * 1024)
    bench.connect()
    begin = bench.now
    arrived: set[int] = set()
    for _ in range(2000):
        for _, number in bench.send():
            arrived.add(number)
        bench.answer(lambda number: code if number == 7 else SUCCESS)
        held = next(number for number in range(501) if number not in arrived or number == 7)
        bench.receipt(held)
        at = bench.box.wake_at(bench.now)
        if bench.box.next(bench.now) is None and at is not None and at < begin + 2:
            bench.now = at
    assert arrived >= set(range(500))
    assert bench.now - begin < 1
    assert bench.box.poison == 1
    assert bench.box.receipted == 70
    assert bench.box.refusal is None  # the newest were accepted; the one is named by `poison`
    bench.commit(3)
    assert bench.flow() == [500, 501, 502]


def test_a_batch_that_was_set_aside_is_tried_once_more_after_an_hour() -> None:
    bench = Bench(batches=3)
    bench.connect()
    bench.flow(lambda number: TOO_LARGE if number == 1 else SUCCESS)
    bench.receipt(1)
    bench.now += ASIDE_S + 1
    assert 1 in bench.flow()
    assert bench.box.poison == 0


def test_a_batch_over_which_the_broker_left_is_passed_over_on_the_next_connection() -> None:
    bench = Bench(batches=5)
    bench.connect()
    bench.send(1)  # the head: a farewell is never over one of those
    bench.answer()
    bench.send()
    bench.drop(poisoned=True)
    bench.connect()
    assert bench.flow() == [1, 2, 3, 4]
    assert bench.box.poison == 1


def test_a_broker_that_refuses_everything_for_its_size_ends_in_bounded_memory() -> None:
    bench = Bench(batches=1000)
    bench.connect()
    bench.flow(lambda _: TOO_LARGE)
    assert bench.box.poison == MAX_ASIDE


@pytest.mark.parametrize(("code", "least", "most"), [(QUOTA_EXCEEDED, 0.5, 60), (NOT_AUTHORISED, 5, 300)])
def test_a_quota_slows_down_and_missing_rights_stop_with_one_try_after_each_pause(
    code: int, least: float, most: float
) -> None:
    bench = Bench(batches=100)
    bench.connect()
    bench.send(1)
    bench.answer()
    bench.flow(lambda _: code)
    assert bench.box.refusal == code
    longest = 0.0
    for _ in range(12):
        bench.commit()
        assert bench.send() == []  # live data waits too
        begin = bench.now
        at = bench.box.wake_at(bench.now)
        assert at is not None
        assert at - begin >= least
        longest = max(longest, at - begin)
        bench.now = at
        assert len(bench.send()) == 1
        bench.answer(lambda _: code)
    assert most / 2 <= longest <= most
    at = bench.box.wake_at(bench.now)
    assert at is not None
    bench.now = at
    bench.send()
    bench.answer()
    assert len(bench.send()) > 1
    assert bench.box.refusal is None


def test_a_broker_in_trouble_is_given_time_and_no_batch_is_blamed() -> None:
    bench = Bench(batches=30)
    bench.connect()
    for _ in range(30):
        bench.flow(lambda _: TROUBLE)
        at = bench.box.wake_at(bench.now)
        assert at is not None
        bench.now = at
    assert bench.box.poison == 0
    assert len(bench.sent) < 100
    everything = set(bench.flow())
    assert everything == set(range(30))


def test_what_nobody_took_goes_again_as_soon_as_the_upstream_is_heard_and_only_then() -> None:
    bench = Bench(batches=1, receipted=1)
    bench.connect()
    bench.commit(2)
    bench.flow(lambda _: NO_SUBSCRIBERS)
    bench.box.heard()
    assert bench.flow() == [1, 2]
    bench.box.heard()
    assert bench.flow() == [], "somebody took it: a repeated receipt is no reason to send again"


def test_nobody_upstream_is_an_alarm_and_is_tried_again_by_the_timer() -> None:
    bench = Bench()
    bench.connect()
    bench.commit(2)
    bench.flow(lambda _: NO_SUBSCRIBERS)
    assert bench.box.refusal == NO_SUBSCRIBERS
    bench.now += 11.5
    assert bench.flow() == [0, 1]
    assert bench.box.refusal is None


def test_a_head_that_is_refused_stops_no_batch_and_is_named() -> None:
    bench = Bench(batches=3)
    bench.connect()
    (want,) = (bench.box.next(bench.now),)
    assert want == Want(Lane.HEAD, 0, 0)
    bench.box.sent(want, 0, 0, 300, 77, bench.now)
    bench.box.acknowledged(77, NOT_AUTHORISED, bench.now)
    assert bench.flow() == [0, 1, 2]
    assert bench.box.refusal == NOT_AUTHORISED


# -- the weaker mode


def test_in_the_weaker_mode_a_puback_frees_the_contiguous_prefix() -> None:
    bench = Bench(batches=4, wait_for_receipts=False)
    bench.connect()
    for _ in range(3):
        bench.send()
        if len(bench.waiting) >= 3:
            break
        bench.answer()
    handles = [handle for handle, (_, number) in bench.waiting.items() if number >= 0]
    size = bench.box.receipted
    assert bench.box.acknowledged(handles[1], SUCCESS, bench.now) is None
    assert bench.box.receipted == size
    assert bench.box.acknowledged(handles[0], SUCCESS, bench.now) == size + 20


def test_in_the_weaker_mode_nobody_subscribed_frees_nothing() -> None:
    bench = Bench(batches=4, wait_for_receipts=False)
    bench.connect()
    bench.flow(lambda _: NO_SUBSCRIBERS)
    assert bench.box.receipted == 0
    bench.now += 12
    bench.flow()
    assert bench.box.receipted == 40


def test_in_the_weaker_mode_a_gap_costs_no_memory() -> None:
    bench = Bench(wait_for_receipts=False)
    bench.connect()
    for number in range(3000):
        bench.commit()
        bench.flow(lambda n: NO_SUBSCRIBERS if n % 2 == 0 else SUCCESS)
        bench.now += 0.001 * (number % 2)
    assert len(bench.box._acked) <= 64


# -- the pace of the backlog


def test_the_backlog_keeps_to_its_rate_and_live_data_does_not() -> None:
    bench = Bench(batches=1000, drain_rate=50_000, length=10_000)
    bench.connect()
    bench.flow()
    before = len(bench.sent)
    for _ in range(100):
        bench.now += 0.1
        bench.flow()
        done = [number for lane, number in bench.sent if lane is Lane.BACKLOG]
        bench.receipt(len(done))
    rate = (len(bench.sent) - before) * 10_000 / 10
    assert 45_000 <= rate <= 55_000
    bench.commit(15)
    assert len([lane for lane, _ in bench.send() if lane is Lane.LIVE]) == 15


def test_on_a_slow_line_the_backlog_keeps_few_messages_on_their_way() -> None:
    bench = Bench(batches=5000, length=64 * 1024)
    bench.connect()
    line: list[tuple[float, int]] = []  # a line that carries one message each second
    free_at = bench.now
    most = 0
    for _ in range(300):
        known = set(bench.waiting)
        bench.send()
        for handle in bench.waiting.keys() - known:
            free_at = max(free_at, bench.now) + 1
            line.append((free_at, handle))
        most = len(bench.waiting) if bench.now > 1060 else 0
        bench.now, handle = line.pop(0)
        _, number = bench.waiting.pop(handle)
        bench.box.acknowledged(handle, SUCCESS, bench.now)
        if number >= 0:
            bench.receipt(number + 1)
    assert 1 <= most <= 4

from __future__ import annotations

import random

import pytest
from outbox_bench import MIB, Bench

from edgegw.outbox import MAX_IN_FLIGHT, RESEND_S, Lane, Want
from edgegw.refusals import QUOTA_EXCEEDED, SUCCESS, TOO_LARGE


def test_nothing_goes_without_a_connection() -> None:
    bench = Bench(batches=5)
    assert bench.send() == []
    bench.connect()
    assert bench.send()
    bench.drop()
    bench.commit()
    assert bench.send() == []


def test_the_newest_head_goes_first_then_the_backlog_in_the_order_of_the_log() -> None:
    bench = Bench(batches=30, receipted=10)
    bench.connect()
    assert bench.send(2) == [(Lane.HEAD, -1), (Lane.BACKLOG, 10)]
    bench.answer()
    assert bench.flow() == list(range(11, 30))


def test_an_empty_log_has_no_head_and_nothing_to_send() -> None:
    bench = Bench()
    bench.connect()
    assert bench.send() == []


def test_live_batches_go_before_the_backlog_and_once() -> None:
    bench = Bench(batches=100)
    bench.connect()
    bench.send()
    bench.commit(2)
    assert bench.send() == [(Lane.LIVE, 100), (Lane.LIVE, 101)]
    bench.answer()
    assert sorted(number for _, number in bench.sent if number >= 0) == sorted(
        {number for _, number in bench.sent if number >= 0}
    )
    order = bench.flow()
    assert 100 not in order
    assert order == sorted(order)


def test_a_place_in_the_window_is_kept_for_live_data() -> None:
    bench = Bench(batches=1000, window=4)
    bench.connect()
    for _ in range(5):
        bench.send()
        bench.answer()
    assert len(bench.send()) == 3
    bench.commit()
    assert bench.send() == [(Lane.LIVE, 1000)]


@pytest.mark.parametrize(("own", "theirs", "expected"), [(20, 65535, 20), (20, 3, 3), (1, 20, 1)])
def test_never_more_wait_for_their_puback_than_either_side_allows(
    own: int, theirs: int, expected: int
) -> None:
    bench = Bench(window=own)
    bench.connect(theirs)
    bench.commit(100)
    assert len(bench.send()) == expected


def test_a_head_follows_what_it_covers() -> None:
    bench = Bench(batches=1, receipted=1)
    bench.connect()
    bench.flow()
    bench.commit()
    bench.box.new_head()
    assert bench.send() == [(Lane.LIVE, 1), (Lane.HEAD, -1)]


def test_a_head_does_not_wait_for_live_data_that_may_not_go() -> None:
    bench = Bench(length=MIB)
    bench.connect()
    bench.commit(10)
    bench.flow()
    bench.box.new_head()
    assert bench.send() == [(Lane.HEAD, -1)]


def test_without_receipts_no_more_than_the_limit_is_sent() -> None:
    for in_flight, length, most in ((4 * MIB, 64 * 1024, 64), (4 * MIB, 1000, MAX_IN_FLIGHT), (1, 1000, 1)):
        bench = Bench(in_flight=in_flight, length=length)
        bench.connect()
        bench.commit(2000)
        assert len(bench.flow()) == most
        bench.receipt(1)
        assert len(bench.flow()) == 1


def test_without_receipts_backlog_and_live_data_share_the_limit() -> None:
    bench = Bench(batches=1000, in_flight=MIB, length=64 * 1024)
    bench.connect()
    for _ in range(30):
        bench.commit()
        bench.flow()
    lanes = [lane for lane, number in bench.sent if number >= 0]
    assert lanes.count(Lane.LIVE) == lanes.count(Lane.BACKLOG) == 8


def test_live_data_goes_on_through_a_long_drain_while_receipts_come() -> None:
    bench = Bench(batches=20_000, length=8000)
    bench.connect()
    for second in range(60):
        bench.now += 1
        bench.commit()
        assert bench.step() == ((Lane.HEAD, -1) if second == 0 else (Lane.LIVE, 20_000 + second))
        sent = bench.flow(most=400)
        done = max((number for number in sent if number < 20_000), default=0)
        bench.receipt(done + 1)
    assert bench.box.in_flight < 2 * MAX_IN_FLIGHT


def test_live_data_waits_as_well_once_receipts_stop() -> None:
    bench = Bench(batches=20_000, in_flight=MIB, length=8192)
    bench.connect()
    bench.flow()
    bench.receipt(10)
    bench.commit(1000)
    bench.flow()
    live = sum(1 for lane, _ in bench.sent if lane is Lane.LIVE)
    assert live <= MIB // 8192
    bench.commit(1000)
    assert bench.flow() == []


def test_what_is_not_receipted_in_time_is_sent_again_from_the_receipted_size_on() -> None:
    bench = Bench()
    bench.connect()
    bench.commit(5)
    bench.flow()
    bench.receipt(2)
    bench.now += RESEND_S[0] * 0.99
    assert bench.send() == []
    bench.now += RESEND_S[0] * 0.12
    assert bench.flow() == [2, 3, 4]


def test_the_wait_for_a_receipt_doubles_to_five_minutes_and_falls_back_with_progress() -> None:
    bench = Bench()
    bench.connect()
    bench.commit(2)
    bench.flow()
    waits = []
    for _ in range(8):
        begin = bench.now
        at = bench.box.wake_at(bench.now)
        assert at is not None
        bench.now = at
        assert bench.flow() == [0, 1]
        waits.append(at - begin)
    for wait, least in zip(waits, (10, 20, 40, 80, 160, 300, 300, 300), strict=True):
        assert least <= wait <= least * 1.1
    bench.receipt(1)
    at = bench.box.wake_at(bench.now)
    assert at is not None
    assert at - bench.now <= 11


def test_a_request_shortens_the_wait_again() -> None:
    bench = Bench()
    bench.connect()
    bench.commit(2)
    bench.flow()
    for _ in range(6):
        at = bench.box.wake_at(bench.now)
        assert at is not None
        bench.now = at
        bench.flow()
    bench.box.requested(0, 5, bench.now)
    at = bench.box.wake_at(bench.now)
    assert at is not None
    assert at - bench.now <= 11


def test_no_timer_runs_when_everything_is_receipted() -> None:
    bench = Bench()
    bench.connect()
    bench.commit(3)
    bench.flow()
    bench.receipt(3)
    assert bench.box.wake_at(bench.now) is None
    assert bench.box.in_flight == 0


def test_a_slow_backlog_does_not_make_live_data_go_twice() -> None:
    bench = Bench(batches=50, drain_rate=1000, length=10_000)
    bench.connect()
    for _ in range(60):
        bench.now += 1
        bench.commit()
        bench.flow()
        known = {number for _, number in bench.sent}
        bench.receipt(next(number for number in range(200) if number not in known))
    live = [number for lane, number in bench.sent if lane is Lane.LIVE]
    assert live == list(range(50, 110))
    assert not [number for lane, number in bench.sent if lane is not Lane.LIVE and number >= 50]


def test_what_went_live_ahead_of_the_backlog_and_was_lost_is_sent_again_by_the_timer_too() -> None:
    bench = Bench(batches=5)
    bench.connect()
    bench.commit(3)
    assert sorted(bench.flow()) == list(range(8))
    bench.receipt(5)
    bench.now += 11.5
    assert bench.flow() == [5, 6, 7]


def test_each_connection_begins_at_the_receipted_size() -> None:
    bench = Bench(batches=10)
    bench.connect()
    bench.commit(3)
    bench.flow()
    bench.receipt(4)
    bench.drop()
    bench.commit()
    bench.connect()
    assert bench.flow() == list(range(4, 14))
    assert all(lane is Lane.BACKLOG for lane, number in bench.sent[-10:] if number >= 0)


def test_a_receipt_from_before_lets_the_backlog_jump() -> None:
    bench = Bench(batches=100)
    bench.connect()
    bench.send(2)
    bench.receipt(90)
    bench.answer()
    assert bench.flow() == list(range(90, 100))


def test_a_receipt_beyond_what_went_live_moves_everything() -> None:
    bench = Bench(batches=10)
    bench.connect()
    bench.commit(5)
    bench.receipt(15)
    assert bench.flow() == []
    bench.commit()
    assert bench.flow() == [15]


def test_a_receipt_never_goes_back_nor_beyond_the_log() -> None:
    bench = Bench(batches=10, receipted=5)
    bench.box.progress(30, bench.now)
    assert bench.box.receipted == 50
    bench.box.progress(10**9, bench.now)
    assert bench.box.receipted == 100


# -- requests


def test_what_is_asked_for_is_sent_again_though_it_is_receipted() -> None:
    bench = Bench(batches=10, receipted=10)
    bench.connect()
    bench.box.requested(20, 50, bench.now)
    assert bench.flow() == [2, 3, 4]
    assert bench.flow() == []


def test_a_request_within_a_batch_is_answered_with_the_batch() -> None:
    bench = Bench(batches=10, receipted=10)
    bench.connect()
    bench.box.requested(25, 26, bench.now)
    assert bench.flow() == [2]


def test_a_request_for_what_is_still_to_be_sent_changes_nothing() -> None:
    bench = Bench(batches=10)
    bench.connect()
    bench.box.requested(0, 10**9, bench.now)
    assert bench.flow() == list(range(10))


def test_a_request_for_what_only_just_went_out_is_answered_by_patience() -> None:
    bench = Bench(batches=10)
    bench.connect()
    bench.flow()
    bench.now += 1
    bench.box.requested(0, 100, bench.now)
    assert bench.flow() == []
    bench.now += 6
    bench.box.requested(30, 60, bench.now)
    assert bench.flow() == [3, 4, 5]


def test_asking_again_and_again_does_not_begin_anew() -> None:
    bench = Bench(batches=100, receipted=100, window=3)
    bench.connect()
    found: list[int] = []
    while True:
        bench.box.requested(0, 1000, bench.now)
        items = [number for _, number in bench.send() if number >= 0]
        bench.answer()
        found += items
        if len(found) >= 100:
            break
    assert found == list(range(100))


def test_a_flood_of_requests_costs_neither_memory_nor_the_backlog() -> None:
    bench = Bench(batches=2000, receipted=1000, length=100)
    bench.connect()
    chance = random.Random(3)
    for _ in range(500):
        first = chance.randrange(10_000)
        bench.box.requested(first, first + chance.randrange(1, 50), bench.now)
    assert len(bench.box._again) <= 16
    lanes = [lane for lane, _ in bench.send(100)]
    bench.answer()
    for _ in range(5):
        lanes += [lane for lane, _ in bench.send()]
        bench.answer()
    assert abs(lanes.count(Lane.REQUEST) - lanes.count(Lane.BACKLOG)) <= 2  # they take turns


# -- other


def test_a_new_log_forgets_the_old_one() -> None:
    bench = Bench(batches=100, receipted=20)
    bench.connect()
    bench.flow(lambda number: TOO_LARGE if number == 30 else SUCCESS)
    bench.send()
    bench.batches = 0
    bench.box.restarted(0)
    bench.answer()
    bench.commit(2)
    assert bench.flow() == [0, 1]
    assert bench.box.poison == 0
    assert bench.box.receipted == 0


def test_a_range_that_is_gone_from_the_store_is_jumped_over() -> None:
    bench = Bench(batches=30)
    bench.connect()
    bench.send(1)
    want = bench.box.next(bench.now)
    assert want == Want(Lane.BACKLOG, 0, 300)
    bench.box.sent(want, 0, 210, 100, 500, bench.now)  # the store's next batch is [200, 210)
    bench.answer()
    assert bench.box.next(bench.now) == Want(Lane.BACKLOG, 210, 300)
    bench.box.nothing_there(Want(Lane.BACKLOG, 210, 300))
    bench.commit()
    assert bench.send() == [(Lane.LIVE, 30)]
    assert bench.box.next(bench.now) is None
    bench.receipt(31)
    assert bench.box.in_flight == 0


def test_busy_until_all_that_is_new_is_answered() -> None:
    bench = Bench(batches=1, receipted=1)
    bench.connect()
    assert bench.box.busy()  # the head
    bench.flow()
    assert not bench.box.busy()
    bench.commit()
    assert bench.box.busy()
    bench.send()
    assert bench.box.busy()
    bench.answer()
    assert not bench.box.busy()


def test_answers_to_unknown_handles_are_ignored() -> None:
    bench = Bench(batches=1)
    bench.connect()
    assert bench.box.acknowledged(999, QUOTA_EXCEEDED, bench.now) is None
    assert bench.flow() == [0]

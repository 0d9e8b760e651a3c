from __future__ import annotations

import heapq
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegw.backoff import Backoff


def test_every_attempt_is_jittered_fully_also_the_first() -> None:
    for draw, factor in ((lambda: 0.0, 0.0), (lambda: 0.5, 0.5), (lambda: 0.999, 0.999)):
        backoff = Backoff(1, 300, draw)
        waits = [backoff.next() for _ in range(12)]
        assert waits == pytest.approx([factor * min(300, 2**n) for n in range(12)])


def test_it_begins_again_after_a_reset() -> None:
    backoff = Backoff(1, 300, lambda: 0.5)
    for _ in range(20):
        backoff.next()
    backoff.reset()
    assert backoff.next() == 0.5


def test_whoever_is_thrown_out_again_and_again_waits_longer_although_receipts_came() -> None:
    backoff = Backoff(1, 300, lambda: 0.5)
    waits = []
    for _ in range(12):
        backoff.reset()  # a receipt came
        backoff.thrown_out()
        waits.append(backoff.next())
    assert waits == [0.5 * min(300, 2**n) for n in range(12)]
    backoff.reset()
    backoff.steady()
    assert backoff.next() == 0.5


def test_a_take_over_that_is_named_counts_for_several() -> None:
    backoff = Backoff(1, 300, lambda: 0.5)
    backoff.thrown_out(taken_over=True)
    assert backoff.next() == 8
    backoff.reset()
    backoff.thrown_out(taken_over=True)
    assert backoff.next() == 150


@given(
    st.floats(0.001, 100), st.floats(0.001, 10_000), st.integers(0, 3000), st.floats(0, 1, exclude_max=True)
)
def test_no_wait_is_longer_than_the_longest_however_often_it_failed(
    least: float, most: float, attempts: int, draw: float
) -> None:
    backoff = Backoff(least, most, lambda: draw)
    wait = 0.0
    for _ in range(attempts + 1):
        wait = backoff.next()
    assert 0 <= wait <= max(least, most)


@pytest.mark.parametrize(("most", "all_back"), [(300, 300), (180, 180)])
def test_five_thousand_gateways_come_back_without_a_wave(most: float, all_back: float) -> None:
    chance = random.Random(2026)
    broker_is_back = 3600.0
    attempts = [(chance.uniform(0, 5), number) for number in range(5000)]
    heapq.heapify(attempts)
    backoffs = [Backoff(1, most, chance.random) for _ in range(5000)]
    connected: list[float] = []
    wasted = 0
    while attempts:
        now, number = heapq.heappop(attempts)
        if now >= broker_is_back:
            connected.append(now - broker_is_back)
        else:
            wasted += now >= broker_is_back
            heapq.heappush(attempts, (now + backoffs[number].next(), number))
    per_second = [0] * (int(max(connected)) + 1)
    for moment in connected:
        per_second[int(moment)] += 1
    assert max(per_second) < 80
    assert max(connected) <= all_back
    assert wasted == 0
    within_three_minutes = sum(moment <= 180 for moment in connected) / 5000
    assert within_three_minutes > (0.99 if most <= 180 else 0.8)

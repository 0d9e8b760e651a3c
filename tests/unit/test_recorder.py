from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from fakes_clock import FakeClock
from keeping import ISS, LIMITS, closed, keeper, opened

from edgegw import recorder as recording
from edgegw.clock import Timeline, look
from edgegw.driver import QUANTITIES, Reading
from edgegw.ports.thread import PortThread
from edgegw.recorder import Recorder
from edgegw.store import StoreFailed, StoreFull
from edgegw.wire import senml

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from edgegw.keeper import Keeper

TEMPERATURE = QUANTITIES["temperature"]


class Bench:
    """A recorder over a real log, with the clock in the test's hands."""

    def __init__(self, log: Keeper) -> None:
        self.log = log
        self.clock = FakeClock()
        self.worker = PortThread("store")
        self.recorder = Recorder(
            log,
            self.worker,
            writer=senml.RecordWriter(ISS),
            clock=self.clock,
            timeline=Timeline(look(self.clock), boot_id="b", floor=0.0),
            limits=LIMITS,
            on_commit=lambda _: None,
        )
        self.task = asyncio.create_task(self.recorder.run())

    def read(self, *values: float) -> int:
        readings = [Reading(TEMPERATURE, value) for value in values]
        return self.recorder.readings("air-1", readings, self.clock.monotonic())

    def values(self) -> list[Any]:
        return [record.value for batch in opened(self.log) for record in batch.records]

    def troubles(self) -> list[Exception]:
        return [self.recorder.trouble] if self.recorder.trouble else []

    async def retried(self) -> None:
        """Let the pause after a refusal pass."""
        for _ in range(50):
            await asyncio.sleep(0)
            await self.worker.call(int)
        self.clock.advance(recording.RETRY_S)
        for _ in range(50):
            await asyncio.sleep(0)
            await self.worker.call(int)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(keeper(tmp_path))
    yield made
    made.task.cancel()
    with suppress(asyncio.CancelledError):
        await made.task
    await made.worker.call(made.log.close)
    made.worker.stop()


async def test_what_is_flushed_is_committed_in_order(bench: Bench) -> None:
    assert bench.read(1.5, 2.5) == 2
    assert bench.read(3.5) == 1
    await bench.recorder.flush()
    assert bench.values() == [1.5, 2.5, 3.5]


async def test_an_impossible_value_is_refused_and_the_others_go_on(bench: Bench) -> None:
    assert bench.read(1.0, float("nan"), float("inf"), 2.0) == 2
    await bench.recorder.flush()
    assert bench.values() == [1, 2]
    assert bench.recorder.counts.refused == 2


async def test_a_full_batch_closes_at_once(bench: Bench) -> None:
    bench.read(*(float(number) for number in range(250)))
    await bench.recorder.flush()
    assert [len(batch.records) for batch in opened(bench.log)] == [100, 100, 50]


async def test_next_index_counts_what_waits(bench: Bench) -> None:
    bench.read(*(float(number) for number in range(130)))
    assert bench.recorder.next_index == 130
    await bench.recorder.flush()
    assert bench.recorder.next_index == bench.log.size == 130


@pytest.mark.parametrize("error", [StoreFull("full"), StoreFailed("EG-STORE-FAILED", "broken")])
async def test_a_disk_that_refuses_is_tried_again_with_the_same_records(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    commit = bench.log.commit
    refusals = [error]

    def refuse_once(*args: Any) -> Any:
        if refusals:
            raise refusals.pop()
        return commit(*args)

    monkeypatch.setattr(bench.log, "commit", refuse_once)
    bench.read(1.5)
    await bench.recorder.flush()
    assert bench.troubles() == [error]
    bench.read(2.5)
    await bench.retried()
    await bench.recorder.flush()
    assert bench.troubles() == []
    assert bench.values() == [1.5, 2.5]


async def test_a_store_that_cannot_be_opened_again_is_opened_before_the_next_try(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, reopen = bench.log.commit, bench.log.reopen
    refusals = [StoreFailed("EG-STORE-FAILED", "a write"), StoreFailed("EG-STORE-FAILED", "opening")]
    done: list[str] = []

    def refuse_once(*args: Any) -> Any:
        done.append("commit")
        if len(refusals) == 2:
            raise refusals.pop(0)
        return commit(*args)

    def fail_once() -> None:
        done.append("reopen")
        if refusals:
            raise refusals.pop()
        reopen()

    monkeypatch.setattr(bench.log, "commit", refuse_once)
    monkeypatch.setattr(bench.log, "reopen", fail_once)
    bench.read(1.5)
    await bench.recorder.flush()
    assert [str(trouble) for trouble in bench.troubles()] == [str(StoreFailed("EG-STORE-FAILED", "opening"))]
    await bench.retried()
    await bench.recorder.flush()
    assert done == ["commit", "reopen", "reopen", "commit"]
    assert bench.troubles() == []
    assert bench.values() == [1.5]


@pytest.mark.parametrize(
    "error", [StoreFull("full"), StoreFailed("EG-STORE-FAILED", "broken"), ValueError("defect")]
)
async def test_batches_before_the_one_that_is_refused_are_committed_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    commit = bench.log.commit
    calls = 0

    def refuse_the_third(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise error
        return commit(*args)

    monkeypatch.setattr(bench.log, "commit", refuse_the_third)
    bench.read(*range(500))  # five batches wait together
    await bench.recorder.flush()
    assert bench.log.size in (200, 500), "a defect is tried again at once, a disk after a pause"
    await bench.retried()
    await bench.recorder.flush()
    assert bench.troubles() == []
    assert bench.values() == list(range(500))
    assert bench.recorder.next_index == 500


async def test_a_long_queue_goes_in_several_visits_to_the_store(bench: Bench) -> None:
    bench.read(*range(100 * (2 * recording.AT_ONCE + 1)))
    await bench.recorder.flush()
    assert bench.values() == list(range(bench.log.size))
    assert bench.log.size == 100 * (2 * recording.AT_ONCE + 1)


async def test_what_does_not_fit_into_memory_is_counted_and_named_when_the_disk_writes_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "WAITING_BYTES", 20_000)
    commit, full = bench.log.commit, [True]

    def refuse(*args: Any) -> Any:
        if full:
            raise StoreFull("full")
        return commit(*args)

    monkeypatch.setattr(bench.log, "commit", refuse)
    bench.read(*(float(number) for number in range(1000)))
    dropped = bench.recorder.counts.dropped
    assert 0 < dropped < 1000
    full.clear()
    await bench.retried()
    await bench.recorder.flush()
    values = bench.values()
    assert values[: 1000 - dropped] == list(range(1000 - dropped)), "the oldest were kept"
    (lost,) = [
        record for batch in opened(bench.log) for record in batch.records if record.name.endswith(":lost")
    ]
    assert (lost.value, lost.extra) == (dropped, {"why": "full"})


def test_closed_records_stand_in_time_order_ties_by_arrival() -> None:
    from edgegw.journal import OpenBatch

    batch = OpenBatch(LIMITS)
    batch.begin(0.0, (1, 5))
    for record, t in ((b"late", 3.0), (b"first", 1.0), (b"second", 1.0)):
        batch.add(record, t)
    assert batch.close().records == [b"first", b"second", b"late"]
    assert len(closed(0).records) == 100

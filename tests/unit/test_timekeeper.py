from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from fakes_clock import FakeClock
from keeping import ISS, LIMITS, keeper, opened

from edgegw.clock import RELEASED, ClockSettings
from edgegw.driver import QUANTITIES, Reading
from edgegw.ports.thread import PortThread
from edgegw.recorder import Recorder
from edgegw.timekeeper import Timekeeper
from edgegw.wire import senml

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from edgegw.keeper import Keeper


class Run:
    """One run of the daemon's clock and recorder over a log, on a clock that the test owns."""

    def __init__(self, log: Keeper, clock: FakeClock) -> None:
        self.clock = clock
        self.log = log
        self.worker = PortThread("store")
        self.time = Timekeeper(clock, log, self.worker, ClockSettings())
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        await self.time.start()
        self.recorder = Recorder(
            self.log,
            self.worker,
            writer=senml.RecordWriter(ISS),
            clock=self.clock,
            timeline=self.time.timeline,
            limits=LIMITS,
            on_commit=lambda _: None,
        )
        self._tasks = [
            asyncio.create_task(self.recorder.run()),
            asyncio.create_task(self.time.run(self.recorder)),
        ]

    async def read(self, value: float) -> None:
        self.recorder.readings("air-1", [Reading(QUANTITIES["temperature"], value)], self.clock.monotonic())
        await self.recorder.flush()

    async def pass_(self, seconds: float) -> None:
        self.clock.advance(seconds)
        for _ in range(50):  # the watcher, the recorder and the store's thread take their turns
            await asyncio.sleep(0)
            await self.worker.call(int)

    async def stop(self) -> None:
        await self.recorder.flush()
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await self.worker.call(self.log.close)
        self.worker.stop()


@pytest.fixture
async def runs(tmp_path: Path) -> AsyncIterator[list[Run]]:
    del tmp_path
    made: list[Run] = []
    yield made
    for run in made:
        await run.stop()


def records(log: Keeper) -> list[senml.Record]:
    return [record for batch in opened(log) for record in batch.records]


async def test_readings_before_the_first_synchronisation_are_right_through_one_anchor(
    tmp_path: Path, runs: list[Run]
) -> None:
    truth = RELEASED + 1_000_000.0
    clock = FakeClock(truth)
    clock.set_wall(0.0)
    run = Run(keeper(tmp_path), clock)
    runs.append(run)
    await run.start()
    await run.read(1.0)
    await run.pass_(60.0)
    await run.read(2.0)
    clock.synchronise()
    await run.pass_(1.0)
    await run.read(3.0)
    found = records(run.log)
    (anchor,) = [record for record in found if record.name.endswith("_gateway:clock_anchor")]
    assert anchor.extra is not None
    assert (anchor.extra["from"], anchor.extra["to"], anchor.extra["boot"]) == (0, 2, clock.boot_id())
    assert isinstance(anchor.value, (int, float))
    before = found[:2]
    assert all(record.t >= RELEASED for record in before)
    assert [round(record.t + anchor.value) for record in before] == [round(truth), round(truth + 60)]
    assert abs(found[-1].t - (truth + 61)) < 1
    states = [batch.clock[0] for batch in opened(run.log)]
    assert states[0] == 0
    assert states[-1] == 1


async def test_a_stretch_that_a_kill_interrupts_is_anchored_from_its_first_record_on(tmp_path: Path) -> None:
    clock = FakeClock(RELEASED + 500_000.0)
    clock.set_wall(0.0)
    first = Run(keeper(tmp_path), clock)
    await first.start()
    await first.read(1.0)
    await first.pass_(5.0)
    await first.stop()
    second = Run(keeper(tmp_path), clock)
    await second.start()
    await second.read(2.0)
    clock.synchronise()
    await second.pass_(1.0)
    await second.recorder.flush()
    (anchor,) = [record for record in records(second.log) if record.name.endswith(":clock_anchor")]
    assert anchor.extra is not None
    assert (anchor.extra["from"], anchor.extra["to"]) == (0, 2)
    await second.stop()

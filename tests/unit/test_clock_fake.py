from __future__ import annotations

import asyncio

from fakes_clock import FakeClock


async def test_sleepers_wake_in_order_and_only_when_the_test_lets_time_pass() -> None:
    clock = FakeClock()
    woken: list[str] = []

    async def sleep(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(name)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(sleep("b", 2))
        tasks.create_task(sleep("a", 1))
        tasks.create_task(sleep("now", 0))
        await clock.run(0.5)
        assert woken == ["now"]
        await clock.run(2)
    assert woken == ["now", "a", "b"]


async def test_a_loop_that_sleeps_again_and_again_gets_each_of_its_turns() -> None:
    clock = FakeClock()
    turns: list[float] = []

    async def loop() -> None:
        while True:
            await clock.sleep(1)
            turns.append(clock.monotonic())

    task = asyncio.create_task(loop())
    start = clock.monotonic()
    await clock.run(5)
    task.cancel()
    assert turns == [start + n for n in range(1, 6)]


def test_a_suspend_moves_boot_time_and_wall_clock_and_not_the_monotonic_clock() -> None:
    clock = FakeClock()
    before = clock.monotonic(), clock.boottime(), clock.wall()
    clock.suspend(3600)
    assert (clock.monotonic(), clock.boottime() - before[1], clock.wall() - before[2]) == (
        before[0],
        3600,
        3600,
    )

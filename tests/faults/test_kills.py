"""SIGKILL at named points and at random ones: nothing accepted is lost, nothing comes twice, nothing is invented."""

from __future__ import annotations

import random
import shutil
from typing import TYPE_CHECKING

import pytest
from random_kills import killed_at_random
from world import World, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from broker import Broker

GATEWAY_POINTS = [
    "before commit",
    "commit to publish",
    "publish to PUBACK",
    "PUBACK to receipt",
    "receipt to disk",
]
RECEIVER_POINTS = ["receiver before commit", "receiver commit to acknowledgement"]


@pytest.fixture
def world(tmp_path: Path, broker: Broker) -> Iterator[World]:
    made = World(tmp_path, broker)
    yield made
    made.close()


@pytest.mark.parametrize("point", GATEWAY_POINTS)
def test_a_gateway_killed_at_this_point_loses_and_repeats_nothing(world: World, point: str) -> None:
    world.start_receiver()
    mark = world.start_gateway(point, number=4)
    world.killed_gateway()
    assert mark.exists(), "the point was not hit"
    world.start_gateway()
    world.frames(40)
    until("the gateway is back", lambda: bool(world.status()))
    world.frames(20)
    world.settled()
    world.check()


@pytest.mark.parametrize("point", RECEIVER_POINTS)
def test_a_receiver_killed_at_this_point_loses_and_repeats_nothing(world: World, point: str) -> None:
    mark = world.start_receiver(point, number=3)
    world.start_gateway()
    world.killed_receiver()
    assert mark.exists(), "the point was not hit"
    world.start_receiver()
    world.frames(40)
    world.settled()
    world.check()


def test_a_gateway_killed_in_a_checkpoint_loses_and_repeats_nothing(tmp_path: Path, broker: Broker) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed: it kills at a write to the database file")
    # A small quota folds the WAL in every few batches; only a checkpoint writes to the database file itself.
    world = World(tmp_path, broker, store='max_size = "1MiB"')
    try:
        world.start_receiver()
        world.start_gateway()
        until("the database is made", lambda: bool(world.status()))
        world.stop_gateway()
        trace = world.directory / "strace"
        database = world.directory / "store" / "edgegw.db"
        world.start_gateway(
            wrapper=[
                *("strace", "--follow-forks", f"--output={trace}", f"--trace-path={database}"),
                *("--trace=pwrite64", "--inject=pwrite64:signal=SIGKILL:when=3"),
            ]
        )
        world.killed_gateway()
        assert trace.read_text().count("pwrite64") >= 3, "the point was not hit"
        world.start_gateway()
        world.frames(40)
        until("the gateway is back", lambda: bool(world.status()))
        world.settled()
        world.check()
    finally:
        world.close()


def test_twenty_random_kills_of_gateway_broker_and_receiver_lose_and_repeat_nothing(world: World) -> None:
    killed_at_random(world, random.Random(20261122), kills=20)
    world.settled()
    world.check()


def test_a_broker_that_comes_late_gets_everything_from_the_first_reading_on(
    tmp_path: Path, broker: Broker
) -> None:
    broker.kill()
    world = World(tmp_path, broker)
    try:
        world.start_gateway()
        until(
            "readings are accepted without a broker",
            lambda: world.status().get("log", {}).get("size", 0) > 40,
        )
        broker.start()
        world.start_receiver()
        world.settled()
        assert world.check() == []
    finally:
        world.close()

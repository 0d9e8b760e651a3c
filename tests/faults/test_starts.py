"""Whatever is wrong at the start, measuring begins, and what was stored arrives when it is mended."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from world import GATEWAY, World, until

from edgegw.clock import RELEASED
from edgegw.simulate.authority import EXPIRED
from edgegw.wire import cose, senml

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from broker import Broker


@pytest.fixture
def world(tmp_path: Path, broker: Broker) -> Iterator[World]:
    made = World(tmp_path, broker)
    yield made
    made.close()


def measuring(world: World) -> None:
    until("readings are accepted", lambda: world.status().get("log", {}).get("size", 0) > 40)


def codes(world: World) -> set[str]:
    return {problem["code"] for problem in world.status().get("problems", ())}


def test_an_expired_certificate_holds_up_the_link_and_nothing_else(world: World, broker: Broker) -> None:
    broker.authority.client(GATEWAY, EXPIRED).write(world.directory, "tls")
    world.start_receiver()
    world.start_gateway()
    measuring(world)
    until("the status names the certificate", lambda: "EG-IDENTITY-EXPIRED" in codes(world))
    assert world.status()["log"]["receipted"] == 0
    broker.authority.client(GATEWAY).write(world.directory, "tls")
    world.settled()
    assert world.check() == []


def test_a_missing_certificate_holds_up_the_link_and_nothing_else(world: World, broker: Broker) -> None:
    (world.directory / "tls.crt").unlink()
    world.start_receiver()
    world.start_gateway()
    measuring(world)
    assert "EG-IDENTITY-MISSING" in codes(world)
    broker.authority.client(GATEWAY).write(world.directory, "tls")
    world.settled()
    assert world.check() == []


def test_a_name_that_nobody_knows_holds_up_the_link_and_nothing_else(world: World) -> None:
    configuration = world.directory / "edgegw.toml"
    right = configuration.read_text()
    configuration.write_text(right.replace("mqtts://localhost", "mqtts://broker.invalid"))
    world.start_gateway()
    measuring(world)
    until(
        "the status names the cause", lambda: bool(codes(world) & {"EG-UPLINK-DNS", "EG-UPLINK-UNREACHABLE"})
    )
    world.kill_gateway()
    configuration.write_text(right)
    world.start_receiver()
    world.start_gateway()
    world.settled()
    world.check()


def test_a_clock_ten_years_behind_is_lifted_to_the_release_and_nothing_is_discarded(world: World) -> None:
    if shutil.which("faketime") is None:
        pytest.skip("faketime is not installed: it sets the clock of one process")
    # The monotonic clocks stay true, as they do on a board without a clock chip.
    wrapper = ["env", "DONT_FAKE_MONOTONIC=1", "NO_FAKE_STAT=1", "faketime", "2016-01-01 00:00:00"]
    world.start_gateway(wrapper=wrapper)
    measuring(world)
    world.kill_gateway()
    times = [record.t for message in world.messages().values() for record in records(message)]
    assert len(times) > 40
    assert RELEASED <= min(times) < RELEASED + 600
    world.start_receiver()
    world.start_gateway()
    world.settled()
    world.check()


def records(message: bytes) -> list[senml.Record]:
    return senml.read_pack(cose.parse(message).payload or b"")[1]

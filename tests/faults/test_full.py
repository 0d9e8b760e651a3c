"""A full store: the policy decides, each loss is a signed record, and receipts go on behind the hole."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from world import World, until

if TYPE_CHECKING:
    from pathlib import Path

    from broker import Broker


def test_fill_drop_refill_and_drain_until_everything_is_receipted(tmp_path: Path, broker: Broker) -> None:
    world = World(tmp_path, broker, store='max_size = "1MiB"', period_s=0.0005)
    try:
        world.start_gateway()
        until("the store was full", lambda: world.status().get("lost", {}).get("total", 0) > 2000)
        world.start_receiver()
        until("receipts go on behind the hole", lambda: world.status().get("log", {}).get("receipted", 0) > 0)
        world.kill_receiver()
        lost = world.status()["lost"]["total"]
        until("it was full again", lambda: world.status().get("lost", {}).get("total", 0) > lost)
        world.start_receiver()
        world.settled()
        lost = world.status()["lost"]["total"]
        size = world.status()["log"]["size"]
        with closing(sqlite3.connect(world.directory / "upstream.db")) as db:
            held, proven = db.execute("SELECT count(*), sum(proven) FROM readings").fetchone()
            losses = db.execute("SELECT count(*) FROM readings WHERE quantity = 'lost'").fetchone()[0]
            ((gaps, receipted),) = db.execute("SELECT gaps, receipted FROM gateways").fetchall()
            doubles = db.execute(
                "SELECT count(*) FROM (SELECT idx FROM readings GROUP BY idx HAVING count(*) > 1)"
            ).fetchone()[0]
        assert losses > 0
        assert doubles == 0
        assert gaps == 0, "every index is upstream or named as lost"
        assert receipted == size
        # What went out live and was dropped here before its turn came is upstream, and also named as lost.
        assert held + lost >= size
        assert 0 <= held - proven <= lost
        accepted, upstream = world.accepted(), world.upstream(proven=False)
        assert all(upstream[index] == value for index, value in accepted.items())
    finally:
        world.close()

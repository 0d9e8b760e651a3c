"""Row `kills` (S1): SIGKILL of the real daemon, broker and receiver at random moments, on the whole way upstream."""

from __future__ import annotations

import random
import shutil

from broker import Broker
from random_kills import killed_at_random
from world import World

from edgegw.simulate.authority import Authority
from scripts.fault_rows.row import Order, Result, row

# A world for so many kills: what is held against the ledger at its end stays small.
_IN_A_WORLD = 100


def _missing() -> str:
    return "" if shutil.which("mosquitto") else "mosquitto is not installed"


@row("kills", runs=1_000, missing=_missing)
def kills(order: Order) -> Result:
    """One world after the other; what is accepted, what is upstream and what the sensor sent are compared."""
    chance, authority = random.Random(order.seed), Authority()
    result, readings = Result("SIGKILL at random", 0, worst_s=0.0), 0
    while result.runs < order.runs:
        number = min(_IN_A_WORLD, order.runs - result.runs)
        directory = order.directory / str(result.runs)
        directory.mkdir()
        broker = Broker(directory / "broker", authority)
        broker.start()
        world = World(directory, broker)
        try:
            slowest = killed_at_random(world, chance, kills=number, timed=True)
            result.worst_s = max(result.worst_s or 0.0, slowest)
            world.settled()
            accepted, upstream = world.accepted(), world.upstream()
            readings += len(accepted)
            result.lost += len(accepted.keys() - upstream.keys())
            numbers = world.numbers(upstream)
            result.twice += len(numbers) - len(set(numbers))
            world.check()
        except AssertionError as error:
            result.wrong += 1
            result.findings.append(f"after {result.runs} to {result.runs + number} kills: {error}"[:2000])
        finally:
            world.close()
            broker.stop()
        result.runs += number
    result.note = f"{readings:,} readings; recovery from the start of the process to its first answer"
    return result

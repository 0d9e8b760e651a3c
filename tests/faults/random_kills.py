"""SIGKILL of gateway, broker and receiver at random moments, as often as wanted."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from world import World, until

if TYPE_CHECKING:
    import random


def killed_at_random(world: World, chance: random.Random, *, kills: int, timed: bool = False) -> float:
    """Kill one of the three after another, and wait until the gateway is back at the end.

    With `timed` each new start of the gateway is waited for. Returns the seconds of the slowest, from its start to its
    first answer, 0 where none was timed.
    """
    slowest = 0.0
    world.start_receiver()
    world.start_gateway()
    for _ in range(kills):
        world.frames(chance.randrange(3, 40))
        victim = chance.choice(["gateway", "gateway", "broker", "receiver"])
        if victim == "gateway":
            world.kill_gateway()
            began = time.monotonic()
            world.start_gateway()
            if timed:
                until("the gateway is back", lambda: bool(world.status()))
                slowest = max(slowest, time.monotonic() - began)
        elif victim == "broker":
            world.broker.kill()
            world.frames(chance.randrange(1, 10))
            world.broker.start()
        else:
            world.kill_receiver()
            world.start_receiver()
    until("the gateway is back", lambda: bool(world.status()))
    world.frames(20)
    return slowest

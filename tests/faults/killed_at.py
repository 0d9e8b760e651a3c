"""Run the daemon or the receiver and kill it at a named point: `killed_at.py POINT NUMBER MARK PROGRAM ARGUMENTS…`.

The product has no hooks for this: the point is wrapped from outside, in this process. At the NUMBER-th time that it
is reached, MARK is written (so that a test can prove that it was) and the process kills itself with SIGKILL.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class Trap:
    """Counts, and kills the process at the given number."""

    def __init__(self, number: int, mark: Path) -> None:
        self._left = number
        self._mark = mark

    def spring(self) -> None:
        self._left -= 1
        if self._left <= 0:
            self._mark.write_text("hit")
            os.kill(os.getpid(), signal.SIGKILL)


def around(
    owner: Any, name: str, trap: Trap, *, after: bool, only: Callable[..., bool] | None = None
) -> None:
    """Spring the trap before or after each call of `owner.name` that `only` picks."""
    wrapped = getattr(owner, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        picked = only is None or only(*args)
        if picked and not after:
            trap.spring()
        result = wrapped(*args, **kwargs)
        if picked and after:
            trap.spring()
        return result

    setattr(owner, name, call)


def arm(point: str, trap: Trap) -> None:
    from paho.mqtt.client import Client

    from edgegw.connection import Connection
    from edgegw.keeper import Keeper
    from edgegw.outbox import Outbox
    from edgegw.receive.upstream_store import UpstreamStore
    from edgegw.store import Store

    points: dict[str, Callable[[], None]] = {
        # the batch is written, its transaction not committed
        "before commit": lambda: around(Store, "add_batch", trap, after=True),
        # the batch is durable, nobody knows of it yet
        "commit to publish": lambda: around(Keeper, "_took", trap, after=True),
        # the packet is on its way, no PUBACK was read
        "publish to PUBACK": lambda: around(
            Client, "publish", trap, after=True, only=lambda _, topic, *__: topic.endswith("/batch")
        ),
        # the broker has it, no receipt came
        "PUBACK to receipt": lambda: around(Outbox, "acknowledged", trap, after=True),
        # a receipt came, it is not on disk
        "receipt to disk": lambda: around(Outbox, "progress", trap, after=True),
        # the receiver has written, not committed
        "receiver before commit": lambda: around(UpstreamStore, "add_batch", trap, after=True),
        # the receiver has committed, not acknowledged
        "receiver commit to acknowledgement": lambda: around(Connection, "ack", trap, after=False),
    }
    points[point]()


def main() -> int:
    point, number, mark, program, *arguments = sys.argv[1:]
    if point:
        arm(point, Trap(int(number), Path(mark)))
    if program == "daemon":
        from edgegw.daemon import main as daemon

        return daemon(arguments)
    import asyncio

    from edgegw import tls
    from edgegw.config.kinds import Reference
    from edgegw.receive.run import ReceiveOptions, receive

    directory, port = Path(arguments[0]), int(arguments[1])

    def file(name: str) -> Reference:
        return Reference("file", str(directory / name))

    options = ReceiveOptions(
        server=tls.Server("localhost", port),
        ca=file("ca.crt"),
        cert=file("city.crt"),
        key=file("city.key"),
        keys=directory / "keys",
        signing_key=file("city.sign"),
        store=f"sqlite:///{directory}/upstream.db",
        json=True,
    )
    return asyncio.run(receive(options))


if __name__ == "__main__":
    sys.exit(main())

"""Readings for whoever looks over the gateway's shoulder, each with a bounded queue of its own."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from edgegw.driver import Reading

# Readings that wait for one listener; a terminal that reads slower loses the oldest, nobody else is held up.
WAITING: Final = 1000


class Tails:
    """Hands readings to its listeners as they come."""

    def __init__(self) -> None:
        self._queues: dict[asyncio.Event, deque[dict[str, Any]]] = {}

    def __bool__(self) -> bool:
        """Whether anybody listens."""
        return bool(self._queues)

    def tell(self, sensor: str, readings: Sequence[Reading], t: float) -> None:
        """Pass on what a sensor gave at record time `t`."""
        for reading in readings:
            item = {
                "sensor": sensor,
                "quantity": reading.quantity.name,
                "value": reading.value,
                "unit": reading.quantity.unit,
                "t": t,
                "q": reading.flag or 2,
                "qc": list(reading.checks),
            }
            for wake, queue in self._queues.items():
                queue.append(item)
                wake.set()

    async def listen(self, sensor: str | None) -> AsyncGenerator[dict[str, Any], None]:
        """Readings from now on, of one sensor or of all."""
        wake = asyncio.Event()
        queue = self._queues[wake] = deque(maxlen=WAITING)
        try:
            while True:
                await wake.wait()
                wake.clear()
                while queue:
                    item = queue.popleft()
                    if sensor in (None, item["sensor"]):
                        yield item
        finally:
            del self._queues[wake]

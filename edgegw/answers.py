"""What the daemon answers on its control socket."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final

from edgegw.problems import GatewayError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

    from edgegw.clock import Clock
    from edgegw.keeper import Keeper
    from edgegw.ports.thread import PortThread
    from edgegw.sensors import Sensors
    from edgegw.tails import Tails

# Batches that one answer holds, in bytes before base64.
SPOOL_BYTES: Final = 512 * 1024
# No log has more records (an index is 64 bits on the wire, and SQLite's integers are signed).
MAX_INDEX: Final = 2**62
# A test of a sensor takes seconds; a technician who forgets it must not silence the sensor for the night.
LONGEST_LOAN_S: Final = 300.0
# How soon the end of the one who borrowed is noticed.
LOAN_BEAT_S: Final = 0.5


class Answers:
    """The operations of the control socket over the parts of a running gateway."""

    def __init__(
        self,
        keeper: Keeper,
        worker: PortThread,
        sensors: Sensors,
        tails: Tails,
        status: Callable[[], Awaitable[dict[str, Any]]],
        clock: Clock,
    ) -> None:
        self._keeper = keeper
        self._worker = worker
        self._sensors = sensors
        self._tails = tails
        self._status = status
        self._clock = clock

    def answers(self) -> Mapping[str, Callable[[Mapping[str, Any]], Awaitable[Any]]]:
        """Operations that are answered once."""
        return {"status": self._answer_status, "spool": self._answer_spool, "heads": self._answer_heads}

    def streams(self) -> Mapping[str, Callable[[Mapping[str, Any]], AsyncGenerator[Any, None]]]:
        """Operations that are answered for as long as somebody listens."""
        return {"tail": self._tail, "lend": self._lend}

    async def _answer_status(self, request: Mapping[str, Any]) -> dict[str, Any]:
        del request
        return await self._status()

    async def _answer_spool(self, request: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Stored batches from index `from` on, messages in base64; empty at the end."""
        found = await self._worker.call(self._keeper.batches_from, _index(request, "from"), SPOOL_BYTES)
        return [
            {"first": batch.first, "count": batch.count, "message": base64.b64encode(batch.message).decode()}
            for batch in found
        ]

    async def _answer_heads(self, request: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Stored heads of more than `after` records, in order, messages in base64; empty at the end."""
        found = await self._worker.call(self._keeper.heads_between, _index(request, "after"), MAX_INDEX)
        return [
            {"number": head.number, "size": head.size, "message": base64.b64encode(head.message).decode()}
            for head in found
        ]

    def _tail(self, request: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """Readings as they come, of one sensor when `sensor` is given."""
        wanted = request.get("sensor")
        if wanted is not None and wanted not in self._sensors.views:
            raise GatewayError("EG-SENSOR-UNKNOWN", f"there is no sensor {wanted!r}")
        return self._tails.listen(wanted)

    async def _lend(self, request: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """Pause `sensor` and all that share its wire while somebody listens: an item at once, then a beat."""
        wanted = request.get("sensor")
        if wanted not in self._sensors.views:
            raise GatewayError("EG-SENSOR-UNKNOWN", f"there is no sensor {wanted!r}")
        async with self._sensors.lent(str(wanted)) as paused:
            for _ in range(int(LONGEST_LOAN_S / LOAN_BEAT_S)):
                yield {"paused": paused}
                await self._clock.sleep(LOAN_BEAT_S)


def _index(request: Mapping[str, Any], key: str) -> int:
    value = request.get(key, 0)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < MAX_INDEX:
        raise GatewayError("EG-USAGE", f"{key} is an index")
    return value

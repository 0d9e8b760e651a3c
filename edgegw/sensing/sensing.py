"""One sensor while it is read: where its outcomes go, its grid of time, what is known of it."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgegw.driver import FrameError, Notice, Reading
from edgegw.views import State, View

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
    from typing import Any

    from structlog.typing import FilteringBoundLogger

    from edgegw.clock import Clock
    from edgegw.config import Sensor
    from edgegw.driver import Outcome, SerialLine
    from edgegw.ports.errors import PortError
    from edgegw.sampling import Sampler
    from edgegw.sensing.buses import Buses
    from edgegw.sensing.wires import Port, Wires


@dataclass
class Sensing:
    """What a kind needs to read one sensor. `emit` takes readings and the monotonic second they came at."""

    name: str
    sensor: Sensor
    view: View
    wires: Wires
    buses: Buses
    clock: Clock
    log: FilteringBoundLogger
    emit: Callable[[Sequence[Reading], float], None]

    def port(
        self, line: SerialLine, on_data: Callable[[bytes, float], None], on_open: Callable[[], None]
    ) -> Port:
        """The wire of a device with a line of its own: a raw TCP socket where the sensor names a host."""
        host = self.sensor.host
        if host is not None:
            return self.wires.socket(host.host, host.port, on_data, on_open)
        return self.wires.serial(str(self.sensor.port), line, on_data, on_open)

    def readings(self, outcomes: Sequence[Outcome]) -> Sequence[Reading]:
        """The readings among the outcomes; refusals are counted and notices told."""
        if all(type(each) is Reading for each in outcomes):
            return outcomes  # type: ignore[return-value]  # just looked at
        found: list[Reading] = []
        for each in outcomes:
            if isinstance(each, FrameError):
                self.view.error(each.reason)
            elif isinstance(each, Notice):
                self.notice(each)
            else:
                found.append(each)
        return found

    def take(self, outcomes: Sequence[Outcome], now: float) -> Sequence[Reading]:
        """Emit the readings among the outcomes, and return them."""
        readings = self.readings(outcomes)
        if readings:
            self.emit(readings, now)
        return readings

    def notice(self, notice: Notice) -> None:
        """Tell something about the device, once until it changes; what is cured is shown no longer."""
        if notice.cured:
            if self.view.notices.pop(notice.name, None) is not None:
                self.log.info("sensor notice", sensor=self.name, about=notice.name, text=notice.text)
            return
        if self.view.notices.get(notice.name) != notice.text:
            # Who the device is, is news only when it is another one than before.
            known = notice.name != "device" or notice.name in self.view.notices
            (self.view.facts.discard if known else self.view.facts.add)(notice.name)
            say = self.log.warning if known else self.log.info
            self.view.notices[notice.name] = notice.text
            say("sensor notice", sensor=self.name, about=notice.name, text=notice.text)

    def fails(self, error: PortError) -> None:
        """Note that the port cannot be used; said once until readings come again."""
        if self.view.trouble is None:
            self.log.warning("sensor does not answer", sensor=self.name, reason=error.reason, why=error.why)
        self.view.error(error.reason)
        self.view.trouble, self.view.why, self.view.todo = State.UNPLUGGED, error.why, error.todo

    async def ticks(self, interval: float) -> AsyncIterator[int]:
        """Now, and then on a grid of `interval` seconds; what took longer than its time skips ticks."""
        start = self.clock.monotonic()
        tick = 0
        while True:
            yield tick
            now = self.clock.monotonic()
            tick = max(tick + 1, math.ceil((now - start) / interval))
            await self.clock.sleep(start + tick * interval - now)

    async def sample(self, sampler: Sampler, interval: float) -> None:
        """Emit what the sampler has at the end of each window."""
        while True:
            now = self.clock.monotonic()
            at = (math.floor(now / interval) + 1) * interval
            await self.clock.sleep(at - now)
            readings = sampler.due(self.clock.monotonic())
            if readings:
                self.emit(readings, self.clock.monotonic())


async def until_first_ends(coroutines: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run them side by side until one returns or raises; cancel the others and raise what it raised."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()

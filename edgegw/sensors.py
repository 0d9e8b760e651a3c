"""The sensors that run: each in its own supervised task, from its port to the recorder.

One sensor's trouble stays its own: a port that goes away is opened again with growing delays, a driver that fails
is started afresh, and the others never notice.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from edgegw import keys, registry
from edgegw.driver import AdvertDriver, AskDriver, AudioDriver, MessageDriver, PollDriver, StreamDriver
from edgegw.ports.errors import PortError
from edgegw.problems import GatewayError
from edgegw.sensing import advert, ask, audio, message, poll, stream
from edgegw.sensing.buses import Buses
from edgegw.sensing.sensing import Sensing
from edgegw.views import State, View

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from structlog.typing import FilteringBoundLogger

    from edgegw.clock import Clock
    from edgegw.config import Sensor
    from edgegw.driver import Driver, Reading
    from edgegw.sensing.wires import Wires

# Pauses before a port is opened again: first and longest, seconds. A replugged adapter is back within 10 s.
REOPEN_S: Final = (0.5, 5.0)
# Pauses before a driver that raised is started afresh: it is a defect, and trying it again costs others time.
RESTART_S: Final = (1.0, 300.0)
_DEFECT: Final = "A defect of the driver: report it with the log. It is started again by itself, and the other sensors go on."


class Sink(Protocol):
    """Where readings go."""

    def readings(self, sensor: str, readings: Sequence[Reading], monotonic: float) -> int:
        """Record them."""
        ...


class Sensors:
    """All configured sensors; `apply` starts, stops and restarts them as the configuration says.

    `listen` is called with (sensor id, readings, monotonic second) for each group of readings.
    """

    def __init__(
        self,
        wires: Wires,
        sink: Sink,
        clock: Clock,
        log: FilteringBoundLogger,
        *,
        simulated: bool,
        listen: Callable[[str, Sequence[Reading], float], None],
    ) -> None:
        self._wires = wires
        self._sink = sink
        self._clock = clock
        self._log = log
        self._simulated = simulated
        self._listen = listen
        self._running: dict[str, tuple[Sensor, asyncio.Task[None]]] = {}
        self._buses = Buses(wires)
        # What starts and stops sensors waits for devices to close: a second reload or loan waits for the first.
        self._turn = asyncio.Lock()
        self._stopped = False
        self.views: dict[str, View] = {}

    async def apply(self, wanted: Mapping[str, Sensor]) -> list[str]:
        """Run exactly these sensors; the ids that were started or changed, none after `stop`."""
        async with self._turn:
            return [] if self._stopped else await self._apply(wanted)

    async def _apply(self, wanted: Mapping[str, Sensor]) -> list[str]:
        await self._stop([name for name, (sensor, _) in self._running.items() if wanted.get(name) != sensor])
        fresh = [name for name in wanted if name not in self._running]
        for name in fresh:
            sensor = wanted[name]
            view = View(
                name,
                sensor.driver,
                sensor.stale_after,
                self._clock.monotonic(),
                self._simulated,
                enabled=sensor.enabled,
            )
            self.views[name] = view
            self._start(name, sensor, view)
        return fresh

    def _start(self, name: str, sensor: Sensor, view: View) -> None:
        task = asyncio.create_task(self._supervise(name, sensor, view), name=f"sensor {name}")
        self._running[name] = (sensor, task)

    @contextlib.asynccontextmanager
    async def lent(self, name: str) -> AsyncIterator[list[str]]:
        """Leave the wire of a sensor to somebody else until the context ends.

        Gives the ids of the sensors on that wire, all of which pause meanwhile. KeyError for an unknown sensor,
        GatewayError (EG-PORT-BUSY) while somebody else has the wire.
        """
        paused: dict[str, Sensor] = {}
        try:
            async with self._turn:
                await self._pause(name, paused)
            yield list(paused)
        finally:
            for each, sensor in paused.items():
                view = self.views.get(each)
                # What the configuration changed meanwhile runs already, or is gone.
                if view is not None and view.trouble is State.PAUSED:
                    view.trouble, view.since = None, self._clock.monotonic()
                    self._start(each, sensor, view)

    async def _pause(self, name: str, paused: dict[str, Sensor]) -> None:
        """Halt the sensors on the wire of `name`, and put each into `paused`."""
        wire = _wire(self._running[name][0])
        found = {
            each: sensor
            for each, (sensor, _) in self._running.items()
            if sensor.enabled and (each == name or (wire and _wire(sensor) == wire))
        }
        if any(self.views[each].trouble is State.PAUSED for each in found):
            raise GatewayError("EG-PORT-BUSY", f"the wire of {name} is lent to another command already")
        for each, sensor in found.items():
            # Whoever borrows may go while a device takes its time to close: what was halted starts again then.
            paused[each] = sensor
            try:
                await self._halt(each, self._running[each][1])
            finally:
                self.views[each].trouble, self.views[each].why, self.views[each].todo = State.PAUSED, "", ""

    async def stop(self) -> None:
        """Stop all sensors, for ever."""
        async with self._turn:
            self._stopped = True
            await self._stop(list(self._running))

    async def _stop(self, names: Sequence[str]) -> None:
        """Stop sensors side by side: a device that takes its time to close costs it once, not once for each."""
        # Forgotten first: a loan that ends meanwhile starts none of them again.
        tasks = {name: self._running.pop(name)[1] for name in names}
        for name in names:
            self.views.pop(name, None)
        halts = [self._halt(name, task) for name, task in tasks.items()]
        for error in await asyncio.gather(*halts, return_exceptions=True):
            if isinstance(error, Exception):
                # The others are stopped all the same, and what was measured is still to be stored.
                self._log.error("a sensor was not stopped cleanly", error=repr(error), exc_info=error)

    async def _halt(self, name: str, task: asyncio.Task[None]) -> None:
        """End a sensor's task and give its bus back."""
        task.cancel()
        # Not awaited itself: that could not tell the end of the task from the end of whoever waits.
        await asyncio.wait({task})
        await self._buses.release(name)

    async def _supervise(self, name: str, sensor: Sensor, view: View) -> None:
        """Run a sensor for ever: open again what closes, start afresh what fails, say each once."""
        if not sensor.enabled:
            return
        emit = partial(self._emit, name, view)
        sensing = Sensing(name, sensor, view, self._wires, self._buses, self._clock, self._log, emit)
        failures = 0
        while True:
            seen = view.readings
            try:
                # Secrets are read afresh each time, and live in the driver alone.
                driver = registry.make(
                    sensor.driver, sensor.options, secret=partial(keys.secret, env=os.environ)
                )
                await _run(sensing, driver)
                reason, pauses = "ended", REOPEN_S
            except PortError as error:
                reason, pauses = error.reason, REOPEN_S
                view.error(error.reason)
                view.trouble, view.why, view.todo = State.UNPLUGGED, error.why, error.todo
            except GatewayError as error:
                reason, pauses = error.what, RESTART_S
                view.error("secret")
                view.trouble, view.why = State.DRIVER_FAILED, f"{error.what}. {error.why}"
                view.todo = "; ".join(error.todo)
            except Exception as error:  # noqa: BLE001 -- whatever a driver raises stays with its sensor
                reason, pauses = f"{type(error).__name__}: {error}", RESTART_S
                view.error("driver")
                view.trouble, view.why, view.todo = State.DRIVER_FAILED, reason, _DEFECT
            failures = 1 if view.readings > seen else failures + 1
            if failures == 1:
                self._log.warning("sensor stopped", sensor=name, reason=reason, why=view.why, todo=view.todo)
            first, longest = pauses
            await self._clock.sleep(min(longest, first * 2 ** min(failures - 1, 16)))

    def _emit(self, name: str, view: View, readings: Sequence[Reading], now: float) -> None:
        if view.trouble is not None and view.readings:
            self._log.info("sensor is back", sensor=name)
        taken = self._sink.readings(name, readings, now)
        if taken < len(readings):
            view.error("impossible_value")
        view.took(readings, now)
        self._listen(name, readings, now)


def _wire(sensor: Sensor) -> str:
    """What only one program can have open: the device behind the port, or the host; empty for none."""
    if sensor.host is not None:
        return str(sensor.host)
    return os.path.realpath(sensor.port) if sensor.port is not None else ""


async def _run(sensing: Sensing, driver: Driver) -> None:
    """Read the sensor by its kind."""
    if isinstance(driver, StreamDriver):
        await stream.run(sensing, driver)
    elif isinstance(driver, AskDriver):
        await ask.run(sensing, driver)
    elif isinstance(driver, PollDriver):
        await poll.run(sensing, driver)
    elif isinstance(driver, AudioDriver):
        await audio.run(sensing, driver)
    elif isinstance(driver, AdvertDriver):
        await advert.run(sensing, driver)
    elif isinstance(driver, MessageDriver):
        await message.run(sensing, driver)

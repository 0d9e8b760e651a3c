"""The sensors that run: each in its own supervised task, from its port to the recorder.

One sensor's trouble stays its own: a port that goes away is opened again with growing delays, a driver that fails
is started afresh, and the others never notice.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from typing import TYPE_CHECKING, Any, Final, Protocol

from edgegw import registry
from edgegw.driver import FrameError, PollDriver, StreamDriver
from edgegw.framing import Framer
from edgegw.ports.errors import PortError
from edgegw.sampling import Sampler
from edgegw.views import State, View

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence

    from structlog.typing import FilteringBoundLogger

    from edgegw.clock import Clock
    from edgegw.config import Sensor
    from edgegw.driver import Block, Driver, Reading, SerialLine

# Pauses before a port is opened again: first and longest, seconds. A replugged adapter is back within 10 s.
REOPEN_S: Final = (0.5, 5.0)
# Pauses before a driver that raised is started afresh: it is a defect, and trying it again costs others time.
RESTART_S: Final = (1.0, 300.0)


class Bus(Protocol):
    """A Modbus line or host that several sensors share."""

    async def poll(
        self, unit: int, blocks: Sequence[Block], *, timeout_s: float, min_gap_s: float
    ) -> Sequence[Sequence[int] | FrameError]:
        """Read the blocks of one unit."""
        ...

    async def close(self) -> None:
        """Close it."""
        ...


class Port(Protocol):
    """An opened serial device."""

    async def run(self) -> None:
        """Read until the device goes."""
        ...

    async def write(self, data: bytes) -> None:
        """Send bytes."""
        ...


class Wires(Protocol):
    """Makes ports and buses; the daemon's makes real ones."""

    def serial(
        self,
        path: str,
        line: SerialLine,
        on_data: Callable[[bytes, float], None],
        on_open: Callable[[], None],
    ) -> Port:
        """A serial device, not yet opened."""
        ...

    def rtu(self, path: str, line: SerialLine) -> Bus:
        """A Modbus RTU line."""
        ...

    def tcp(self, host: str, port: int) -> Bus:
        """A Modbus TCP host."""
        ...


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
        self._buses: dict[str, tuple[Bus, set[str]]] = {}
        self.views: dict[str, View] = {}

    async def apply(self, wanted: Mapping[str, Sensor]) -> list[str]:
        """Run exactly these sensors; the ids that were started or changed."""
        gone = [name for name, (sensor, _) in self._running.items() if wanted.get(name) != sensor]
        for name in gone:
            await self._stop(name)
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
            task = asyncio.create_task(self._supervise(name, sensor, view), name=f"sensor {name}")
            self._running[name] = (sensor, task)
        return fresh

    async def stop(self) -> None:
        """Stop all sensors."""
        for name in list(self._running):
            await self._stop(name)

    async def _stop(self, name: str) -> None:
        _, task = self._running.pop(name)
        self.views.pop(name, None)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        for key, (bus, users) in list(self._buses.items()):
            users.discard(name)
            if not users:
                del self._buses[key]
                await bus.close()

    async def _supervise(self, name: str, sensor: Sensor, view: View) -> None:
        """Run a sensor for ever: open again what closes, start afresh what fails, say each once."""
        if not sensor.enabled:
            return
        failures = 0
        while True:
            seen = view.readings
            try:
                driver = registry.make(sensor.driver, sensor.options)
                await self._run(name, sensor, driver, view)
                reason, pauses = "ended", REOPEN_S
            except PortError as error:
                reason, pauses = error.reason, REOPEN_S
                view.error(error.reason)
                view.trouble, view.why, view.todo = State.UNPLUGGED, error.why, error.todo
            except Exception as error:  # noqa: BLE001 -- whatever a driver raises stays with its sensor
                reason, pauses = f"{type(error).__name__}: {error}", RESTART_S
                view.error("driver")
                view.trouble, view.why, view.todo = State.DRIVER_FAILED, reason, ""
            failures = 1 if view.readings > seen else failures + 1
            if failures == 1:
                self._log.warning("sensor stopped", sensor=name, reason=reason, why=view.why, todo=view.todo)
            first, longest = pauses
            await self._clock.sleep(min(longest, first * 2 ** min(failures - 1, 16)))

    async def _run(self, name: str, sensor: Sensor, driver: Driver, view: View) -> None:
        if isinstance(driver, StreamDriver):
            await self._stream(name, sensor, driver, view)
        elif isinstance(driver, PollDriver):
            await self._poll(name, sensor, driver, view)

    # -- devices that talk

    async def _stream(self, name: str, sensor: Sensor, driver: StreamDriver, view: View) -> None:
        framer, decoder = Framer(driver.framing), driver.decoder()
        sampler = Sampler(sensor.interval) if sensor.interval is not None else None
        arrived = 0.0

        def decode(frame: bytes) -> Sequence[Reading]:
            return decoder.decode(frame, arrived)

        def refuse(error: FrameError) -> None:
            view.error(error.reason)

        def on_data(chunk: bytes, now: float) -> None:
            nonlocal arrived
            arrived = now
            frames = framer.feed(chunk, decode, refuse)
            if not frames:
                return
            readings = frames[0] if len(frames) == 1 else [reading for frame in frames for reading in frame]
            if sampler is None:
                self._emit(name, view, readings, now)
            else:
                sampler.feed(readings, now)

        opened = asyncio.Event()
        port = self._wires.serial(str(sensor.port), driver.line, on_data, opened.set)
        together: list[Coroutine[Any, Any, None]] = [port.run()]
        if sampler is not None and sensor.interval is not None:
            together.append(self._sample(name, view, sampler, sensor.interval))
        if driver.setup() or driver.request():
            setup = driver.setup() if sensor.allow_setup else ()
            together.append(self._speak(port, setup, driver.request(), opened, sensor.interval or 1.0))
        await _until_first_ends(together)

    async def _sample(self, name: str, view: View, sampler: Sampler, interval: float) -> None:
        while True:
            now = self._clock.monotonic()
            at = (math.floor(now / interval) + 1) * interval
            await self._clock.sleep(at - now)
            readings = sampler.due(self._clock.monotonic())
            if readings:
                self._emit(name, view, readings, self._clock.monotonic())

    async def _speak(
        self, port: Port, setup: Sequence[bytes], request: bytes, opened: asyncio.Event, interval: float
    ) -> None:
        """Send the set-up frames once, then the request each interval."""
        await opened.wait()
        for frame in setup:
            await port.write(frame)
        async for _ in self._ticks(interval):
            if request:
                await port.write(request)

    # -- devices that are polled

    async def _poll(self, name: str, sensor: Sensor, driver: PollDriver, view: View) -> None:
        bus = self._bus(name, sensor, driver)
        decoder, blocks = driver.decoder(), driver.blocks()
        averager = Sampler(sensor.average) if sensor.average is not None else None
        async for _ in self._ticks(sensor.interval or 1.0):
            try:
                answers = await bus.poll(
                    sensor.unit, blocks, timeout_s=driver.timeout_s, min_gap_s=driver.min_gap_s
                )
            except PortError as error:
                if view.trouble is None:
                    self._log.warning(
                        "sensor does not answer", sensor=name, reason=error.reason, why=error.why
                    )
                view.error(error.reason)
                view.trouble, view.why, view.todo = State.UNPLUGGED, error.why, error.todo
                continue
            now = self._clock.monotonic()
            readings: list[Reading] = []
            for found in decoder.decode(answers, now):
                if isinstance(found, FrameError):
                    view.error(found.reason)
                    if found.reason == "no_reply":
                        view.trouble = State.NO_ANSWER
                else:
                    readings.append(found)
            if readings:
                self._emit(name, view, readings, now)
            if averager is not None:
                averager.feed(readings, now)
                means = averager.due(now)
                if means:
                    self._emit(name, view, means, now)

    def _bus(self, name: str, sensor: Sensor, driver: PollDriver) -> Bus:
        key = str(sensor.host) if sensor.host is not None else str(sensor.port)
        if key not in self._buses:
            if sensor.host is not None:
                bus = self._wires.tcp(sensor.host.host, sensor.host.port)
            else:
                bus = self._wires.rtu(str(sensor.port), driver.lines()[0])
            self._buses[key] = (bus, set())
        bus, users = self._buses[key]
        users.add(name)
        return bus

    async def _ticks(self, interval: float) -> AsyncIterator[int]:
        """Now, and then on a grid of `interval` seconds; what took longer than its time skips ticks."""
        start = self._clock.monotonic()
        tick = 0
        while True:
            yield tick
            now = self._clock.monotonic()
            tick = max(tick + 1, math.ceil((now - start) / interval))
            await self._clock.sleep(start + tick * interval - now)

    def _emit(self, name: str, view: View, readings: Sequence[Reading], now: float) -> None:
        if view.trouble is not None and view.readings:
            self._log.info("sensor is back", sensor=name)
        taken = self._sink.readings(name, readings, now)
        if taken < len(readings):
            view.error("impossible_value")
        view.took(readings, now)
        self._listen(name, readings, now)


async def _until_first_ends(coroutines: Iterable[Coroutine[Any, Any, None]]) -> None:
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

"""A street's worth of virtual sensors, alive in one thread until they are stopped."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final, Self

from edgegw.simulate.devices import Device, Surroundings, Talker
from edgegw.simulate.faults import Condition, Faults
from edgegw.simulate.ledger import Ledger
from edgegw.simulate.model import Setting, VirtualSensor
from edgegw.simulate.models import MODELS
from edgegw.simulate.people import Passages
from edgegw.simulate.radar import CrowdRadar
from edgegw.simulate.radio import VARIABLE, Radio
from edgegw.simulate.scenario import Street

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edgegw.simulate.scenario import Scenario

# Making a pty takes microseconds; a machine that needs longer than this cannot run sensors.
START_S: Final = 10.0

#: One sensor per family, and the sound one on both kinds of Modbus; periods as the devices have them.
STREET: Final = (
    VirtualSensor("air-1", "sds011", 1.0),
    VirtualSensor("sound-1", "renke-rtu"),
    VirtualSensor("sound-2", "renke-tcp"),
    VirtualSensor("flow-1", "ld2450", 0.1),
)


class Stage:
    """Runs virtual sensors: `start`, look at `addresses`, `stop`; also a context manager.

    Pseudo-terminals appear as `DIRECTORY/dev/<id>`. With `numbered` every value says which frame or answer it
    came from, whatever the scenario, and each sensor keeps its ledger in `DIRECTORY/ledger/`.
    """

    def __init__(
        self,
        directory: Path,
        scenario: Scenario,
        *,
        seed: int = 1,
        sensors: Sequence[VirtualSensor] = STREET,
        faults: Faults | None = None,
        numbered: bool = False,
    ) -> None:
        self._directory = directory
        self._scenario = scenario
        self._seed = seed
        self._faults = faults or Faults(scenario.fault, repeat_s=scenario.repeat, seed=seed)
        self._numbered = numbered
        self._crowd: CrowdRadar | None = None
        self._radio: Radio | None = None
        self._began = time.monotonic()
        self._devices = {sensor.id: self._device(sensor) for sensor in sensors}
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def addresses(self) -> Mapping[str, str]:
        """Where each sensor is found: the path of its port, or `host:port`; after `start`."""
        return {name: device.address for name, device in self._devices.items()}

    @property
    def environment(self) -> Mapping[str, str]:
        """Environment variables by which the gateway finds the radio and the sound cards; after `start`."""
        found = {VARIABLE: self._radio.address} if self._radio is not None else {}
        for device in self._devices.values():
            found |= getattr(device, "environment", {})
        return found

    @property
    def failure(self) -> BaseException | None:
        """What ended the sensors before their time; None while they live."""
        return self._failure

    def second(self) -> float:
        """The scenario's second: monotonic time since the start."""
        return time.monotonic() - self._began

    def link_down(self) -> bool:
        """Whether the script wants the broker to be gone now."""
        return self._faults.link_down(self.second())

    def passed(self) -> Passages:
        """The truth about the people so far; zeros when no radar watches a crowd."""
        return self._crowd.crowd.passed(self.second()) if self._crowd else Passages(0, 0)

    def received(self, sensor: str) -> int:
        """How many bytes somebody sent to a sensor that only talks."""
        device = self._devices[sensor]
        return device.received if isinstance(device, Talker) else 0

    def start(self) -> None:
        """Bring all wires up and let the sensors live; raises OSError when a wire cannot be made."""
        ready: Future[None] = Future()
        self._began = time.monotonic()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._main(ready)), name="virtual sensors", daemon=True
        )
        self._thread.start()
        ready.result(START_S)

    def stop(self) -> None:
        """Take everything down and wait for it; may be called again."""
        if self._thread is None or self._loop is None or self._running is None:
            return
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._running.cancel)
        self._thread.join(START_S)
        self._thread = None

    async def _main(self, ready: Future[None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._running = asyncio.create_task(self._live(ready))
        try:
            await self._running
        except asyncio.CancelledError:
            # That is how `stop` ends it.
            return
        except BaseException as error:
            self._failure = error
            if not ready.done():
                ready.set_exception(error)
                return
            raise

    async def _live(self, ready: Future[None]) -> None:
        async with self._radio or contextlib.nullcontext():
            for device in self._devices.values():
                await device.plug()
            async with asyncio.TaskGroup() as group:
                for name, device in self._devices.items():
                    group.create_task(device.run(), name=name)
                ready.set_result(None)

    def _device(self, sensor: VirtualSensor) -> Device:
        if sensor.model not in MODELS:
            raise ValueError(f"no virtual sensor {sensor.model!r}; there are {', '.join(sorted(MODELS))}")

        def condition(number: int, t: float) -> Condition:
            return self._faults.condition(sensor.id, number, t)

        ledger = Ledger(self._directory / "ledger" if self._numbered else None, sensor.id)
        setting = Setting(
            sensor=sensor,
            directory=self._directory,
            link=self._directory / "dev" / sensor.id,
            street=Street(self._scenario, self._seed),
            around=Surroundings(self.second, condition, ledger),
            numbered=self._numbered,
            crowd=self._watched,
            radio=self._air,
        )
        return MODELS[sensor.model].make(setting)

    def _air(self) -> Radio:
        """The one radio of this street."""
        if self._radio is None:
            self._radio = Radio()
        return self._radio

    def _watched(self) -> CrowdRadar:
        """The one crowd of this street."""
        if self._crowd is None:
            self._crowd = CrowdRadar(self._seed, self._scenario.people.per_minute)
        return self._crowd

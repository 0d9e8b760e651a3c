"""The one scanner of this process: it runs while somebody listens, and heals itself."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from edgegw.driver import Notice
from edgegw.ports.ble import adverts, failures, scans
from edgegw.ports.ble.crowd import KEPT_S, MOST_DEVICES, Crowd
from edgegw.ports.ble.patterns import Wants
from edgegw.ports.ble.probation import Probation
from edgegw.ports.ble.watch import LONGEST_QUIET_S, POWER_PAUSE_S, QUIET_S, Step, Watch
from edgegw.ports.errors import PortError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from edgegw.driver import Advert
    from edgegw.ports.ble.bluez import Adapter, Bluez
    from edgegw.ports.ble.scans import Mode

# What keeps a passive scan from beginning where an active one may do; the other reasons stop both.
_NOT_PASSIVE: Final = frozenset({"passive", "failed", "busy"})
# How long the last ear waits for its scan to end, so that BlueZ is left as it was; the end goes on by itself.
CLOSE_S: Final = 2.0


class Ear(Protocol):
    """Somebody who listens."""

    wants: Wants

    def heard(self, advert: Advert, now: float) -> None:
        """An advertisement, heard at monotonic second `now`; it may be for somebody else."""
        ...

    def hearing(self) -> None:
        """The radio hears: from now on silence means something."""
        ...

    def deaf(self, error: PortError | None) -> None:
        """The radio hears nothing, so silence means nothing; with `error` it is known to fail."""
        ...

    def notice(self, notice: Notice, *, first: bool) -> None:
        """Something a person wants to know; `first` for one of the ears, so that it is said once."""
        ...


@dataclass(frozen=True)
class Pace:
    """Times in seconds, and how many devices are kept at once."""

    quiet: float = QUIET_S
    longest_quiet: float = LONGEST_QUIET_S
    power_pause: float = POWER_PAUSE_S
    # How often bluetoothd and the adapter are asked whether they are still there: two short messages.
    check: float = 5.0
    # Pauses after a failure, doubling: scanning is back within 30 s after the cause has ended (FAULTS D4).
    first_pause: float = 1.0
    longest_pause: float = 10.0
    # After a flood: until BlueZ has forgotten the devices that it made up, and some more.
    flood_pause: float = KEPT_S + 10.0
    most_devices: int = MOST_DEVICES


class Scanner:
    """Listens on one adapter for all ears, started with the first and stopped with the last.

    `adapter` is its name, or empty for the first; `scanning` is `auto`, `passive` or `active`. `auto` is passive
    where BlueZ allows it, until a passive scan is found to keep devices from us (`probation`).
    """

    def __init__(self, adapter: str = "", scanning: str = "auto", *, pace: Pace | None = None) -> None:
        self._wanted = self._adapter = adapter
        self._scanning = scanning
        self._pace = pace or Pace()
        self._ears: list[Ear] = []
        self._task: asyncio.Task[None] | None = None
        self._scans = asyncio.Lock()
        self._changed = asyncio.Event()
        self._watch = Watch(
            time.monotonic(),
            quiet=self._pace.quiet,
            longest=self._pace.longest_quiet,
            power_pause=self._pace.power_pause,
        )
        self._probation = Probation(self._pace.quiet)
        self._refused = False  # BlueZ did not begin the passive scan: there is nothing to compare
        self._compared = False  # the active scan of the comparison has begun
        self._crowd = Crowd(self._pace.most_devices)
        self._flooded = False
        self._keeps = False  # a passive scan was found to keep devices from us
        self._mode: Mode | None = None
        self._wants = Wants()
        self._deaf = True
        self._said: dict[str, str] = {}
        self._adverts = self._restarts = self._power_cycles = self._failures = 0

    def facts(self) -> dict[str, Any]:
        """For `status --json`: the adapter, which `scanning` is in force (`none`, `passive`, `active`), counts.

        `adverts` were heard from anybody, `silent_s` is the time since the last; `restarts` and `power_cycles` are
        what was done about silence, `failures` attempts to scan that failed.
        """
        return {
            "adapter": self._adapter,
            "scanning": self._mode or "none",
            "adverts": self._adverts,
            "silent_s": round(self._watch.silence(time.monotonic()), 1),
            "restarts": self._restarts,
            "power_cycles": self._power_cycles,
            "failures": self._failures,
        }

    async def listen(self, ear: Ear) -> None:
        """Let `ear` hear until it is cancelled; what goes wrong is told to it, and heals."""
        for name, text in self._said.items():
            ear.notice(Notice(name, text), first=False)
        if not self._deaf:
            ear.hearing()
        self._ears.append(ear)
        self._changed.set()
        if self._task is None or self._task.done() or self._task.cancelling():
            self._task = asyncio.create_task(self._run(), name="bluetooth")
        task = self._task
        try:
            # It ends only by a defect: then whoever listens has to know.
            await asyncio.shield(task)
        finally:
            self._ears.remove(ear)
            self._changed.set()
            if not self._ears and task is self._task:
                task.cancel()
                # A bluetoothd that hangs is not waited for: neither a reload nor the end of the process may hang too.
                await asyncio.wait({task}, timeout=CLOSE_S)

    # -- one scan after the other

    async def _run(self) -> None:
        # The one before may still be stopping: its stop would stop ours, they share a connection.
        async with self._scans:
            await self._scan_for_ever()

    async def _scan_for_ever(self) -> None:
        pause = self._pace.first_pause
        self._watch.begin(time.monotonic())
        try:
            while True:
                try:
                    await self._scan()
                    pause = self._pace.first_pause
                except PortError as error:
                    self._fail(error)
                    if error.reason == "flood":
                        # Whoever comes or goes: what BlueZ keeps has to be forgotten first.
                        await asyncio.sleep(self._pace.flood_pause)
                    await self._wait(pause)
                    pause = min(self._pace.longest_pause, 2 * pause)
        finally:
            self._deaf = True
            self._said.clear()
            self._probation.cancel()

    async def _scan(self) -> None:
        """Scan until it is time to begin anew; PortError when it does not go, or ends."""
        from edgegw.ports.ble.bluez import Bluez  # noqa: PLC0415 -- dbus-fast, only with the first scan

        async with Bluez(self._wanted) as bluez:
            adapter = await bluez.adapter()
            self._adapter = adapter.name
            self._crowd.clear()
            self._flooded = False
            await self._act(bluez, adapter)
            if await bluez.power_on(adapter):
                self._say("bluetooth_power", f"{adapter.name} was off and has been switched on.")
            self._wants = Wants.union(ear.wants for ear in self._ears)
            async with self._scanning_with(adapter.name) as mode:
                self._mode = mode
                try:
                    if not self._watch.suspicious:
                        self._hear()
                    await self._stay(bluez, adapter)
                finally:
                    self._mode = None

    async def _stay(self, bluez: Bluez, adapter: Adapter) -> None:
        """Return when the scan is to begin anew; PortError when the adapter is gone or off."""
        while not self._watch.is_due(time.monotonic(), self._patience()):
            await self._wait(self._pace.check)
            if self._flooded:
                raise failures.failure("flood", adapter.name, f"more than {self._pace.most_devices}")
            wants = Wants.union(ear.wants for ear in self._ears)
            if wants != self._wants:
                self._wants = wants
                if self._mode == "passive":
                    return
            if not await bluez.same(adapter):
                self._restarts += 1
                self._say("bluetooth_restart", "bluetoothd was restarted; scanning began anew.")
                return
            if not await bluez.powered(adapter) or self._compare(time.monotonic()):
                return

    def _compare(self, now: float) -> bool:
        """Compare passive and active scans where either may do; whether the other kind is to begin."""
        if not self._comparable():
            return False
        verdict = self._probation.verdict(now)
        self._compared = self._compared and verdict == "open"
        if verdict == "active":
            self._keeps = True
            self._say("bluetooth_scanning", "Scanning is active: a passive scan keeps unchanged data back.")
        elif self._mode == "passive" and self._probation.suspicious(now):
            self._probation.begin(now)
            return True
        return verdict == "passive"

    async def _act(self, bluez: Bluez, adapter: Adapter) -> None:
        """Do what is due about silence, and say so."""
        now = time.monotonic()
        step = self._watch.due(now, self._patience())
        if step is None:
            return
        self._go_deaf(failures.failure("silent", adapter.name) if self._watch.helpless else None)
        silence = f"Nobody was heard for {self._watch.silence(now):.0f} s"
        if step is Step.POWER_CYCLE:
            self._power_cycles += 1
            self._say("bluetooth_silence", f"{silence}: {adapter.name} is switched off and on.")
            await bluez.power_cycle(adapter)
            return
        self._restarts += 1
        self._say("bluetooth_silence", f"{silence}: scanning began anew.")
        if self._comparable():
            # In turns: a radio that is stuck is none that cannot listen passively.
            if self._compared:
                self._probation.cancel()
            else:
                self._probation.begin(now, silence=True)
            self._compared = False

    def _patience(self) -> float | None:
        """How long the first silence may last where it is not the usual time."""
        return self._probation.patience if self._passive() else None

    def _comparable(self) -> bool:
        """Whether a passive and an active scan are both possible, and it is open which hears."""
        return self._scanning == "auto" and not (self._keeps or self._refused)

    def _passive(self) -> bool:
        """Whether the next scan is to be a passive one."""
        if self._scanning == "auto":
            return not (self._keeps or self._probation.running)
        return self._scanning == "passive"

    @contextlib.asynccontextmanager
    async def _scanning_with(self, adapter: str) -> AsyncIterator[Mode]:
        """A scan that runs, `passive` or `active`, for as long as the context lasts."""
        why = "as it is configured." if self._scanning == "active" else "to see whether it hears more."
        async with contextlib.AsyncExitStack() as stack:
            if self._passive():
                try:
                    await stack.enter_async_context(scans.scan(adapter, self._wants, "passive", self._on_air))
                except PortError as error:
                    if self._scanning == "passive" or error.reason not in _NOT_PASSIVE:
                        raise
                    self._refused = True
                    why = error.why
                else:
                    self._refused = False
                    self._say("bluetooth_scanning", _passive_text(self._wants))
                    yield "passive"
                    return
            await stack.enter_async_context(scans.scan(adapter, self._wants, "active", self._on_air))
            self._compared = self._probation.running
            if not self._keeps:
                self._say("bluetooth_scanning", f"Scanning is active: {why}")
            yield "active"

    # -- what is heard and what is told

    def _on_air(self, device: Any, data: Any) -> None:
        """Take what bleak tells."""
        advert = adverts.heard(device, data)
        if advert is None:
            return
        now = time.monotonic()
        self._adverts += 1
        if self._crowd.heard(advert.address, now) and not self._flooded:
            self._flooded = True
            self._changed.set()
        self._watch.heard(now)
        self._probation.heard(advert, self._wants, now)
        if self._deaf:
            self._hear()
        for ear in self._ears:
            ear.heard(advert, now)

    def _hear(self) -> None:
        self._deaf = False
        for ear in self._ears:
            ear.hearing()

    def _fail(self, error: PortError) -> None:
        self._failures += 1
        if error.reason not in failures.STUCK:
            # The radio was away: its silence says nothing.
            self._watch.begin(time.monotonic())
        self._go_deaf(error)

    def _go_deaf(self, error: PortError | None) -> None:
        self._deaf = True
        for ear in self._ears:
            ear.deaf(error)

    def _say(self, name: str, text: str) -> None:
        if self._said.get(name) != text:
            self._said[name] = text
            for number, ear in enumerate(self._ears):
                ear.notice(Notice(name, text), first=not number)

    async def _wait(self, seconds: float) -> None:
        """Wait, or until the ears have changed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        self._changed.clear()


def _passive_text(wants: Wants) -> str:
    if wants.everything:
        return (
            "Scanning is passive: devices that send neither flags nor data of the usual makers stay unheard; "
            'scanning = "active" under [bluetooth] hears all.'
        )
    return "Scanning is passive: only the configured kinds of devices are heard."

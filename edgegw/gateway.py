"""The gateway, wired: sensors, recorder, keeper, clock, link and control socket, in one loop.

Everything that decides lives elsewhere; this module starts it in order, keeps it going and stops it. Sampling
begins before anything that needs a network.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import traceback
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgegw import __version__, certificate, clock, config, control, health, keys
from edgegw.answers import Answers
from edgegw.events import sensor_event
from edgegw.journal import Limits
from edgegw.keeper import Keeper, Policy
from edgegw.notify import Notifier, Watchdog
from edgegw.ports.thread import PortThread
from edgegw.problems import GatewayError, entry
from edgegw.recorder import Recorder
from edgegw.resume import Who
from edgegw.sensors import Sensors
from edgegw.storage import volatile
from edgegw.store import StoreFailed, StoreFull
from edgegw.tails import Tails
from edgegw.timekeeper import Timekeeper
from edgegw.uplink import Uplink
from edgegw.wire import cose, log, senml, status
from edgegw.wires import RealWires

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from structlog.typing import FilteringBoundLogger

    from edgegw.config import Config
    from edgegw.driver import Reading
    from edgegw.keeper import Committed, Snapshot

# At least each so many seconds a head is made (WIRE §4) and the status published (WIRE §5).
HEAD_S: Final = 60.0
# The state is compared with the last one published each so many seconds.
STATE_S: Final = 5.0
# How long one thread may keep the interpreter while another wants it. Every commit asks for it about eight times; at
# Python's own 5 ms a loop that decodes a flood would let through 25 commits a second.
SWITCH_S: Final = 0.0005
# How long a stop waits for the last batches to be sent. What is not sent is stored.
FAREWELL_S: Final = 2.0


class Gateway:
    """One gateway from start to stop. `run` returns when it was asked to stop."""

    def __init__(
        self, settings: Config, notifier: Notifier, logger: FilteringBoundLogger, real: clock.Clock
    ) -> None:
        self._config = settings
        self._notifier = notifier
        self._log = logger
        self._clock = real
        self._iss = log.urn(settings.gateway.pen, settings.gateway.id)
        self._worker = PortThread("store")
        self._stopping = asyncio.Event()
        self._started = real.monotonic()
        self._tails = Tails()
        self._head_now = asyncio.Event()
        self._problems: dict[str, dict[str, Any]] = {}
        self._store_beat = 0.0
        self._last_state = ""

    # -- life

    async def run(self) -> None:
        """Start everything, serve until `stop`, and leave a clean log behind.

        Raises GatewayError when configuration, keys or store do not let it start or go on.
        """
        sys.setswitchinterval(SWITCH_S)
        self._signer = keys.signer(self._config.identity.signing_key, os.environ)
        await self._open_store()
        await self._start_clock()
        self._recorder = Recorder(
            self._keeper,
            self._worker,
            writer=senml.RecordWriter(self._iss),
            clock=self._clock,
            timeline=self._timeline,
            limits=self._limits(),
            on_commit=self._committed,
        )
        self._sensors = Sensors(
            RealWires(self._config.bluetooth, self._config.endpoint),
            self._recorder,
            self._clock,
            self._log,
            simulated=self._config.gateway.simulated,
            listen=self._tell_tails,
        )
        self._uplink = Uplink(
            self._config,
            self._iss,
            self._boot,
            self._worker,
            self._keeper,
            self._clock,
            self._log,
            noticed=self._problem,
            will=self._last_will,
        )
        answers = Answers(self._keeper, self._worker, self._sensors, self._tails, self.status, self._clock)
        server = control.ControlServer(self._config.control.socket, answers.answers(), answers.streams())
        await server.start()
        tasks = [
            asyncio.create_task(self._supervised(name, part), name=name)
            for name, part in (
                ("recorder", self._recorder.run),
                ("clock", lambda: self._time.run(self._recorder)),
                ("heads", self._make_heads),
                ("status", self._watch_state),
                ("uplink", self._uplink.run),
                ("watchdog", self._feed_watchdog),
            )
        ]
        try:
            self._announce_start()
            await self._apply_sensors(self._config)
            self._notifier.ready(health.headline(await self.status()))
            self._log.info("started", version=__version__, records=self._keeper.size)
            await self._stopping.wait()
        finally:
            await self._stop(server, tasks)

    def stop(self) -> None:
        """Ask `run` to return."""
        self._stopping.set()

    async def _stop(self, server: control.ControlServer, tasks: Sequence[asyncio.Task[None]]) -> None:
        self._stopping.set()
        self._notifier.stopping("storing what is measured, then leaving")
        await self._sensors.stop()
        with contextlib.suppress(GatewayError, StoreFull):
            await self._recorder.flush()
            await self._head()
            await self._publish_status()
        await self._uplink.farewell(FAREWELL_S)
        await server.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._worker.call(self._keeper.close)
        self._worker.stop()

    async def _supervised(self, name: str, part: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a part for ever: what it raises is said, and it is started again with growing pauses."""
        failures = 0
        while True:
            try:
                await part()
                return
            except Exception as error:  # noqa: BLE001 -- one part's defect must not stop the others
                failures += 1
                self._log.error(
                    "a part failed and is started again", part=name, error=repr(error), exc_info=error
                )
                await self._clock.sleep(min(60.0, 2.0 ** min(failures, 6)))

    # -- start

    def _limits(self) -> Limits:
        batch = self._config.store.batch
        return Limits(batch.max_readings, batch.max_age, batch.max_bytes)

    async def _open_store(self) -> None:
        store, gateway = self._config.store, self._config.gateway
        # Only what signs reaches the store's thread; the public side checks the log at the start.
        own = cose.verify_key(keys.load_private(self._config.identity.signing_key, os.environ).public_key())
        self._keeper = await self._worker.call(
            Keeper,
            store.path,
            Who(self._iss, self._signer, own, gateway.simulated),
            Policy(
                store.max_size, store.keep_free, store.keep, store.when_full == "drop-oldest", self._limits()
            ),
        )
        for code, text in self._keeper.notes:
            self._problem(code, text)
        if store.require_persistent and (kind := volatile(store.path)):
            self._problem(
                "EG-STORE-VOLATILE", f"{store.path} is on {kind}: a power cut takes everything in it"
            )

    async def _start_clock(self) -> None:
        self._boot = self._clock.boot_id()
        settings = clock.ClockSettings(self._config.clock.max_error, self._config.clock.holdover)
        self._time = Timekeeper(self._clock, self._keeper, self._worker, settings)
        await self._time.start()
        self._timeline = self._time.timeline

    def _announce_start(self) -> None:
        self._recorder.event("start", __version__, {"boot": self._boot})
        self._recorder.event("config", config.digest(self._config), {})

    async def _apply_sensors(self, settings: Config) -> None:
        for name in await self._sensors.apply(settings.sensor):
            self._recorder.event("sensor", *sensor_event(name, settings.sensor[name]))

    # -- what goes on all the time

    def _committed(self, done: Committed) -> None:
        self._store_beat = self._clock.monotonic()
        self._uplink.committed(done.end)
        if done.lost:
            self._problem("EG-STORE-LOST", f"{done.lost} records were dropped because the store was full")
        # The first head comes at once: without one the upstream cannot ask for what it lacks (WIRE §5).
        if done.head_wanted or self._keeper.head_number < 0:
            self._head_now.set()

    async def _make_heads(self) -> None:
        if self._keeper.size:
            await self._head()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HEAD_S):
                    await self._head_now.wait()
            self._head_now.clear()
            with contextlib.suppress(StoreFull, StoreFailed):
                await self._head()
                await self._worker.call(self._keeper.prune, self._clock.wall())

    async def _head(self) -> None:
        head = await self._worker.call(
            self._keeper.make_head, int(self._timeline.time(self._clock.boottime()))
        )
        if head is not None:
            self._uplink.new_head()

    async def _watch_state(self) -> None:
        published = float("-inf")
        while True:
            document = await self.status()
            changed = document["state"] != self._last_state
            now = self._clock.monotonic()
            if changed or now - published >= HEAD_S:
                published, self._last_state = now, document["state"]
                self._notifier.status(health.headline(document))
                self._uplink.publish_status(self._signed_status(health.published(document)))
            await self._clock.sleep(STATE_S)

    async def _publish_status(self) -> None:
        self._uplink.publish_status(self._signed_status(health.published(await self.status())))

    def _last_will(self) -> bytes:
        """What the broker says of us when we are gone."""
        gone = {"id": self._config.gateway.id, "version": __version__}
        since = {"state": "offline", "since_s": 0.0, "receipts": self._config.uplink.receipts}
        return self._signed_status(
            {
                "gateway": gone,
                "boot": self._boot,
                "simulated": self._config.gateway.simulated,
                "state": str(health.State.OFFLINE),
                "link": since,
            }
        )

    def _signed_status(self, document: dict[str, Any]) -> bytes:
        issued = int(self._timeline.time(self._clock.boottime()))
        return status.seal(self._iss, document, by=self._signer, issued=issued)

    async def _feed_watchdog(self) -> None:
        interval = self._notifier.watchdog_s
        if not interval:
            return
        watchdog = Watchdog(interval)
        while True:
            await self._worker.call(int)  # an idle store is asked for a sign of life
            self._store_beat = self._clock.monotonic()
            if watchdog.deserved(loop=self._clock.monotonic(), store=self._store_beat):
                self._notifier.alive()
            await self._clock.sleep(watchdog.period_s)

    # -- reload

    async def reload(self, load: Callable[[], Config]) -> None:
        """Take over the sensors of the new configuration; keep the old one when the new one is bad."""
        self._notifier.reloading("reading the configuration")
        try:
            fresh = load()
            self._recorder.event("config", config.digest(fresh), {})
            if config.digest(replace(fresh, sensor=self._config.sensor)) != config.digest(self._config):
                self._log.warning(
                    "only sensors are reloaded; what else changed counts from the next start on"
                )
            self._config = replace(self._config, sensor=fresh.sensor)
            await self._apply_sensors(self._config)
            self._problems.pop("EG-CONFIG-RELOAD", None)
            self._log.info("reloaded", sensors=len(fresh.sensor))
        except GatewayError as error:
            self._problem("EG-CONFIG-RELOAD", f"{error.what}: {error.why}")
            self._log.error("reload refused, the old configuration stays", what=error.what, why=error.why)
        finally:
            self._notifier.ready(health.headline(await self.status()))

    # -- what others ask

    def _problem(self, code: str, text: str = "") -> None:
        if code not in self._problems:
            self._log.warning(text or code, code=code)
        self._problems[code] = entry(code, text)

    async def status(self) -> dict[str, Any]:
        """The document of `status --json`."""
        snapshot = await self._worker.call(self._keeper.snapshot)
        self._store_beat = self._clock.monotonic()
        return health.status(self._facts(snapshot))

    def _facts(self, snapshot: Snapshot) -> health.Facts:
        now = self._clock.monotonic()
        backlog, trouble = snapshot.backlog, self._recorder.trouble
        oldest = self._timeline.time(self._clock.boottime()) - backlog.oldest if backlog.oldest else 0.0
        state = self._timeline.state
        days_left = certificate.days_left(self._config.identity.tls_cert, self._clock.wall())
        return health.Facts(
            gateway=self._config.gateway.id,
            version=__version__,
            boot=self._boot,
            simulated=self._config.gateway.simulated,
            uptime_s=now - self._started,
            stopping=self._stopping.is_set(),
            link_state=self._uplink.state,
            link_since_s=now - self._uplink.since,
            link_receipts=self._config.uplink.receipts,
            log_epoch=snapshot.log.epoch,
            log_size=snapshot.size,
            log_receipted=snapshot.receipted,
            backlog_batches=backlog.batches,
            backlog_readings=backlog.records,
            backlog_bytes=backlog.bytes,
            backlog_oldest_s=max(0.0, oldest),
            lost=snapshot.lost + self._recorder.counts.dropped,
            clock_state=int(state.sync),
            clock_error_ms=state.error_ms,
            tls_days_left=days_left,
            store_bytes=snapshot.store_bytes,
            store_written_bytes=snapshot.written_bytes,
            store_failed=isinstance(trouble, StoreFailed),
            shedding=isinstance(trouble, StoreFull),
            max_age_s=self._config.store.batch.max_age,
            sensors=[view.as_dict(now) for view in self._sensors.views.values()],
            problems=self._present_problems(days_left),
        )

    def _present_problems(self, days_left: float | None) -> list[dict[str, Any]]:
        found = list(self._problems.values())
        if isinstance(self._recorder.trouble, StoreFailed):
            found.append(entry("EG-STORE-FAILED", str(self._recorder.trouble)))
        elif self._recorder.trouble is not None:
            found.append(entry("EG-STORE-FULL", str(self._recorder.trouble)))
        if self._timeline.problem:
            found.append(entry(self._timeline.problem))
        if days_left is None:
            found.append(entry("EG-IDENTITY-MISSING", "there is no certificate for the uplink"))
        elif days_left < health.EXPIRES_DAYS:
            code = "EG-IDENTITY-EXPIRED" if days_left < 0 else "EG-IDENTITY-EXPIRES"
            found.append(entry(code))
        if self._config.gateway.simulated:
            found.append(entry("EG-SIMULATED"))
        return found + self._uplink.problems()

    def _tell_tails(self, sensor: str, readings: Sequence[Reading], monotonic: float) -> None:
        if self._tails:
            self._tails.tell(sensor, readings, self._recorder.time(monotonic))


def _where(error: BaseException) -> str:
    """The line that raised, for the log."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""

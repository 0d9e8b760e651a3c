"""Row 1: driver bytes → framed → decoded → recorded → signed → committed, in this process alone.

Everything is what the daemon runs: the sensor task, the recorder, and the keeper in its thread. Only the port is
replaced, by one that always has more bytes and waits while batches wait for the disk.
`python -m scripts.benchmarks.pipeline DIRECTORY READINGS` prints what it found as JSON.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import ec

from edgegw import clock
from edgegw.config.models import Sensor
from edgegw.journal import Limits
from edgegw.keeper import Keeper, Policy
from edgegw.logs import configure
from edgegw.ports.serial import CHUNK_BYTES
from edgegw.ports.thread import PortThread
from edgegw.recorder import Recorder
from edgegw.resume import Who
from edgegw.sensors import Sensors
from edgegw.wire import cose, log, senml
from scripts.benchmarks.talker import READINGS, frames

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from edgegw.driver import SerialLine
    from edgegw.keeper import Committed
    from edgegw.sensing.wires import Bus, Documents, Microphone, Radio

#: Records that may wait for the disk: what lies between the sensor and the keeper in a busy daemon.
LEAD: Final = 10_000


class Flood:
    """A port that reads `count` frames as fast as they are taken; then `done` is set."""

    def __init__(self, count: int) -> None:
        self.done = asyncio.Event()
        self.moved = asyncio.Event()
        self.waiting: Callable[[], int] = int
        some = frames()
        self._data = (b"".join(some) * (count // len(some) + 1))[: count * len(some[0])]

    def serial(
        self,
        path: str,
        line: SerialLine,
        on_data: Callable[[bytes, float], None],
        on_open: Callable[[], None],
    ) -> Flood:
        """See `sensing.wires.Wires`."""
        del path, line, on_open
        self._on_data = on_data
        return self

    def rtu(self, path: str, line: SerialLine) -> Bus:
        """See `sensing.wires.Wires`."""
        raise AssertionError(path, line)

    def socket(
        self, host: str, port: int, on_data: Callable[[bytes, float], None], on_open: Callable[[], None]
    ) -> Flood:
        """See `sensing.wires.Wires`."""
        raise AssertionError(host, port, on_data, on_open)

    def radio(self) -> Radio:
        """No benchmark listens to a radio."""
        raise AssertionError("this wire is not measured")

    def documents(self) -> Documents:
        """No benchmark takes documents."""
        raise AssertionError("this wire is not measured")

    def microphone(
        self,
        device: str,
        rate: int,
        on_samples: Callable[[bytes, int, float], None],
        on_open: Callable[[Sequence[str]], None],
    ) -> Microphone:
        """No benchmark of the pipeline hears sound."""
        raise AssertionError(device, rate, on_samples, on_open)

    def tcp(self, host: str, port: int) -> Bus:
        """See `sensing.wires.Wires`."""
        raise AssertionError(host, port)

    async def run(self) -> None:
        """See `sensors.Port`."""
        for at in range(0, len(self._data), CHUNK_BYTES):
            self._on_data(self._data[at : at + CHUNK_BYTES], time.monotonic())
            await asyncio.sleep(0)
            while self.waiting() > LEAD:
                self.moved.clear()
                await self.moved.wait()
        self.done.set()
        await asyncio.Event().wait()

    async def write(self, data: bytes) -> None:
        """See `sensors.Port`."""
        raise AssertionError(data)


async def measure(directory: Path, count: int) -> dict[str, Any]:
    """Readings a second until the last one is committed, and how it was kept."""
    private, iss = ec.generate_private_key(ec.SECP256R1()), log.urn(32473, "bench")
    signer, limits, real = cose.signer(private), Limits(), clock.SystemClock()
    worker = PortThread("store")
    policy = Policy(2 * 2**30, 0, 7 * 86400.0, True, limits)
    own = cose.verify_key(private.public_key())
    keeper = await worker.call(Keeper, directory, Who(iss, signer, own), policy)
    flood = Flood(count // READINGS)
    batches = 0

    def committed(done: Committed) -> None:
        nonlocal batches
        batches += 1
        flood.waiting = lambda: recorder.counts.taken - done.end
        flood.moved.set()

    settings = clock.ClockSettings(0.5, 48 * 3600.0)
    recorder = Recorder(
        keeper,
        worker,
        writer=senml.RecordWriter(iss),
        clock=real,
        timeline=clock.Timeline(
            clock.look(real), boot_id=real.boot_id(), floor=0.0, saved=None, settings=settings
        ),
        limits=limits,
        on_commit=committed,
    )
    logger = configure("warning", "text", under_systemd=False)
    sensors = Sensors(flood, recorder, real, logger, simulated=False, listen=lambda *_: None)
    running = asyncio.create_task(recorder.run())
    began, cpu = time.monotonic(), time.process_time()
    sensor = Sensor(
        driver="sds011", port=Path("pty"), interval=None, stale_after=3.0, options={"warm_up_time": "0s"}
    )
    await sensors.apply({"air-1": sensor})
    await flood.done.wait()
    await recorder.flush()
    took = time.monotonic() - began
    found = {
        "readings": keeper.size,
        "dropped": recorder.counts.dropped,
        "seconds": took,
        "per_s": keeper.size / took,
        "cpu_s": time.process_time() - cpu,
        "batches": batches,
        "message_bytes": keeper.snapshot().written_bytes / batches,
        # The connection that wrote is asked; a new one would say its own default.
        "synchronous": keeper._store.pragma("synchronous"),  # noqa: SLF001 -- nothing else asks for it
    }
    await sensors.stop()
    running.cancel()
    await worker.call(keeper.close)
    worker.stop()
    return found


if __name__ == "__main__":
    where = Path(sys.argv[1]) / f"pipeline-{secrets.token_hex(4)}"
    print(json.dumps(asyncio.run(measure(where, int(sys.argv[2])))))

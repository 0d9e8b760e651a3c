"""One run of the benchmark: where it works, how large it is, and what several rows share."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from scripts.benchmarks import machine
from scripts.benchmarks.cabinet import SDS011, Cabinet, until
from scripts.benchmarks.talker import READINGS, Talker

if TYPE_CHECKING:
    from pathlib import Path


#: Readings a second while the backlog is made: within what the daemon commits beside its polling.
FILL_RATE: Final = 25_000


@dataclass(frozen=True)
class Sizes:
    """How much is measured: readings in the pipeline and in the backlog, seconds of polling and of idling.

    With `both` the drains run with stock settings and with documented ones.
    """

    pipeline: int
    backlog: int
    seconds: float
    idle_s: float
    starts: int
    both: bool


FULL = Sizes(pipeline=500_000, backlog=1_000_000, seconds=60.0, idle_s=60.0, starts=5, both=True)
#: Shows that everything works; the numbers are not worth much.
QUICK = Sizes(pipeline=20_000, backlog=20_000, seconds=2.0, idle_s=1.0, starts=1, both=False)


@dataclass(frozen=True)
class Backlog:
    """Readings that the daemon itself took from a sensor on a pty while it had no link."""

    cabinet: Cabinet
    records: int
    cpu_per_10_000: float
    peak_mb: float
    message_bytes: int

    def restore(self) -> None:
        """Put the store back as it was before anything was sent."""
        store = self.cabinet.layout.directory / "store"
        shutil.rmtree(store)
        shutil.copytree(store.with_name("kept"), store)
        for file in self.cabinet.layout.receiver.glob("readings.db*"):
            file.unlink()


class Bench:
    """The directory and the sizes of a run."""

    def __init__(self, directory: Path, sizes: Sizes) -> None:
        self.directory = directory
        self.sizes = sizes

    def cabinet(self, name: str) -> Cabinet:
        """A fresh directory with identities."""
        return Cabinet(self.directory / name)

    def program(self, module: str, *arguments: object, wrapper: tuple[str, ...] = ()) -> Any:
        """Run a module of the benchmark in a process of its own; the JSON that it prints.

        It may import the known inputs of the tests.
        """
        command = [*wrapper, sys.executable, "-m", f"scripts.benchmarks.{module}", *map(str, arguments)]
        known = {**os.environ, "PYTHONPATH": "tests"}
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=known)
        return json.loads(done.stdout)

    @cached_property
    def backlog(self) -> Backlog:
        """Made once: the daemon reads a busy pty until the log is long enough."""
        cabinet = self.cabinet("backlog")
        with cabinet, Talker(FILL_RATE) as talker:
            cabinet.configure(f'[sensor.air-1]\n{SDS011}\nport = "{talker.path}"\n', link=False)
            pid = cabinet.start_gateway()
            until("the sensor talks", lambda: cabinet.size() > READINGS)
            size, cpu = cabinet.size(), machine.cpu_s(pid)
            until("the backlog is there", lambda: cabinet.size() >= self.sizes.backlog, every_s=0.1)
            made, used = cabinet.size() - size, machine.cpu_s(pid) - cpu
            talker.stop()
            status = cabinet.status()
            peak = machine.peak_mb(pid)
            cabinet.stop("gateway")
        store = cabinet.layout.directory / "store"
        shutil.copytree(store, store.with_name("kept"))
        message_bytes = round(status["backlog"]["bytes"] / max(1, status["backlog"]["batches"]))
        return Backlog(cabinet, status["log"]["size"], used / made * 10_000, peak, message_bytes)

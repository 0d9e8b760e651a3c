"""A cabinet with one virtual device of each kind, read by the real daemon; a test breaks each of them when it likes.

What a device really said is in its ledger. Every value there has the number of its frame in it, so that what was
stored can be told from what was said late, damaged, or by somebody else.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import sys
import threading
import time
from collections import Counter
from contextlib import closing
from ctypes.util import find_library
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import cbor2

from edgegw import control
from edgegw.simulate import scenario
from edgegw.simulate.broker import find_mosquitto
from edgegw.simulate.children import Child, tail
from edgegw.simulate.faults import Condition, Faults
from edgegw.simulate.layout import Layout, configure, make_identities
from edgegw.simulate.model import VirtualSensor
from edgegw.simulate.models import MODELS
from edgegw.simulate.stage import Stage
from edgegw.wire import cose

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

#: Far beyond what a healthy machine needs: a unit that was silent is left alone for up to a twentieth of its line.
PATIENCE_S = 90.0
#: How long after its last reading a device counts as silent here; those that say little have longer.
STALE_S = 3.0
#: States of a device that gives readings; some measure for minutes before they vouch for them.
WELL = frozenset(("simulated", "warm_up", "flagged"))
#: A window of the crowd is a minute long.
TOO_SLOW = frozenset(("phones",))
#: What of the machine a model needs besides Python.
NEEDS = {
    "microphone": find_library("asound"),
    "axis-camera": find_mosquitto(),
    **{name: shutil.which("dbus-daemon") for name, model in MODELS.items() if model.wire in {"address", ""}},
}


def present() -> list[str]:
    """The models that this machine can run."""
    return sorted(name for name in MODELS if NEEDS.get(name, "nothing") and name not in TOO_SLOW)


def until(what: str, holds: Callable[[], object], patience_s: float = PATIENCE_S) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + patience_s
    pause = threading.Event()
    while not holds():
        assert time.monotonic() < deadline, f"waited {patience_s:.0f} s in vain: {what}"
        pause.wait(0.05)


class Switches(Faults):
    """Faults that a test switches on and off, by sensor."""

    def __init__(self) -> None:
        super().__init__()
        self.now: dict[str, Condition] = {}

    def condition(self, sensor: str, number: int, t: float) -> Condition:
        """How `sensor` is now."""
        del number, t
        return self.now.get(sensor, Condition())


class Said(NamedTuple):
    """One line of a ledger."""

    at: float
    fate: str
    values: Mapping[str, float]


class Usage(NamedTuple):
    """What the daemon holds: descriptors, threads, resident memory in KiB; and CPU seconds since its start."""

    descriptors: int
    threads: int
    memory: int
    cpu_s: float


class Cabinet:
    """The devices, the daemon and its configuration; a context manager. Sensors are named MODEL-1."""

    def __init__(self, directory: Path, models: Sequence[str]) -> None:
        self.layout = Layout(directory)
        self.switches = Switches()
        self.sensors = [VirtualSensor(f"{model}-1", model, MODELS[model].period_s) for model in models]
        self.stage = Stage(
            directory,
            scenario.load("city-night"),
            sensors=self.sensors,
            faults=self.switches,
            numbered=True,
        )
        self._environment: dict[str, str] = {}
        self.daemon = Child(
            "gateway",
            [sys.executable, "-m", "edgegw.daemon", "--config", str(self.layout.config)],
            self.layout.log("gateway"),
            self._environment,
        )

    def __enter__(self) -> Self:
        make_identities(self.layout)
        try:
            self.stage.start()
            self._environment |= self.stage.environment
            self.write()
            self.daemon.start(self.answers)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.daemon.stop()
        self.stage.stop()

    def write(
        self, without: Iterable[str] = (), also: Mapping[str, str] | None = None, end: str = ""
    ) -> None:
        """Write the configuration `without` some sensors, with lines `also` in the tables of others, and an end."""
        left = [sensor for sensor in self.sensors if sensor.id not in set(without)]
        configure(self.layout, left, self.stage.addresses, numbered=True)
        text = self.layout.config.read_text()
        for sensor in left:
            stale = 3 * STALE_S if sensor.model == "rion-nl53" else STALE_S
            more = (also or {}).get(sensor.id, "")
            head = f"[sensor.{sensor.id}]\n"
            text = text.replace(head, f'{head}stale_after = "{stale:g}s"\n{more}\n')
        # A file that is read while it is written would be refused.
        fresh = self.layout.config.with_suffix(".new")
        fresh.write_text(text + end)
        fresh.replace(self.layout.config)

    def reload(self, count: int | None = None) -> None:
        """SIGHUP; waits until the daemon has exactly `count` sensors, those of the file by default."""
        assert self.daemon.pid is not None
        os.kill(self.daemon.pid, signal.SIGHUP)
        wanted = self.layout.config.read_text().count("[sensor.") if count is None else count
        until("the sensors of the file", lambda: len(self.views()) == wanted)

    def status(self) -> dict[str, Any]:
        """The status document."""
        assert self.stage.failure is None, self.stage.failure
        assert self.daemon.running, tail(self.layout.log("gateway"))
        document: dict[str, Any] = control.request(self.layout.socket, "status")
        return document

    def answers(self) -> bool:
        """Whether the daemon answers."""
        try:
            self.status()
        except Exception:  # noqa: BLE001 -- not yet, whatever it is
            return False
        return True

    def views(self) -> dict[str, dict[str, Any]]:
        """What `status` says, by sensor."""
        return {each["id"]: each for each in self.status()["sensors"]}

    def read(self, names: Iterable[str], more: int = 1, patience_s: float = PATIENCE_S) -> None:
        """Wait until each of these has given so many more readings than now, and nothing is wrong with it."""
        begin, wanted = self.views(), set(names)
        left: list[Any] = []

        def all_did() -> bool:
            views = self.views()
            left[:] = [
                views[name]
                for name in wanted
                if views[name]["readings"] < begin[name]["readings"] + more
                or views[name]["state"] not in WELL
            ]
            return not left

        try:
            until("readings", all_did, patience_s)
        except AssertionError as error:
            raise AssertionError(f"no {more} readings within {patience_s:g} s: {left}") from error

    def usage(self) -> Usage:
        """What the daemon holds now."""
        process = Path("/proc") / str(self.daemon.pid)
        times = (process / "stat").read_text().rpartition(")")[2].split()
        return Usage(
            len(list((process / "fd").iterdir())),
            len(list((process / "task").iterdir())),
            int((process / "statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") // 1024,
            (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK"),
        )

    def said(self, sensor: str) -> list[Said]:
        """A device's ledger."""
        path = self.layout.directory / "ledger" / f"{sensor}.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [Said(each["mono"], each["fate"], each["values"]) for each in map(json.loads, lines)]

    def stored(self) -> dict[str, dict[str, Counter[float]]]:
        """What the gateway stored, by sensor and quantity; after its stop."""
        found: dict[str, dict[str, Counter[float]]] = {}
        with closing(sqlite3.connect(self.layout.directory / "store" / "edgegw.db")) as db:
            messages = [message for (message,) in db.execute("SELECT message FROM batch ORDER BY first")]
        for message in messages:
            for record in cbor2.loads(cose.parse(message).payload or b""):
                _, sensor, quantity = record[0].rsplit(":", 2)
                if sensor != "_gateway":
                    found.setdefault(sensor, {}).setdefault(quantity, Counter())[record[2]] += 1
        return found

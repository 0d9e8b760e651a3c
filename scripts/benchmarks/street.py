"""Table: what the real daemon costs with a cabinet full of sensors, and with one of each kind of port.

The devices are those of `edgegw simulate`, at their usual intervals, in this process; the link is up, through a broker
with mutual TLS, to a real receiver.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import cycle, islice
from typing import TYPE_CHECKING, Final

from edgegw import registry
from edgegw.simulate.models import MODELS
from edgegw.simulate.simulation import Options, Simulation
from scripts.benchmarks import machine
from scripts.benchmarks.cabinet import until
from scripts.benchmarks.polled import SETTLED_S
from scripts.benchmarks.table import Table, number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from scripts.benchmarks.bench import Bench

SENSORS: Final = 30
#: One device for each kind of port.
KINDS: Final = {
    "serial, talks": "sds011",
    "serial, asked": "sps30",
    "Modbus RTU": "renke-rtu",
    "Modbus TCP": "renke-tcp",
    "socket, asked": "rion-nl53",
    "HTTP, fetched": "airrohr",
    "broker of the site": "axis-camera",
    "Bluetooth": "ruuvi",
    "microphone": "microphone",
}
#: Kinds of driver whose devices are on a serial line or speak Modbus.
_WIRED: Final = ("stream", "ask", "poll")
#: A window of this driver is longer than anybody wants to wait for its first reading.
_LATE: Final = "ble_presence"
#: What serial lines and Modbus alone may take, in MB of 10^6 bytes.
AIM_MB: Final = 55.0
_HEAD = (
    "sensors",
    "resident",
    "its share (PSS)",
    "CPU s/min",
    "threads",
    "files",
    "readings/s",
    "written a day",
)


@dataclass(frozen=True)
class Look:
    """What was seen of the daemon at one moment: memory in MB of 10^6 bytes."""

    at: float
    resident_mb: float
    share_mb: float
    cpu_s: float
    threads: int
    files: int
    readings: int
    written: int


def street(bench: Bench) -> Table:
    """Thirty sensors twice, some minutes apart; then fewer of them, and one of each kind alone."""
    seconds = bench.sizes.seconds
    everything = tuple(islice(cycle(MODELS), max(SENSORS, len(MODELS))))
    wired = tuple(name for name in MODELS if registry.load(MODELS[name].driver).kind in _WIRED)
    lines = []
    first, later = _seen(bench, "all", everything, seconds, apart_s=3 * seconds)
    lines.append(_line(f"{len(everything)}, one of every model", first))
    lines.append(_line(f"the same, {4 * seconds / 60:.0f} min later", later))
    on_wires, _ = _seen(bench, "wired", wired, seconds / 3)
    lines.append(_line(f"{len(wired)}, serial lines and Modbus", on_wires))
    few, _ = _seen(bench, "few", (), seconds / 3)
    lines.append(_line("4, the usual street", few))
    for kind, model in KINDS.items():
        lines.append(_line(f"1, {kind} ({model})", _seen(bench, model, (model,), seconds / 3)[0]))
    verdict = "met" if on_wires[1].resident_mb <= AIM_MB else "missed"
    return Table(
        "cabinet",
        _HEAD,
        lines,
        [
            f"aim: at most {AIM_MB:.0f} MB resident with serial lines and Modbus alone: {verdict}",
            f"windows of {seconds:.0f} s (all) and {seconds / 3:.0f} s, {SETTLED_S:.0f} s after every sensor was read",
            "PSS: what it shares with the receiver and this benchmark (the interpreter, OpenSSL) counts in parts",
        ],
    )


def _seen(
    bench: Bench, name: str, models: Sequence[str], seconds: float, apart_s: float = 0.0
) -> tuple[tuple[Look, Look], tuple[Look, Look]]:
    """The daemon at both ends of a window, and of another one `apart_s` seconds later (0: the same)."""
    directory = bench.directory / f"street-{name}"
    directory.mkdir()
    with Simulation(Options(directory, sensors=tuple(models), broker=True)) as simulation:
        until("every sensor was read", lambda: all(_read(simulation)), every_s=0.2)
        time.sleep(min(SETTLED_S, seconds))
        first = _window(simulation, seconds)
        if not apart_s:
            return first, first
        time.sleep(apart_s)
        return first, _window(simulation, seconds)


def _read(simulation: Simulation) -> Iterator[bool]:
    for sensor in simulation.status()["sensors"]:
        yield bool(sensor["readings"]) or sensor["driver"] == _LATE


def _window(simulation: Simulation, seconds: float) -> tuple[Look, Look]:
    before = _look(simulation)
    time.sleep(seconds)
    return before, _look(simulation)


def _look(simulation: Simulation) -> Look:
    simulation.check()
    pid = simulation.gateway.pid
    assert pid is not None
    return Look(
        time.monotonic(),
        machine.resident_mb(pid),
        machine.share_mb(pid),
        machine.cpu_s(pid),
        machine.threads(pid),
        machine.files(pid),
        sum(sensor["readings"] for sensor in simulation.status()["sensors"]),
        machine.written_bytes(pid),
    )


def _line(what: str, window: tuple[Look, Look]) -> tuple[str, ...]:
    before, after = window
    seconds = after.at - before.at
    return (
        what,
        f"{after.resident_mb:.1f} MB",
        f"{after.share_mb:.1f} MB",
        number((after.cpu_s - before.cpu_s) / seconds * 60),
        str(after.threads),
        str(after.files),
        number((after.readings - before.readings) / seconds),
        f"{number((after.written - before.written) / seconds * 86400 / 1e6)} MB",
    )

"""Rows 3 and 7: CPU of polled Modbus TCP devices, many of them each second and few of them each minute."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from scripts.benchmarks import machine
from scripts.benchmarks.cabinet import until
from scripts.benchmarks.table import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scripts.benchmarks.bench import Bench
    from scripts.benchmarks.cabinet import Cabinet

DEVICES: Final = 50
REGISTERS: Final = 4
IDLE_DEVICES: Final = 10
#: Seconds until what a start does is over: the first head, the status, connections, the collector.
SETTLED_S: Final = 15.0

_PROFILE: Final = (
    """[device]
model = "bench"
"""
    + "".join(
        f"""[[read]]
quantity = "{quantity}"
function = 3
register = {register}
type = "u16"
scale = 0.1
"""
        for register, quantity in enumerate(("temperature", "humidity", "pressure", "co2"))
    )
    + """[[example]]
registers = [215, 480, 10021, 4512]
expect = { temperature = 21.5, humidity = 48.0, pressure = 1002.1, co2 = 451.2 }
"""
)


@contextmanager
def _devices(count: int) -> Iterator[list[int]]:
    """Ports of that many devices in another process."""
    command = [sys.executable, "-m", "scripts.benchmarks.responders", str(count)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())
        finally:
            process.terminate()


def _configure(cabinet: Cabinet, ports: list[int], interval: str) -> None:
    profile = cabinet.layout.directory / "bench.toml"
    profile.write_text(_PROFILE)
    cabinet.configure(
        "\n".join(
            f'[sensor.device-{number}]\ndriver = "modbus"\nprofile = "file:{profile}"\n'
            f'host = "127.0.0.1:{port}"\nunit = 1\ninterval = "{interval}"'
            for number, port in enumerate(ports)
        )
    )


def _started(cabinet: Cabinet, ports: list[int], interval: str) -> int:
    cabinet.start_broker()
    cabinet.start_receiver()
    _configure(cabinet, ports, interval)
    pid = cabinet.start_gateway()
    until("every device was read", lambda: cabinet.size() > len(ports) * REGISTERS)
    until("readings are upstream", lambda: cabinet.proven() > 0)
    return pid


def polled(bench: Bench) -> list[Row]:
    """Fifty devices of four registers each second, signed, durable and receipted; beside scripts that are neither."""
    seconds = bench.sizes.seconds
    with bench.cabinet("polled") as cabinet, _devices(DEVICES) as ports:
        pid = _started(cabinet, ports, "1s")
        time.sleep(min(SETTLED_S, seconds))
        size, cpu = cabinet.size(), machine.cpu_s(pid)
        time.sleep(seconds)
        readings, used = cabinet.size() - size, machine.cpu_s(pid) - cpu
        cabinet.stop("gateway")
        addresses = ",".join(map(str, ports))
        alone = bench.program("bare", "polling", addresses, 1, seconds / 2)
        folder = cabinet.layout.directory
        script = bench.program("bare", "polling", addresses, 1, seconds / 2, cabinet.port, folder)
    measured = used / readings * 10_000
    bare_alone, bare_script = _per_10_000(alone), _per_10_000(script)
    what, unit = f"{DEVICES} Modbus TCP devices, {REGISTERS} registers each second", "CPU s/10,000"
    notes = [f"{readings:,} readings in {seconds:.0f} s, the link up, every reading receipted"]
    return [
        Row("polled", what, unit, measured, bare_script, "pymodbus + paho script", 2.0, notes=notes),
        Row("polled", "the same", unit, measured, bare_alone, "pymodbus alone"),
    ]


def _per_10_000(found: dict[str, Any]) -> float:
    return float(found["cpu_s"]) / float(found["readings"]) * 10_000


def idle(bench: Bench) -> list[Row]:
    """Ten devices once a minute: what the daemon uses while hardly anything happens."""
    seconds = bench.sizes.idle_s
    with bench.cabinet("idle") as cabinet, _devices(IDLE_DEVICES) as ports:
        pid = _started(cabinet, ports, "60s")
        time.sleep(min(SETTLED_S, 2 * seconds))
        # The script runs beside: neither of the two is busy enough to disturb the other.
        addresses, folder = ",".join(map(str, ports)), cabinet.layout.directory
        with ThreadPoolExecutor(1) as beside:
            script = beside.submit(
                bench.program, "bare", "polling", addresses, 60, seconds, cabinet.port, folder
            )
            cpu, woken = machine.cpu_s(pid), machine.switches(pid)
            time.sleep(seconds)
            minutes = seconds / 60
            used, woken = (machine.cpu_s(pid) - cpu) / minutes, machine.switches(pid) - woken
            resident = machine.resident_mb(pid)
            alone = script.result()
    bare = float(alone["cpu_s"]) / minutes
    notes = [f"{resident:.1f} MB resident, {woken / minutes:.0f} wake-ups of its threads a minute"]
    what = f"{IDLE_DEVICES} devices read once a minute"
    return [Row("idle", what, "CPU s/min", used, bare, "pymodbus + paho script", 0.1, notes=notes)]

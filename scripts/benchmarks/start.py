"""Row 6: from the start of the process to the first reading in the receiver's database."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Final

from scripts.benchmarks.cabinet import SDS011, until
from scripts.benchmarks.table import Row
from scripts.benchmarks.talker import Talker

if TYPE_CHECKING:
    from scripts.benchmarks.bench import Bench

RATE: Final = 20


def start(bench: Bench) -> list[Row]:
    """The median of several first starts with an empty store; a sensor is talking already."""
    took, bare = [], []
    for number in range(bench.sizes.starts):
        with bench.cabinet(f"start-{number}") as cabinet, Talker(RATE) as talker:
            cabinet.start_broker()
            cabinet.start_receiver()
            sensor = f'[sensor.air-1]\n{SDS011}\nport = "{talker.path}"\n'
            cabinet.configure(sensor, max_age="100ms")
            began = time.time()
            cabinet.start_gateway(ready=False)
            until("a reading is upstream", lambda: cabinet.sensor_readings() > 0, every_s=0.005)
            took.append(time.time() - began)
            cabinet.stop("gateway")
            began = time.time()
            found = bench.program("bare", "first_puback", cabinet.port, cabinet.layout.directory)
            bare.append(found["at"] - began)
    notes = [
        f"{len(took)} starts, {min(took):.2f} to {max(took):.2f} s; retry.min = 50ms, a broker on the loopback"
    ]
    what = 'start of the process to first reading upstream, max_age = "100ms"'
    measured, limit = statistics.median(took), statistics.median(bare)
    return [Row("start", what, "s", measured, limit, "paho alone to its first PUBACK", 0.8, notes=notes)]

"""The long runs behind tests/faults/test_cabinet.py: every fault for every kind of sensor, and what a cycle leaves behind.

    PYTHONPATH=tests/faults .venv/bin/python scripts/sensor_faults.py {faults,reload,unplug,lend} [--cycles N]

`faults` takes each fault for each model. The others repeat one thing and print descriptors, threads, memory (KiB) and
CPU seconds of the daemon; they fail when descriptors or threads grow.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from cabinet import Cabinet, Usage, present
from test_cabinet import (
    FAULTS,
    ROUNDS,
    assert_nothing_foreign,
    assert_unaffected,
    faults_of,
    hit,
    lend_each,
    reload_all,
    unplug_all,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

# Of the cycles, how many warm the caches of libraries and the allocator before anything is compared.
WARM = 3


def every_fault(cabinet: Cabinet, models: Sequence[str]) -> None:
    """Each fault for each model, half of the models at a time."""
    marks = []
    for fault in FAULTS:
        for first in range(ROUNDS):
            plan = {model: fault for model in models[first::ROUNDS] if fault in faults_of(model)}
            begin = time.monotonic()
            hit(cabinet, plan)
            marks.append((begin, time.monotonic(), plan))
            print(f"{fault:10} {len(plan):3} models, healed after {marks[-1][1] - begin:.0f} s", flush=True)
    cabinet.read([sensor.id for sensor in cabinet.sensors])
    cabinet.daemon.stop()
    assert_nothing_foreign(cabinet)
    for begin, end, plan in marks:
        assert_unaffected(cabinet, [model for model in models if model not in plan], begin, end)


def main() -> int:
    """Run what is asked for; 1 when something grows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("faults", "reload", "unplug", "lend"))
    parser.add_argument("--cycles", type=int, default=200)
    wanted = parser.parse_args()
    models = present()
    with (
        tempfile.TemporaryDirectory(prefix="edgegw-faults-") as directory,
        Cabinet(Path(directory), models) as cabinet,
    ):
        cabinet.read([sensor.id for sensor in cabinet.sensors])
        if wanted.what == "faults":
            every_fault(cabinet, models)
            return 0
        cycle = {"reload": reload_all, "unplug": unplug_all, "lend": lend_each}[wanted.what]
        used: list[Usage] = []
        for number in range(wanted.cycles):
            cycle(cabinet)
            used.append(cabinet.usage())
            if number % max(1, wanted.cycles // 20) == 0 or number == wanted.cycles - 1:
                print(number, used[-1], flush=True)
    first, last = used[min(WARM, len(used) - 1)], used[-1]
    print(f"{os.uname().machine}: {first} -> {last} in {wanted.cycles} cycles")
    return int(last.descriptors > first.descriptors or last.threads > first.threads)


if __name__ == "__main__":
    sys.exit(main())

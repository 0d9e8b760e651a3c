"""Row: Modbus alone, polls a second and CPU of each, beside pymodbus's own client on the same devices."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from scripts.benchmarks.table import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scripts.benchmarks.bench import Bench

DEVICES: Final = 50
#: Rounds of the two, one after the other: the medians are compared, since a busy machine speeds up and slows down.
ROUNDS: Final = 3


@contextmanager
def _served(module: str, *arguments: str) -> Iterator[Any]:
    """What another process of devices prints first, while it runs."""
    command = [sys.executable, "-m", f"scripts.benchmarks.{module}", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())
        finally:
            process.terminate()


def exchange(bench: Bench) -> list[Row]:
    """As many polls as go, over fifty connections and over one serial line."""
    with _served("responders", str(DEVICES)) as ports:
        rows = _rows(bench, f"{DEVICES} TCP slaves", "tcp", ",".join(map(str, ports)))
    with _served("serialline") as path:
        return rows + _rows(bench, "one RTU line (pty)", "rtu", path)


def _rows(bench: Bench, what: str, wire: str, address: str) -> list[Row]:
    seconds = max(1.0, bench.sizes.seconds / 12)
    runs: dict[str, list[dict[str, Any]]] = {"ours": [], "bare": []}
    for _ in range(ROUNDS):
        for who, found in runs.items():
            found.append(bench.program("polls", who, wire, address, seconds))
    rate = {who: sorted(run["polls"] / run["seconds"] for run in found) for who, found in runs.items()}
    cost = {who: sorted(1e6 * run["cpu_s"] / run["polls"] for run in found) for who, found in runs.items()}
    lost = sum(run["lost"] for run in runs["ours"])
    middle = ROUNDS // 2
    note = (
        f"{what}: four registers a poll, {ROUNDS} runs of {seconds:g} s each, medians; "
        f"{rate['ours'][0]:,.0f} to {rate['ours'][-1]:,.0f} polls/s, {lost} lost"
    )
    name = "pymodbus client"
    ours, bare = rate["ours"][middle], rate["bare"][middle]
    row = Row("exchange", f"{what}, polls", "/s", ours, bare, name, more=True, notes=[note])
    return [row, Row("exchange", "the same", "us CPU", cost["ours"][middle], cost["bare"][middle], name)]

"""Row 1: durable signed readings a second."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from edgegw.journal import Limits
from scripts.benchmarks.table import Row

if TYPE_CHECKING:
    from scripts.benchmarks.bench import Bench

#: Readings of the slice that is traced: a traced process is slow, and the ratio is all that it is for.
SLICE = 10_000


def durable(bench: Bench) -> list[Row]:
    """Driver bytes to commit, beside signatures alone and commits alone, each of full batches."""
    found = bench.program("pipeline", bench.directory, bench.sizes.pipeline)
    size, full = round(found["message_bytes"]), Limits().max_readings
    signing = bench.program("bare", "signing", size)["per_s"] * full
    commits = bench.program("bare", "commits", bench.directory, size)["per_s"] * full
    per_batch, cpu = found["readings"] / found["batches"], found["cpu_s"] / found["readings"] * 10_000
    notes = [
        f"{found['batches']:,} batches of {per_batch:.0f} readings and {size:,} bytes, {found['dropped']} dropped",
        f"{cpu:.2f} CPU seconds per 10,000 readings",
        f"PRAGMA synchronous = {found['synchronous']} (2 is FULL); {_syncs(bench)}",
    ]
    what = "durable signed readings, driver bytes to commit"
    return [
        Row(
            "durable",
            what,
            "/s",
            found["per_s"],
            commits,
            "SQLite commits alone",
            30_000,
            more=True,
            notes=notes,
        ),
        Row("durable", "the same", "/s", found["per_s"], signing, "ES256 alone"),
    ]


def _syncs(bench: Bench) -> str:
    """How often a slice of the same work asked the disk to be durable."""
    strace = shutil.which("strace")
    if strace is None:
        return "strace is not installed, fdatasync not counted"
    with tempfile.NamedTemporaryFile("r", dir=bench.directory) as report:
        traced = (strace, "-f", "-qq", "-e", "trace=fdatasync,fsync", "-o", report.name)
        found = bench.program("pipeline", bench.directory, SLICE, wrapper=traced)
        count = len(re.findall(r"\bf(?:data)?sync\(", Path(report.name).read_text()))
    return f"{count} fdatasync for {found['batches']} batches in a traced slice"

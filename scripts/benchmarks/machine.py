"""What the kernel says of a process, and of this machine."""

from __future__ import annotations

import os
import platform
import sqlite3
import time
from pathlib import Path
from typing import Final

#: CPUCLOCK_SCHED of a process' clock id (clock_getcpuclockid(3), Linux include/linux/posix-timers_types.h).
_SCHED: Final = 2
#: Synchronisations that are timed for the description of the disk.
_SYNCS: Final = 200


def cpu_s(pid: int) -> float:
    """CPU seconds that the process and all its threads, also the ended ones, have used; to the nanosecond."""
    return time.clock_gettime((~pid << 3) | _SCHED)


def peak_mb(pid: int) -> float:
    """The most memory that ever was resident, in MB of 10^6 bytes."""
    return _status_kib(pid, "VmHWM:") * 1024 / 1e6


def resident_mb(pid: int) -> float:
    """Memory that is resident now, in MB of 10^6 bytes."""
    return _status_kib(pid, "VmRSS:") * 1024 / 1e6


def share_mb(pid: int) -> float:
    """Resident memory, of which pages that several processes share count in parts (PSS), in MB of 10^6 bytes."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024 / 1e6


def threads(pid: int) -> int:
    """How many threads it has."""
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def files(pid: int) -> int:
    """How many files and sockets it has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def _status_kib(pid: int, key: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key))


def switches(pid: int) -> int:
    """How often its threads went to sleep: each wake-up costs, also an empty one."""
    total = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        lines = status.read_text().splitlines()
        total += next(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))
    return total


def written_bytes(pid: int) -> int:
    """Bytes that the process caused to be written to block devices (proc(5), write_bytes)."""
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))


def sync_ms(directory: Path) -> float:
    """Milliseconds of one fdatasync after a write of a page, here; the mean of some."""
    path = directory / "sync"
    with path.open("wb") as file:
        began = time.monotonic()
        for _ in range(_SYNCS):
            file.write(bytes(4096))
            file.flush()
            os.fdatasync(file.fileno())
        took = time.monotonic() - began
    path.unlink()
    return took / _SYNCS * 1000


def described(directory: Path) -> str:
    """One line about the machine on which the numbers were measured."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    where = max(
        (line.split() for line in Path("/proc/mounts").read_text().splitlines()),
        key=lambda mount: len(mount[1]) if directory.is_relative_to(mount[1]) else -1,
    )
    return (
        f"{os.cpu_count()} cores ({platform.machine()}), {memory:.0f} GiB, {where[2]} with fdatasync "
        f"{sync_ms(directory):.2f} ms, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, "
        f"load {os.getloadavg()[0]:.1f} at the start"
    )

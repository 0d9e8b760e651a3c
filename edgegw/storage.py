"""What a directory really lies on: a file system that forgets at a power cut is no place for a log."""

from __future__ import annotations

from pathlib import Path
from typing import Final

# File systems in memory, and overlays whose upper layer usually is (read-only roots of Raspberry Pi OS).
VOLATILE: Final = frozenset({"tmpfs", "ramfs", "overlay", "aufs", "zram"})


def volatile(directory: Path, mounts: str | None = None) -> str:
    """The kind of file system when a power cut empties it, else an empty text.

    `mounts` is the content of /proc/self/mountinfo (proc(5)), read when it is not given.
    """
    if mounts is None:
        try:
            mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
    best, kind = -1, ""
    target = directory.resolve()
    for line in mounts.splitlines():
        before, dash, after = line.partition(" - ")
        fields = before.split(" ")
        if not dash or len(fields) < 5:
            continue
        point = Path(fields[4].replace("\\040", " "))
        # A later mount over the same point hides the earlier one.
        if (target == point or point in target.parents) and len(point.parts) >= best:
            best, kind = len(point.parts), after.split(" ")[0]
    return kind if kind in VOLATILE else ""

"""What a process may do in the gateway's unit, and what it may not; each is tried by sandbox.py in its place."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from systemd.rig import PYTHON, SERIAL_PORT, drop_in, proof, run

# What a process is refused in the unit as it ships.
REFUSED = (
    "set the clock",
    "write /etc",
    "write the maps",
    "write /opt",
    "write /var/lib",
    "write /run/lock",
    "write /dev/shm",
    "read /root",
    "open a tunnel",
    "writable code",
    "run what it wrote",
    "load what it wrote",
    "raw packets",
    "netlink",
    "radio",
)

# Where the file system is not read-only.
WRITABLE = {"/run/edgegw", "/tmp", "/var/lib/edgegw", "/var/tmp"}


@functools.cache
def sandboxed(*settings: str) -> dict[str, Any]:
    """What a process may do in the unit, with further settings; see sandbox.py."""
    lines = "\n".join(settings)
    start = (
        f"Type=oneshot\nRestart=no\nExecStart=\nExecStart={PYTHON} -I /rig/systemd/sandbox.py {SERIAL_PORT}"
    )
    drop_in("sandbox", f"[Service]\n{start}\n{lines}\n")
    run("systemctl", "start", "edgegw")
    drop_in("sandbox", "")
    answer: dict[str, Any] = json.loads(Path("/var/lib/edgegw/sandbox.json").read_text())
    return answer


@proof
def the_unit_lets_through_what_the_gateway_needs() -> None:
    may = sandboxed()
    assert may["clock"] in {"FREE_RUNNING", "SYNCHRONISED"}, may
    assert may["boot id hidden"] == "FileNotFoundError 2", may
    assert may["boot id"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip(), may
    assert may["store"] == "wal", may
    assert len(may["credential"]) == 16, may
    assert may["serial"] == "True", may
    assert may["bluez"] == "METHOD_RETURN", may
    assert may["callback"] == 7, may
    assert may["write its own"] == "1", may


@proof
def and_nothing_else() -> None:
    may = sandboxed()
    assert may["capabilities"] == "0000000000000000", may
    for refused in REFUSED:
        assert "Error" in may[refused], (refused, may)
    # The bus's own refusal, not that there is nothing behind it.
    for refused in ("pair", "ask systemd"):
        assert may[refused] == "org.freedesktop.DBus.Error.AccessDenied", (refused, may)


@proof
def no_place_is_both_writable_and_runnable() -> None:
    may = sandboxed()
    # The container's own, which no board has; the unit's memory.pressure, where systemd hands it over (Debian 13).
    other = ("/run/host", "/sys/fs/cgroup/system.slice/edgegw.service/")
    writable = {place for place in may["writable"] if not place.startswith(other)}
    # Nothing in /dev itself is this user's to write; the two of its folders that are everybody's are hidden.
    assert writable - {"/dev", "/dev/hugepages", "/dev/pts", "/proc"} == WRITABLE, may
    assert set(may["not to be run"]) >= WRITABLE, may


@proof
def it_cannot_open_a_port_where_systemd_can_forbid_that() -> None:
    can = "+BPF_FRAMEWORK" in run("systemctl", "--version")  # Debian 13, not 12
    assert sandboxed()["listen"] == ("PermissionError 1" if can else "True")


@proof
def a_unit_that_forbids_to_read_the_clock_would_be_noticed() -> None:
    assert sandboxed("ProtectClock=yes")["clock"] == "UNKNOWN"


@proof
def and_one_that_allows_more_too() -> None:
    may = sandboxed(
        "DevicePolicy=auto", "DeviceAllow=", "NoExecPaths=", "InaccessiblePaths=", "SocketBindDeny="
    )
    assert "Error" not in may["open a tunnel"], may
    assert "Error" not in may["run what it wrote"], may
    assert "Error" not in may["load what it wrote"], may
    assert "Error" not in may["write /dev/shm"], may
    assert may["listen"] == "True", may

"""Write key files so that a power cut leaves the old one or the new one, and nobody else can read them meanwhile."""

from __future__ import annotations

import grp
import os
import pwd
import time
from typing import TYPE_CHECKING

from edgegw.problems import GatewayError

if TYPE_CHECKING:
    from pathlib import Path


def make_directory(directory: Path) -> None:
    """Make a directory for keys, 0700, with what is missing above it; one that exists stays as it is."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as fault:
        raise _refused(directory, fault) from None


def write_new(path: Path, data: bytes, mode: int, *, replace: bool = False) -> Path:
    """Write a file that does not exist yet (or, with `replace`, may), synced to the disk, and return its path.

    Root writes for the user who will read it: the owner of the directory, or where that is root itself the user
    that its group is named after (/etc/edgegw belongs to root:edgegw).
    """
    beside = path.with_name(f".{path.name}.tmp")
    try:
        beside.unlink(missing_ok=True)
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as stream:
            _hand_over(handle, path.parent)
            os.fchmod(handle, mode)
            stream.write(data)
            stream.flush()
            os.fsync(handle)
        if replace:
            beside.replace(path)
        else:
            os.link(beside, path)  # fails when somebody else made it in between
            beside.unlink()
        _sync(path.parent)
    except OSError as fault:
        beside.unlink(missing_ok=True)
        raise _refused(path, fault) from None
    return path


def set_aside(path: Path) -> Path:
    """Give a file a second name with the date in it before it is replaced, so that nothing is lost; return it."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    for number in range(1, 1000):
        aside = path.with_name(f"{path.name}.{stamp}" + (f".{number}" if number > 1 else ""))
        try:
            os.link(path, aside)
        except FileExistsError:
            continue
        except OSError as fault:
            raise _refused(aside, fault) from None
        return aside
    raise GatewayError("EG-FILE", f"{path} has been set aside too often within one second")


def _hand_over(handle: int, directory: Path) -> None:
    if os.geteuid() != 0:
        return
    status = directory.stat()
    owner = status.st_uid
    if owner == 0 and status.st_gid != 0:
        try:
            owner = pwd.getpwnam(grp.getgrgid(status.st_gid).gr_name).pw_uid
        except KeyError:
            return
    if owner != 0:
        os.fchown(handle, owner, -1)


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _refused(path: Path, fault: OSError) -> GatewayError:
    if isinstance(fault, PermissionError):
        return GatewayError(
            "EG-PERMISSION",
            f"{path} may not be written",
            why="The directory belongs to another user.",
            todo=("run the command as root or as the user of the gateway", f"ls -ld {path.parent}"),
        )
    return GatewayError("EG-FILE", f"{path} cannot be written", why=f"{fault.strerror}.", todo=("df -h",))

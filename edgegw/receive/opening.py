"""Find and open the database of the upstream store, and leave alone whatever is not ours.

A file is looked at before SQLite touches it: a database of another program, of a newer version, or no database
at all is refused with its bytes unchanged. SQLite's file format (sqlite.org/fileformat2.html §1.3): the magic
text at 0, the user version at 60, the application id at 68, both big-endian.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from pathlib import Path
from typing import Final

from edgegw.problems import Exit, GatewayError

VERSION: Final = 1
#: "egup" in ASCII: tells an upstream store from every other SQLite file.
APPLICATION_ID: Final = 0x65677570
# Evidence comes in 64 KiB pieces: larger pages than the usual ones make shorter chains of them.
PAGE_BYTES: Final = 8192
# The WAL is folded into the file at this many pages: 32 MiB, some seconds of a drain at full speed.
CHECKPOINT_PAGES: Final = 4096

_MAGIC: Final = b"SQLite format 3\x00"
_HEADER_BYTES: Final = 100
_SAFE: Final = "nothing in it was touched"


def locate(url: str) -> Path:
    """The database file that `sqlite:///PATH` names.

    PATH is absolute when it begins with a slash; else it is relative to the working directory, unless only the
    absolute directory exists (`sqlite://` before an absolute path is a common way to write it). Raises
    GatewayError (exit 2) for anything else.
    """
    scheme, _, rest = url.partition("://")
    if scheme in ("postgres", "postgresql"):
        raise GatewayError(
            "EG-USAGE",
            "this version keeps the upstream store in SQLite only",
            why=f"{scheme}:// names a PostgreSQL database.",
            todo=("use --store sqlite:///PATH",),
        )
    if scheme != "sqlite" or not rest.startswith("/") or rest.strip("/") == "":
        raise GatewayError(
            "EG-USAGE",
            f"{url!r} is not the address of a store",
            why="It is not of the form sqlite:///PATH.",
            todo=("use --store sqlite:///PATH",),
        )
    relative, absolute = Path(rest[1:]), Path("/" + rest.lstrip("/"))
    if relative.is_absolute() or (not relative.parent.is_dir() and absolute.parent.is_dir()):
        return absolute
    return relative


def lock(path: Path) -> int:
    """A file descriptor that keeps other receivers off this database while it is open.

    The lock is a file of its own: closing any descriptor of the database itself would drop SQLite's locks.
    Raises GatewayError EG-STORE-LOCKED (exit 9) when another process has it.
    """
    try:
        handle = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unreachable(path, error) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise GatewayError(
            "EG-STORE-LOCKED",
            f"another process uses {path}",
            why="Two receivers cannot write one database.",
            todo=(f"fuser -v {path}.lock shows which one",),
            safe=_SAFE,
        ) from error
    return handle


def connect(path: Path) -> sqlite3.Connection:
    """A connection to the database at `path`, made where there is none, brought to this version.

    It commits durably: WAL with `synchronous=FULL`. Raises GatewayError with exit code 9 when the file is not an
    upstream store, is of a newer version, is damaged or cannot be written; its bytes are then unchanged.
    """
    _look(path)
    db = None
    try:
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        _prepare(db, path)
    except sqlite3.Error as error:
        if db:
            db.close()
        raise failure(path, error) from error
    except BaseException:
        if db:
            db.close()
        raise
    return db


def failure(path: Path, error: sqlite3.Error) -> GatewayError:
    """What a refusal of SQLite means, in words; exit code 9 in each case."""
    primary = getattr(error, "sqlite_errorcode", 0) & 0xFF
    safe = "what was not committed was not acknowledged: the gateways still have it and send it again"
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return GatewayError(
            "EG-STORE-DAMAGED",
            f"{path} is damaged: {error}",
            why="The disk returned something else than what was written, or the file was changed from outside.",
            todo=("set the file aside (keep it) and start again: gateways send what they still have",),
            safe=safe,
        )
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return GatewayError("EG-STORE-LOCKED", f"{path}: {error}", safe=safe)
    return GatewayError("EG-STORE-FAILED", f"{path}: {error}", safe=safe)


def _unreachable(path: Path, error: OSError) -> GatewayError:
    return GatewayError(
        "EG-STORE-FAILED",
        f"{path} cannot be opened: {(error.strerror or str(error)).lower()}",
        why="The directory is missing or belongs to somebody else, or the disk has a fault.",
        todo=(f"ls -ld {path.parent}",),
        exit_code=Exit.STORE,
    )


def _look(path: Path) -> None:
    """Refuse what is not an upstream store of a version that we know, from its first bytes."""
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unreachable(path, error) from error
    if not header:
        return
    if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC):
        raise GatewayError(
            "EG-STORE-DAMAGED",
            f"{path} is not an SQLite database",
            why="It is another kind of file, or its beginning was overwritten.",
            todo=("check the path after sqlite:///",),
            safe=_SAFE,
        )
    if int.from_bytes(header[68:72]) != APPLICATION_ID:
        raise GatewayError(
            "EG-STORE-VERSION",
            f"{path} is a database of another program",
            why="It does not carry the mark of an upstream store.",
            todo=("check the path after sqlite:///",),
            safe=_SAFE,
        )
    _refuse_newer(path, int.from_bytes(header[60:64]))


def _refuse_newer(path: Path, version: int) -> None:
    if version > VERSION:
        raise GatewayError(
            "EG-STORE-VERSION", f"{path} is of version {version}, this program knows {VERSION}", safe=_SAFE
        )


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    _refuse_newer(path, version)  # a version that still lies in the WAL is not in the header
    db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    if version == 0:
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")  # before WAL: it must be in the file itself
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    db.execute(f"PRAGMA journal_size_limit = {CHECKPOINT_PAGES * PAGE_BYTES}")
    db.execute("PRAGMA cache_size = -16384")  # KiB: the pages that one group of 4 MiB dirties, and the tails
    db.execute("PRAGMA temp_store = MEMORY")
    if version < VERSION:
        from edgegw.receive import tables  # noqa: PLC0415 -- keeps sqlite-utils out of each later start

        tables.migrate(db)
    for view in ("readings", "gateways", "details"):  # a look at every table: gross damage shows here
        db.execute(f"SELECT 1 FROM {view} LIMIT 1").fetchall()  # noqa: S608 -- fixed names

"""Find the log again: hold its directory, resume it from its newest head, set a damaged database aside."""

from __future__ import annotations

import fcntl
import os
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from edgegw.journal import Journal
from edgegw.problems import GatewayError
from edgegw.store import FILE_NAME, StoreFailed
from edgegw.wire import batch, cose, log, senml
from edgegw.wire.log import LogId

if TYPE_CHECKING:
    from pathlib import Path

    from edgegw.store import Store
    from edgegw.wire.cose import Signer, VerifyKey

# Message bytes that resuming reads at once.
RESUME_BYTES: Final = 1024 * 1024


class Who(NamedTuple):
    """The identity of the log: its URN, the signing key and its public side."""

    iss: str
    signer: Signer
    own: VerifyKey
    simulated: bool = False


def resume(store: Store, who: Who, previous: batch.Previous | None = None) -> tuple[Journal, float]:
    """The journal at the end of the stored log, every message behind the newest head checked; a new one if need be.

    `previous` is what a new log announces of the one before it. The second value is the newest record time in
    POSIX seconds, 0.0 in an empty log. Raises JournalError when the stored messages are not the log.
    """
    epoch, secret = store.get("epoch"), store.get("secret")
    if not isinstance(epoch, str) or not isinstance(secret, bytes):
        epoch, secret = secrets.token_hex(4), secrets.token_bytes(log.SEED_BYTES)
        with store.transaction():
            store.put("epoch", epoch)
            store.put("secret", secret)
            if previous:
                store.put("previous", f"{previous.stream} {previous.size} {previous.root.hex()}")
    journal = Journal(
        LogId(who.iss, epoch),
        secret,
        who.signer,
        who.own,
        simulated=who.simulated,
        previous=previous or _kept_previous(store),
    )
    newest = store.newest_head()
    if newest:
        journal.resume_head(newest.message)
    return journal, _replay(store, journal)


def _kept_previous(store: Store) -> batch.Previous | None:
    stream, _, rest = str(store.get("previous", "")).partition(" ")
    if not rest:
        return None
    size, _, root = rest.partition(" ")
    return batch.Previous(stream, int(size), bytes.fromhex(root))


def _replay(store: Store, journal: Journal) -> float:
    newest = 0.0
    while found := store.batches_from(journal.size, RESUME_BYTES):
        for stored in found:
            newest = journal.resume_batch(stored.message).records[-1].t
    last = store.batch_ending(journal.size) if not newest else None
    if last:
        with suppress(ValueError):
            parts = cose.parse(last.message)
            newest = senml.read_pack(parts.payload or b"")[1][-1].t
    return newest


def set_aside(directory: Path, why: str) -> Path:
    """Move a closed database out of the way, never delete it; its new, free name, which a power cut does not undo."""
    path = directory / FILE_NAME
    aside = next(
        name
        for number in range(1, 1_000_000)
        if not (name := path.with_name(f"edgegw-{why}-{number}.db")).exists()
    )
    for suffix in ("-wal", "-shm", ""):
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    # Before a new database takes the old name: f2fs brings back a synchronised file without earlier renames, and
    # whatever had its name then is gone.
    names = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(names)
    finally:
        os.close(names)
    return aside


def hold(directory: Path) -> int:
    """Hold the directory, as an open file: two daemons on one log would fork it."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except PermissionError as error:
        raise GatewayError("EG-PERMISSION", f"{error.filename}: not allowed") from error
    except OSError as error:
        raise StoreFailed("EG-STORE-FAILED", f"{directory}: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise GatewayError("EG-STORE-LOCKED", f"{directory} is in use by another daemon") from None
    return lock

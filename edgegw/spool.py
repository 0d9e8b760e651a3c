"""Look into the store from outside: through the running daemon, or, when it is down, into the file itself.

The daemon's connection is the only one that writes. The file is opened read-only and only where no daemon
answers; a read-only connection never checkpoints, so it cannot meet the WAL race of two writers.
"""

from __future__ import annotations

import base64
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from edgegw import control, health
from edgegw.problems import GatewayError, entry
from edgegw.store import FILE_NAME, VERSION, Store, StoredBatch, StoredHead, Totals
from edgegw.views import View

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edgegw.config import Config, Sensor

# Message bytes that one look into the file takes.
LOOK_BYTES: Final = 1024 * 1024


class Spool(Protocol):
    """Stored batches and heads, in log order, each once."""

    def batches(self, first: int = 0) -> Iterator[StoredBatch]:
        """From the batch that holds index `first` or the next one."""
        ...

    def heads(self) -> Iterator[StoredHead]:
        """Every stored head."""
        ...


class StoreReader(Store):
    """The store, read-only; what was not there is not made."""

    def __init__(self, directory: Path) -> None:
        """Open the database; GatewayError EG-STORE-MISSING, -VERSION, -DAMAGED, -FAILED or EG-PERMISSION."""
        self._directory = directory
        self.path = directory / FILE_NAME
        self.written_bytes = 0
        try:
            with self.path.open("rb"):
                pass
        except FileNotFoundError:
            raise GatewayError("EG-STORE-MISSING", f"{self.path} does not exist") from None
        except PermissionError:
            raise GatewayError("EG-PERMISSION", f"{self.path} may not be read") from None
        except OSError as error:
            raise GatewayError("EG-STORE-FAILED", f"{self.path}: {error.strerror}") from None
        try:
            self._db = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None
            )
        except sqlite3.OperationalError as error:
            raise GatewayError("EG-STORE-FAILED", f"{self.path}: {error}") from error
        try:
            self._check()
        except BaseException:
            self._db.close()
            raise

    def _check(self) -> None:
        try:
            version = self.pragma("user_version")
        except sqlite3.OperationalError as error:
            raise GatewayError("EG-STORE-FAILED", f"{self.path}: {error}") from error
        except sqlite3.DatabaseError as error:
            raise GatewayError(
                "EG-STORE-DAMAGED",
                f"{self.path}: {error}",
                why="A fault of the disk, or something else was written over it.",
                todo=(
                    "systemctl restart edgegw: it keeps the file under another name and begins a new log",
                    "replace the card or disk",
                ),
            ) from error
        if version > VERSION:
            raise GatewayError(
                "EG-STORE-VERSION", f"{self.path} is of version {version}, this program knows {VERSION}"
            )
        if version == 0:
            raise GatewayError("EG-STORE-MISSING", f"{self.path} holds nothing yet")


class FileSpool:
    """The spool in the file, for when the daemon is down."""

    def __init__(self, store: StoreReader) -> None:
        self.store = store

    def batches(self, first: int = 0) -> Iterator[StoredBatch]:
        """See `Spool`."""
        while found := self.store.batches_from(first, LOOK_BYTES):
            yield from found
            first = found[-1].end

    def heads(self) -> Iterator[StoredHead]:
        """See `Spool`."""
        after = 0
        while found := self.store.heads_between(after, 2**62):
            yield from found
            after = found[-1].size


class LiveSpool:
    """The spool as the daemon shows it."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    def batches(self, first: int = 0) -> Iterator[StoredBatch]:
        """See `Spool`."""
        while found := control.request(self._socket, "spool", **{"from": first}):
            for each in found:
                message = base64.b64decode(each["message"])
                yield StoredBatch(each["first"], each["count"], 0.0, message)
                first = each["first"] + each["count"]

    def heads(self) -> Iterator[StoredHead]:
        """See `Spool`."""
        after = 0
        while found := control.request(self._socket, "heads", after=after):
            for each in found:
                yield StoredHead(each["number"], each["size"], base64.b64decode(each["message"]))
                after = each["size"]


class Seen(NamedTuple):
    """The status document and the spool (None where there is no store); `absent` is why the daemon is not asked."""

    status: dict[str, Any]
    spool: Spool | None
    absent: GatewayError | None


@contextmanager
def look(config: Config) -> Iterator[Seen]:
    """Ask the daemon; when it does not run, look into the store, which is open inside the `with` only.

    Raises GatewayError when the daemon refuses or is too slow, or when the store cannot be read.
    """
    socket = config.control.socket
    try:
        status = control.request(socket, "status")
    except GatewayError as error:
        if error.code != "EG-NOT-RUNNING":
            raise
        absent = error
    else:
        yield Seen(status, LiveSpool(socket), None)
        return
    store: StoreReader | None = None
    try:
        store = StoreReader(config.store.path)
    except GatewayError as error:
        if error.code != "EG-STORE-MISSING":
            raise
    if store is None:
        yield Seen(_degraded(config, None), None, absent)
        return
    with closing(store):
        yield Seen(_degraded(config, store), FileSpool(store), absent)


def _degraded(config: Config, store: StoreReader | None) -> dict[str, Any]:
    """The status document as far as store and configuration know it; every key is there."""
    from edgegw import __version__, certificate  # noqa: PLC0415 -- cryptography, only needed in this case
    from edgegw.clock import SystemClock  # noqa: PLC0415 -- the same

    now = SystemClock().wall()
    receipted = store.number("receipted") if store else 0
    backlog = store.totals_from(receipted) if store else Totals(0, 0, 0, None)
    facts = health.Facts(
        gateway=config.gateway.id,
        version=__version__,
        boot="",
        simulated=config.gateway.simulated,
        uptime_s=0.0,
        stopping=False,
        link_state="offline",
        link_since_s=0.0,
        link_receipts=config.uplink.receipts,
        log_epoch=str(store.get("epoch", "")) if store else "",
        log_size=max(store.end() or 0, receipted) if store else 0,
        log_receipted=receipted,
        backlog_batches=backlog.batches,
        backlog_readings=backlog.records,
        backlog_bytes=backlog.bytes,
        backlog_oldest_s=max(0.0, now - backlog.oldest) if backlog.oldest else 0.0,
        lost=store.number("lost") if store else 0,
        clock_state=2,
        clock_error_ms=0,
        tls_days_left=certificate.days_left(config.identity.tls_cert, now),
        store_bytes=store.bytes() if store else 0,
        store_written_bytes=0,
        store_failed=False,
        shedding=False,
        max_age_s=config.store.batch.max_age,
        sensors=[_paused(name, sensor) for name, sensor in config.sensor.items()],
        problems=[entry("EG-NOT-RUNNING", "the daemon does not run: this is the view from the store")],
    )
    document = health.status(facts)
    return {**document, "state": str(health.State.OFFLINE)}


def _paused(name: str, sensor: Sensor) -> dict[str, Any]:
    """A sensor of which nothing is known: the daemon that reads it does not run."""
    view = View(name, sensor.driver, sensor.stale_after, 0.0, simulated=False, enabled=sensor.enabled)
    return {**view.as_dict(0.0), "state": "paused" if sensor.enabled else "disabled"}

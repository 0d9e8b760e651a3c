"""The uplink of one gateway: its link, and the log behind it as the link sees it."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING, Any

from edgegw import keys
from edgegw.backoff import Backoff
from edgegw.link import Link, Outgoing, Settings, State
from edgegw.outbox import NO_SUBSCRIBERS, Lane, Outbox
from edgegw.problems import entry
from edgegw.store import StoredBatch
from edgegw.tls import Server, TlsFiles
from edgegw.wire import cose, verify
from edgegw.wire.log import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from structlog.typing import FilteringBoundLogger

    from edgegw.clock import Clock
    from edgegw.config import Config, Reference
    from edgegw.keeper import Keeper
    from edgegw.outbox import Want
    from edgegw.ports.thread import PortThread


class LogArchive:
    """The keeper's log, asked in the keeper's thread. `noticed` is told of problems by code and text."""

    def __init__(
        self,
        keeper: Keeper,
        worker: PortThread,
        stores: Mapping[bytes, cose.VerifyKey],
        boot: str,
        noticed: Callable[[str, str], None],
        restarted: Callable[[], None],
        log: FilteringBoundLogger,
    ) -> None:
        self._keeper = keeper
        self._worker = worker
        self._stores = stores
        self._boot = boot
        self._noticed = noticed
        self._restarted = restarted
        self._log = log

    @property
    def epoch(self) -> str:
        """See `link.Archive`."""
        return self._keeper.log.epoch

    async def outgoing(self, want: Want, limit_bytes: int) -> list[Outgoing]:
        """See `link.Archive`."""
        found = await self._worker.call(self._keeper.stretch, want.position, want.end, limit_bytes)
        items: list[Outgoing] = []
        position, time = want.position, 0.0
        for each in found:
            if isinstance(each, StoredBatch):
                items.append(Outgoing(position, each.end, each.message, each.time, each.first))
                position, time = each.end, each.time
            elif want.lane is not Lane.LIVE:
                items.append(Outgoing(position, each.size, each.message, time, each.number, is_head=True))
        if want.lane is Lane.REQUEST and position >= want.end:
            head = await self._worker.call(self._keeper.head_after, position - 1)
            if head is not None and (not items or items[-1].message != head.message):
                # It goes before the last batch, which ends the request.
                last = max(0, len(items) - 1)
                begin = items[last].begin if items else position
                items.insert(last, Outgoing(begin, head.size, head.message, time, head.number, is_head=True))
        return items

    async def newest_head(self) -> Outgoing | None:
        """See `link.Archive`."""
        head = await self._worker.call(self._keeper.head_after)
        if head is None:
            return None
        return Outgoing(head.size, head.size, head.message, 0.0, head.number, is_head=True)

    async def receipt(self, data: bytes) -> int:
        """See `link.Archive`."""
        epoch = self._keeper.log.epoch
        taken = await self._worker.call(self._keeper.take_receipt, data, self._stores)
        if taken.problem:
            self._noticed(taken.problem, taken.text)
        elif taken.text:
            self._log.info("receipt ignored", why=taken.text)
        if self._keeper.log.epoch != epoch:
            self._restarted()
        return taken.size

    async def request(self, data: bytes) -> tuple[int, int] | None:
        """See `link.Archive`."""
        try:
            request = verify.open_request(data, self._stores)
        except Refused as error:
            self._noticed("EG-RECEIPT-FORGED", f"a request was refused: {error.reason}")
            return None
        newest = self._keeper.head_number
        if request.boot != self._boot or request.head not in (newest, newest - 1):
            self._log.info("request ignored", why="it is not of this run")
            return None
        self._log.info("sending again", first=request.first, end=request.end)
        return request.first, request.end

    async def acknowledged(self, size: int) -> None:
        """See `link.Archive`."""
        await self._worker.call(self._keeper.acknowledged, size)


class Uplink:
    """Link, outbox and archive, built from the configuration; does nothing when no broker is configured."""

    def __init__(
        self,
        settings: Config,
        iss: str,
        boot: str,
        worker: PortThread,
        keeper: Keeper,
        clock: Clock,
        log: FilteringBoundLogger,
        *,
        noticed: Callable[[str, str], None],
        will: Callable[[], bytes],
    ) -> None:
        """Read the public keys of the upstream; GatewayError when one cannot be used."""
        uplink = settings.uplink
        self._keeper = keeper
        self._link: Link | None = None
        self._since = clock.monotonic()
        self.outbox = Outbox(
            size=keeper.size,
            receipted=keeper.receipted,
            window=uplink.window,
            in_flight=uplink.in_flight,
            random=random.random,
            wait_for_receipts=uplink.receipts == "required",
            drain_rate=uplink.drain_rate,
        )
        if not uplink.servers or uplink.ca is None:
            return
        files = _files(settings, uplink.ca)
        if files is None:
            return
        archive = LogArchive(keeper, worker, _stores(settings), boot, noticed, self._restart, log)
        self._link = Link(
            Settings(
                settings.gateway.id,
                iss,
                [Server(server.host, server.port) for server in uplink.servers],
                files,
                uplink.prefix,
                int(uplink.keepalive),
                settings.gateway.simulated,
            ),
            self.outbox,
            archive,
            Backoff(uplink.retry.min, uplink.retry.max, random.random),
            clock,
            log,
            will,
        )

    async def run(self) -> None:
        """Keep the link for ever; returns at once without a broker."""
        if self._link is not None:
            await self._link.run()

    def committed(self, size: int) -> None:
        """The log grew."""
        self.outbox.committed(size)
        self._wake()

    def new_head(self) -> None:
        """A head was made."""
        self.outbox.new_head()
        self._wake()

    def publish_status(self, message: bytes) -> None:
        """Publish a signed status."""
        if self._link is not None:
            self._link.publish_status(message)

    async def farewell(self, seconds: float) -> None:
        """Send what can be sent within `seconds`, and leave."""
        if self._link is not None:
            await self._link.farewell(seconds)

    @property
    def state(self) -> str:
        """The link's state."""
        return str(self._link.state if self._link else State.OFFLINE)

    @property
    def since(self) -> float:
        """The monotonic second since which the link is in its state."""
        return self._link.since if self._link else self._since

    def problems(self) -> list[dict[str, Any]]:
        """What is wrong with the link now."""
        if self._link is None:
            return [entry("EG-UPLINK-NONE")]
        found = []
        failure = self._link.failure
        if failure is not None:
            found.append(entry(failure.code, failure.what))
        if self.outbox.poison:
            found.append(
                entry("EG-UPLINK-POISON", f"the broker refuses {self.outbox.poison} batches for good")
            )
        if self.outbox.refusal == NO_SUBSCRIBERS:
            found.append(entry("EG-UPLINK-NOBODY"))
        elif self.outbox.refusal is not None:
            found.append(
                entry(
                    "EG-UPLINK-REFUSED",
                    f"the broker refuses publications: reason code 0x{self.outbox.refusal:02x}",
                )
            )
        return found

    def _restart(self) -> None:
        self.outbox.restarted(self._keeper.size)

    def _wake(self) -> None:
        if self._link is not None:
            self._link.wake()


def _files(settings: Config, authority: Reference) -> TlsFiles | None:
    identity = settings.identity
    try:
        paths = [each.path(os.environ) for each in (identity.tls_cert, identity.tls_key)]
    except LookupError:
        return None
    return TlsFiles(authority.path(os.environ), *paths)


def _stores(settings: Config) -> dict[bytes, cose.VerifyKey]:
    """The public keys of the upstream stores; one that cannot be read is a mistake of the configuration."""
    found = [keys.load_public(each.path(os.environ)) for each in settings.uplink.receipt_keys]
    return {key.kid: key for key in found}

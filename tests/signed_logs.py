"""What tests of the receiver share: a log that signs like a gateway, and what is upstream of it.

log = SignedLog("gw-1")
first, second = log.batch(10), log.batch(5)     # messages, ready to be sent
head = log.head()
log.values                                      # what every reading says, by index
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edgegw.receive.intake import Arrival
from edgegw.wire import batch, cose, head, merkle, senml, status
from edgegw.wire.batch import Previous
from edgegw.wire.log import LogId, urn
from edgegw.wire.verify import KeyRing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

    from edgegw.receive.upstream_store import UpstreamStore

PREFIX = "edgegw/1"
START = 1_795_305_600
BOOT = "0f5d3c3e-63a1-4c58-9a4e-0c1b2a3d4e5f"


class SignedLog:
    """One log of one gateway; the same seed gives the same key."""

    def __init__(
        self,
        gateway: str = "gw-1",
        epoch: str = "0a1b2c3d",
        *,
        key: EllipticCurvePrivateKey | None = None,
        simulated: bool = False,
        previous: Previous | None = None,
        pen: int = 32473,
    ) -> None:
        self.gateway = gateway
        self.key = key or ec.derive_private_key(sum(gateway.encode()) + 1, ec.SECP256R1())
        self.id = LogId(urn(pen, gateway), epoch)
        self.tree = merkle.Range.empty()
        self.values: dict[int, float | str | bool | bytes] = {}
        self._by = cose.signer(self.key)
        self._secret = secrets.token_bytes(32)
        self._simulated = simulated
        self._previous = previous
        self._writer = senml.RecordWriter(self.id.iss)
        self._numbers = 0
        self._last: merkle.Range | None = None
        self._since = merkle.Range.empty()

    @property
    def size(self) -> int:
        """How many records there are."""
        return self.tree.end

    @property
    def public_pem(self) -> bytes:
        """What goes into the folder of keys."""
        return self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def batch(self, count: int) -> bytes:
        """The next `count` readings, whose value is a tenth of their index, signed."""
        first = self.size
        self.values.update((index, index / 10) for index in range(first, first + count))
        return self.records(
            [
                self._writer.reading("air-1", "pm2_5", "ug/m3", index / 10, START + index)
                for index in range(first, first + count)
            ]
        )

    def lost(self, first: int, stop: int) -> bytes:
        """A batch of one event: records [first, stop) are lost."""
        self.values[self.size] = float(stop - first)
        extra = {"from": first, "to": stop, "why": "full"}
        return self.records(
            [self._writer.event("lost", stop - first, START + self.size, extra, unit="count")]
        )

    def event(self, name: str, value: float | str, extra: dict[str, Any]) -> bytes:
        """A batch of one event."""
        self.values[self.size] = value
        return self.records([self._writer.event(name, value, START + self.size, extra)])

    def records(self, records: Sequence[bytes], *, wrong_root: bool = False) -> bytes:
        """The next batch, of these records."""
        tree = merkle.Range.of_leaves(0, [b"\0" * 32] * self.size) if wrong_root else self.tree
        message, added = batch.seal(
            self.id,
            tree,
            records,
            secret=self._secret,
            by=self._by,
            clock=(1, 5),
            issued=START,
            simulated=self._simulated,
            previous=self._previous if self.size == 0 else None,
        )
        self.tree, self._since = self.tree.join(added), self._since.join(added)
        return message

    def head(self, number: int | None = None) -> bytes:
        """The head over everything so far."""
        self._numbers = self._numbers + 1 if number is None else number
        message = head.seal(
            self.id,
            self.tree,
            self._numbers,
            self._since if self._last else None,
            self._last,
            by=self._by,
            issued=START,
            simulated=self._simulated,
        )
        self._last, self._since = self.tree, merkle.Range.empty(self.size)
        return message

    def status(self, **content: object) -> bytes:
        """The signed status, of the run BOOT where nothing else is said."""
        return status.seal(self.id.iss, {"boot": BOOT, **content}, by=self._by, issued=START)

    def end(self) -> Previous:
        """What the next epoch says about this one."""
        return Previous(self.id.stream, self.size, self.tree.root())

    def fork(self) -> SignedLog:
        """The same log from here on, as another one who holds the key and the secret would go on."""
        twin = SignedLog(self.gateway, self.id.epoch, key=self.key, simulated=self._simulated)
        twin.tree, twin.values, twin._secret = self.tree, dict(self.values), self._secret
        twin._numbers, twin._last, twin._since = self._numbers, self._last, self._since
        return twin

    def to(self, kind: str, message: bytes) -> Arrival:
        """The message as it arrives by its topic; `kind` is `batch`, `head` or `status`."""
        level = kind if kind == "status" else f"main/{kind}"
        return Arrival(f"{PREFIX}/{self.gateway}/{level}", message)


def ring(*logs: SignedLog) -> KeyRing:
    """The keys of these gateways."""
    keys: dict[str, list[cose.VerifyKey]] = {}
    for log in logs:
        keys.setdefault(log.gateway, []).append(cose.verify_key(log.key.public_key()))
    return KeyRing(keys)


def register(folder: Path, *logs: SignedLog) -> None:
    """Put the keys of these gateways into the folder."""
    for log in logs:
        (folder / f"{log.gateway}.pem").write_bytes(log.public_pem)


def upstream(store: UpstreamStore, log: SignedLog) -> dict[int, object]:
    """What every reading of a log says upstream, by index; each exactly once."""
    rows = store.db.execute(
        "SELECT idx, coalesce(value, text) FROM readings WHERE gateway = ? AND epoch = ? ORDER BY idx",
        (log.gateway, log.id.epoch),
    ).fetchall()
    assert len({idx for idx, _ in rows}) == len(rows)
    return dict(rows)


def proven(store: UpstreamStore, log: SignedLog) -> set[int]:
    """Indices of a log that are proven."""
    return {
        idx
        for (idx,) in store.db.execute(
            "SELECT idx FROM readings WHERE gateway = ? AND epoch = ? AND proven", (log.gateway, log.id.epoch)
        )
    }

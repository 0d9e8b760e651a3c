"""A small gateway, a small city and their messages, for tests: every key comes from a seed, every byte is known."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from edgegw.wire import batch, cbor, cose, head, log, merkle, proof, receipt, senml, status, verify
from edgegw.wire.log import LogId

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edgegw.wire.batch import Previous

GATEWAY = "kyiv-podil-0042"
CITY = "city-1"
PEN = 32473
EPOCH = "0badcafe"
BOOT = "5f0c8d9e"
T0 = 1_790_000_000

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def key(alg: str, seed: str) -> PrivateKey:
    """The private key of a seed: `ed25519`: its SHA-256, `p256`: 1 + that number mod (n - 1)."""
    digest = sha256(seed.encode()).digest()
    if alg == "ed25519":
        return ed25519.Ed25519PrivateKey.from_private_bytes(digest)
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    return ec.derive_private_key(int.from_bytes(digest) % (order - 1) + 1, ec.SECP256R1())


class Gateway:
    """Seals a log in memory, as a journal does; `tree` is the log so far."""

    def __init__(
        self,
        alg: str = "ed25519",
        *,
        gateway: str = GATEWAY,
        epoch: str = EPOCH,
        simulated: bool = False,
        previous: Previous | None = None,
        seed: str = "sign",
    ) -> None:
        self.private = key(alg, f"{gateway} {seed}")
        self.by = cose.signer(self.private)
        self.key = cose.verify_key(self.private.public_key())
        self.log = LogId(log.urn(PEN, gateway), epoch)
        self.writer = senml.RecordWriter(self.log.iss)
        self.secret = sha256(f"{gateway} {epoch} secret".encode()).digest()
        self.simulated, self.previous = simulated, previous
        self.tree, self.number = merkle.Range.empty(), 0
        self.entries: list[bytes] = []
        self._head: merkle.Range | None = None
        self._since = merkle.Range.empty()

    @property
    def keys(self) -> verify.KeyRing:
        """The ring that knows this gateway alone."""
        return verify.KeyRing({self.log.gateway: [self.key]})

    def readings(self, count: int) -> list[bytes]:
        """Records of the next `count` seconds: tenths, whole numbers and flags."""
        return [self._reading(i) for i in range(self.tree.end, self.tree.end + count)]

    def _reading(self, i: int) -> bytes:
        sensor, quantity, unit = ("sound-1", "laeq", "dB") if i % 2 else ("air-1", "pm2_5", "ug/m3")
        flag, checks = (1, ()) if i % 3 else (3, ("spike",))
        value, t = (400 + 7 * i % 300) / 10, T0 + i + i % 4 / 8
        return self.writer.reading(sensor, quantity, unit, value, t, flag if i % 5 else None, checks)

    def lost(self, begin: int, end: int, why: str = "full") -> bytes:
        """The record that names [begin, end) as lost."""
        extra = {"from": begin, "to": end, "why": why}
        return self.writer.event("lost", end - begin, T0 + self.tree.end, extra)

    def batch(self, count: int = 3, records: Sequence[bytes] | None = None) -> bytes:
        """The next batch: `count` readings, or these records."""
        chosen = self.readings(count) if records is None else records
        first = self.tree.end
        message, added = batch.seal(
            self.log,
            self.tree,
            chosen,
            secret=self.secret,
            by=self.by,
            clock=(batch.SYNCHRONISED, 12),
            issued=T0 + first,
            simulated=self.simulated,
            previous=None if first else self.previous,
        )
        salts = log.salts(log.seed_of(self.secret, first), first, len(chosen))
        self.entries += map(log.entry, salts, chosen)
        self.tree, self._since = self.tree.join(added), self._since.join(added)
        return message

    def head(self) -> bytes:
        """The next head."""
        message = head.seal(
            self.log,
            self.tree,
            self.number,
            self._since,
            self._head,
            by=self.by,
            issued=T0 + self.tree.end,
            simulated=self.simulated,
        )
        self.number, self._head, self._since = self.number + 1, self.tree, merkle.Range.empty(self.tree.end)
        return message

    def status(self, content: dict[str, Any] | None = None) -> bytes:
        """A signed status."""
        return status.seal(
            self.log.iss, content or {"state": "ok", "boot": BOOT, "simulated": False}, by=self.by, issued=T0
        )

    def proof(self, index: int, signed_head: bytes) -> bytes:
        """The proof of one record under a head over everything so far."""
        path = merkle.inclusion_path([merkle.leaf_hash(entry) for entry in self.entries], index)
        return proof.seal(self.entries[index], signed_head, index, path)


class City:
    """An upstream store's key, its receipts and its requests."""

    def __init__(self, alg: str = "ed25519", name: str = CITY) -> None:
        self.private = key(alg, f"{name} store")
        self.by = cose.signer(self.private)
        self.key = cose.verify_key(self.private.public_key())
        self.iss = log.urn(PEN, name)

    @property
    def stores(self) -> dict[bytes, cose.VerifyKey]:
        """The store keys that a gateway trusts."""
        return {self.key.kid: self.key}

    def receipt(self, log_id: LogId, tree: merkle.Range) -> bytes:
        """The receipt for all of `tree`."""
        return receipt.seal_receipt(log_id, tree.end, tree.root(), store=self.iss, by=self.by, issued=T0 + 60)

    def request(self, log_id: LogId, first: int, end: int) -> bytes:
        """The request for records [first, end)."""
        return receipt.seal_request(
            log_id, first, end, boot=BOOT, head=1, store=self.iss, by=self.by, issued=T0 + 61
        )


def flipped(data: bytes, bit: int) -> bytes:
    """`data` with one bit changed."""
    changed = bytearray(data)
    changed[bit // 8] ^= 0x80 >> bit % 8
    return bytes(changed)


def resigned(message: bytes, by: cose.Signer, **protected: Any) -> bytes:
    """The message signed again with other protected header parameters: h1, h4, h15, edgegw, ...

    None leaves one out.
    """
    parts = cose.parse(message)
    changes = {int(name[1:]) if name[1:].isdigit() else name: value for name, value in protected.items()}
    fields = {**parts.headers, 1: by.alg, 4: by.kid, **changes}
    encoded = cbor.encode({label: value for label, value in fields.items() if value is not None})
    signature = by.sign(cose.to_be_signed(encoded, parts.payload or b""))
    return b"\xd2" + cbor.encode([encoded, parts.unprotected, parts.payload, signature])


def shuffled(messages: Iterable[bytes], seed: int) -> list[bytes]:
    """The messages in another order."""
    return sorted(messages, key=lambda message: sha256(seed.to_bytes(8) + message).digest())

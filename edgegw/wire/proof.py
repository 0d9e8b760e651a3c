"""One reading alone, with its proof (WIRE §4): CBOR `[entry, receipt]`, checkable without the rest of the log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgegw.wire import cbor, cose, head, log, merkle, senml
from edgegw.wire.log import LogId, Refused

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Proof:
    """A record that stands at `index` of the log of `size` records whose `root` the gateway signed."""

    log: LogId
    index: int
    size: int
    record: senml.Record
    root: bytes
    simulated: bool


def seal(entry: bytes, signed_head: bytes, index: int, path: Sequence[bytes]) -> bytes:
    """The proof of one entry: the head's signature is used again, with an inclusion proof (RFC 9942 §5.2)."""
    parts = cose.parse(signed_head)
    size = log.private(parts).get(log.SIZE)
    proofs = {head.PROOFS: {head.INCLUSION: [cbor.encode([size, index, list(path)])]}}
    receipt = b"".join(
        (
            b"\xd2\x84",
            cbor.encode(parts.protected),
            cbor.encode(proofs),
            cbor.encode(None),
            cbor.encode(parts.signature),
        )
    )
    return cbor.encode([entry, receipt])


def open_parts(data: bytes) -> tuple[bytes, cose.Sign1]:
    """The entry and the receipt of a proof; Refused `malformed` when it is none.

    The receipt's payload must be detached: a head that brings its own root would verify whatever the proof.
    """
    try:
        entry, receipt = cbor.decode(data)
        parts = cose.parse(receipt) if isinstance(entry, bytes) and isinstance(receipt, bytes) else None
    except (TypeError, ValueError):
        raise Refused("malformed") from None
    if parts is None or parts.payload is not None:
        raise Refused("malformed")
    return entry, parts


def read(entry: bytes, receipt: cose.Sign1, key: cose.VerifyKey, log_id: LogId) -> Proof:
    """The proven record; Refused `header`, `inclusion`, `signature` or `record…` when it does not hold."""
    gateway = log_id.gateway
    fields = log.private(receipt)
    if receipt.headers.get(head.VDS) != head.RFC9162_SHA256:
        raise Refused("header", gateway)
    try:
        size, index, path = head.proof_parts(receipt, head.INCLUSION)
        if size != log.whole(fields.get(log.SIZE)):
            raise Refused("inclusion", gateway)
        root = merkle.root_above(index, size, merkle.leaf_hash(entry), path)
    except ValueError:
        raise Refused("inclusion", gateway) from None
    if not cose.verified(receipt, key, root):
        raise Refused("signature", gateway)
    if entry[:2] != b"\x82\x50" or len(entry) < 2 + log.SALT_BYTES:
        raise Refused("record", gateway)
    try:
        _, (record,) = senml.read_pack(b"\x81" + entry[2 + log.SALT_BYTES :])
    except senml.RecordError as error:
        raise Refused(senml.refusal(error), gateway) from None
    if not record.name.startswith(log_id.iss + ":"):
        raise Refused("record_name", gateway)
    return Proof(log_id, index, size, record, root, bool(fields.get(log.SIMULATED)))

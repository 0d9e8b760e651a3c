"""A batch: the records that became durable together, under one signature (WIRE §3)."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from edgegw.wire import cbor, cose, log, merkle, senml
from edgegw.wire.log import LogId, Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

SENML_CBOR: Final = 112  # CoAP Content-Format of application/senml+cbor (RFC 8428 §12.4.2)
FREE_RUNNING, SYNCHRONISED, UNKNOWN = 0, 1, 2
# What a message holds beside its records: at most 460 bytes with the longest ids and a previous log.
MAX_ENVELOPE: Final = 640


@dataclass(frozen=True, slots=True)
class Previous:
    """The end of the log before this one: its stream, size and root."""

    stream: str
    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch whose signature and records are checked.

    `records` cover [first, end); `raws` are their bytes; `root` is what the gateway says the tree's root is
    after them; `range` is the compact range of exactly these leaves. `content` is a hash of all that was
    signed: two batches with the same content are one, however often it was signed.
    """

    log: LogId
    first: int
    root: bytes
    clock: tuple[int, int]
    issued: int
    simulated: bool
    previous: Previous | None
    raws: Sequence[bytes]
    records: Sequence[senml.Record]
    range: merkle.Range
    content: bytes

    @property
    def end(self) -> int:
        """The index after the last record."""
        return self.first + len(self.records)


def seal(
    log_id: LogId,
    tree: merkle.Range,
    records: Sequence[bytes],
    *,
    secret: bytes,
    by: cose.Signer,
    clock: tuple[int, int],
    issued: int,
    simulated: bool = False,
    previous: Previous | None = None,
) -> tuple[bytes, merkle.Range]:
    """The signed message of the next batch and the compact range of its leaves.

    `tree` is the log so far; `records` follow it, in order; `clock` is (state, error in ms), `issued` POSIX
    seconds.
    """
    first = tree.end
    seed = log.seed_of(secret, first)
    added = merkle.Range.of_leaves(first, log.leaves(seed, first, records))
    fields: dict[int, Any] = {
        log.FIRST: first,
        log.ROOT: tree.join(added).root(),
        log.SEED: seed,
        log.CLOCK: list(clock),
    }
    if simulated:
        fields[log.SIMULATED] = 1
    if previous:
        fields[log.PREVIOUS] = [previous.stream, previous.size, previous.root]
    headers = {
        cose.CONTENT_TYPE: SENML_CBOR,
        cose.CLAIMS: {log.ISS: log_id.iss, log.SUB: log_id.stream, log.IAT: issued},
        log.PRIVATE: fields,
    }
    payload = cbor.head(4, len(records)) + b"".join(records)
    return cose.sign1(headers, payload, by), added


def read(message: cose.Sign1, log_id: LogId, issued: int) -> Batch:
    """The batch in a message whose signature is already checked; Refused when its content is not acceptable."""
    fields = log.private(message)
    first, root, seed = log.whole(fields.get(log.FIRST)), fields.get(log.ROOT), fields.get(log.SEED)
    if (
        first is None
        or not isinstance(root, bytes)
        or len(root) != merkle.HASH_BYTES
        or not isinstance(seed, bytes)
        or len(seed) != log.SEED_BYTES
        or message.payload is None
    ):
        raise Refused("header", log_id.gateway)
    try:
        raws, records = senml.read_pack(message.payload)
    except senml.RecordError as error:
        raise Refused(senml.refusal(error), log_id.gateway) from None
    if not raws:
        raise Refused("record", log_id.gateway)
    if first + len(raws) >= log.MAX_COUNT:
        raise Refused("header", log_id.gateway)
    base = log_id.iss + ":"
    for name in {record.name for record in records}:
        if not name.startswith(base):
            raise Refused("record_name", log_id.gateway)
    added = merkle.Range.of_leaves(first, log.leaves(seed, first, raws))
    return Batch(
        log=log_id,
        first=first,
        root=root,
        clock=_clock(fields.get(log.CLOCK), log_id),
        issued=issued,
        simulated=bool(fields.get(log.SIMULATED)),
        previous=_previous(fields.get(log.PREVIOUS), log_id),
        raws=raws,
        records=records,
        range=added,
        # The leaves cover the records, so the payload need not be hashed again.
        content=sha256(message.protected + b"".join(added.hashes)).digest(),
    )


def _clock(value: object, log_id: LogId) -> tuple[int, int]:
    if isinstance(value, (list, tuple)) and len(value) == 2:
        state, error = (log.whole(part) for part in value)
        if state is not None and error is not None and state <= UNKNOWN:
            return state, error
    raise Refused("header", log_id.gateway)


def _previous(value: object, log_id: LogId) -> Previous | None:
    if value is None:
        return None
    if isinstance(value, (list, tuple)) and len(value) == 3:
        stream, size, root = value
        whole, sound = log.whole(size), isinstance(root, bytes) and len(root) == merkle.HASH_BYTES
        if log.epoch_of(stream) and whole is not None and sound:
            return Previous(stream, whole, root)
    raise Refused("header", log_id.gateway)

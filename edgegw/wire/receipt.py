"""What the upstream store signs: receipts (WIRE §4) and requests for records that it lacks (WIRE §5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from edgegw.wire import cbor, cose, log, merkle
from edgegw.wire.log import LogId, Refused

STREAM: Final = "main"


@dataclass(frozen=True, slots=True)
class Receipt:
    """A receipt whose signature is checked: the store holds the log up to `size`, whose root is `root`."""

    log: LogId
    store: str
    size: int
    root: bytes
    issued: int


@dataclass(frozen=True, slots=True)
class Request:
    """A request whose signature is checked: send records [first, end) again.

    It is fresh when `boot` is the gateway's present boot id and `head` one of its last two head numbers.
    `log` is the log that it asks for, None when the store did not name it.
    """

    store: str
    first: int
    end: int
    boot: str
    head: int
    log: LogId | None = None


def seal_receipt(log_id: LogId, size: int, root: bytes, *, store: str, by: cose.Signer, issued: int) -> bytes:
    """The signed receipt for the log's first `size` records; `store` is the store's own `iss`."""
    headers = {
        cose.CLAIMS: {log.ISS: store, log.SUB: f"{log_id.iss}/{log_id.stream}", log.IAT: issued},
        log.PRIVATE: {log.SIZE: size},
    }
    return cose.sign1(headers, root, by)


def seal_request(
    log_id: LogId, first: int, end: int, *, boot: str, head: int, store: str, by: cose.Signer, issued: int
) -> bytes:
    """The signed request for records [first, end) of a log."""
    headers = {cose.CLAIMS: {log.ISS: store, log.SUB: f"{log_id.iss}/{log_id.stream}", log.IAT: issued}}
    return cose.sign1(headers, cbor.encode({1: STREAM, 2: [first, end], 3: boot, 4: head}), by)


def read_receipt(message: cose.Sign1) -> Receipt:
    """The receipt in a message whose signature is already checked; Refused when it is none."""
    claims = log.claims(message)
    iss, sub = claims.get(log.ISS), claims.get(log.SUB)
    issued = log.seconds(claims.get(log.IAT))
    size, root = log.whole(log.private(message).get(log.SIZE)), message.payload
    log_id = _subject(sub)
    if not isinstance(iss, str) or log_id is None:
        raise Refused("header")
    if issued is None or size is None or root is None or len(root) != merkle.HASH_BYTES:
        raise Refused("header", log_id.gateway)
    return Receipt(log_id, iss, size, root, issued)


def _subject(sub: object) -> LogId | None:
    """The log in `<iss>/main/<epoch>`."""
    iss, _, stream = sub.partition("/") if isinstance(sub, str) else ("", "", "")
    epoch = log.epoch_of(stream)
    return LogId(iss, epoch) if log.gateway_of(iss) and epoch else None


def read_request(message: cose.Sign1) -> Request:
    """The request in a message whose signature is already checked; Refused when it is none."""
    try:
        fields = cbor.decode(message.payload or b"")
    except cbor.CborError:
        raise Refused("header") from None
    claims = log.claims(message)
    span = fields.get(2) if isinstance(fields, dict) else None
    if not isinstance(span, (list, tuple)) or len(span) != 2 or fields.get(1) != STREAM:
        raise Refused("header")
    first, end, boot, number = log.whole(span[0]), log.whole(span[1]), fields.get(3), log.whole(fields.get(4))
    if first is None or end is None or not first < end or not isinstance(boot, str) or number is None:
        raise Refused("header")
    return Request(str(claims.get(log.ISS, "")), first, end, boot, number, _subject(claims.get(log.SUB)))

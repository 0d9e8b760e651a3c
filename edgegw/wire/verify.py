"""Open a message: who signed it, is that allowed, does its content hold (WIRE §9, steps 1 to 4 and 7).

Each function takes bytes and public keys and returns a checked value or raises `Refused` with a named reason:
`too_large malformed crit algorithm unknown_key issuer topic signature header record… head_range consistency
inclusion`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgegw.wire import batch, cose, head, log, proof, receipt, status
from edgegw.wire.log import LogId, Refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edgegw.wire.batch import Batch
    from edgegw.wire.head import Head
    from edgegw.wire.proof import Proof
    from edgegw.wire.receipt import Receipt, Request
    from edgegw.wire.status import Status

_ALGORITHMS: Final = (cose.ES256, cose.EDDSA, cose.ESP256, cose.ED25519)


class KeyRing:
    """The public keys of the gateways that may speak: by gateway id, then by key id."""

    def __init__(self, keys: Mapping[str, Iterable[cose.VerifyKey]]) -> None:
        self._keys = {gateway: {key.kid: key for key in found} for gateway, found in keys.items()}
        self._kids = {kid for found in self._keys.values() for kid in found}

    def find(self, gateway: str, kid: bytes) -> cose.VerifyKey:
        """The gateway's key; Refused `issuer` when the key is another's, `unknown_key` when nobody's."""
        key = self._keys.get(gateway, {}).get(kid)
        if key is None:
            raise Refused("issuer" if kid in self._kids else "unknown_key", gateway)
        return key

    def gateways(self) -> frozenset[str]:
        """Ids of the gateways that may speak."""
        return frozenset(self._keys)


def open_gateway_message(
    data: bytes, keys: KeyRing, topic_gateway: str | None = None
) -> Batch | Head | Status:
    """The batch, head or status of a gateway; `topic_gateway` is the id in the topic it came by, if any."""
    message = _parse(data)
    claims = log.claims(message)
    iss, stream, issued = claims.get(log.ISS), claims.get(log.SUB), log.seconds(claims.get(log.IAT))
    gateway = log.gateway_of(iss)
    if gateway is None or not isinstance(iss, str):
        raise Refused("header")
    if issued is None or message.payload is None:
        raise Refused("header", gateway)
    key = keys.find(gateway, _kid(message))
    if topic_gateway is not None and topic_gateway != gateway:
        raise Refused("topic", gateway)
    _check_signature(message, key, gateway)
    if stream == status.STREAM:
        return status.read(message, iss, issued)
    epoch = log.epoch_of(stream)
    if epoch is None:
        raise Refused("header", gateway)
    if head.VDS in message.headers:
        return head.read(message, LogId(iss, epoch), issued)
    if message.headers.get(cose.CONTENT_TYPE) == batch.SENML_CBOR:
        return batch.read(message, LogId(iss, epoch), issued)
    raise Refused("header", gateway)


def open_receipt(data: bytes, stores: Mapping[bytes, cose.VerifyKey]) -> Receipt:
    """The receipt of an upstream store; `stores` are the trusted keys by key id."""
    return receipt.read_receipt(_store_message(data, stores))


def open_request(data: bytes, stores: Mapping[bytes, cose.VerifyKey]) -> Request:
    """The request of an upstream store; whether it is fresh is the gateway's to say."""
    return receipt.read_request(_store_message(data, stores))


def open_proof(data: bytes, keys: KeyRing) -> Proof:
    """The record that a `.proof` proves."""
    if len(data) > log.MAX_MESSAGE:
        raise Refused("too_large")
    entry, parts = proof.open_parts(data)
    claims = log.claims(parts)
    iss, epoch = claims.get(log.ISS), log.epoch_of(claims.get(log.SUB))
    gateway = log.gateway_of(iss)
    if gateway is None or epoch is None or not isinstance(iss, str):
        raise Refused("header")
    key = keys.find(gateway, _kid(parts))
    if not key.accepts(parts.headers.get(cose.ALG)):
        raise Refused("algorithm", gateway)
    return proof.read(entry, parts, key, LogId(iss, epoch))


def kind_of(data: bytes) -> str:
    """What a message says it is, before anything is checked; empty when it does not say.

    `batch`, `head`, `status`, `receipt`, `request` or `proof`.
    """
    if data[:1] == b"\x82":
        return "proof"
    try:
        message = cose.parse(data)
    except cose.CoseError:
        return ""
    if head.VDS in message.headers:
        return "head"
    if message.headers.get(cose.CONTENT_TYPE) == batch.SENML_CBOR:
        return "batch"
    stream = log.claims(message).get(log.SUB)
    if stream == status.STREAM:
        return "status"
    if log.SIZE in log.private(message):
        return "receipt"
    # A request need not name its log; its payload is a map.
    is_map = 0xA0 <= (message.payload or b"\0")[0] < 0xC0
    return "request" if is_map and log.epoch_of(stream) is None else ""


def _store_message(data: bytes, stores: Mapping[bytes, cose.VerifyKey]) -> cose.Sign1:
    message = _parse(data)
    key = stores.get(_kid(message))
    if key is None:
        raise Refused("unknown_key")
    _check_signature(message, key, "")
    return message


def _parse(data: bytes) -> cose.Sign1:
    if len(data) > log.MAX_MESSAGE:
        raise Refused("too_large")
    try:
        message = cose.parse(data)
    except cose.CoseError as error:
        raise Refused(str(error)) from None
    if message.headers.get(cose.ALG) not in _ALGORITHMS:
        raise Refused("algorithm")
    return message


def _kid(message: cose.Sign1) -> bytes:
    kid = message.headers.get(cose.KID)
    if not isinstance(kid, bytes):
        raise Refused("unknown_key")
    return kid


def _check_signature(message: cose.Sign1, key: cose.VerifyKey, gateway: str) -> None:
    if not key.accepts(message.headers.get(cose.ALG)):
        raise Refused("algorithm", gateway)
    if not cose.verified(message, key):
        raise Refused("signature", gateway)

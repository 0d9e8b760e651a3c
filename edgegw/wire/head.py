"""A head: the signed size and root of a log (WIRE §4, RFC 9942)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edgegw.wire import cbor, cose, log, merkle
from edgegw.wire.log import LogId, Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

VDS: Final = 395  # verifiable data structure (RFC 9942)
RFC9162_SHA256: Final = 1
PROOFS: Final = 396  # verifiable data structure proofs (RFC 9942)
INCLUSION, CONSISTENCY = -1, -2


@dataclass(frozen=True, slots=True)
class Consistency:
    """The proof in a head that the previous head's tree is a prefix of this one."""

    old_size: int
    path: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Head:
    """A head whose signature is checked; `tree` is its compact range, already checked against the root."""

    log: LogId
    size: int
    number: int
    root: bytes
    issued: int
    simulated: bool
    tree: merkle.Range
    consistency: Consistency | None


def seal(
    log_id: LogId,
    tree: merkle.Range,
    number: int,
    since: merkle.Range | None,
    before: merkle.Range | None,
    *,
    by: cose.Signer,
    issued: int,
    simulated: bool = False,
) -> bytes:
    """The signed head over `tree`.

    `before` is the tree at the previous head and `since` the range from there to the end; both None for the
    first head.
    """
    fields: dict[int, Any] = {log.SIZE: tree.end, log.NUMBER: number}
    if simulated:
        fields[log.SIMULATED] = 1
    headers = {
        VDS: RFC9162_SHA256,
        cose.CLAIMS: {log.ISS: log_id.iss, log.SUB: log_id.stream, log.IAT: issued},
        log.PRIVATE: fields,
    }
    unprotected: dict[Any, Any] = {log.PRIVATE: {log.PEAKS: list(tree.hashes)}}
    if before is not None and since is not None:
        proof = [before.end, tree.end, merkle.consistency_path(before, since)]
        unprotected[PROOFS] = {CONSISTENCY: [cbor.encode(proof)]}
    return cose.sign1(headers, tree.root(), by, unprotected)


def read(message: cose.Sign1, log_id: LogId, issued: int) -> Head:
    """The head in a message whose signature is already checked; Refused when its content is not acceptable."""
    fields = log.private(message)
    size, number, root = log.whole(fields.get(log.SIZE)), log.whole(fields.get(log.NUMBER)), message.payload
    if (
        message.headers.get(VDS) != RFC9162_SHA256
        or not size
        or number is None
        or root is None
        or len(root) != merkle.HASH_BYTES
    ):
        raise Refused("header", log_id.gateway)
    loose = message.unprotected.get(log.PRIVATE)
    peaks = loose.get(log.PEAKS) if isinstance(loose, dict) else None
    try:
        tree = merkle.Range.checked(0, size, peaks if isinstance(peaks, (list, tuple)) else ())
    except ValueError:
        raise Refused("head_range", log_id.gateway) from None
    if tree.root() != root:
        raise Refused("head_range", log_id.gateway)
    return Head(
        log=log_id,
        size=size,
        number=number,
        root=root,
        issued=issued,
        simulated=bool(fields.get(log.SIMULATED)),
        tree=tree,
        consistency=_consistency(message, size, log_id),
    )


def _consistency(message: cose.Sign1, size: int, log_id: LogId) -> Consistency | None:
    if PROOFS not in message.unprotected:
        return None
    try:
        old_size, new_size, path = proof_parts(message, CONSISTENCY)
    except ValueError:
        raise Refused("consistency", log_id.gateway) from None
    if new_size != size:
        raise Refused("consistency", log_id.gateway)
    return Consistency(old_size, path)


def proof_parts(message: cose.Sign1, kind: int) -> tuple[int, int, list[bytes]]:
    """The only proof of this kind in the unprotected header: two sizes or indices, and a path of hashes.

    RFC 9942 §5.2 and §5.3. Raises ValueError when it is not there, or not of this shape.
    """
    proofs = message.unprotected.get(PROOFS)
    listed = proofs.get(kind) if isinstance(proofs, dict) else None
    if not isinstance(listed, (list, tuple)) or len(listed) != 1 or not isinstance(listed[0], bytes):
        raise ValueError("not one proof")
    parts = cbor.decode(listed[0])
    if not isinstance(parts, (list, tuple)) or len(parts) != 3:
        raise ValueError("not a proof")
    one, two, path = log.whole(parts[0]), log.whole(parts[1]), parts[2]
    if one is None or two is None or not isinstance(path, (list, tuple)) or len(path) > merkle.MAX_PATH + 1:
        raise ValueError("not a proof")
    nodes = [node for node in path if isinstance(node, bytes) and len(node) == merkle.HASH_BYTES]
    if len(nodes) != len(path):
        raise ValueError("a hash of another length")
    return one, two, nodes

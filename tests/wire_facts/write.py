"""Writes wire-v1.json: messages with their keys and their meaning, for verifiers in any language.

    python tests/wire_facts/write.py > tests/wire_facts/wire-v1.json

Ed25519 signatures come out the same each time, ES256 signatures do not; nothing else differs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from wire_facts import sample

from edgegw.wire import batch, cbor, cose, head, log, merkle, status, verify

LABELS = {"n": "name", "u": "unit", "v": "value", "t": "t", "q": "q", "qc": "checks"}


def facts() -> dict[str, Any]:
    """The whole file."""
    gateway, city = sample.Gateway("ed25519"), sample.City("ed25519")
    first, oldest = gateway.batch(3), gateway.head()
    lost = [gateway.lost(1, 2), *gateway.readings(2)]
    messages = [
        _batch("first batch", gateway, first),
        _head("first head", gateway, oldest),
        _batch("batch with a lost record", gateway, gateway.batch(records=lost)),
        _head("second head, with consistency", gateway, newest := gateway.head()),
        _proof("one reading alone", gateway, gateway.proof(4, newest)),
        _receipt("receipt for everything", gateway, city, city.receipt(gateway.log, gateway.tree)),
        _request("request for the middle", city, city.request(gateway.log, 1, 3)),
        _status("status", gateway, gateway.status()),
    ]
    ended = batch.Previous(gateway.log.stream, gateway.tree.end, gateway.tree.root())
    later = sample.Gateway("p256", epoch="00c0ffee", simulated=True, previous=ended, seed="next")
    messages += [
        _batch("first batch of a new epoch: ES256, simulated", later, later.batch(1)),
        _head("head of the new epoch", later, later.head()),
    ]
    return {
        "contract": "edgegw wire, version 1",
        "keys": [
            _key(sample.GATEWAY, gateway.private),
            _key(sample.GATEWAY, later.private),
            _key(sample.CITY, city.private),
        ],
        "secrets": {gateway.log.epoch: gateway.secret.hex(), later.log.epoch: later.secret.hex()},
        "messages": messages,
        "refused": _refused(gateway, later, first, newest),
    }


def _refused(
    gateway: sample.Gateway, later: sample.Gateway, first: bytes, newest: bytes
) -> list[dict[str, str]]:
    other = sample.Gateway(seed="nobody")
    bare = sample.Gateway(gateway="kyiv-podil-0043")
    cases = {
        "signature": sample.flipped(first, len(first) * 8 - 1),
        "unknown_key": other.batch(1),
        "issuer": sample.resigned(bare.batch(1), gateway.by),
        "algorithm": sample.resigned(first, gateway.by, h1=-7),
        "crit": sample.resigned(first, gateway.by, h2=[1]),
        "malformed": first + b"\x00",
        "header": sample.resigned(first, gateway.by, h15={1: gateway.log.iss, 2: "main/xyz", 6: 0}),
        "head_range": newest.replace(gateway.tree.hashes[0], bytes(32)),
        "record_time": later.batch(records=[cbor.encode({0: f"{later.log.iss}:a:b", 2: 1, 6: 0})]),
        "record_name": later.batch(records=[cbor.encode({0: "urn:dev:ops:1-a:b:c", 2: 1, 6: sample.T0})]),
    }
    return [{"reason": reason, "hex": message.hex()} for reason, message in cases.items()]


def _key(owner: str, private: sample.PrivateKey) -> dict[str, str]:
    public = private.public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return {"owner": owner, "kid": cose.verify_key(public).kid.hex(), "pem": pem}


def _message(name: str, kind: str, message: bytes, **expect: Any) -> dict[str, Any]:
    return {"name": name, "kind": kind, "hex": message.hex(), "expect": expect}


def _batch(name: str, gateway: sample.Gateway, message: bytes) -> dict[str, Any]:
    found = verify.open_gateway_message(message, gateway.keys)
    assert isinstance(found, batch.Batch)
    seed = log.seed_of(gateway.secret, found.first)
    records = []
    for record in found.records:
        pairs = {key: getattr(record, field) for key, field in LABELS.items()}
        records.append({k: v for k, v in pairs.items() if v not in (None, ())} | dict(record.extra or {}))
    return _message(
        name,
        "batch",
        message,
        iss=found.log.iss,
        epoch=found.log.epoch,
        first=found.first,
        end=found.end,
        root=found.root.hex(),
        seed=seed.hex(),
        clock=found.clock,
        issued=found.issued,
        simulated=found.simulated,
        previous=[found.previous.stream, found.previous.size, found.previous.root.hex()]
        if found.previous
        else None,
        records=records,
        salts=[salt.hex() for salt in log.salts(seed, found.first, len(found.raws))],
        leaves=[leaf.hex() for leaf in log.leaves(seed, found.first, found.raws)],
    )


def _head(name: str, gateway: sample.Gateway, message: bytes) -> dict[str, Any]:
    found = verify.open_gateway_message(message, gateway.keys)
    assert isinstance(found, head.Head)
    proof = found.consistency
    return _message(
        name,
        "head",
        message,
        iss=found.log.iss,
        epoch=found.log.epoch,
        size=found.size,
        number=found.number,
        root=found.root.hex(),
        issued=found.issued,
        simulated=found.simulated,
        range=[node.hex() for node in found.tree.hashes],
        consistency=[proof.old_size, [node.hex() for node in proof.path]] if proof else None,
    )


def _proof(name: str, gateway: sample.Gateway, message: bytes) -> dict[str, Any]:
    found = verify.open_proof(message, gateway.keys)
    leaf = merkle.leaf_hash(gateway.entries[found.index])
    return _message(
        name, "proof", message, index=found.index, size=found.size, root=found.root.hex(), leaf=leaf.hex()
    )


def _receipt(name: str, gateway: sample.Gateway, city: sample.City, message: bytes) -> dict[str, Any]:
    found = verify.open_receipt(message, city.stores)
    return _message(
        name,
        "receipt",
        message,
        store=found.store,
        iss=gateway.log.iss,
        epoch=found.log.epoch,
        size=found.size,
        root=found.root.hex(),
    )


def _request(name: str, city: sample.City, message: bytes) -> dict[str, Any]:
    found = verify.open_request(message, city.stores)
    return _message(
        name, "request", message, first=found.first, end=found.end, boot=found.boot, head=found.head
    )


def _status(name: str, gateway: sample.Gateway, message: bytes) -> dict[str, Any]:
    found = verify.open_gateway_message(message, gateway.keys)
    assert isinstance(found, status.Status)
    return _message(name, "status", message, iss=found.iss, issued=found.issued, content=dict(found.content))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(facts(), indent=1) + "\n")

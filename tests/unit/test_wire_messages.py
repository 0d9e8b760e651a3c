from __future__ import annotations

import hmac
import json
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cbor2
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from wire_facts import published, sample, write

from edgegw.wire import batch, cbor, cose, head, log, merkle, proof, senml, status, verify
from edgegw.wire.batch import Batch
from edgegw.wire.head import Head
from edgegw.wire.log import LogId, Refused
from edgegw.wire.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable

FACTS = json.loads((Path(write.__file__).parent / "wire-v1.json").read_text(encoding="utf-8"))
BATCHES = [message for message in FACTS["messages"] if message["kind"] == "batch"]


def keys_of(owner: str) -> list[cose.VerifyKey]:
    return [
        cose.verify_key(load_pem_public_key(key["pem"].encode()))
        for key in FACTS["keys"]
        if key["owner"] == owner
    ]


RING = verify.KeyRing({sample.GATEWAY: keys_of(sample.GATEWAY)})
STORES = {key.kid: key for key in keys_of(sample.CITY)}


def opened(message: bytes, ring: verify.KeyRing = RING) -> Batch | Head | Status:
    return verify.open_gateway_message(message, ring)


def open_batch(message: bytes, ring: verify.KeyRing = RING) -> Batch:
    found = opened(message, ring)
    assert isinstance(found, Batch)
    return found


def open_head(message: bytes, ring: verify.KeyRing = RING) -> Head:
    found = opened(message, ring)
    assert isinstance(found, Head)
    return found


def reason(call: Callable[..., object], *given: object) -> str:
    with pytest.raises(Refused) as caught:
        call(*given)
    return caught.value.reason


# The facts: what stands in wire-v1.json


def test_the_facts_are_what_is_written_today_but_for_ecdsa_signatures() -> None:
    today = json.loads(json.dumps(write.facts()))
    for ours, theirs in zip(
        today["messages"] + today["refused"], FACTS["messages"] + FACTS["refused"], strict=True
    ):
        es256 = bytes.fromhex("0126") in bytes.fromhex(ours["hex"])[:12]
        cut = -128 if es256 else None
        assert ours["hex"][:cut] == theirs["hex"][:cut]
        assert {**ours, "hex": ""} == {**theirs, "hex": ""}
    assert {**today, "messages": 0, "refused": 0} == {**FACTS, "messages": 0, "refused": 0}


@pytest.mark.parametrize("fact", FACTS["refused"], ids=lambda fact: fact["reason"])
def test_each_bad_message_of_the_facts_is_refused_for_its_reason(fact: dict[str, str]) -> None:
    assert reason(opened, bytes.fromhex(fact["hex"])) == fact["reason"]


@pytest.mark.parametrize("fact", BATCHES, ids=lambda fact: fact["name"])
def test_a_batch_follows_the_contract_without_our_code(fact: dict[str, Any]) -> None:
    # cbor2, hmac and SHA-256 alone; the contract's section 3, line by line.
    expect = fact["expect"]
    tag = cbor2.loads(bytes.fromhex(fact["hex"]))
    assert tag.tag == 18
    protected, unprotected, payload, signature = tag.value
    headers, records = cbor2.loads(protected), cbor2.loads(payload)
    fields = headers["edgegw"]
    assert unprotected == {}
    assert len(signature) == 64
    assert headers[3] == 112
    assert headers[15] == {1: expect["iss"], 2: f"main/{expect['epoch']}", 6: expect["issued"]}
    assert headers[4].hex() in {key["kid"] for key in FACTS["keys"] if key["owner"] == sample.GATEWAY}
    assert fields[1] == expect["first"]
    assert fields[7] == expect["clock"]
    assert bool(fields.get(10)) == expect["simulated"]
    assert expect["end"] - expect["first"] == len(records)
    seed = hmac.digest(
        bytes.fromhex(FACTS["secrets"][expect["epoch"]]), expect["first"].to_bytes(8), "sha256"
    )
    assert seed == fields[3] == bytes.fromhex(expect["seed"])
    at, leaves = 1, []
    for index, record in enumerate(records, expect["first"]):
        end = at + len(cbor.encode(record))  # deterministic, so the encoding is known
        salt = hmac.digest(seed, index.to_bytes(8), "sha256")[:16]
        assert salt.hex() == expect["salts"][index - expect["first"]]
        leaves.append(sha256(b"\x00\x82\x50" + salt + payload[at:end]).hexdigest())
        at = end
    assert at == len(payload)
    assert leaves == expect["leaves"]
    assert fields[2].hex() == expect["root"]
    named = {"n": 0, "u": 1, "v": 2, "vs": 3, "vb": 4, "t": 6, "vd": 8}
    assert records == [{named.get(k, k): v for k, v in record.items()} for record in expect["records"]]


def test_the_root_of_a_batch_is_that_of_all_leaves_so_far() -> None:
    leaves = [bytes.fromhex(leaf) for fact in BATCHES[:2] for leaf in fact["expect"]["leaves"]]
    one, two, three, four, five, six = leaves

    def node(left: bytes, right: bytes) -> bytes:
        return sha256(b"\x01" + left + right).digest()

    assert node(node(one, two), three).hex() == BATCHES[0]["expect"]["root"]
    root = node(node(node(one, two), node(three, four)), node(five, six))
    assert root.hex() == BATCHES[1]["expect"]["root"]


@pytest.mark.parametrize("fact", FACTS["messages"], ids=lambda fact: fact["name"])
def test_the_headers_of_our_messages_are_deterministic_and_shortest(fact: dict[str, Any]) -> None:
    data = bytes.fromhex(fact["hex"])
    parts = cose.parse(cbor.decode(data)[1] if fact["kind"] == "proof" else data)
    assert cbor.encode(parts.headers) == parts.protected
    if fact["kind"] != "proof":
        assert (
            b"\xd2" + cbor.encode([parts.protected, parts.unprotected, parts.payload, parts.signature])
            == data
        )


def test_ed25519_signing_again_gives_the_same_bytes() -> None:
    gateway = sample.Gateway("ed25519")
    assert gateway.batch(3).hex() == BATCHES[0]["hex"]


# Batches


def test_a_batch_comes_back_as_it_was_sealed() -> None:
    gateway = sample.Gateway("p256", simulated=True)
    gateway.batch(5)
    records = gateway.readings(7)
    found = open_batch(gateway.batch(records=records), gateway.keys)
    assert (found.log, found.first, found.end) == (gateway.log, 5, 12)
    assert found.raws == records
    assert found.root == gateway.tree.root()
    assert found.clock == (batch.SYNCHRONISED, 12)
    assert found.issued == sample.T0 + 5
    assert found.simulated
    assert found.range.end == 12


@pytest.mark.parametrize(
    "fields",
    [
        {1: None},
        {1: -1},
        {1: 1.5},
        {1: True},
        {1: 2**53},
        {1: 2**53 - 2},
        {1: 2**64 - 1},
        {2: None},
        {2: b"\0" * 31},
        {2: "0" * 32},
        {3: None},
        {3: b"\0" * 33},
        {7: None},
        {7: []},
        {7: [1]},
        {7: [3, 0]},
        {7: [-1, 0]},
        {7: [1, -1]},
        {7: [1, 0.5]},
        {7: [True, 1]},
        {7: {0: 1, 1: 1}},
        {8: []},
        {8: ["main/x", 0, b"\0" * 32]},
        {8: ["main/00000000", -1, b"\0" * 32]},
        {8: ["main/00000000", 0, b"\0" * 31]},
        {8: ["main/00000000", 0, None]},
        {8: 1},
    ],
    ids=repr,
)
def test_a_signed_batch_with_a_wrong_field_is_refused(fields: dict[int, Any]) -> None:
    gateway = sample.Gateway()
    message = gateway.batch(3)
    private = cose.parse(message).headers["edgegw"] | fields
    bad = sample.resigned(message, gateway.by, edgegw={k: v for k, v in private.items() if v is not None})
    assert reason(opened, bad) == "header"


@pytest.mark.parametrize(
    "headers",
    [
        {"edgegw": None},
        {"edgegw": [1]},
        {"h15": None},
        {"h15": {2: "main/0badcafe", 6: 0}},
        {"h15": {1: "urn:dev:ops:x-kyiv-podil-0042", 2: "main/0badcafe", 6: 0}},
        {"h15": {1: "urn:dev:ops:1-Kyiv", 2: "main/0badcafe", 6: 0}},
        {"h15": {1: "urn:dev:ops:1-ab", 2: "main/0badcafe", 6: 0}},
        {"h15": {1: "urn:dev:ops:1-" + "a" * 64, 2: "main/0badcafe", 6: 0}},
        {"h15": {1: "urn:dev:ops:1-kyiv-podil-0042\n", 2: "main/0badcafe", 6: 0}},
        {"h15": {1: 5, 2: "main/0badcafe", 6: 0}},
        {"h15": {1: "urn:dev:ops:32473-kyiv-podil-0042", 2: "main/0BADCAFE", 6: 0}},
        {"h15": {1: "urn:dev:ops:32473-kyiv-podil-0042", 2: "main/0badcafe0", 6: 0}},
        {"h15": {1: "urn:dev:ops:32473-kyiv-podil-0042", 2: "main/0badcafe\n", 6: 0}},
        {"h15": {1: "urn:dev:ops:32473-kyiv-podil-0042", 2: "side/0badcafe", 6: 0}},
        {"h15": {1: "urn:dev:ops:32473-kyiv-podil-0042", 2: None, 6: 0}},
        {"h15": {1: "urn:dev:ops:32473-kyiv-podil-0042", 2: "main/0badcafe"}},
        {"h15": {1: "urn:dev:ops:32473-kyiv-podil-0042", 2: "main/0badcafe", 6: -1}},
        {"h15": {1: "urn:dev:ops:32473-kyiv-podil-0042", 2: "main/0badcafe", 6: 1e300}},
        {"h15": {1: "urn:dev:ops:32473-kyiv-podil-0042", 2: "main/0badcafe", 6: True}},
        {"h15": {1: "urn:dev:ops:32473-kyiv-podil-0042", 2: "main/0badcafe", 6: "0"}},
        {"h15": {1: "urn:dev:ops:32473-kyiv-podil-0042", 2: "main/0badcafe", 6: 2**53}},
        {"h3": None},
        {"h3": 60},
        {"h3": "application/senml+cbor"},
        {"h395": 2},
    ],
    ids=repr,
)
def test_a_signed_batch_with_a_wrong_header_is_refused(headers: dict[str, Any]) -> None:
    gateway = sample.Gateway()
    assert reason(opened, sample.resigned(gateway.batch(3), gateway.by, **headers)) == "header"


def test_the_time_of_issue_may_be_a_float() -> None:
    gateway = sample.Gateway()
    claims = {1: gateway.log.iss, 2: gateway.log.stream, 6: 1.75}
    assert open_batch(sample.resigned(gateway.batch(1), gateway.by, h15=claims)).issued == 1


def test_the_last_index_that_a_log_may_have() -> None:
    gateway = sample.Gateway()
    message = gateway.batch(1)
    private = cose.parse(message).headers["edgegw"] | {1: log.MAX_COUNT - 2}
    assert open_batch(sample.resigned(message, gateway.by, edgegw=private)).end == log.MAX_COUNT - 1


def test_a_batch_of_nothing_is_refused() -> None:
    gateway = sample.Gateway()
    assert reason(opened, gateway.batch(records=[])) == "record"


def test_a_record_of_another_gateway_or_number_is_refused() -> None:
    gateway = sample.Gateway()
    for name in ("urn:dev:ops:32473-kyiv-podil-0043:a:b", gateway.log.iss, f"{gateway.log.iss}x:a:b", "a"):
        record = cbor.encode({0: name, 2: 1, 6: sample.T0})
        assert reason(opened, gateway.batch(records=[record])) == "record_name"


def test_the_envelope_of_the_longest_batch_fits_in_its_allowance() -> None:
    gateway = sample.Gateway("p256", gateway="a" * 63, simulated=True)
    records = [gateway.writer.reading("s" * 63, "laeq", "dB", 0.1, sample.T0 + 0.1)] * 1000
    ended = batch.Previous("main/ffffffff", log.MAX_COUNT - 1, b"\xff" * 32)
    # Right before 2^40, so that the tree's hashes are few and its indices long.
    message, _ = batch.seal(
        LogId(log.urn(10**10 - 1, "a" * 63), "ffffffff"),
        merkle.Range(0, 1 << 40, (bytes(32),)),
        records,
        secret=gateway.secret,
        by=gateway.by,
        clock=(2, log.MAX_COUNT - 1),
        issued=log.MAX_COUNT - 1,
        simulated=True,
        previous=ended,
    )
    assert len(message) - sum(map(len, records)) <= batch.MAX_ENVELOPE


def test_the_same_batch_signed_again_has_the_same_content_and_another_has_not() -> None:
    one, two = sample.Gateway("p256"), sample.Gateway("p256")
    first, again = one.batch(3), two.batch(3)
    assert first != again
    assert open_batch(first, one.keys) == open_batch(again, one.keys)
    other = sample.Gateway("p256").batch(4)
    assert open_batch(first, one.keys).content != open_batch(other, one.keys).content


# Who may speak


def test_too_large_a_message_is_refused_before_anything_is_read() -> None:
    for open_any in (
        opened,
        lambda data: verify.open_proof(data, RING),
        lambda data: verify.open_receipt(data, {}),
    ):
        assert reason(open_any, bytes(log.MAX_MESSAGE + 1)) == "too_large"
        assert reason(open_any, bytes(log.MAX_MESSAGE)) == "malformed"


@pytest.mark.parametrize(("private", "number"), [("p256", cose.ESP256), ("ed25519", cose.ED25519)])
def test_the_fully_specified_algorithm_numbers_are_accepted(private: str, number: int) -> None:
    gateway = sample.Gateway(private)
    assert open_batch(sample.resigned(gateway.batch(3), gateway.by, h1=number), gateway.keys).end == 3


@pytest.mark.parametrize("number", [-7, -9, -35, -257, 5, "EdDSA", None])
def test_an_algorithm_that_is_not_the_keys_is_refused(number: Any) -> None:
    gateway = sample.Gateway("ed25519")
    assert reason(opened, sample.resigned(gateway.batch(3), gateway.by, h1=number)) == "algorithm"


def test_a_key_id_is_protected_bytes() -> None:
    gateway = sample.Gateway()
    for kid in ("text", 5, None):
        message = sample.resigned(gateway.batch(1), gateway.by, h4=kid)
        assert reason(opened, message) == "unknown_key"


def test_a_gateway_speaks_for_itself_alone() -> None:
    one, two = sample.Gateway(gateway="kyiv-podil-0001"), sample.Gateway(gateway="kyiv-podil-0002")
    both = verify.KeyRing({"kyiv-podil-0001": [one.key], "kyiv-podil-0002": [two.key]})
    assert both.gateways() == {"kyiv-podil-0001", "kyiv-podil-0002"}
    claims = {1: one.log.iss, 2: one.log.stream, 6: 0}
    posing = sample.resigned(two.batch(1), two.by, h15=claims)
    with pytest.raises(Refused) as caught:
        opened(posing, both)
    assert (caught.value.reason, caught.value.gateway) == ("issuer", "kyiv-podil-0001")
    assert reason(opened, two.batch(1), one.keys) == "unknown_key"


def test_a_message_belongs_on_the_topic_of_its_gateway() -> None:
    gateway = sample.Gateway()
    message = gateway.batch(1)
    assert verify.open_gateway_message(message, gateway.keys, sample.GATEWAY) == opened(message)
    with pytest.raises(Refused, match="topic"):
        verify.open_gateway_message(message, gateway.keys, "kyiv-podil-0043")


def test_a_gateways_message_is_not_detached() -> None:
    gateway = sample.Gateway()
    parts = cose.parse(gateway.batch(1))
    detached = b"\xd2" + cbor.encode([parts.protected, {}, None, parts.signature])
    assert reason(opened, detached) == "header"


# Heads


def test_heads_prove_that_they_continue_each_other() -> None:
    gateway = sample.Gateway("p256")
    gateway.batch(3)
    one = open_head(gateway.head(), gateway.keys)
    gateway.batch(4)
    gateway.batch(1)
    two = open_head(gateway.head(), gateway.keys)
    same = open_head(gateway.head(), gateway.keys)
    assert (one.size, one.number, one.consistency) == (3, 0, None)
    assert (two.size, two.number, two.root) == (8, 1, gateway.tree.root())
    assert two.tree == gateway.tree
    for old, new in ((one, two), (two, same)):
        assert new.consistency
        assert new.consistency.old_size == old.size
        assert merkle.consistent(old.size, new.size, old.root, new.root, new.consistency.path)


@pytest.mark.parametrize(
    "fields", [{4: 0}, {4: None}, {4: -1}, {4: 3.5}, {4: 2**53}, {5: None}, {5: -1}], ids=repr
)
def test_a_signed_head_with_a_wrong_field_is_refused(fields: dict[int, Any]) -> None:
    gateway = sample.Gateway()
    gateway.batch(3)
    message = gateway.head()
    private = cose.parse(message).headers["edgegw"] | fields
    bad = sample.resigned(message, gateway.by, edgegw={k: v for k, v in private.items() if v is not None})
    assert reason(opened, bad) == "header"


def unprotected(message: bytes, changed: dict[Any, Any]) -> bytes:
    parts = cose.parse(message)
    return b"\xd2" + cbor.encode([parts.protected, changed, parts.payload, parts.signature])


@pytest.mark.parametrize(
    "private",
    [
        None,
        {},
        {9: None},
        {9: []},
        {9: [b"\0" * 32] * 2},
        {9: [b"\0" * 31, b"\0" * 32]},
        {9: 5},
        {9: {0: 1}},
        [1],
        5,
    ],
    ids=repr,
)
def test_a_head_whose_compact_range_does_not_lead_to_its_root_is_refused(private: Any) -> None:
    gateway = sample.Gateway()
    gateway.batch(3)
    message = gateway.head()
    assert (
        reason(opened, unprotected(message, {} if private is None else {"edgegw": private})) == "head_range"
    )


@pytest.mark.parametrize(
    "proofs",
    [
        5,
        [],
        [[b"\x80"], 0],
        {},
        {-1: [b"\x80"]},
        {-2: []},
        {-2: b"\x80"},
        {-2: [b"\x80", b"\x80"]},
        {-2: ["text"]},
        {-2: [b""]},
        {-2: [b"\x83\x03\x05"]},
        {-2: [cbor.encode([3, 6, []])]},
        {-2: [cbor.encode([3, 5])]},
        {-2: [cbor.encode([3, 5, [], 1])]},
        {-2: [cbor.encode([-1, 5, []])]},
        {-2: [cbor.encode([3.5, 5, []])]},
        {-2: [cbor.encode([3, 5, 1])]},
        {-2: [cbor.encode([3, 5, {}])]},
        {-2: [cbor.encode([3, 5, [b"\0" * 31]])]},
        {-2: [cbor.encode([3, 5, ["0" * 32]])]},
        {-2: [cbor.encode([3, 5, [b"\0" * 32] * (merkle.MAX_PATH + 2)])]},
    ],
    ids=repr,
)
def test_a_head_with_a_consistency_proof_of_another_shape_is_refused(proofs: Any) -> None:
    gateway = sample.Gateway()
    gateway.batch(3)
    gateway.head()
    gateway.batch(2)
    message = gateway.head()
    kept = cose.parse(message).unprotected | {head.PROOFS: proofs}
    assert reason(opened, unprotected(message, kept)) == "consistency"


# Status, receipts and requests


def test_a_status_comes_back_as_it_was_sealed() -> None:
    gateway = sample.Gateway()
    content = {
        "state": "ok",
        "boot": sample.BOOT,
        "simulated": True,
        "sensors": [{"id": "air-1", "age_s": 1.5}],
    }
    found = opened(gateway.status(content))
    assert isinstance(found, Status)
    assert (found.iss, found.issued, found.content, found.simulated) == (
        gateway.log.iss,
        sample.T0,
        content,
        True,
    )


@pytest.mark.parametrize("payload", [b"", b"\x80", b"\xa1\x00\x00", b"\xa1", b"\xa0\x00", b"\xbf\xff"])
def test_a_status_that_is_not_one_map_of_text_keys_is_refused(payload: bytes) -> None:
    gateway = sample.Gateway()
    claims = {log.ISS: gateway.log.iss, log.SUB: status.STREAM, log.IAT: 0}
    assert reason(opened, cose.sign1({cose.CLAIMS: claims}, payload, gateway.by)) == "header"


@pytest.mark.parametrize("alg", ["p256", "ed25519"])
def test_receipts_and_requests_come_back_as_they_were_sealed(alg: str) -> None:
    gateway, city = sample.Gateway(), sample.City(alg)
    gateway.batch(3)
    receipt = verify.open_receipt(city.receipt(gateway.log, gateway.tree), city.stores)
    assert (receipt.log, receipt.store, receipt.size) == (gateway.log, city.iss, 3)
    assert (receipt.root, receipt.issued) == (gateway.tree.root(), sample.T0 + 60)
    request = verify.open_request(city.request(gateway.log, 1, 3), city.stores)
    assert (request.store, request.first, request.end) == (city.iss, 1, 3)
    assert (request.boot, request.head, request.log) == (sample.BOOT, 1, gateway.log)


@pytest.mark.parametrize(
    "headers",
    [
        {"h15": None},
        {"h15": {1: "urn:dev:ops:1-city", 6: 0}},
        {"h15": {1: "urn:dev:ops:1-city", 2: "main/00000000", 6: 0}},
        {"h15": {1: "urn:dev:ops:1-city", 2: "urn:dev:ops:1-gate-1/main/0", 6: 0}},
        {"h15": {1: "urn:dev:ops:1-city", 2: "urn:dev:ops:1-gate-1/status", 6: 0}},
        {"h15": {1: "urn:dev:ops:1-city", 2: "urn:dev:ops:1-G/main/00000000", 6: 0}},
        {"h15": {1: "urn:dev:ops:1-city", 2: 5, 6: 0}},
        {"h15": {1: 5, 2: "urn:dev:ops:1-gate-1/main/00000000", 6: 0}},
        {"h15": {1: "urn:dev:ops:1-city", 2: "urn:dev:ops:1-gate-1/main/00000000"}},
        {"edgegw": None},
        {"edgegw": {4: -1}},
        {"edgegw": {4: 2**53}},
        {"edgegw": {4: "3"}},
    ],
    ids=repr,
)
def test_a_signed_receipt_with_a_wrong_header_is_refused(headers: dict[str, Any]) -> None:
    gateway, city = sample.Gateway(), sample.City()
    bad = sample.resigned(city.receipt(gateway.log, gateway.tree), city.by, **headers)
    assert reason(verify.open_receipt, bad, city.stores) == "header"


@pytest.mark.parametrize("root", [b"", b"\0" * 31, b"\0" * 33])
def test_a_receipt_for_a_root_of_another_length_is_refused(root: bytes) -> None:
    gateway, city = sample.Gateway(), sample.City()
    parts = cose.parse(city.receipt(gateway.log, gateway.tree))
    headers = {k: v for k, v in parts.headers.items() if k not in (cose.ALG, cose.KID)}
    assert reason(verify.open_receipt, cose.sign1(headers, root, city.by), city.stores) == "header"


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x80",
        b"\xa0",
        *(
            cbor.encode({1: "main", 2: [0, 5], 3: "boot", 4: 1} | changed)
            for changed in (
                {1: "side"},
                {1: 5},
                {2: [5, 5]},
                {2: [6, 5]},
                {2: [-1, 5]},
                {2: [0, 2**53]},
                {2: [0]},
                {2: [0, 5, 6]},
                {2: [0, 5.5]},
                {2: "05"},
                {2: {0: 0, 1: 5}},
                {3: 5},
                {3: None},
                {4: -1},
                {4: "1"},
            )
        ),
    ],
    ids=repr,
)
def test_a_signed_request_that_makes_no_sense_is_refused(payload: bytes) -> None:
    city = sample.City()
    assert reason(verify.open_request, cose.sign1({}, payload, city.by), city.stores) == "header"


def test_a_request_need_not_name_its_log() -> None:
    city = sample.City()
    payload = cbor.encode({1: "main", 2: [0, 5], 3: "boot", 4: 1})
    request = verify.open_request(cose.sign1({}, payload, city.by), city.stores)
    assert (request.log, request.store) == (None, "")


def test_only_a_trusted_store_is_heard() -> None:
    gateway, city = sample.Gateway(), sample.City()
    receipt = city.receipt(gateway.log, gateway.tree)
    assert reason(verify.open_receipt, receipt, {}) == "unknown_key"
    other = sample.City(name="city-2")
    assert reason(verify.open_receipt, receipt, {city.key.kid: other.key}) == "signature"
    assert reason(verify.open_receipt, receipt, {city.key.kid: sample.City("p256").key}) == "algorithm"


def test_a_receipt_is_no_request_and_a_head_is_no_receipt() -> None:
    gateway, city = sample.Gateway(), sample.City()
    gateway.batch(3)
    own = {gateway.key.kid: gateway.key}
    receipt, request = city.receipt(gateway.log, gateway.tree), city.request(gateway.log, 0, 3)
    assert reason(verify.open_request, receipt, city.stores) == "header"
    assert reason(verify.open_receipt, request, city.stores) == "header"
    for message in (gateway.head(), gateway.batch(1), gateway.status()):
        assert reason(verify.open_receipt, message, own) == "header"


# One reading alone


@pytest.mark.parametrize("alg", ["p256", "ed25519"])
@pytest.mark.parametrize("count", [1, 2, 7, 64])
def test_each_record_of_a_log_can_be_proven_alone(alg: str, count: int) -> None:
    gateway = sample.Gateway(alg, simulated=count == 7)
    records = gateway.readings(count)
    gateway.batch(records=records)
    signed = gateway.head()
    for index in range(count):
        found = verify.open_proof(gateway.proof(index, signed), gateway.keys)
        assert (found.log, found.index, found.size) == (gateway.log, index, count)
        assert found.record == senml.read_pack(b"\x81" + records[index])[1][0]
        assert found.root == gateway.tree.root()
        assert found.simulated == (count == 7)


def proof_of(entry: bytes, signed: bytes, proofs: Any, payload: bytes | None = None) -> bytes:
    parts = cose.parse(signed)
    receipt = cbor.encode([parts.protected, {head.PROOFS: proofs}, payload, parts.signature])
    return cbor.encode([entry, b"\xd2" + receipt])


def test_an_invented_record_is_not_proven_by_a_head_that_brings_its_own_root() -> None:
    gateway = sample.Gateway()
    gateway.batch(3)
    signed = gateway.head()
    invented = log.entry(bytes(16), gateway.writer.reading("air-1", "pm2_5", "ug/m3", 9999, sample.T0))
    inclusion = {head.INCLUSION: [cbor.encode([3, 0, [bytes(32), bytes(32)]])]}
    for payload, why in ((gateway.tree.root(), "malformed"), (None, "signature")):
        forged = proof_of(invented, signed, inclusion, payload)
        assert reason(verify.open_proof, forged, RING) == why


def test_a_proof_of_another_place_or_size_is_refused() -> None:
    gateway = sample.Gateway()
    gateway.batch(5)
    signed = gateway.head()
    path = merkle.inclusion_path([merkle.leaf_hash(entry) for entry in gateway.entries], 3)
    entry = gateway.entries[3]
    for size, index, why in ((5, 3, None), (5, 2, "signature"), (6, 3, "inclusion"), (5, 5, "inclusion")):
        data = proof_of(entry, signed, {head.INCLUSION: [cbor.encode([size, index, path])]})
        if why:
            assert reason(verify.open_proof, data, RING) == why
        else:
            assert verify.open_proof(data, RING).index == 3


@pytest.mark.parametrize(
    "proofs",
    [
        5,
        {},
        {-2: [b"\x80"]},
        {-1: []},
        {-1: [b"\x80"]},
        {-1: [cbor.encode([1, 0, {}])]},
        {-1: [cbor.encode([1, -1, []])]},
    ],
    ids=repr,
)
def test_a_proof_of_another_shape_is_refused(proofs: Any) -> None:
    gateway = sample.Gateway()
    gateway.batch(1)
    data = proof_of(gateway.entries[0], gateway.head(), proofs)
    assert reason(verify.open_proof, data, RING) == "inclusion"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"\x80",
        b"\x82\x40",
        b"\x82\x00\x00",
        b"\x82\x40\x40",
        b"\xa2\x00\x00\x01\x00",
        b"\xd2\x80",
    ],
)
def test_bytes_that_are_no_proof_are_malformed(data: bytes) -> None:
    assert reason(verify.open_proof, data, RING) == "malformed"


def test_only_a_head_of_a_known_gateway_proves() -> None:
    gateway = sample.Gateway()
    gateway.batch(1)
    signed, path = gateway.head(), {head.INCLUSION: [cbor.encode([1, 0, []])]}
    entry = gateway.entries[0]
    other = verify.KeyRing({"kyiv-podil-0043": [gateway.key]})
    p256 = verify.KeyRing({sample.GATEWAY: [sample.Gateway("p256").key._replace(kid=gateway.key.kid)]})
    for message, ring, why in (
        (signed, verify.KeyRing({}), "unknown_key"),
        (signed, other, "issuer"),
        (signed, p256, "algorithm"),
        (sample.resigned(signed, gateway.by, h395=2), RING, "header"),
        (sample.resigned(signed, gateway.by, h15={1: gateway.log.iss, 2: "status"}), RING, "header"),
        (sample.resigned(signed, gateway.by, h15={}), RING, "header"),
    ):
        data = proof_of(entry, message, path)
        assert reason(verify.open_proof, data, ring) == why


def test_the_entry_of_a_proof_is_a_salt_and_a_record_of_that_gateway() -> None:
    gateway = sample.Gateway()
    foreign = cbor.encode({0: "urn:dev:ops:1-other:a:b", 2: 1, 6: sample.T0})
    early = cbor.encode({0: f"{gateway.log.iss}:a:b", 2: 1, 6: 0})
    good = gateway.readings(1)[0]
    for entry, why in (
        (b"\x82\x50" + bytes(16) + foreign, "record_name"),
        (b"\x82\x50" + bytes(16) + early, "record_time"),
        (b"\x82\x50" + bytes(16) + good + b"\x00", "record"),
        (b"\x82\x50" + bytes(15), "record"),
        (b"\x83\x50" + bytes(16) + good, "record"),
        (b"", "record"),
    ):
        root = merkle.leaf_hash(entry)
        signed = head.seal(
            gateway.log, merkle.Range(0, 1, (root,)), 0, None, None, by=gateway.by, issued=sample.T0
        )
        data = proof.seal(entry, signed, 0, [])
        assert reason(verify.open_proof, data, RING) == why


# Receipts of RFC 9942


@published.needed
@pytest.mark.parametrize(
    ("kind", "label", "expect"), [("inclusion", -1, (5, 3, 3)), ("consistency", -2, (3, 5, 4))]
)
def test_the_published_receipts_of_rfc_9942_are_read(
    kind: str, label: int, expect: tuple[int, int, int]
) -> None:
    data = (published.STANDARDS / f"receipts/{kind}-receipt.cbor").read_bytes()
    message = cose.parse(data)
    assert message.headers[head.VDS] == head.RFC9162_SHA256
    assert message.headers[cose.CLAIMS] == {1: "https://transparency-service.example.com"}
    assert message.payload is None
    one, two, path = head.proof_parts(message, label)
    assert (one, two, len(path)) == expect
    with pytest.raises(ValueError, match="not one proof"):
        head.proof_parts(message, -3 - label)

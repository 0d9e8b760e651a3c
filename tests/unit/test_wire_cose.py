from __future__ import annotations

import base64
from hashlib import sha256
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from wire_facts import published, sample

from edgegw.wire import cbor, cose
from edgegw.wire.cose import CoseError

CURVES = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
# Each published COSE_Sign1 and what becomes of it: `verified`, or why not.
SIGN1 = {
    "cose/CWT/A_3.json": "verified",
    "cose/RFC8152/Appendix_C_2_1.json": "verified",
    "cose/countersign/signed1-01.json": "verified",  # a countersignature is unprotected and carries no meaning here
    "cose/countersign/signed1-02.json": "verified",
    "cose/ecdsa-examples/ecdsa-sig-01.json": "verified",
    "cose/ecdsa-examples/ecdsa-sig-02.json": "key",  # P-384
    "cose/ecdsa-examples/ecdsa-sig-03.json": "key",  # P-521
    "cose/ecdsa-examples/ecdsa-sig-04.json": "not verified",  # ES512 with a P-256 key
    "cose/eddsa-examples/eddsa-sig-01.json": "verified",
    "cose/eddsa-examples/eddsa-sig-02.json": "key",  # Ed448
    "cose/sign1-tests/sign-fail-01.json": "malformed",  # tag 998
    "cose/sign1-tests/sign-fail-02.json": "not verified",
    "cose/sign1-tests/sign-fail-03.json": "not verified",
    "cose/sign1-tests/sign-fail-04.json": "not verified",
    "cose/sign1-tests/sign-fail-06.json": "not verified",
    "cose/sign1-tests/sign-fail-07.json": "not verified",
    "cose/sign1-tests/sign-pass-01.json": "not verified",  # its algorithm is unprotected, which the wire forbids
    "cose/sign1-tests/sign-pass-02.json": "verified",  # with external_aad
    "cose/sign1-tests/sign-pass-03.json": "malformed",  # without the tag, which the wire requires
}


def public_key(fields: dict[str, str]) -> object:
    def coordinate(name: str) -> bytes:
        if f"{name}_hex" in fields:
            return bytes.fromhex(fields[f"{name}_hex"])
        return base64.urlsafe_b64decode(fields[name] + "==")

    if fields["crv"] == "Ed25519":
        return ed25519.Ed25519PublicKey.from_public_bytes(coordinate("x"))
    if fields["crv"] == "Ed448":
        return ed448.Ed448PublicKey.from_public_bytes(coordinate("x"))
    x, y = int.from_bytes(coordinate("x")), int.from_bytes(coordinate("y"))
    return ec.EllipticCurvePublicNumbers(x, y, CURVES[fields["crv"]]).public_key()


@published.needed
@pytest.mark.parametrize("name", SIGN1)
def test_published_sign1_messages_are_verified_or_refused_for_a_reason(name: str) -> None:
    vector = published.load(name)
    given = vector["input"]["sign0"]
    message = bytes.fromhex(vector["output"]["cbor"])
    outcome = "verified"
    try:
        key = cose.verify_key(public_key(given["key"]))
        parts = cose.parse(message)
        aad = bytes.fromhex(given.get("external", ""))
        if not cose.verified(parts, key, external_aad=aad):
            outcome = "not verified"
        elif vector.get("intermediates", {}).get("ToBeSign_hex"):
            signed = cose.to_be_signed(parts.protected, parts.payload or b"", aad)
            assert signed.hex().upper() == vector["intermediates"]["ToBeSign_hex"]
    except CoseError as error:
        outcome = str(error)
    except ValueError:
        outcome = "key"
    assert outcome == SIGN1[name]
    assert outcome != "verified" or not vector.get("fail")


@published.needed
def test_every_published_sign1_message_is_in_the_table() -> None:
    there = {
        name for name in published.names("cose/**/*.json") if "sign0" in published.load(name).get("input", {})
    }
    assert there == set(SIGN1)


@published.needed
@pytest.mark.parametrize("name", [name for name in published.names("cose/**/*.json") if name not in SIGN1])
def test_other_cose_structures_are_malformed(name: str) -> None:
    with pytest.raises(CoseError, match="malformed"):
        cose.parse(bytes.fromhex(published.load(name)["output"]["cbor"]))


@published.needed
@pytest.mark.parametrize("name", ["ecdsa_secp256r1_sha256_p1363_test", "ed25519_test"])
def test_wycheproof_signatures_are_verified_exactly_when_valid(name: str) -> None:
    vectors = published.load(f"wycheproof/{name}.json")
    judged = 0
    for group in vectors["testGroups"]:
        key = cose.verify_key(load_pem_public_key(group["publicKeyPem"].encode()))
        for test in group["tests"]:
            found = key.verifies(bytes.fromhex(test["sig"]), bytes.fromhex(test["msg"]))
            assert found == (test["result"] == "valid"), (test["tcId"], test["comment"])
            judged += 1
    assert judged == vectors["numberOfTests"]


def test_the_thumbprint_is_that_of_rfc_9679() -> None:
    # RFC 9679 §6: the example key and its SHA-256 thumbprint.
    x = 0x65EDA5A12577C2BAE829437FE338701A10AAA375E1BB5B5DE108DE439C08551D
    y = 0x1E52ED75701163F7F9E40DDF9F341B3DC9BA860AF7E0CA7CA7E9EECD0084D19C
    key = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    found = "496bd8afadf307e5b08c64b0421bf9dc01528a344a43bda88fadd1669da253ec"
    assert cose.thumbprint(key).hex() == found
    assert cose.verify_key(key).kid.hex() == found[:16]


def test_the_thumbprint_of_an_ed25519_key_is_over_kty_crv_and_x() -> None:
    key = sample.key("ed25519", "thumb").public_key()
    assert isinstance(key, ed25519.Ed25519PublicKey)
    # RFC 9679 §4.1: an OKP key is {1: 1, -1: crv, -2: x}.
    encoded = bytes.fromhex("a30101200621 5820") + key.public_bytes_raw()
    assert cbor2.loads(encoded) == {1: 1, -1: 6, -2: key.public_bytes_raw()}
    assert cose.thumbprint(key) == sha256(encoded).digest()


@pytest.mark.parametrize("alg", ["p256", "ed25519"])
def test_what_is_signed_is_verified_and_by_no_other_key(alg: str) -> None:
    private = sample.key(alg, "a")
    by, key = cose.signer(private), cose.verify_key(private.public_key())
    other = cose.verify_key(sample.key(alg, "b").public_key())
    parts = cose.parse(cose.sign1({3: 112}, b"content", by))
    assert parts.payload == b"content"
    assert parts.headers == {1: by.alg, 4: by.kid, 3: 112}
    assert by.kid == key.kid
    assert len(parts.signature) == cose.SIGNATURE_BYTES
    assert cose.verified(parts, key)
    assert not cose.verified(parts, other)
    assert not cose.verified(parts, key, external_aad=b"x")


@pytest.mark.parametrize("alg", ["p256", "ed25519"])
def test_a_detached_payload_is_needed_and_an_attached_one_is_never_replaced(alg: str) -> None:
    private = sample.key(alg, "a")
    key = cose.verify_key(private.public_key())
    parts = cose.parse(cose.sign1({}, b"content", cose.signer(private)))
    detached = parts._replace(payload=None)
    assert cose.verified(detached, key, b"content")
    assert not cose.verified(detached, key)
    assert not cose.verified(detached, key, b"other")
    assert cose.verified(parts, key, b"content")
    assert not cose.verified(parts, key, b"other")


@pytest.mark.parametrize(
    ("private", "accepted"),
    [("p256", (-7, -9)), ("ed25519", (-8, -19))],
)
def test_an_algorithm_is_accepted_under_its_old_and_its_new_number(
    private: str, accepted: tuple[int, ...]
) -> None:
    key = cose.verify_key(sample.key(private, "a").public_key())
    for alg in (*range(-70, 70), -7.0, "ES256", None, True, b"", [], {}):
        assert key.accepts(alg) == (isinstance(alg, int) and alg in accepted)


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP384R1()),
        ed448.Ed448PrivateKey.generate(),
        sample.key("p256", "a").public_key(),
        "key",
        None,
    ],
    ids=["P-384", "Ed448", "public", "text", "nothing"],
)
def test_only_p256_and_ed25519_private_keys_sign(key: Any) -> None:
    with pytest.raises(ValueError, match="not a P-256 or Ed25519 private key"):
        cose.signer(key)
    public = key.public_key() if hasattr(key, "public_key") else sample.key("p256", "a")
    with pytest.raises(ValueError, match="not a P-256 or Ed25519 public key"):
        cose.verify_key(public)


def sign1(protected: bytes, unprotected: Any, payload: Any = b"", signature: Any = b"\0" * 64) -> bytes:
    return b"\xd2" + cbor.encode([protected, unprotected, payload, signature])


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"", "malformed"),
        (b"\xd2", "malformed"),
        (b"\xd2\x80", "malformed"),
        (sign1(b"", {})[1:], "malformed"),
        (b"\xd1" + sign1(b"", {})[1:], "malformed"),
        (b"\xd2" + sign1(b"", {}), "malformed"),
        (sign1(b"", {}) + b"\0", "malformed"),
        (b"\xd2" + cbor.encode([b"", {}, b""]), "malformed"),
        (b"\xd2" + cbor.encode([b"", {}, b"", b"", b""]), "malformed"),
        (b"\xd2" + cbor.encode({0: b"", 1: {}, 2: b"", 3: b""}), "malformed"),
        (b"\xd2" + cbor.encode(["", {}, b"", b""]), "malformed"),
        (sign1(b"", []), "malformed"),
        (sign1(b"", {}, "text"), "malformed"),
        (sign1(b"", {}, b"", None), "malformed"),
        (sign1(b"\x80", {}), "malformed"),
        (sign1(b"\xa1\x01", {}), "malformed"),
        (sign1(b"\xa2\x01\x26\x01\x26", {}), "malformed"),
        (sign1(b"\xbf\xff", {}), "malformed"),
        (sign1(b"\xa1\x01\x26", {1: -7}), "malformed"),
        (sign1(b"\xa1\x04\x41\x00", {4: b""}), "malformed"),
        (sign1(cbor.encode({2: [1]}), {}), "crit"),
        (sign1(b"", {2: [1]}), "crit"),
    ],
)
def test_what_is_no_sign1_of_the_wire_is_refused(message: bytes, reason: str) -> None:
    with pytest.raises(CoseError, match=reason):
        cose.parse(message)


def test_an_empty_protected_header_and_a_missing_payload_are_read() -> None:
    assert cose.parse(sign1(b"", {4: b"k"}, None)) == (b"", {}, {4: b"k"}, None, b"\0" * 64)
    assert cose.parse(sign1(b"\xa0", {})).headers == {}


@pytest.mark.parametrize("alg", ["p256", "ed25519"])
@pytest.mark.parametrize("size", [0, 63, 65, 128])
def test_a_signature_of_another_length_is_not_verified(alg: str, size: int) -> None:
    assert not cose.verify_key(sample.key(alg, "a").public_key()).verifies(b"\x01" * size, b"data")


def test_an_ecdsa_signature_and_its_mirror_both_verify() -> None:
    # (r, s) and (r, n - s): so a batch is never known by the hash of its message.
    private = sample.key("p256", "a")
    key, data = cose.verify_key(private.public_key()), b"data"
    signature = cose.signer(private).sign(data)
    n = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    mirrored = signature[:32] + (n - int.from_bytes(signature[32:])).to_bytes(32)
    assert key.verifies(signature, data)
    assert key.verifies(mirrored, data)


class Independent:
    """The keys of pycose, which knows nothing of ours."""

    @staticmethod
    def verifies(message: bytes, public: object, payload: bytes | None = None) -> bool:
        from pycose.keys.curves import P256, Ed25519
        from pycose.keys.ec2 import EC2Key
        from pycose.keys.okp import OKPKey
        from pycose.messages.sign1message import Sign1Message

        tag = cbor2.loads(message)
        assert tag.tag == 18
        protected, unprotected, content, signature = tag.value
        found = Sign1Message.from_cose_obj([protected, dict(unprotected), content, signature], True)
        if isinstance(public, ed25519.Ed25519PublicKey):
            found.key = OKPKey(crv=Ed25519, x=public.public_bytes_raw())
        else:
            assert isinstance(public, ec.EllipticCurvePublicKey)
            numbers = public.public_numbers()
            found.key = EC2Key(crv=P256, x=numbers.x.to_bytes(32), y=numbers.y.to_bytes(32))
        return bool(found.verify_signature(payload))


@pytest.mark.parametrize("alg", ["p256", "ed25519"])
def test_pycose_verifies_every_kind_of_message_and_no_changed_one(alg: str) -> None:
    gateway, city = sample.Gateway(alg, simulated=True), sample.City(alg)
    messages = [gateway.batch(5), gateway.head(), gateway.batch(1), gateway.head(), gateway.status()]
    theirs = [city.receipt(gateway.log, gateway.tree), city.request(gateway.log, 0, 5)]
    for by, sealed in ((gateway.private, messages), (city.private, theirs)):
        for message in sealed:
            assert Independent.verifies(message, by.public_key())
            assert not Independent.verifies(message[:-1] + bytes([message[-1] ^ 1]), by.public_key())
            parts = cose.parse(message)
            changed = cbor.encode([parts.protected, {}, (parts.payload or b"") + b"!", parts.signature])
            assert not Independent.verifies(b"\xd2" + changed, by.public_key())


@pytest.mark.parametrize("alg", ["p256", "ed25519"])
def test_pycose_refuses_one_flipped_bit_in_each_field_of_a_batch(alg: str) -> None:
    gateway = sample.Gateway(alg)
    parts = cose.parse(gateway.batch(2))
    fields = [parts.protected, parts.payload or b"", parts.signature]
    for place, field in enumerate(fields):
        for bit in range(0, len(field) * 8, 3):
            changed = [*fields[:place], sample.flipped(field, bit), *fields[place + 1 :]]
            message = b"\xd2" + cbor.encode([changed[0], {}, changed[1], changed[2]])
            try:
                accepted = Independent.verifies(message, gateway.private.public_key())
            except Exception:  # noqa: BLE001 -- pycose refuses by whatever its parser of headers raises
                accepted = False
            assert not accepted, (place, bit)


@pytest.mark.parametrize("alg", ["p256", "ed25519"])
def test_pycose_verifies_a_proof_over_the_root_that_pymerkle_computes(alg: str) -> None:
    from pymerkle import InmemoryTree

    gateway = sample.Gateway(alg)
    gateway.batch(11)
    proof = gateway.proof(7, gateway.head())
    tree = InmemoryTree(algorithm="sha256")
    for entry in gateway.entries:
        tree.append_entry(entry)
    entry, receipt = cbor2.loads(proof)
    assert entry == gateway.entries[7]
    assert Independent.verifies(receipt, gateway.private.public_key(), tree.get_root())
    assert not Independent.verifies(receipt, gateway.private.public_key(), tree.get_root(10))


def test_what_pycose_signs_is_verified() -> None:
    from pycose.headers import KID, Algorithm
    from pycose.keys.curves import Ed25519
    from pycose.keys.okp import OKPKey
    from pycose.messages.sign1message import Sign1Message

    private = sample.key("ed25519", "a")
    assert isinstance(private, ed25519.Ed25519PrivateKey)
    message = Sign1Message(phdr={Algorithm: "EDDSA", KID: b"k"}, payload=b"content")
    message.key = OKPKey(
        crv=Ed25519, x=private.public_key().public_bytes_raw(), d=private.private_bytes_raw()
    )
    assert cose.verified(cose.parse(message.encode()), cose.verify_key(private.public_key()))

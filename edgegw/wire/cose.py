"""COSE_Sign1 (RFC 9052 §4.2) with ES256 and Ed25519, over the cryptography package."""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Final, NamedTuple, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from edgegw.wire import cbor

# Algorithm numbers: RFC 9053 §2 (ES256, EdDSA) and RFC 9864 §2 (fully specified: ESP256, Ed25519).
ES256: Final = -7
EDDSA: Final = -8
ESP256: Final = -9
ED25519: Final = -19

ALG: Final = 1
CRIT: Final = 2
CONTENT_TYPE: Final = 3
KID: Final = 4
CLAIMS: Final = 15  # CWT claims in a header (RFC 9597)

SIGN1_TAG: Final = 18
KID_BYTES: Final = 8
SIGNATURE_BYTES: Final = 64
_COORDINATE_BYTES: Final = 32
_P256 = SECP256R1()
_ECDSA = ECDSA(SHA256())


class CoseError(ValueError):
    """A message that is no acceptable COSE_Sign1; the text is one word, the named reason."""


class Signer(Protocol):
    """Signs with one private key: its algorithm number, key id and 64 raw signature bytes."""

    @property
    def alg(self) -> int:
        """Number of the algorithm in the protected header."""
        ...

    @property
    def kid(self) -> bytes:
        """First 8 bytes of the key's thumbprint."""
        ...

    def sign(self, data: bytes) -> bytes:
        """The raw 64-byte signature over `data`."""
        ...


class VerifyKey(NamedTuple):
    """A public key that checks signatures: P-256 or Ed25519."""

    key: EllipticCurvePublicKey | Ed25519PublicKey
    kid: bytes

    def accepts(self, alg: object) -> bool:
        """Whether the algorithm number is one of this key's type."""
        own = (ES256, ESP256) if isinstance(self.key, EllipticCurvePublicKey) else (EDDSA, ED25519)
        return isinstance(alg, int) and alg in own

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Whether the raw 64-byte signature over `data` is this key's."""
        if len(signature) != SIGNATURE_BYTES:
            return False
        try:
            if isinstance(self.key, EllipticCurvePublicKey):
                half = SIGNATURE_BYTES // 2
                pair = int.from_bytes(signature[:half]), int.from_bytes(signature[half:])
                self.key.verify(encode_dss_signature(*pair), data, _ECDSA)
            else:
                self.key.verify(signature, data)
        except InvalidSignature:
            return False
        return True


def thumbprint(key: EllipticCurvePublicKey | Ed25519PublicKey) -> bytes:
    """COSE key thumbprint (RFC 9679 §4), 32 bytes."""
    if isinstance(key, EllipticCurvePublicKey):
        numbers = key.public_numbers()
        x, y = (n.to_bytes(_COORDINATE_BYTES) for n in (numbers.x, numbers.y))
        return sha256(cbor.encode({1: 2, -1: 1, -2: x, -3: y})).digest()
    return sha256(cbor.encode({1: 1, -1: 6, -2: key.public_bytes_raw()})).digest()


def verify_key(key: object) -> VerifyKey:
    """The verifying side of a public key of the cryptography package; ValueError when it is of another type."""
    if isinstance(key, Ed25519PublicKey) or (
        isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1)
    ):
        return VerifyKey(key, thumbprint(key)[:KID_BYTES])
    raise ValueError("not a P-256 or Ed25519 public key")


class _EcSigner(NamedTuple):
    private: EllipticCurvePrivateKey
    kid: bytes
    alg: int = ES256

    def sign(self, data: bytes) -> bytes:
        """Raw r ‖ s."""
        r, s = decode_dss_signature(self.private.sign(data, _ECDSA))
        return r.to_bytes(_COORDINATE_BYTES) + s.to_bytes(_COORDINATE_BYTES)


class _EdSigner(NamedTuple):
    private: Ed25519PrivateKey
    kid: bytes
    alg: int = EDDSA

    def sign(self, data: bytes) -> bytes:
        """The Ed25519 signature."""
        return self.private.sign(data)


def signer(key: object) -> Signer:
    """Signs with a private key of the cryptography package; ValueError when it is not P-256 or Ed25519."""
    if isinstance(key, Ed25519PrivateKey):
        return _EdSigner(key, verify_key(key.public_key()).kid)
    if isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1):
        return _EcSigner(key, verify_key(key.public_key()).kid)
    raise ValueError("not a P-256 or Ed25519 private key")


class Sign1(NamedTuple):
    """The parts of a COSE_Sign1; `payload` is None when it is detached (nil)."""

    protected: bytes
    headers: dict[Any, Any]
    unprotected: dict[Any, Any]
    payload: bytes | None
    signature: bytes


def to_be_signed(protected: bytes, payload: bytes, external_aad: bytes = b"") -> bytes:
    """The Sig_structure of RFC 9052 §4.4, encoded."""
    return b"".join(
        (
            b"\x84\x6aSignature1",
            cbor.head(2, len(protected)),
            protected,
            cbor.head(2, len(external_aad)),
            external_aad,
            cbor.head(2, len(payload)),
            payload,
        )
    )


def sign1(
    headers: dict[Any, Any], payload: bytes, by: Signer, unprotected: dict[Any, Any] | None = None
) -> bytes:
    """A tagged COSE_Sign1; `headers` are protected, alg and kid are added to them."""
    protected = cbor.encode({ALG: by.alg, KID: by.kid, **headers})
    return b"".join(
        (
            b"\xd2\x84",
            cbor.head(2, len(protected)),
            protected,
            cbor.encode(unprotected or {}),
            cbor.head(2, len(payload)),
            payload,
            cbor.head(2, SIGNATURE_BYTES),
            by.sign(to_be_signed(protected, payload)),
        )
    )


def parse(message: bytes) -> Sign1:
    """The parts of a tagged COSE_Sign1; CoseError `malformed` or `crit` when it is not one we can accept."""
    try:
        major, tag, start = cbor.argument(message, 0)
        parts = cbor.decode(message[start:])
        if (major, tag) != (6, SIGN1_TAG) or not isinstance(parts, list) or len(parts) != 4:
            raise CoseError("malformed")
        protected, unprotected, payload, signature = parts
        if (
            not isinstance(protected, bytes)
            or not isinstance(unprotected, dict)
            or not (payload is None or isinstance(payload, bytes))
            or not isinstance(signature, bytes)
        ):
            raise CoseError("malformed")
        headers = cbor.decode(protected) if protected else {}
    except cbor.CborError:
        raise CoseError("malformed") from None
    if not isinstance(headers, dict):
        raise CoseError("malformed")
    # RFC 9052 §3: a label stands in one of the two buckets; crit asks for what we do not know.
    if headers.keys() & unprotected.keys() & {ALG, CRIT, KID, CONTENT_TYPE, CLAIMS}:
        raise CoseError("malformed")
    if CRIT in headers or CRIT in unprotected:
        raise CoseError("crit")
    return Sign1(protected, headers, unprotected, payload, signature)


def verified(message: Sign1, key: VerifyKey, payload: bytes | None = None, external_aad: bytes = b"") -> bool:
    """Whether the signature is the key's over the message, and over `payload` when one is given.

    A detached message needs `payload`; one that carries another payload than the given is not verified. The
    protected algorithm must be one of the key's type.
    """
    content = message.payload if payload is None else payload
    if content is None or message.payload not in (None, content) or not key.accepts(message.headers.get(ALG)):
        return False
    return key.verifies(message.signature, to_be_signed(message.protected, content, external_aad))

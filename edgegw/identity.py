"""The gateway's identity: keys that are made here and never leave, and a certificate that is checked before it counts.

Two keys: one proves the gateway to the broker (TLS, P-256), one signs the readings. Nothing is overwritten
unless somebody insists, and then the old file is set aside, never deleted.

Outside facts: the certificate's fields from RFC 5280; X509_V_ERR_* numbers from OpenSSL's x509_vfy.h.
"""

from __future__ import annotations

import datetime as dt
import math
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edgegw import keys
from edgegw.keyfiles import make_directory, set_aside, write_new
from edgegw.problems import GatewayError, entry
from edgegw.wire import cose

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes

    from edgegw.config import Config, Reference

#: Days before the end of a certificate from which on somebody should act.
EXPIRES_SOON_DAYS: Final = 30
# cryptography 42 brought times with a zone and began to warn of those without; 41 has only the latter.
_AWARE: Final = hasattr(x509.Certificate, "not_valid_after_utc")


@dataclass(frozen=True)
class Identity:
    """Who the gateway is and where its keys, its certificate and the CA lie."""

    gateway: str
    tls_key: Reference
    tls_cert: Reference
    signing_key: Reference
    ca: Path | None
    env: Mapping[str, str]

    @classmethod
    def of(cls, config: Config, env: Mapping[str, str]) -> Identity:
        """The identity that `config` names; `env` leads to systemd credentials."""
        ca = config.uplink.ca
        named = config.identity
        return cls(
            config.gateway.id,
            named.tls_key,
            named.tls_cert,
            named.signing_key,
            ca.path(env) if ca else None,
            env,
        )


def init(identity: Identity, *, force: bool = False, ed25519_signing: bool = False) -> list[Path]:
    """Make the keys that are not there, 0600, and return their files.

    Raises GatewayError EG-IDENTITY-EXISTS when both are there, unless `force`: then both are made anew and the old
    ones set aside with a date in their name.
    """
    files = [_ours(identity.tls_key), _ours(identity.signing_key)]
    missing = [path for path in files if not path.exists()]
    if not missing and not force:
        raise GatewayError(
            "EG-IDENTITY-EXISTS",
            f"{identity.gateway} has keys already",
            why=f"{files[0]} and {files[1]} exist. New ones end what the old ones prove: the certificate stops "
            "working, and the log goes on under a key that nobody upstream knows yet.",
            todo=(
                "edgegw identity show",
                "edgegw identity init --force makes new keys and sets the old ones aside",
            ),
            safe="nothing was changed",
        )
    made = []
    for path in files if force else missing:
        make_directory(path.parent)
        pem = _private_pem(ed25519_signing=ed25519_signing and path == files[1])
        if path.exists():
            set_aside(path)
        write_new(path, pem, 0o600, replace=force)
        made.append(path)
    return made


def _private_pem(*, ed25519_signing: bool) -> bytes:
    key: PrivateKeyTypes = (
        ed25519.Ed25519PrivateKey.generate() if ed25519_signing else ec.generate_private_key(ec.SECP256R1())
    )
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def csr(identity: Identity) -> bytes:
    """A certificate request in PEM for the TLS key; its CN is the gateway's id."""
    key = keys.load_private(identity.tls_key, identity.env)
    if not isinstance(key, (ec.EllipticCurvePrivateKey, ed25519.Ed25519PrivateKey)):
        raise GatewayError("EG-IDENTITY-KEY", f"{identity.tls_key} is not a P-256 or Ed25519 key")
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, identity.gateway)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.add_extension(purpose, critical=False).sign(key, algorithm).public_bytes(Encoding.PEM)


def install(identity: Identity, data: bytes, now: dt.datetime, ca: Path | None = None) -> x509.Certificate:
    """Check the certificate (PEM with its chain, or DER) and put it in the place of the old one; return it.

    `ca` is the authority of the client certificates where it is not the broker's. Raises GatewayError
    EG-IDENTITY-CERTIFICATE or EG-IDENTITY-EXPIRED; then nothing has changed.
    """
    place = _ours(identity.tls_cert)
    key = keys.load_private(identity.tls_key, identity.env)
    chain = _in_order(_certificates(data), key.public_key(), identity)
    check(chain[0], identity.gateway, now)
    pem = b"".join(each.public_bytes(Encoding.PEM) for each in chain)
    make_directory(place.parent)
    beside = write_new(place.with_name(f".{place.name}.new"), pem, 0o644, replace=True)
    try:
        authority = ca or identity.ca
        if authority is not None:
            prove(beside, keys.locate(identity.tls_key, identity.env), authority)
        if place.exists():
            set_aside(place)
        beside.replace(place)
    finally:
        beside.unlink(missing_ok=True)
    return chain[0]


def check(certificate: x509.Certificate, gateway: str, now: dt.datetime) -> None:
    """GatewayError when a certificate is for another gateway, out of date, or not for clients."""
    names = [str(each.value) for each in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if names != [gateway]:
        raise _unfit(
            f"the certificate is for {' and '.join(names) or 'nobody'}, not for {gateway}",
            "Its CN must be the gateway's id: topics and readings carry it.",
            "edgegw identity csr makes a request with the right name",
        )
    if now > ends(certificate):
        raise GatewayError(
            "EG-IDENTITY-EXPIRED",
            f"the certificate ended on {ends(certificate):%Y-%m-%d}",
            todo=("timedatectl status", "edgegw identity csr, and have it signed again"),
        )
    if now < begins(certificate):
        raise _unfit(
            f"the certificate counts only from {begins(certificate):%Y-%m-%d %H:%M} UTC on",
            f"The clock here says {now:%Y-%m-%d %H:%M} UTC.",
            "timedatectl status",
        )
    try:
        purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return
    if not {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} & set(purposes):
        raise _unfit(
            "the certificate is not for clients",
            "Its extended key usage lacks clientAuth: it was made for a server.",
            "have the request signed with a client profile",
        )


_CHAIN: Final = {
    9: "a certificate of its chain is not valid yet, or the clock here is behind",
    10: "a certificate of its chain is out of date, or the clock here is ahead",
    18: "it is self-signed",
    24: "a certificate of its chain is not one of an authority",
    26: "it is not for clients",
}


def prove(certificate: Path, key: Path, ca: Path) -> None:
    """Show the pair to ourselves as a broker would see it: a TLS handshake in memory that trusts `ca` alone.

    GatewayError EG-IDENTITY-CERTIFICATE when OpenSSL does not accept it.
    """
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE  # the other side is this function
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.verify_mode = ssl.CERT_REQUIRED
    server.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN  # as the link does
    try:
        server.load_verify_locations(cafile=ca)
    except OSError as fault:
        raise _unfit(
            f"the CA in {ca} cannot be read",
            f"{fault.strerror or fault}.",
            "check ca under [uplink]: a PEM certificate",
        ) from None
    try:
        for context in (client, server):
            context.load_cert_chain(certificate, key, password="")
        _handshake(client, server)
    except ssl.SSLCertVerificationError as fault:
        words = _CHAIN.get(
            fault.verify_code, f"it is not from the authority in {ca} ({fault.verify_message})"
        )
        raise _unfit(
            "the certificate would not be accepted",
            f"Checked against {ca}: {words}.",
            "put the intermediate certificates behind it into the same file",
            "edgegw identity install CERTIFICATE --ca FILE, when clients have another CA than the broker",
        ) from None
    except ssl.SSLError as fault:
        raise _unfit(
            "the certificate cannot be used with its key",
            f"OpenSSL says: {fault.reason}.",
            "edgegw identity csr",
        ) from None


def _handshake(client: ssl.SSLContext, server: ssl.SSLContext) -> None:
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(down, up, server_side=False), server.wrap_bio(up, down, server_side=True)]
    # TLS 1.3 needs two turns, TLS 1.2 three; the last one brings the verdict on the client's certificate.
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    if ends[1].getpeercert(binary_form=True) is None:
        raise ssl.SSLError(1, "the handshake did not end")


def show(identity: Identity, now: dt.datetime) -> dict[str, Any]:
    """What there is: `gateway`, `signing`, `tls`, `ca` (empty where something is missing) and `problems`."""
    problems: list[dict[str, Any]] = []
    found: dict[str, Any] = {"gateway": identity.gateway}
    parts = {"signing": _show_signing, "tls": _show_tls, "ca": _show_ca}
    for name, part in parts.items():
        try:
            found[name] = part(identity, now)
        except GatewayError as error:
            found[name] = {}
            problems.append({**entry(error.code, f"{error.what}: {error.why}"), "todo": list(error.todo)})
    left = found["tls"].get("days_left")
    if left is not None and 0 <= left < EXPIRES_SOON_DAYS:
        problems.append(entry("EG-IDENTITY-EXPIRES", f"the certificate ends in {left} days"))
    return {**found, "problems": problems}


def public_pem(identity: Identity) -> str:
    """The public signing key in PEM: what a receiver keeps as GATEWAY.pem."""
    key = keys.load_private(identity.signing_key, identity.env).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def days_left(certificate: x509.Certificate, now: dt.datetime) -> int:
    """Whole days until the certificate ends; negative after its end."""
    return math.floor((ends(certificate) - now) / dt.timedelta(days=1))


def begins(certificate: x509.Certificate) -> dt.datetime:
    """When the certificate begins to count, UTC."""
    return certificate.not_valid_before_utc if _AWARE else certificate.not_valid_before.replace(tzinfo=dt.UTC)


def ends(certificate: x509.Certificate) -> dt.datetime:
    """When the certificate ends, UTC."""
    return certificate.not_valid_after_utc if _AWARE else certificate.not_valid_after.replace(tzinfo=dt.UTC)


def tls_certificate(identity: Identity) -> x509.Certificate:
    """The certificate that is installed; GatewayError when there is none or it cannot be read."""
    return _certificates(keys.read_public(keys.locate(identity.tls_cert, identity.env)))[0]


def _show_signing(identity: Identity, now: dt.datetime) -> dict[str, Any]:
    del now
    signer = keys.signer(identity.signing_key, identity.env)
    public = keys.load_private(identity.signing_key, identity.env).public_key()
    return {
        "file": str(identity.signing_key),
        "algorithm": "ES256" if signer.alg == cose.ES256 else "EdDSA",
        "kid": signer.kid.hex(),
        "fingerprint": _fingerprint(public),
    }


def _show_tls(identity: Identity, now: dt.datetime) -> dict[str, Any]:
    key = keys.load_private(identity.tls_key, identity.env)
    try:
        certificate = tls_certificate(identity)
    except GatewayError as error:
        if error.code == "EG-IDENTITY-MISSING":  # the key is there: no need to begin with init
            error.todo = error.todo[1:]
        raise
    if _fingerprint(key.public_key()) != _fingerprint(certificate.public_key()):
        raise _unfit(
            f"{identity.tls_cert} belongs to another key than {identity.tls_key}",
            "One of the two was replaced without the other.",
            "edgegw identity csr, have it signed, then: edgegw identity install CERTIFICATE",
        )
    check(certificate, identity.gateway, now)
    return {
        "file": str(identity.tls_cert),
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "serial": f"{certificate.serial_number:x}",
        "not_before": begins(certificate).isoformat(),
        "not_after": ends(certificate).isoformat(),
        "days_left": days_left(certificate, now),
        "fingerprint": certificate.fingerprint(hashes.SHA256()).hex(),
    }


def _show_ca(identity: Identity, now: dt.datetime) -> dict[str, Any]:
    if identity.ca is None:
        return {}
    try:
        certificate = _certificates(keys.read_public(identity.ca))[0]
    except GatewayError as error:
        error.todo = ("check ca under [uplink]: a PEM certificate",)
        raise
    return {
        "file": str(identity.ca),
        "subject": certificate.subject.rfc4514_string(),
        "days_left": days_left(certificate, now),
        "fingerprint": certificate.fingerprint(hashes.SHA256()).hex(),
    }


def _fingerprint(key: PublicKeyTypes) -> str:
    """SHA-256 of the subject public key info: one number for a key, its request and its certificate."""
    digest = hashes.Hash(hashes.SHA256())
    digest.update(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    return digest.finalize().hex()


def _certificates(data: bytes) -> list[x509.Certificate]:
    try:
        if b"-----BEGIN" in data:
            return x509.load_pem_x509_certificates(data)
        return [x509.load_der_x509_certificate(data)]
    except ValueError:
        raise _unfit(
            "this is not a certificate", "Neither PEM nor DER could be read from it.", "check the file"
        ) from None


def _in_order(
    certificates: list[x509.Certificate], key: PublicKeyTypes, identity: Identity
) -> list[x509.Certificate]:
    """The certificate of our key first, then the others as they came."""
    ours = [each for each in certificates if _fingerprint(each.public_key()) == _fingerprint(key)]
    if not ours:
        raise _unfit(
            f"the certificate belongs to another key than {identity.tls_key}",
            "It was made from another request, or the key was made anew since.",
            "edgegw identity csr makes a request for the key that is here",
        )
    return [ours[0], *(each for each in certificates if each is not ours[0])]


def _ours(reference: Reference) -> Path:
    """The file behind a reference that we may write; a systemd credential is somebody else's to keep."""
    if reference.scheme == "cred":
        raise GatewayError(
            "EG-IDENTITY-KEY",
            f"{reference} is a systemd credential",
            why="edgegw only reads it; it is kept by whoever wrote LoadCredential= into the unit.",
            todo=("put the file where LoadCredential= takes it from", "systemctl restart edgegw"),
        )
    return reference.path({})


def _unfit(what: str, why: str, *todo: str) -> GatewayError:
    return GatewayError("EG-IDENTITY-CERTIFICATE", what, why=why, todo=todo)

from __future__ import annotations

import socket
import ssl
import stat
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from edgegw.simulate.authority import EXPIRED, FUTURE, Authority, self_signed

if TYPE_CHECKING:
    from pathlib import Path

    from broker import Broker

    from edgegw.simulate.authority import Credentials


def strict_context(ca: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT  # what Python 3.13 does by default
    context.load_verify_locations(cadata=ca.decode())
    return context


def handshake(ca: bytes, server: Credentials, directory: Path, host: str = "localhost") -> None:
    files = server.write(directory, "served")
    accepting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    accepting.load_cert_chain(files.certificate, files.key)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = strict_context(ca).wrap_bio(to_client, to_server, server_hostname=host)
    peer = accepting.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(3):
        for side in (client, peer):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue


def test_a_strict_verifier_accepts_what_the_authority_made(tmp_path: Path) -> None:
    authority = Authority()
    handshake(authority.certificate, authority.server(), tmp_path)
    handshake(authority.certificate, authority.server(["10.0.0.7"]), tmp_path, host="10.0.0.7")


@pytest.mark.parametrize(
    ("code", "make"),
    [
        (10, lambda authority: authority.server(validity=EXPIRED)),
        (9, lambda authority: authority.server(validity=FUTURE)),
        (62, lambda authority: authority.server(["elsewhere.example"])),
        (20, lambda _authority: Authority("somebody else").server()),
        (18, lambda _authority: self_signed()),
    ],
    ids=["expired", "not yet valid", "wrong host", "foreign authority", "self-signed"],
)
def test_a_broken_certificate_is_broken_in_exactly_the_way_that_was_asked_for(
    code: int, make: object, tmp_path: Path
) -> None:
    assert callable(make)
    authority = Authority()
    with pytest.raises(ssl.SSLCertVerificationError) as refused:
        handshake(authority.certificate, make(authority), tmp_path)
    assert refused.value.verify_code == code


def test_whatever_is_written_is_for_its_owner_alone(tmp_path: Path) -> None:
    authority = Authority()
    files = authority.client("gw-1").write(tmp_path, "gw-1")
    again = authority.client("gw-1").write(tmp_path, "gw-1")  # replaces, does not fail
    assert files == again
    for path in (*files, authority.write(tmp_path / "ca.crt")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_signing_request_becomes_a_certificate_with_the_same_name_and_key() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "gw-7")])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    pem = request.public_bytes(Encoding.PEM)
    certificate = x509.load_pem_x509_certificate(Authority().sign_request(pem))
    assert certificate.subject == subject
    assert certificate.public_key() == key.public_key()


def test_a_tampered_signing_request_is_refused() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "gw-7")])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    der = request.public_bytes(Encoding.DER).replace(b"gw-7", b"gw-8")
    with pytest.raises(ValueError, match="signature"):
        Authority().sign_request(x509.load_der_x509_csr(der).public_bytes(Encoding.PEM))


def test_a_broker_wants_a_certificate_and_comes_back_on_its_port_after_a_kill(broker: Broker) -> None:
    files = broker.client("gw-1")
    context = strict_context(broker.authority.certificate)
    context.load_cert_chain(files.certificate, files.key)
    for _ in range(2):
        with (
            socket.create_connection(("127.0.0.1", broker.port), timeout=30) as plain,
            context.wrap_socket(plain, server_hostname=broker.host) as tls,
        ):
            assert tls.version() == "TLSv1.3"
        broker.kill()
        broker.start()

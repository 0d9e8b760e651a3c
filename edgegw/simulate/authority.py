"""A throwaway certificate authority: for demonstrations and tests, never for a city.

It makes what a real one would (P-256, an X.509 chain that strict verifiers accept: RFC 5280 §4.2) and,
because the gateway must say in words what is wrong with a certificate, the broken ones as well. Keys are
written for their owner alone.
"""

from __future__ import annotations

import datetime as dt
import os
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes


class Validity(NamedTuple):
    """From when until when a certificate counts, in days from now."""

    starts: float
    ends: float


#: Counts now: a day of slack for clocks that are behind, and thirty days to play with.
CURRENT: Final = Validity(-1, 30)
#: Ended ten days ago.
EXPIRED: Final = Validity(-40, -10)
#: Starts in ten days: what a gateway whose clock wakes up in the past sees.
FUTURE: Final = Validity(10, 40)

#: Where a broker of a demonstration or a test is reached.
LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


class Files(NamedTuple):
    """Where a certificate and its key were written."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Credentials:
    """A certificate and its private key (PKCS#8), both PEM."""

    certificate: bytes
    key: bytes

    def write(self, directory: Path, stem: str) -> Files:
        """Write `stem`.crt and `stem`.key into `directory`, readable by their owner alone."""
        files = Files(directory / f"{stem}.crt", directory / f"{stem}.key")
        write_private(files.certificate, self.certificate)
        write_private(files.key, self.key)
        return files


def write_private(path: Path, content: bytes) -> Path:
    """Replace the file at `path`, mode 0600 from its first byte on, and return `path`."""
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    beside.replace(path)
    return path


class Authority:
    """One certificate authority with a key of its own; two of them do not trust each other."""

    def __init__(self, name: str = "edgegw throwaway CA", validity: Validity = CURRENT) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        self._certificate = _sign(
            _Wish(self._name, self._key.public_key(), validity, authority=True), self._name, self._key
        )

    @property
    def certificate(self) -> bytes:
        """The authority's own certificate, PEM: what `ca` under `[uplink]` names."""
        return self._certificate.public_bytes(Encoding.PEM)

    def write(self, path: Path) -> Path:
        """Write the authority's certificate to `path` and return `path`."""
        return write_private(path, self.certificate)

    def server(self, hosts: Sequence[str] = LOOPBACK, validity: Validity = CURRENT) -> Credentials:
        """Credentials of a broker that is reached under `hosts`, DNS names or IP addresses, at least one."""
        key = ec.generate_private_key(ec.SECP256R1())
        wish = _Wish(_named(hosts[0]), key.public_key(), validity, hosts=tuple(hosts))
        return _credentials(_sign(wish, self._name, self._key), key)

    def client(self, name: str, validity: Validity = CURRENT) -> Credentials:
        """Credentials of a gateway or a receiver; `name`, its CN, is what the broker's access list sees."""
        key = ec.generate_private_key(ec.SECP256R1())
        wish = _Wish(_named(name), key.public_key(), validity)
        return _credentials(_sign(wish, self._name, self._key), key)

    def sign_request(self, request: bytes, validity: Validity = CURRENT) -> bytes:
        """The client certificate, PEM, for a certificate signing request, PEM.

        Raises ValueError when the request is not one or its signature is wrong.
        """
        csr = x509.load_pem_x509_csr(request)
        if not csr.is_signature_valid:
            raise ValueError("the signature of the certificate request is wrong")
        wish = _Wish(csr.subject, csr.public_key(), validity)
        return _sign(wish, self._name, self._key).public_bytes(Encoding.PEM)


def self_signed(hosts: Sequence[str] = LOOPBACK, validity: Validity = CURRENT) -> Credentials:
    """Credentials of a broker that nobody vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _named(hosts[0])
    return _credentials(_sign(_Wish(name, key.public_key(), validity, hosts=tuple(hosts)), name, key), key)


@dataclass(frozen=True)
class _Wish:
    """What is to be certified: a server where it has hosts, else a client or an authority."""

    subject: x509.Name
    key: CertificatePublicKeyTypes
    validity: Validity
    hosts: tuple[str, ...] = ()
    authority: bool = False


def _sign(wish: _Wish, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(wish.subject)
        .issuer_name(issuer)
        .public_key(wish.key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + dt.timedelta(days=wish.validity.starts))
        .not_valid_after(now + dt.timedelta(days=wish.validity.ends))
        .add_extension(x509.BasicConstraints(wish.authority, 0 if wish.authority else None), critical=True)
        .add_extension(_usage(authority=wish.authority), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(wish.key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
    )
    if not wish.authority:
        purpose = ExtendedKeyUsageOID.SERVER_AUTH if wish.hosts else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    if wish.hosts:
        names = x509.SubjectAlternativeName([_host(host) for host in wish.hosts])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(key, hashes.SHA256())


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _credentials(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Credentials:
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Credentials(certificate.public_bytes(Encoding.PEM), pem)

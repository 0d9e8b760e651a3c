from __future__ import annotations

import datetime as dt
import os
import ssl
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key, load_pem_public_key

from edgegw import identity as subject
from edgegw import keys
from edgegw.config import Reference
from edgegw.identity import Identity
from edgegw.problems import Exit, GatewayError
from edgegw.simulate.authority import EXPIRED, FUTURE, Authority, Validity

if TYPE_CHECKING:
    from pathlib import Path

NOW = dt.datetime.now(dt.UTC)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "etc" / "identity"


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest.fixture
def box(directory: Path, authority: Authority, tmp_path: Path) -> Identity:
    return Identity(
        "box-1",
        Reference("file", str(directory / "tls.key")),
        Reference("file", str(directory / "tls.crt")),
        Reference("file", str(directory / "sign.key")),
        authority.write(tmp_path / "ca.crt"),
        {},
    )


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def refused(error: pytest.ExceptionInfo[GatewayError], code: str) -> GatewayError:
    assert error.value.code == code
    return error.value


# init


def test_init_makes_two_keys_that_nobody_else_can_read(box: Identity, directory: Path) -> None:
    assert subject.init(box) == [directory / "tls.key", directory / "sign.key"]
    assert mode(directory) == 0o700
    assert {path.name: mode(path) for path in directory.iterdir()} == {"tls.key": 0o600, "sign.key": 0o600}
    assert keys.signer(box.signing_key, {}).alg == -7
    assert (directory / "tls.key").read_bytes() != (directory / "sign.key").read_bytes()
    assert (directory / "sign.key").read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----")  # PKCS#8


def test_init_makes_an_ed25519_signing_key_when_asked(box: Identity) -> None:
    subject.init(box, ed25519_signing=True)
    assert keys.signer(box.signing_key, {}).alg == -8


def test_init_never_overwrites_keys_and_says_what_that_would_lose(box: Identity, directory: Path) -> None:
    subject.init(box)
    before = {path: path.read_bytes() for path in directory.iterdir()}
    with pytest.raises(GatewayError) as error:
        subject.init(box)
    found = refused(error, "EG-IDENTITY-EXISTS")
    assert found.exit_code is Exit.REFUSED
    assert "the certificate stops working" in found.why
    assert {path: path.read_bytes() for path in directory.iterdir()} == before


def test_init_completes_a_half_made_identity(box: Identity, directory: Path) -> None:
    subject.init(box)
    (directory / "tls.key").unlink()
    signing = (directory / "sign.key").read_bytes()
    assert subject.init(box) == [directory / "tls.key"]
    assert (directory / "sign.key").read_bytes() == signing


def test_init_with_force_sets_the_old_keys_aside(box: Identity, directory: Path) -> None:
    subject.init(box)
    old = {(directory / name).read_bytes() for name in ("tls.key", "sign.key")}
    subject.init(box, force=True)
    subject.init(box, force=True)
    aside = {path.read_bytes() for path in directory.iterdir() if path.suffix != ".key"}
    assert len(list(directory.iterdir())) == 6
    assert old < aside
    assert all(mode(path) == 0o600 for path in directory.iterdir())


def test_init_leaves_credentials_of_systemd_alone(box: Identity) -> None:
    other = Identity("box-1", Reference("cred", "tls.key"), box.tls_cert, box.signing_key, None, {})
    with pytest.raises(GatewayError) as error:
        subject.init(other)
    assert "LoadCredential=" in refused(error, "EG-IDENTITY-KEY").why


def test_root_hands_keys_to_the_owner_of_the_directory(box: Identity, directory: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make files for another user")
    directory.mkdir(parents=True, mode=0o700)
    os.chown(directory, 65534, 65534)
    subject.init(box)
    assert {path.stat().st_uid for path in directory.iterdir()} == {65534}


def test_root_hands_keys_to_the_user_after_whom_the_group_of_its_directory_is_named(
    box: Identity, directory: Path
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make files for another user")
    directory.mkdir(parents=True, mode=0o750)
    os.chown(directory, 0, 1)  # root:daemon, as /etc/edgegw is root:edgegw
    subject.init(box)
    assert {path.stat().st_uid for path in directory.iterdir()} == {1}


# csr and install


def test_a_request_names_the_gateway_and_is_signed_by_its_tls_key(box: Identity, directory: Path) -> None:
    subject.init(box)
    request = x509.load_pem_x509_csr(subject.csr(box))
    assert request.subject.rfc4514_string() == "CN=box-1"
    assert request.is_signature_valid
    key = load_pem_private_key((directory / "tls.key").read_bytes(), None)
    assert request.public_key() == key.public_key()


def test_a_request_without_a_key_says_what_to_do(box: Identity) -> None:
    with pytest.raises(GatewayError) as error:
        subject.csr(box)
    assert refused(error, "EG-IDENTITY-MISSING").todo[0] == "edgegw identity init"


def test_a_signed_request_becomes_the_certificate(
    box: Identity, directory: Path, authority: Authority
) -> None:
    subject.init(box)
    subject.install(box, authority.sign_request(subject.csr(box)), NOW)
    assert mode(directory / "tls.crt") == 0o644
    assert sorted(path.name for path in directory.iterdir()) == ["sign.key", "tls.crt", "tls.key"]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_cert_chain(directory / "tls.crt", directory / "tls.key")


def test_a_der_certificate_and_one_behind_its_chain_are_taken(box: Identity, authority: Authority) -> None:
    subject.init(box)
    pem = authority.sign_request(subject.csr(box))
    subject.install(box, x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER), NOW)
    subject.install(box, authority.certificate + pem, NOW)
    assert subject.tls_certificate(box).subject.rfc4514_string() == "CN=box-1"


def test_a_new_certificate_sets_the_old_one_aside(
    box: Identity, directory: Path, authority: Authority
) -> None:
    subject.init(box)
    subject.install(box, authority.sign_request(subject.csr(box)), NOW)
    old = (directory / "tls.crt").read_bytes()
    subject.install(box, authority.sign_request(subject.csr(box)), NOW)
    (aside,) = directory.glob("tls.crt.*")
    assert aside.read_bytes() == old
    assert (directory / "tls.crt").read_bytes() != old


def test_certificates_of_another_ca_than_the_brokers_are_checked_against_the_one_that_is_named(
    box: Identity, tmp_path: Path
) -> None:
    subject.init(box)
    other = Authority("clients")
    pem = other.sign_request(subject.csr(box))
    with pytest.raises(GatewayError) as error:
        subject.install(box, pem, NOW)
    assert any("--ca FILE" in step for step in refused(error, "EG-IDENTITY-CERTIFICATE").todo)
    subject.install(box, pem, NOW, ca=other.write(tmp_path / "clients.crt"))


@pytest.fixture
def installed(box: Identity, authority: Authority) -> Identity:
    subject.init(box)
    subject.install(box, authority.sign_request(subject.csr(box), Validity(-1, 365)), NOW)
    return box


def test_what_does_not_fit_is_refused_and_changes_nothing(
    installed: Identity, directory: Path, authority: Authority
) -> None:
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    request = subject.csr(installed)
    renamed = Identity(
        "box-2", installed.tls_key, installed.tls_cert, installed.signing_key, installed.ca, {}
    )
    cases = [
        (authority.client("box-1").certificate, "EG-IDENTITY-CERTIFICATE", "belongs to another key"),
        (
            authority.sign_request(subject.csr(renamed)),
            "EG-IDENTITY-CERTIFICATE",
            "is for box-2, not for box-1",
        ),
        (authority.sign_request(request, EXPIRED), "EG-IDENTITY-EXPIRED", "ended on"),
        (authority.sign_request(request, FUTURE), "EG-IDENTITY-CERTIFICATE", "counts only from"),
        (Authority().sign_request(request), "EG-IDENTITY-CERTIFICATE", "would not be accepted"),
        (b"", "EG-IDENTITY-CERTIFICATE", "not a certificate"),
        (
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "EG-IDENTITY-CERTIFICATE",
            "not a cert",
        ),
        (request, "EG-IDENTITY-CERTIFICATE", "not a certificate"),
        (os.urandom(500), "EG-IDENTITY-CERTIFICATE", "not a certificate"),
    ]
    for data, code, what in cases:
        with pytest.raises(GatewayError) as error:
            subject.install(installed, data, NOW)
        found = refused(error, code)
        assert what in found.what
        assert found.exit_code is Exit.IDENTITY
        assert found.todo
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before


def test_a_certificate_for_servers_is_refused(box: Identity, authority: Authority) -> None:
    server = x509.load_pem_x509_certificate(authority.server(["box-1"]).certificate)
    with pytest.raises(GatewayError) as error:
        subject.check(server, "box-1", NOW)
    assert "not for clients" in refused(error, "EG-IDENTITY-CERTIFICATE").what
    assert box.ca is not None
    files = authority.server(["box-1"]).write(box.ca.parent, "server")
    with pytest.raises(GatewayError) as error:  # OpenSSL says the same
        subject.prove(files.certificate, files.key, box.ca)
    assert "not for clients" in refused(error, "EG-IDENTITY-CERTIFICATE").why


# show


def test_show_says_who_the_gateway_is_and_for_how_long(installed: Identity) -> None:
    found = subject.show(installed, NOW)
    assert found["problems"] == []
    assert found["gateway"] == "box-1"
    assert found["signing"]["algorithm"] == "ES256"
    assert found["signing"]["kid"] == keys.signer(installed.signing_key, {}).kid.hex()
    assert found["tls"]["subject"] == "CN=box-1"
    assert found["tls"]["days_left"] in (364, 365)
    assert len(found["tls"]["fingerprint"]) == len(found["signing"]["fingerprint"]) == 64
    assert found["ca"]["subject"] == "CN=edgegw throwaway CA"


def test_show_names_everything_that_is_missing(box: Identity) -> None:
    found = subject.show(box, NOW)
    assert [problem["code"] for problem in found["problems"]] == [
        "EG-IDENTITY-MISSING",
        "EG-IDENTITY-MISSING",
    ]
    assert found["signing"] == found["tls"] == {}


def test_show_warns_before_the_end_and_tells_the_end(installed: Identity, authority: Authority) -> None:
    short = authority.sign_request(subject.csr(installed), Validity(-1, 5))
    subject.install(installed, short, NOW)
    assert [problem["code"] for problem in subject.show(installed, NOW)["problems"]] == [
        "EG-IDENTITY-EXPIRES"
    ]
    later = NOW + dt.timedelta(days=6)
    assert [problem["code"] for problem in subject.show(installed, later)["problems"]] == [
        "EG-IDENTITY-EXPIRED"
    ]


def test_show_notices_a_certificate_of_another_key(installed: Identity) -> None:
    subject.init(installed, force=True)
    (problem,) = subject.show(installed, NOW)["problems"]
    assert problem["code"] == "EG-IDENTITY-CERTIFICATE"
    assert "belongs to another key" in problem["text"]


def test_show_names_a_ca_that_is_missing(installed: Identity) -> None:
    assert installed.ca is not None
    installed.ca.unlink()
    (problem,) = subject.show(installed, NOW)["problems"]
    assert problem["todo"] == ["check ca under [uplink]: a PEM certificate"]


def test_a_key_without_a_certificate_goes_on_with_the_request(box: Identity) -> None:
    subject.init(box)
    (problem,) = subject.show(box, NOW)["problems"]
    assert problem["todo"][0].startswith("edgegw identity csr")


def test_the_public_key_verifies_what_the_gateway_signs(installed: Identity, tmp_path: Path) -> None:
    pem = subject.public_pem(installed)
    load_pem_public_key(pem.encode())
    (tmp_path / "box-1.pem").write_text(pem)
    signature = keys.signer(installed.signing_key, {}).sign(b"x")
    assert keys.load_public(tmp_path / "box-1.pem").verifies(signature, b"x")

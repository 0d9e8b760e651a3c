from __future__ import annotations

import contextlib
import datetime as dt
import os
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgegw import keys
from edgegw.config import Reference
from edgegw.problems import Exit, GatewayError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()


def private_pem(key: PrivateKeyTypes, password: bytes = b"") -> bytes:
    lock = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock)


def public_pem(key: PrivateKeyTypes) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def certificate(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "box-1")])
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    )
    return made.public_bytes(Encoding.PEM)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "sign.key"


def stored(file: Path, data: bytes, mode: int = 0o600) -> Reference:
    file.touch(mode=0o600)
    file.write_bytes(data)
    file.chmod(mode)
    return Reference("file", str(file))


def refused(reference: Reference) -> GatewayError:
    with pytest.raises(GatewayError) as refusal:
        keys.signer(reference, {})
    assert refusal.value.exit_code in (Exit.IDENTITY, Exit.PERMISSION)
    return refusal.value


@pytest.fixture
def nobody() -> Iterator[int]:
    """Run as another user, where the test may change users at all."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    os.seteuid(65534)
    yield 65534
    os.seteuid(0)


@pytest.mark.parametrize(("key", "alg"), [(EC, -7), (ED, -8)])
def test_a_signer_signs_what_its_public_key_verifies(file: Path, key: PrivateKeyTypes, alg: int) -> None:
    signer = keys.signer(stored(file, private_pem(key)), {})
    assert signer.alg == alg
    signature = signer.sign(b"reading")
    assert len(signature) == 64
    public = file.with_name("sign.pub")
    public.write_bytes(public_pem(key))
    verify = keys.load_public(public)
    assert verify.kid == signer.kid
    assert len(verify.kid) == 8
    assert verify.verifies(signature, b"reading")
    assert not verify.verifies(signature, b"Reading")


@pytest.mark.parametrize("key", [EC, ED])
def test_a_certificate_serves_as_public_key(
    file: Path, key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
) -> None:
    file.write_bytes(b"subject=CN = box-1\n" + certificate(key))
    signature = keys.signer(stored(file.with_name("k"), private_pem(key)), {}).sign(b"x")
    assert keys.load_public(file).verifies(signature, b"x")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o601])
def test_a_key_that_others_can_reach_is_refused_with_the_command_that_helps(file: Path, mode: int) -> None:
    error = refused(stored(file, private_pem(EC), mode))
    assert error.code == "EG-IDENTITY-MODE"
    assert error.todo == (f"chmod 0600 {file}",)
    assert f"{mode:04o}" in error.why


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_key_for_its_owner_alone_is_taken(file: Path, mode: int) -> None:
    assert keys.signer(stored(file, private_pem(EC), mode), {}).alg == -7


def test_a_credential_of_systemd_is_found_in_its_directory(file: Path) -> None:
    stored(file, private_pem(EC), 0o440)  # the mask of systemd's access list
    signer = keys.signer(Reference("cred", file.name), {"CREDENTIALS_DIRECTORY": str(file.parent)})
    assert signer.alg == -7


def test_a_credential_outside_of_its_unit_says_so() -> None:
    error = refused(Reference("cred", "sign.key"))
    assert error.code == "EG-IDENTITY-MISSING"
    assert "LoadCredential=" in error.why


def test_a_key_of_another_user_is_refused(file: Path, nobody: int) -> None:
    os.seteuid(0)
    reference = stored(file, private_pem(EC))
    for directory in file.parents:  # as many as the runner makes, up to the one for all of its runs
        if directory.stat().st_uid == 0 and directory.stat().st_mode & 0o777 == 0o700:
            directory.chmod(0o755)
    os.chown(file, 12345, -1)
    file.chmod(0o600)
    os.seteuid(nobody)
    assert refused(reference).code == "EG-PERMISSION"
    os.seteuid(0)
    file.chmod(0o644)
    os.seteuid(nobody)
    error = refused(reference)
    assert (error.code, error.todo) == ("EG-IDENTITY-MODE", (f"chown {nobody} {file}",))
    os.seteuid(0)
    file.chmod(0o600)
    os.chown(file, nobody, -1)
    os.seteuid(nobody)
    assert keys.signer(reference, {}).alg == -7


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (private_pem(EC, b"secret"), "protected by a password"),
        (private_pem(ec.generate_private_key(ec.SECP384R1())), "not a P-256 or Ed25519"),
        (private_pem(rsa.generate_private_key(65537, 2048)), "not a P-256 or Ed25519"),
        (public_pem(EC), "not a private key in PEM"),
        (b"", "not a private key in PEM"),
        (private_pem(EC)[:-40], "not a private key in PEM"),
        (b"x" * (keys.MAX_PEM_BYTES + 1), "larger than 64 KiB"),
    ],
)
def test_what_is_no_signing_key_is_refused_in_words(file: Path, data: bytes, why: str) -> None:
    error = refused(stored(file, data))
    assert error.code == "EG-IDENTITY-KEY"
    assert why in error.why


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=300)
    | st.tuples(
        st.sampled_from([private_pem(EC), private_pem(ED)]), st.integers(30, 200), st.binary(max_size=3)
    ).map(lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] + 1 :])
)
def test_hostile_bytes_are_a_key_or_a_gateway_error(file: Path, data: bytes) -> None:
    with contextlib.suppress(GatewayError):
        keys.signer(stored(file, data), {})
    with contextlib.suppress(GatewayError):
        keys.load_public(file)


def test_a_missing_key_a_directory_and_a_pipe_are_told_apart(file: Path) -> None:
    assert refused(Reference("file", str(file))).code == "EG-IDENTITY-MISSING"
    assert "not a regular file" in refused(Reference("file", str(file.parent))).why
    os.mkfifo(file)  # opening it must not wait for a writer
    assert "not a regular file" in refused(Reference("file", str(file))).why


def test_a_private_key_where_a_public_one_belongs_is_named_as_what_it_is(file: Path) -> None:
    stored(file, private_pem(EC))
    with pytest.raises(GatewayError) as refusal:
        keys.load_public(file)
    assert "private key; a public one belongs here" in refusal.value.why

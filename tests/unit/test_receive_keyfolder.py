from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from signed_logs import SignedLog, register

from edgegw.receive import keyfolder
from edgegw.receive.keyfolder import MAX_KEYS, KeyFolder
from edgegw.simulate.authority import Authority
from edgegw.wire import cose
from edgegw.wire.log import Refused

if TYPE_CHECKING:
    from pathlib import Path

PRIVATE = ec.derive_private_key(7, ec.SECP256R1()).private_bytes(
    Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
)


def pem(key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey) -> bytes:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def speaks(folder: KeyFolder, log: SignedLog) -> bool:
    try:
        folder.ring.find(log.gateway, cose.signer(log.key).kid)
    except Refused:
        return False
    return True


def test_who_has_a_file_may_speak_and_one_line_says_how_many(tmp_path: Path) -> None:
    logs = [SignedLog(f"gw-{n}") for n in range(3)]
    register(tmp_path, *logs)
    (tmp_path / "notes.txt").write_text("not a key")
    (tmp_path / ".gw-9.pem.new").write_text("half of a key")
    folder = KeyFolder(tmp_path)
    (note,) = folder.look()
    assert "3 gateways may speak" in note.text
    assert all(speaks(folder, log) for log in logs)
    assert folder.ring.gateways() == {"gw-0", "gw-1", "gw-2"}
    assert folder.look() == []


def test_a_key_that_is_added_changed_or_removed_counts_from_the_next_look_on(tmp_path: Path) -> None:
    folder = KeyFolder(tmp_path)
    folder.look()
    old, new = SignedLog(), SignedLog(key=ec.generate_private_key(ec.SECP256R1()))
    register(tmp_path, old)
    assert [note.fields for note in folder.look()] == [{"gateway": "gw-1", "keys": 1}]
    assert speaks(folder, old)
    register(tmp_path, new)
    os.utime(tmp_path / "gw-1.pem", ns=(1, 1))
    folder.look()
    assert speaks(folder, new)
    assert not speaks(folder, old)
    (tmp_path / "gw-1.pem").unlink()
    (note,) = folder.look()
    assert (note.level, note.fields["keys"]) == ("warning", 0)
    assert not speaks(folder, new)


def test_several_keys_and_certificates_may_stand_in_one_file(tmp_path: Path) -> None:
    old, new = SignedLog(), ed25519.Ed25519PrivateKey.generate()
    certificate = Authority().client("gw-1").certificate
    (tmp_path / "gw-1.pem").write_bytes(
        b"# the old one\n" + old.public_pem + certificate + pem(new.public_key())
    )
    folder = KeyFolder(tmp_path)
    folder.look()
    assert speaks(folder, old)
    assert folder.ring.find("gw-1", cose.signer(new).kid)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "0 public keys"),
        (b"hello", "0 public keys"),
        (PRIVATE, "private key, which is no longer secret"),
        (pem(SignedLog().key.public_key()) + PRIVATE, "private key, which is no longer secret"),
        (pem(rsa.generate_private_key(65537, 2048).public_key()), "P-256 or Ed25519"),
        (pem(ec.derive_private_key(7, ec.SECP384R1()).public_key()), "P-256 or Ed25519"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "no public key"),
        (pem(SignedLog().key.public_key()) * (MAX_KEYS + 1), f"{MAX_KEYS + 1} public keys"),
        (b"x" * 70_000, "larger than 64 KiB"),
    ],
)
def test_a_file_that_cannot_be_used_is_reported_once_and_the_others_go_on(
    tmp_path: Path, content: bytes, why: str
) -> None:
    good = SignedLog("gw-2")
    register(tmp_path, good)
    (tmp_path / "gw-1.pem").write_bytes(content)
    folder = KeyFolder(tmp_path)
    first, _ = folder.look()
    assert first.level == "error"
    assert why in first.text
    assert "gw-1" in first.text
    assert folder.look() == []
    assert speaks(folder, good)
    assert folder.ring.gateways() == {"gw-2"}


def test_a_name_that_is_no_gateway_is_reported(tmp_path: Path) -> None:
    (tmp_path / "Not A Gateway.pem").write_bytes(SignedLog().public_pem)
    assert "is not the id of a gateway" in KeyFolder(tmp_path).look()[0].text


@pytest.mark.parametrize("make", ["directory", "pipe", "dangling link"])
def test_what_is_no_file_does_not_hold_it_up(tmp_path: Path, make: str) -> None:
    path = tmp_path / "gw-1.pem"
    if make == "directory":
        path.mkdir()
    elif make == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("nowhere")
    assert KeyFolder(tmp_path).look()[0].level == "error"


def test_without_the_folder_nobody_may_speak_until_it_is_back(tmp_path: Path) -> None:
    log = SignedLog()
    place = tmp_path / "keys"
    place.mkdir()
    register(place, log)
    folder = KeyFolder(place)
    folder.look()
    place.rename(tmp_path / "away")
    (note,) = folder.look()
    assert note.level == "error"
    assert not speaks(folder, log)
    assert folder.look() == []
    (tmp_path / "away").rename(place)
    folder.look()
    assert speaks(folder, log)


def test_the_number_of_gateways_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyfolder, "MAX_GATEWAYS", 2)
    register(tmp_path, *(SignedLog(f"gw-{n}") for n in range(4)))
    folder = KeyFolder(tmp_path)
    assert "more than 2 files" in folder.look()[0].text
    assert folder.ring.gateways() == {"gw-0", "gw-1"}

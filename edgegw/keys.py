"""Keys from files: private ones only when nobody else can read them, public ones from PEM or a certificate.

No error here holds a byte of a key.
"""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from edgegw.config.kinds import Reference
from edgegw.problems import Exit, GatewayError
from edgegw.wire import cose

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes

# A key is 250 bytes, a certificate with a chain of four 10 KB; more is something else.
MAX_PEM_BYTES: Final = 64 * 1024
# Keys of one gateway in one file: the present one, the next one, and a few that signed what is still under way.
MAX_KEYS: Final = 8
_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)
# What others may do with a private key. systemd hands credentials out with an access list whose mask shows as
# the group's mode, in a directory that only the unit sees (systemd.exec(5), LoadCredential=).
_OTHERS: Final = {"file": 0o077, "cred": 0o007}
_UNDERSTOOD: Final = "A P-256 or Ed25519 private key in PKCS#8 PEM, without a password, is understood."


def signer(reference: Reference, env: Mapping[str, str]) -> cose.Signer:
    """Signs with the private key behind `reference` (P-256: ES256, Ed25519: EdDSA).

    Raises GatewayError: EG-IDENTITY-MISSING, EG-IDENTITY-MODE, EG-IDENTITY-KEY (exit 8) or EG-PERMISSION (exit 5).
    """
    path = locate(reference, env)
    try:
        return cose.signer(load_private(reference, env))
    except ValueError:
        raise _unusable(path, "It is a private key, but not a P-256 or Ed25519 one.") from None


def load_private(reference: Reference, env: Mapping[str, str]) -> PrivateKeyTypes:
    """The private key behind `reference`, of any type that signs or proves a client; raises as `signer` does."""
    path = locate(reference, env)
    data = read_private(path, reference.scheme)
    try:
        return load_pem_private_key(data, password=None)
    except TypeError:  # cryptography's word for a key with a password
        raise _unusable(
            path, "It is protected by a password, which nobody types at a street cabinet."
        ) from None
    except Exception as fault:
        # cryptography raises ValueError, UnsupportedAlgorithm and, for some damage, its backend's own errors.
        if isinstance(fault, MemoryError):
            raise
        raise _unusable(path, f"It is not a private key in PEM. {_UNDERSTOOD}") from None


def load_public(path: Path) -> cose.VerifyKey:
    """The verifying side of a PEM public key or certificate, P-256 or Ed25519; raises as `signer` does."""
    return load_publics(path)[0]


def load_publics(path: Path) -> list[cose.VerifyKey]:
    """The verifying side of each PEM public key or certificate in a file, at least one: an old and a new key."""
    data = read_public(path)
    blocks = [found[0] for found in _BLOCK.finditer(data) if found[1] in (b"PUBLIC KEY", b"CERTIFICATE")]
    try:
        found = [cose.verify_key(parse_public(block)) for block in blocks[:MAX_KEYS]]
    except ValueError:
        found = []
    if not found:
        why = "It holds no P-256 or Ed25519 public key or certificate in PEM."
        if b"PRIVATE KEY" in data:
            why = "It holds a private key; a public one belongs here. Consider the private one as no longer secret."
        raise _unusable(path, why, "edgegw identity show --public-key prints a public key")
    return found


def parse_public(data: bytes) -> PublicKeyTypes:
    """The public key of a PEM public key or of the first certificate in `data`; ValueError otherwise."""
    try:
        if b"-----BEGIN CERTIFICATE-----" in data:
            return x509.load_pem_x509_certificate(data).public_key()
        return load_pem_public_key(data)
    except Exception as fault:
        # As in load_private: damage raises errors of several libraries.
        if isinstance(fault, MemoryError):
            raise
        raise ValueError("no public key") from None


def locate(reference: Reference, env: Mapping[str, str]) -> Path:
    """The file behind `reference`; EG-IDENTITY-MISSING for a credential outside of its unit."""
    try:
        return reference.path(env)
    except LookupError as fault:
        raise GatewayError("EG-IDENTITY-MISSING", f"{reference} cannot be found", why=f"{fault}.") from None


def read_private(path: Path, scheme: str = "file") -> bytes:
    """The bytes of a private key that belongs to us or root and that nobody else can read.

    Owner and mode are those of the opened file, so that it cannot be changed in between.
    """
    data, status = _read(path)
    allowed = {0, os.geteuid()}
    if os.geteuid() != 0 and status.st_uid not in allowed:
        raise GatewayError(
            "EG-IDENTITY-MODE",
            f"{path} belongs to another user",
            why=f"Its owner is user {status.st_uid}, who can read and replace it; this process is user {os.geteuid()}.",
            todo=(f"chown {os.geteuid()} {path}",),
        )
    if status.st_mode & _OTHERS[scheme]:
        raise GatewayError(
            "EG-IDENTITY-MODE",
            f"{path} can be read by others",
            why=f"Its mode is {stat.S_IMODE(status.st_mode):04o}; a private key is for its owner alone.",
            todo=(f"chmod 0600 {path}",),
        )
    return data


def secret(reference: str, env: Mapping[str, str]) -> str:
    """The text behind `file:PATH` or `cred:NAME`, without the white space around it: a key of a sensor.

    The file is held to the same owner and mode as a private key. Raises GatewayError as `signer` does, also for
    what is no text.
    """
    scheme, _, target = reference.partition(":")
    path = locate(Reference(scheme, target), env)
    try:
        return read_private(path, scheme).decode("ascii").strip()
    except UnicodeDecodeError:
        raise _unusable(path, "It is not a text of ASCII characters.", f"file {path}") from None


def read_public(path: Path) -> bytes:
    """The bytes of a file with public keys or certificates."""
    return _read(path)[0]


def _read(path: Path) -> tuple[bytes, os.stat_result]:
    try:
        # Without O_NONBLOCK a named pipe would hold us for ever.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise _unusable(path, "It is not a regular file.")
            data = os.read(handle, MAX_PEM_BYTES + 1)
        finally:
            os.close(handle)
    except (FileNotFoundError, NotADirectoryError):
        raise GatewayError("EG-IDENTITY-MISSING", f"{path} does not exist") from None
    except PermissionError:
        raise GatewayError(
            "EG-PERMISSION",
            f"{path} may not be read",
            why="It belongs to another user, or a directory above it is closed to you.",
            todo=("run the command as root or as the user of the gateway", f"ls -l {path}"),
        ) from None
    except (OSError, ValueError) as fault:  # ValueError: a name with a zero byte
        raise _unusable(path, f"{getattr(fault, 'strerror', None) or fault}.") from None
    if len(data) > MAX_PEM_BYTES:
        raise _unusable(path, f"It is larger than {MAX_PEM_BYTES // 1024} KiB.")
    return data, status


def _unusable(path: Path, why: str, *todo: str) -> GatewayError:
    return GatewayError(
        "EG-IDENTITY-KEY",
        f"{path} cannot be used",
        why=why,
        todo=todo or ("edgegw identity show",),
        exit_code=Exit.IDENTITY,
    )

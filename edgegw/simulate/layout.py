"""The directory of one simulation: where everything lies, who everybody is, and the configuration."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from edgegw.simulate.authority import Authority, Validity, write_private
from edgegw.simulate.models import MODELS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edgegw.simulate.model import VirtualSensor

#: The id of the simulated gateway, which is also the CN of its certificate.
GATEWAY: Final = "virtual-street"
#: The CN of the receiver's certificate.
STORE: Final = "virtual-city"
#: What a kill can take, in seconds.
MAX_AGE_S: Final = 1.0
# A directory that is played with again after weeks should not complain about its certificates.
_LIFETIME: Final = Validity(-1, 365)


@dataclass(frozen=True)
class Layout:
    """The files of one simulation, below one absolute directory."""

    directory: Path

    @property
    def config(self) -> Path:
        """The gateway's configuration."""
        return self.directory / "edgegw.toml"

    @property
    def socket(self) -> Path:
        """The gateway's control socket."""
        return self.directory / "control.sock"

    @property
    def broker(self) -> Path:
        """The broker's own directory."""
        return self.directory / "broker"

    @property
    def receiver(self) -> Path:
        """The receiver's own directory."""
        return self.directory / "receiver"

    @property
    def receiver_config(self) -> Path:
        """The receiver's configuration."""
        return self.receiver / "receive.toml"

    @property
    def readings(self) -> Path:
        """The receiver's database."""
        return self.receiver / "readings.db"

    def log(self, name: str) -> Path:
        """The log file of the process `name`."""
        return self.directory / "log" / f"{name}.log"


def make_identities(layout: Layout) -> None:
    """Certificates and keys for gateway, broker and receiver, once; a second run keeps them.

    The authority's own key is never written: nobody can add to this little world later.
    """
    public = layout.receiver / "keys" / f"{GATEWAY}.pem"
    if public.exists():
        return
    for directory in (layout.directory, layout.broker, public.parent):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    authority = Authority("edgegw simulation CA", _LIFETIME)
    for directory in (layout.directory, layout.broker, layout.receiver):
        authority.write(directory / "ca.crt")
    authority.server(validity=_LIFETIME).write(layout.broker, "server")
    authority.client(GATEWAY, _LIFETIME).write(layout.directory, "tls")
    authority.client(STORE, _LIFETIME).write(layout.receiver, "tls")
    _signing_key(layout.receiver / "sign.key", layout.directory / "city.pub")
    # Last, because it says that all of this is there.
    _signing_key(layout.directory / "sign.key", public)


def _signing_key(private: Path, public: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    write_private(private, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    write_private(public, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def configure(
    layout: Layout,
    sensors: Sequence[VirtualSensor],
    addresses: Mapping[str, str],
    *,
    server: str = "",
    numbered: bool = False,
) -> None:
    """Write the gateway's configuration and, where there is a broker at `server`, the receiver's."""
    lines = [
        "# Written by the simulation at each start.",
        "[gateway]",
        f'id = "{GATEWAY}"',
        "simulated = true",
        "[store]",
        'path = "store"',
        # A directory for playing may lie in memory and on a small disk.
        "require_persistent = false",
        'max_size = "256MiB"',
        'keep_free = "16MiB"',
        f'batch = {{ max_age = "{MAX_AGE_S:g}s" }}',
        "[control]",
        f'socket = "{layout.socket.name}"',
    ]
    if server:
        lines += [
            "[uplink]",
            f'server = "{server}"',
            'ca = "file:ca.crt"',
            'receipt_keys = ["file:city.pub"]',
            # Whoever watches does not want to wait minutes until the gateway tries again.
            'retry = { min = "500ms", max = "3s" }',
        ]
    for sensor in sensors:
        lines += _sensor(sensor, addresses[sensor.id], numbered=numbered)
    layout.config.write_text("\n".join(lines) + "\n")
    if server:
        layout.receiver_config.write_text(_receiver(server, layout.readings))


def _sensor(sensor: VirtualSensor, address: str, *, numbered: bool) -> list[str]:
    keys = MODELS[sensor.model].table(address, numbered=numbered)
    return [f"[sensor.{sensor.id}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]


def _receiver(server: str, readings: Path) -> str:
    return "\n".join(
        [
            "# Written by the simulation at each start.",
            "[receive]",
            f'server = "{server}"',
            'ca = "file:ca.crt"',
            'cert = "file:tls.crt"',
            'key = "file:tls.key"',
            'keys = "keys"',
            'signing_key = "file:sign.key"',
            f"store = {json.dumps(f'sqlite:///{readings}')}",
            "accept_simulated = true",
            "",
        ]
    )

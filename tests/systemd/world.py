"""The world around the gateway: its files as the unit's header names them, keys, brokers, neighbours."""

from __future__ import annotations

import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from systemd.rig import CONFIGURATION, ETC, PATIENCE, PYTHON, SERIAL_PORT, background, drop_in, run, until

from edgegw.simulate.authority import Authority, write_private

SIGNING_KEY = Path("/root/sign.key")
WORLD = Path("/run/rig/world")
# Debian 12 and 13.
BLUEZ_POLICIES = [Path(place, "dbus-1/system.d/bluetooth.conf") for place in ("/etc", "/usr/share")]
UPSTREAM = WORLD / "upstream.db"
ENDS = "select size, receipted, gaps from gateways"
# The watchdog's own interval is a minute; each proof of it would take two.
DROP_IN = f"""[Service]
DeviceAllow=char-pts rw
RestartSec=1
WatchdogSec=6
LoadCredential=sign.key:{SIGNING_KEY}
"""
# The uplink's broker, and the one of the site.
BROKER = f"""
per_listener_settings true
listener 8883 127.0.0.1
cafile {ETC}/ca.crt
certfile {WORLD}/server.crt
keyfile {WORLD}/server.key
tls_version tlsv1.3
require_certificate true
use_identity_as_username true
listener 1883 127.0.0.1
allow_anonymous true
user root
"""


def upstream(query: str) -> list[tuple[Any, ...]]:
    """What the receiver's database says."""
    with closing(sqlite3.connect(f"file:{UPSTREAM}?mode=ro", uri=True, timeout=PATIENCE)) as database:
        return database.execute(query).fetchall()


def held() -> int:
    """How many records upstream holds, each once, from the first on; 0 while one is missing or doubled."""
    [(count, distinct, end)] = upstream("select count(*), count(distinct idx), max(idx) + 1 from readings")
    return int(count) if count == distinct == end else 0


def receiver() -> tuple[str, ...]:
    """The options of the upstream side."""
    options = {
        "server": "mqtts://localhost:8883",
        "ca": f"{ETC}/ca.crt",
        "cert": f"{WORLD}/city.crt",
        "key": f"{WORLD}/city.key",
        "keys": f"{WORLD}/keys",
        "signing-key": f"{WORLD}/city.pem",
        "store": f"sqlite:///{UPSTREAM}",
    }
    return tuple(word for name, value in options.items() for word in (f"--{name}", value))


def private_key() -> bytes:
    """A new P-256 key as the gateway reads it."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_key(private: bytes) -> bytes:
    """Its public half."""
    key = load_pem_private_key(private, password=None).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def prepare() -> None:
    """Make the unit's surroundings as its header names them, and the world around the gateway."""
    run("systemd-sysusers")
    run("systemd-tmpfiles", "--create", "/usr/lib/tmpfiles.d/edgegw.conf")
    # As distributions ship it that let only a group use BlueZ: the gateway's own policy has to do.
    [policy] = (each for each in BLUEZ_POLICIES if each.exists())
    strict, open_to_all = re.subn(
        r'<policy context="default">.*?</policy>', "", policy.read_text(), flags=re.DOTALL
    )
    assert open_to_all == 1, policy
    policy.write_text(strict)
    run("systemctl", "reload", "dbus")  # for this, and because the gateway's user was not there at boot
    ETC.joinpath("edgegw.toml").write_text(CONFIGURATION)
    WORLD.mkdir(parents=True)
    authority = Authority()
    authority.write(ETC / "ca.crt").chmod(0o644)
    authority.server().write(WORLD, "server")
    authority.client("city").write(WORLD, "city")
    for path in authority.client("rig-1").write(ETC, "tls"):
        shutil.chown(path, "edgegw", "edgegw")
    for place, public in (
        (SIGNING_KEY, WORLD / "keys/rig-1.pem"),
        (WORLD / "city.pem", ETC / "city.pub"),
    ):
        private = private_key()
        write_private(place, private)
        public.parent.mkdir(exist_ok=True)
        public.write_bytes(public_key(private))
        public.chmod(0o644)
    (WORLD / "mosquitto.conf").write_text(BROKER)
    drop_in("rig", DROP_IN)
    background("rig-broker", "mosquitto", "-c", f"{WORLD}/mosquitto.conf")
    background("rig-upstream", "/opt/edgegw/bin/edgegw", "receive", *receiver())
    for part in ("serial", "radio", "sound", "site"):
        background(f"rig-{part}", PYTHON, "-m", "systemd.neighbour", part)
    until("the sensor's port", SERIAL_PORT.exists)
    until("the name of BlueZ", lambda: "org.bluez" in run("busctl", "list", "--acquired"))

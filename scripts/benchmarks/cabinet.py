"""The real processes of a benchmark: gateway, broker with mutual TLS, receiver, and what they know."""

from __future__ import annotations

import os
import socket
import sqlite3
import sys
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, Final

from edgegw import control
from edgegw.problems import GatewayError
from edgegw.simulate.broker import find_mosquitto
from edgegw.simulate.children import Child
from edgegw.simulate.layout import GATEWAY, Layout, make_identities

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import Self

#: Nothing here takes as long on a machine that works.
PATIENCE_S: Final = 900.0
#: Frames are readings from the first on; the warm-up flag of the first 30 s would make the records longer.
SDS011: Final = 'driver = "sds011"\ninterval = "all"\nwarm_up_time = "0s"'


def until(
    what: str, holds: Callable[[], bool], patience_s: float = PATIENCE_S, every_s: float = 0.02
) -> None:
    """Wait until something holds; TimeoutError when it never does."""
    deadline = time.monotonic() + patience_s
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {patience_s:.0f} s in vain: {what}")
        time.sleep(every_s)


class Cabinet:
    """A directory with identities in which gateway, broker and receiver are started and stopped."""

    def __init__(self, directory: Path) -> None:
        self.layout = Layout(directory)
        make_identities(self.layout)
        self.port = 0
        self._children: dict[str, Child] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for name in ("gateway", "receiver", "subscriber", "broker"):
            self.stop(name)

    # -- processes

    def start(self, name: str, command: Sequence[str], ready: Callable[[], bool] | None = None) -> int:
        """Start a process under a name that is stopped with the cabinet; its pid."""
        child = Child(name, command, self.layout.log(name))
        self._children[name] = child
        child.start(ready)
        return self.pid(name)

    def pid(self, name: str) -> int:
        """The id of a running process."""
        found = self._children[name].pid
        if found is None:
            raise ChildProcessError(f"the {name} has ended, see {self.layout.log(name)}")
        return found

    def stop(self, name: str) -> None:
        """Stop it cleanly, where it runs."""
        if name in self._children:
            self._children.pop(name).stop()

    def start_broker(self, *options: str) -> int:
        """A mosquitto as the distribution has it, but for mutual TLS and `options`."""
        folder = self.layout.broker
        self.port = self.port or free_port()
        lines = [
            f"listener {self.port} 127.0.0.1",
            f"cafile {folder / 'ca.crt'}",
            f"certfile {folder / 'server.crt'}",
            f"keyfile {folder / 'server.key'}",
            "tls_version tlsv1.3",
            "require_certificate true",
            "use_identity_as_username true",
            "allow_anonymous false",
            "persistence false",
            "log_type warning",
            *options,
            *(["user root"] if os.geteuid() == 0 else []),
        ]
        (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")
        command = [find_mosquitto() or "mosquitto", "-c", str(folder / "mosquitto.conf")]
        return self.start("broker", command, lambda: answers(self.port))

    def start_gateway(self, *, ready: bool = True) -> int:
        """The real daemon on the configuration that was written last."""
        command = [sys.executable, "-m", "edgegw.daemon", "--config", str(self.layout.config)]
        return self.start("gateway", command, (lambda: bool(self.status())) if ready else None)

    def start_receiver(self) -> int:
        """The real receiver, connected."""
        folder = self.layout.receiver
        (folder / "receive.toml").write_text(
            f"""[receive]
server = "mqtts://localhost:{self.port}"
ca = "file:ca.crt"
cert = "file:tls.crt"
key = "file:tls.key"
keys = "keys"
signing_key = "file:sign.key"
store = "sqlite:///{self.layout.readings}"
"""
        )
        log = self.layout.log("receiver")
        said = len(log.read_text()) if log.exists() else 0
        command = [sys.executable, "-m", "edgegw.cli", "receive", "--json"]
        command += ["--config", str(folder / "receive.toml")]
        return self.start("receiver", command, lambda: '"connected"' in log.read_text()[said:])

    # -- the gateway's configuration

    def configure(
        self, sensors: str, *, uplink: str = "", link: bool = True, port: int = 0, max_age: str = "1s"
    ) -> None:
        """Write the configuration: defaults but for what is given. `port` stands for the broker's own."""
        text = f"""[gateway]
id = "{GATEWAY}"
[store]
path = "store"
keep_free = "16MiB"
require_persistent = false
batch = {{ max_age = "{max_age}" }}
[control]
socket = "{self.layout.socket.name}"
"""
        if link:
            text += f"""[uplink]
server = "mqtts://localhost:{port or self.port}"
ca = "file:ca.crt"
receipt_keys = ["file:city.pub"]
retry = {{ min = "50ms", max = "1s" }}
{uplink}
"""
        self.layout.config.write_text(text + sensors)

    # -- what is known

    def status(self) -> dict[str, Any]:
        """The daemon's status; empty while it does not answer."""
        with suppress(GatewayError):
            found: dict[str, Any] = control.request(self.layout.socket, "status")
            return found
        return {}

    def online(self) -> bool:
        """Whether the link is up."""
        return bool(self.status().get("link", {}).get("state") == "online")

    def size(self) -> int:
        """Records in the gateway's log."""
        return int(self.status().get("log", {}).get("size", 0))

    def proven(self) -> int:
        """Readings that the receiver has verified, stored and proven complete."""
        return self._upstream("SELECT coalesce(sum(proven), 0) FROM log")

    def stored(self) -> int:
        """Rows of readings in the receiver's database."""
        return self._upstream("SELECT count(*) FROM reading")

    def sensor_readings(self) -> int:
        """Readings of sensors, not of the gateway itself, in the receiver's database."""
        return self._upstream("SELECT count(*) FROM readings WHERE sensor <> '_gateway'")

    def _upstream(self, query: str) -> int:
        try:
            with closing(sqlite3.connect(f"file:{self.layout.readings}?mode=ro", uri=True)) as db:
                return int(db.execute(query).fetchone()[0])
        except sqlite3.OperationalError:
            return 0  # the receiver has not made it yet


def free_port() -> int:
    """A port on the loopback that nobody uses now."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    """Whether somebody listens there."""
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0

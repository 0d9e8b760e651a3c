"""A real mosquitto for a simulation: on the loopback, mutual TLS 1.3, killed and started at will."""

from __future__ import annotations

import os
import shutil
import socket
from contextlib import closing
from typing import TYPE_CHECKING, Final

from edgegw.problems import GatewayError
from edgegw.simulate.children import Child, tail

if TYPE_CHECKING:
    from pathlib import Path

# Debian puts daemons where an ordinary user's PATH does not look.
_SBIN: Final = "/usr/local/sbin:/usr/sbin:/sbin"
# A port that the kernel has just given back is taken by somebody else once in a long while; not three times.
_ATTEMPTS: Final = 3


def find_mosquitto() -> str | None:
    """The path of the mosquitto program, or None where it is not installed."""
    return shutil.which("mosquitto", path=f"{os.environ.get('PATH', os.defpath)}:{_SBIN}")


class Broker:
    """One mosquitto that keeps its port for life.

    `directory` holds `ca.crt`, `server.crt` and `server.key`; its configuration, access list and log go there
    too. The CN of a client's certificate is its user name: a gateway may speak under its own topics, and
    `store` may read everything, and write receipts and requests.
    """

    host: Final = "localhost"

    def __init__(self, directory: Path, gateway: str, store: str) -> None:
        self._directory = directory
        self._access = _access(gateway, store)
        self._child: Child | None = None
        self.port = 0

    @property
    def server(self) -> str:
        """What a configuration names as `server`."""
        return f"mqtts://{self.host}:{self.port}"

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self._child is not None and self._child.running

    def start(self) -> None:
        """Start it, on the same port each time, and return when it answers; GatewayError when it cannot."""
        if self._child is None:
            self._child = self._first_start()
        else:
            self._child.start(self._answers)

    def _first_start(self) -> Child:
        attempts = _ATTEMPTS
        while True:
            self.port = free_port()
            child = self._configured()
            try:
                child.start(self._answers)
                return child
            except GatewayError:
                attempts -= 1
                if not attempts or "in use" not in tail(child.log):
                    raise

    def kill(self) -> None:
        """SIGKILL: what it had in memory is gone."""
        if self._child is not None:
            self._child.kill()

    def stop(self) -> None:
        """End it; may be called again."""
        if self._child is not None:
            self._child.stop()

    def _configured(self) -> Child:
        program = find_mosquitto()
        if program is None:
            raise GatewayError(
                "EG-FILE",
                "mosquitto is not installed",
                why="The simulation needs a broker for its link, and takes mosquitto.",
                todo=("sudo apt-get install mosquitto", "or simulate without a link: --no-broker"),
            )
        folder = self._directory
        access, configuration = folder / "access", folder / "mosquitto.conf"
        access.write_text(self._access)
        access.chmod(0o600)
        lines = [
            f"listener {self.port} 127.0.0.1",
            f"cafile {folder / 'ca.crt'}",
            f"certfile {folder / 'server.crt'}",
            f"keyfile {folder / 'server.key'}",
            "tls_version tlsv1.3",
            "require_certificate true",
            "use_identity_as_username true",
            "allow_anonymous false",
            f"acl_file {access}",
            "persistence false",
        ]
        if os.geteuid() == 0:
            # mosquitto would become another user, who may not read this directory.
            lines.append("user root")
        configuration.write_text("\n".join(lines) + "\n")
        return Child("broker", [program, "-c", str(configuration)], folder / "broker.log")

    def _answers(self) -> bool:
        with closing(socket.socket()) as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def _access(gateway: str, store: str) -> str:
    """The access list: each gateway under its own name, the store where it has to (WIRE §5)."""
    return "\n".join(
        [
            f"user {gateway}",
            *(f"topic write edgegw/1/{gateway}/{topic}" for topic in ("main/batch", "main/head", "status")),
            *(f"topic read edgegw/1/{gateway}/{topic}" for topic in ("main/receipt", "request")),
            f"user {store}",
            "topic read edgegw/1/#",
            *(f"topic write edgegw/1/+/{topic}" for topic in ("main/receipt", "request")),
            "",
        ]
    )


def free_port() -> int:
    """A port on the loopback that nobody uses now."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

"""A real broker for tests: mosquitto on a free loopback port, mutual TLS 1.3, killed and started at will.

    def test_something(broker: Broker) -> None:
        files = broker.client("gw-1")         # certificate and key of a client, by its CN
        ... connect to broker.host, broker.port with broker.ca ...
        broker.kill(); broker.start()         # SIGKILL, then the same port again

`make_broker(acl=..., options=[...])` is the fixture for the special ones. Nothing here sleeps: waiting is
waiting for the process, or for the port to answer.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Final, Protocol

import pytest

from edgegw.simulate.authority import Authority, Files

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

#: Far longer than a broker ever needs (10 ms): only a broken machine meets it.
PATIENCE_S: Final = 30.0


def free_port() -> int:
    """A port on loopback that nothing uses now."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Broker:
    """One mosquitto. The CN of a client's certificate is its user name, as for a city's access list.

    `acl` is the text of an access list file (empty: everything is allowed). `options` are further lines of
    mosquitto.conf, such as `max_inflight_messages 5`. `server` replaces the broker's own credentials.
    """

    host: Final = "localhost"

    def __init__(
        self,
        directory: Path,
        authority: Authority,
        *,
        acl: str = "",
        options: Sequence[str] = (),
        server: Files | None = None,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.authority = authority
        self.ca = authority.write(directory / "ca.crt")
        self.port = free_port()
        self._server = server or authority.server().write(directory, "server")
        self._log = directory / "mosquitto.log"
        self._acl = acl
        self._options = tuple(options)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id; AssertionError when the broker does not run."""
        assert self._process is not None, "the broker is not running"
        return self._process.pid

    @property
    def log(self) -> str:
        """What the broker said so far."""
        return self._log.read_text() if self._log.exists() else ""

    def client(self, name: str) -> Files:
        """Certificate and key of a client with this CN, made once."""
        files = Files(self.directory / f"{name}.crt", self.directory / f"{name}.key")
        return files if files.key.exists() else self.authority.client(name).write(self.directory, name)

    def start(self) -> None:
        """Start the broker, on the same port each time, and return when it answers."""
        assert self._process is None, "the broker is running already"
        with self._log.open("ab") as log:
            command = ["mosquitto", "-v", "-c", str(self._configure())]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE_S
        while not self._answers():
            try:
                code = self._process.wait(0.01)
            except subprocess.TimeoutExpired:
                assert time.monotonic() < deadline, f"mosquitto does not answer: {self.log[-2000:]}"
            else:
                self._process = None
                raise AssertionError(f"mosquitto ended with {code}: {self.log[-2000:]}")

    def kill(self) -> None:
        """SIGKILL: what the broker had in memory is gone."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, when it runs: the broker says goodbye to its clients."""
        if self._process is not None:
            self._end(signal.SIGTERM)

    def pause(self) -> None:
        """SIGSTOP: the kernel still takes packets for it, nobody reads them."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT after `pause`."""
        os.kill(self.pid, signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        process = self._process
        assert process is not None, "the broker is not running"
        self._process = None
        process.send_signal(how)
        if how is not signal.SIGKILL:
            process.send_signal(signal.SIGCONT)  # a stopped process does not hear SIGTERM
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S).close()
        except ConnectionRefusedError:
            return False
        return True

    def _configure(self) -> Path:
        lines = [
            f"listener {self.port} 127.0.0.1",
            f"cafile {self.ca}",
            f"certfile {self._server.certificate}",
            f"keyfile {self._server.key}",
            "tls_version tlsv1.3",
            "require_certificate true",
            "use_identity_as_username true",
            "persistence false",
            *self._options,
        ]
        if os.geteuid() == 0:
            lines.append("user root")  # else mosquitto becomes a user who may not read this directory
        if self._acl:
            acl = self.directory / "acl"
            acl.write_text(self._acl)
            acl.chmod(0o600)
            lines.append(f"acl_file {acl}")
        configuration = self.directory / "mosquitto.conf"
        configuration.write_text("\n".join(lines) + "\n")
        return configuration


class MakeBroker(Protocol):
    """The `make_broker` fixture: starts a broker with the given specialities; it is stopped with the test."""

    def __call__(
        self, *, acl: str = "", options: Sequence[str] = (), server: Files | None = None, start: bool = True
    ) -> Broker: ...


@pytest.fixture(scope="session")
def authority() -> Authority:
    """One certificate authority for the whole run."""
    return Authority()


@pytest.fixture
def make_broker(tmp_path: Path, authority: Authority) -> Iterator[MakeBroker]:
    """Brokers of this test, stopped at its end."""
    with ExitStack() as running:
        made = 0

        def make(
            *,
            acl: str = "",
            options: Sequence[str] = (),
            server: Files | None = None,
            start: bool = True,
        ) -> Broker:
            nonlocal made
            made += 1
            directory = tmp_path / f"broker-{made}"
            broker = Broker(directory, authority, acl=acl, options=options, server=server)
            running.callback(broker.stop)
            if start:
                broker.start()
            return broker

        yield make


@pytest.fixture
def broker(make_broker: MakeBroker) -> Broker:
    """A running broker that allows everything to whoever has a certificate."""
    return make_broker()

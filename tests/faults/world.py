"""The whole way for fault tests: a numbered sensor on a pty, the real daemon, a real broker, the real receiver.

The sensor is an SDS011 whose two values encode the number of the frame, so that every reading upstream can be told
from every other. What it sent is the ledger; what the gateway's store and the receiver's database say is held
against it.
"""

from __future__ import annotations

import os
import pty
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import tty
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from edgegw import control
from edgegw.problems import GatewayError
from edgegw.wire import cose, senml

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker import Broker

GATEWAY = "kyiv-test-1"
MAX_AGE_S = 0.2
#: Frames have numbers in base 9998: both values stay below 999.9, where the device is saturated.
BASE = 9998
PATIENCE_S = 60.0
HERE = Path(__file__).parent


def until(what: str, holds: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    """Wait until something holds; the deadline is far beyond what a healthy machine needs."""
    deadline = time.monotonic() + patience_s
    pause = threading.Event()
    while not holds():
        assert time.monotonic() < deadline, f"waited {patience_s:.0f} s in vain: {what}"
        pause.wait(0.02)


class Sensor:
    """Sends a numbered frame each `period_s`, and remembers when; frames without a listener go nowhere."""

    def __init__(self, period_s: float = 0.02) -> None:
        self._master, self._slave = pty.openpty()
        tty.setraw(self._master)
        os.set_blocking(self._master, False)
        self.path = os.ttyname(self._slave)
        self.sent: list[float] = []
        self._period_s = period_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._talk, name="sensor")
        self._thread.start()

    def _talk(self) -> None:
        while not self._stopped.wait(self._period_s):
            number = len(self.sent)
            low, high = number % BASE, number // BASE
            body = bytes([low & 255, low >> 8, high & 255, high >> 8, 0x58, 0xD9])
            self.sent.append(time.time())
            try:
                os.write(self._master, b"\xaa\xc0" + body + bytes([sum(body) & 255]) + b"\xab")
            except BlockingIOError:
                continue  # nobody reads: a device does not wait

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def close(self) -> None:
        self.stop()
        os.close(self._master)
        os.close(self._slave)


class World:
    """One gateway, one broker, one receiver and one sensor in a directory."""

    def __init__(
        self, directory: Path, broker: Broker, *, store: str = "", uplink: str = "", period_s: float = 0.02
    ) -> None:
        self.directory = directory / "world"
        self.directory.mkdir()
        self.broker = broker
        self.sensor = Sensor(period_s)
        self._gateway: subprocess.Popen[bytes] | None = None
        self._receiver: subprocess.Popen[bytes] | None = None
        self._marks = 0
        self._identities()
        (self.directory / "edgegw.toml").write_text(f"""
[gateway]
id = "{GATEWAY}"
[store]
path = "store"
keep_free = "1MiB"
require_persistent = false
batch = {{ max_age = "{MAX_AGE_S}s" }}
{store}
[control]
socket = "control.sock"
[uplink]
server = "mqtts://localhost:{broker.port}"
ca = "file:ca.crt"
receipt_keys = ["file:city.pub"]
retry = {{ min = "50ms", max = "500ms" }}
{uplink}
[sensor.air-1]
driver = "sds011"
interval = "all"
port = "{self.sensor.path}"
""")

    def _identities(self) -> None:
        folder = self.directory
        self.broker.authority.write(folder / "ca.crt")
        self.broker.authority.client(GATEWAY).write(folder, "tls")
        self.broker.authority.client("city").write(folder, "city")
        (folder / "keys").mkdir()
        for private, public in (("sign.key", f"keys/{GATEWAY}.pem"), ("city.sign", "city.pub")):
            key = ec.generate_private_key(ec.SECP256R1())
            (folder / private).touch(0o600)
            (folder / private).write_bytes(
                key.private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.PKCS8,
                    serialization.NoEncryption(),
                )
            )
            (folder / public).write_bytes(
                key.public_key().public_bytes(
                    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
                )
            )

    # -- processes

    def _start(
        self, program: str, arguments: list[str], point: str, number: int, wrapper: list[str]
    ) -> tuple[subprocess.Popen[bytes], Path]:
        self._marks += 1
        mark = self.directory / f"mark-{self._marks}"
        log = (self.directory / f"{program}.log").open("ab")
        command = [
            sys.executable,
            str(HERE / "killed_at.py"),
            point,
            str(number),
            str(mark),
            program,
            *arguments,
        ]
        with log:
            process = subprocess.Popen([*wrapper, *command], stdout=log, stderr=log, start_new_session=True)
        return process, mark

    def start_gateway(self, point: str = "", number: int = 1, wrapper: list[str] | None = None) -> Path:
        """Start the daemon, to be killed at a point if one is named; the file that proves that it was hit."""
        arguments = ["--config", str(self.directory / "edgegw.toml")]
        self._gateway, mark = self._start("daemon", arguments, point, number, wrapper or [])
        return mark

    def start_receiver(self, point: str = "", number: int = 1) -> Path:
        arguments = [str(self.directory), str(self.broker.port)]
        self._receiver, mark = self._start("receiver", arguments, point, number, [])
        return mark

    def killed_gateway(self) -> None:
        """Wait until the gateway was killed by its trap."""
        assert self._gateway is not None
        assert abs(self._gateway.wait(PATIENCE_S)) in (signal.SIGKILL, 128 + signal.SIGKILL), self.logs()

    def killed_receiver(self) -> None:
        assert self._receiver is not None
        assert self._receiver.wait(PATIENCE_S) == -signal.SIGKILL, self.logs()

    def kill_gateway(self) -> None:
        _end(self._gateway, signal.SIGKILL)

    def kill_receiver(self) -> None:
        _end(self._receiver, signal.SIGKILL)

    def stop_gateway(self) -> int:
        return _end(self._gateway, signal.SIGTERM)

    def close(self) -> None:
        self.sensor.close()
        self.kill_gateway()
        self.kill_receiver()

    def logs(self) -> str:
        return "\n".join(
            f"== {path.name}\n{path.read_text()[-4000:]}" for path in sorted(self.directory.glob("*.log"))
        )

    # -- what is known

    def status(self) -> dict[str, Any]:
        """The daemon's status; empty while it does not answer."""
        try:
            found = control.request(self.directory / "control.sock", "status")
        except GatewayError:
            return {}
        assert isinstance(found, dict)
        return found

    def frames(self, more: int) -> None:
        """Wait until the sensor sent so many more frames."""
        goal = len(self.sensor.sent) + more
        until("the sensor talks", lambda: len(self.sensor.sent) >= goal)

    def settled(self) -> None:
        """Stop the sensor and wait until everything accepted is receipted and nothing more comes."""
        self.sensor.stop()
        seen = [(-1, 0.0)]

        def drained() -> bool:
            log = self.status().get("log", {})
            size, now = log.get("size", -1), time.monotonic()
            if size != seen[-1][0]:
                seen.append((size, now))
            # The open batch closes within its age; several of them without a change say that there is none.
            return size > 0 and log.get("receipted") == size and now - seen[-1][1] > 4 * MAX_AGE_S

        until("everything is receipted", drained)

    def messages(self) -> dict[int, bytes]:
        """The batches in the gateway's store by first index."""
        with closing(sqlite3.connect(self.directory / "store" / "edgegw.db")) as db:
            return dict(db.execute("SELECT first, message FROM batch ORDER BY first"))

    def accepted(self) -> dict[int, tuple[str, float]]:
        """The readings in the gateway's store by index: quantity and value."""
        found: dict[int, tuple[str, float]] = {}
        for first, message in self.messages().items():
            _, records = senml.read_pack(cose.parse(message).payload or b"")
            for index, record in enumerate(records, first):
                if ":air-1:" in record.name and isinstance(record.value, (int, float)):
                    found[index] = record.name.rpartition(":")[2], float(record.value)
        return found

    def upstream(self, *, proven: bool = True) -> dict[int, tuple[str, float]]:
        """The readings in the receiver's database by index; each index once, and all of them proven."""
        with closing(sqlite3.connect(self.directory / "upstream.db")) as db:
            rows = db.execute(
                "SELECT idx, quantity, value, proven FROM readings WHERE sensor = 'air-1'"
            ).fetchall()
        assert not proven or all(is_proven for *_, is_proven in rows)
        found = {index: (quantity, value) for index, quantity, value, _ in rows}
        assert len(found) == len(rows), "an index is upstream twice"
        return found

    def numbers(self, readings: dict[int, tuple[str, float]]) -> list[int]:
        """The frames behind readings, in order; each frame gives its two readings one after the other."""
        ordered = [readings[index] for index in sorted(readings)]
        assert len(ordered) % 2 == 0
        found = []
        for (fine, low), (coarse, high) in zip(ordered[::2], ordered[1::2], strict=True):
            assert (fine, coarse) == ("pm2_5", "pm10")
            found.append(round(low * 10) + BASE * round(high * 10))
        return found

    def check(self) -> list[int]:
        """Nothing accepted is missing or twice upstream, nothing is there that was not sent; the frames lost."""
        accepted, upstream = self.accepted(), self.upstream()
        assert accepted, self.logs()
        assert upstream == accepted
        numbers = self.numbers(upstream)
        assert len(set(numbers)) == len(numbers), "a frame was recorded twice"
        assert numbers == sorted(numbers)
        assert set(numbers) <= set(range(len(self.sensor.sent))), "a reading that no frame gave"
        return sorted(set(range(numbers[0], len(self.sensor.sent))) - set(numbers))


def _end(process: subprocess.Popen[bytes] | None, how: signal.Signals) -> int:
    if process is None:
        return 0
    if process.poll() is None:
        os.killpg(process.pid, how)
    return process.wait(PATIENCE_S)

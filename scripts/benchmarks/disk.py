"""Row 5: bytes that a reading costs on the disk and on the wire at a steady rate."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from scripts.benchmarks import machine
from scripts.benchmarks.cabinet import SDS011, until
from scripts.benchmarks.table import Row
from scripts.benchmarks.talker import Talker

if TYPE_CHECKING:
    from typing import Self

    from scripts.benchmarks.bench import Bench

#: Readings a second: a busy cabinet.
RATE: Final = 200


class Relay:
    """A TCP relay that counts the bytes that a client sends to `port`; connect to `own` instead."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.own = int(self._listener.getsockname()[1])
        self.sent = 0

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, name="relay", daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._port))
                for ends in ((near, far, True), (far, near, False)):
                    threading.Thread(target=self._copy, args=ends, name="relay", daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket, count: bool) -> None:
        with suppress(OSError), source, sink:
            while data := source.recv(65536):
                sink.sendall(data)
                if count:
                    self.sent += len(data)


def disk(bench: Bench) -> list[Row]:
    """Blocks written by the daemon and bytes sent over TLS for each reading, default `max_age`, link up."""
    with bench.cabinet("disk") as cabinet, Talker(RATE) as talker:
        cabinet.start_broker()
        cabinet.start_receiver()
        with Relay(cabinet.port) as relay:
            cabinet.configure(f'[sensor.air-1]\n{SDS011}\nport = "{talker.path}"\n', port=relay.own)
            pid = cabinet.start_gateway()
            until("readings are upstream", lambda: cabinet.proven() > 0)
            size, written, sent, cpu = (
                cabinet.size(),
                machine.written_bytes(pid),
                relay.sent,
                machine.cpu_s(pid),
            )
            before = cabinet.status()["store"]["written_bytes"]
            time.sleep(bench.sizes.seconds)
            readings = cabinet.size() - size
            blocks = (machine.written_bytes(pid) - written) / readings
            wire = (relay.sent - sent) / readings
            used = (machine.cpu_s(pid) - cpu) / readings * 10_000
            message = (cabinet.status()["store"]["written_bytes"] - before) / readings
    notes = [f"{readings:,} readings at {RATE} a second, {used:.2f} CPU seconds per 10,000"]
    name = "the signed messages themselves"
    return [
        Row(
            "disk",
            f"written to the block device at {RATE} readings/s",
            "B/reading",
            blocks,
            message,
            name,
            300,
            notes=notes,
        ),
        Row("sent", "sent, with TLS, MQTT and heads", "B/reading", wire, message, name),
    ]

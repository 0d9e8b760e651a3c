"""The bare limits: what the libraries alone can do on this machine, without a gateway around them.

`python -m scripts.benchmarks.bare NAME ARGUMENT…` measures one of them in a process of its own, prints JSON.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sqlite3
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from pymodbus.client import AsyncModbusTcpClient

from edgegw.tls import TlsFiles, client_context
from edgegw.wire import cose

if TYPE_CHECKING:
    from collections.abc import Callable

#: How long signing and committing are measured.
SECONDS: Final = 1.0


def signing(message_bytes: int) -> dict[str, float]:
    """ES256 signatures a second over so many bytes."""
    signer = cose.signer(ec.generate_private_key(ec.SECP256R1()))
    data = secrets.token_bytes(message_bytes)
    return _per_second(lambda: signer.sign(data))


def commits(directory: Path, message_bytes: int) -> dict[str, float]:
    """Durable transactions a second that insert one message each: the store's own pragmas, nothing else."""
    data = secrets.token_bytes(message_bytes)
    db = sqlite3.connect(directory / f"bare-{secrets.token_hex(4)}.db", isolation_level=None)
    db.execute("PRAGMA page_size = 4096")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA wal_autocheckpoint = 512")
    db.execute("CREATE TABLE batch(first INTEGER PRIMARY KEY, message BLOB NOT NULL)")

    def commit() -> None:
        db.execute("BEGIN IMMEDIATE")
        db.execute("INSERT INTO batch(message) VALUES (?)", (data,))
        db.execute("COMMIT")

    return _per_second(commit)


def _per_second(work: Callable[[], object]) -> dict[str, float]:
    began, count = time.monotonic(), 0
    while time.monotonic() - began < SECONDS:
        work()
        count += 1
    return {"per_s": count / (time.monotonic() - began)}


def publishing(port: int, folder: Path, message_bytes: int, count: int, window: int) -> dict[str, float]:
    """QoS 1 messages a second that paho alone gets acknowledged, over the same mutual TLS."""
    client = _paho(port, folder, window)
    topic, data = "edgegw/1/virtual-street/main/batch", secrets.token_bytes(message_bytes)
    left, done = count, threading.Event()

    def acknowledged(*_: Any) -> None:
        nonlocal left
        left -= 1
        if not left:
            done.set()

    client.on_publish = acknowledged
    began = time.monotonic()
    for _ in range(count):
        client.publish(topic, data, 1)
    done.wait()
    took = time.monotonic() - began
    client.disconnect()
    client.loop_stop()
    return {"per_s": count / took}


def first_puback(port: int, folder: Path) -> dict[str, float]:
    """Connect, publish once, say when the PUBACK came."""
    client = _paho(port, folder, 20)
    client.publish("edgegw/1/virtual-street/main/batch", b"x", 1).wait_for_publish(10)
    return {"at": time.time()}


def _paho(port: int, folder: Path, window: int) -> Client:
    client = Client(CallbackAPIVersion.VERSION2, client_id="bare", protocol=MQTTv5)
    files = TlsFiles(folder / "ca.crt", folder / "tls.crt", folder / "tls.key")
    client.tls_set_context(client_context(files))
    client.max_inflight_messages = window
    client.max_queued_messages = 0
    connected = threading.Event()
    client.on_connect = lambda *_: connected.set()
    client.connect("localhost", port)
    client.loop_start()
    connected.wait(10)
    return client


def polling(
    ports: list[int], interval_s: float, seconds: float, publish: Callable[[str], object]
) -> dict[str, float]:
    """CPU seconds of a plain pymodbus script that reads four registers of each device on each interval."""
    return asyncio.run(_poll_all(ports, interval_s, seconds, publish))


async def _poll_all(
    ports: list[int], interval_s: float, seconds: float, publish: Callable[[str], object]
) -> dict[str, float]:
    readings = 0

    async def poll(port: int) -> None:
        nonlocal readings
        client = AsyncModbusTcpClient("127.0.0.1", port=port)
        await client.connect()
        while True:
            began = time.monotonic()
            answer = await client.read_holding_registers(0, count=4, device_id=1)
            for register, value in enumerate(answer.registers):
                publish(json.dumps({"id": port, "register": register, "value": value / 10, "t": time.time()}))
                readings += 1
            await asyncio.sleep(interval_s - (time.monotonic() - began))

    tasks = [asyncio.create_task(poll(port)) for port in ports]
    await asyncio.sleep(min(2.0, seconds / 4))  # connecting is not polling
    cpu, before = time.process_time(), readings
    await asyncio.sleep(seconds)
    found = {"cpu_s": time.process_time() - cpu, "readings": readings - before}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return found


def main(name: str, *arguments: str) -> dict[str, float]:
    """Measure one limit."""
    if name == "signing":
        return signing(int(arguments[0]))
    if name == "commits":
        return commits(Path(arguments[0]), int(arguments[1]))
    if name == "publishing":
        port, folder, size, count, window = arguments
        return publishing(int(port), Path(folder), int(size), int(count), int(window))
    if name == "first_puback":
        return first_puback(int(arguments[0]), Path(arguments[1]))
    ports, interval, seconds, *broker = arguments
    numbers = [int(port) for port in ports.split(",")]
    if not broker:
        return polling(numbers, float(interval), float(seconds), lambda text: text)
    client = _paho(int(broker[0]), Path(broker[1]), 20)
    topic = "edgegw/1/virtual-street/bare"
    return polling(numbers, float(interval), float(seconds), lambda text: client.publish(topic, text, 1))


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING, Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from signed_logs import PREFIX, SignedLog, register

from edgegw.connection import Connection
from edgegw.exchange import Acknowledged, Closed, Dial, Message, Received
from edgegw.simulate.authority import write_private
from edgegw.tls import Server, TlsFiles
from edgegw.wire import cose, verify

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from broker import Broker, MakeBroker

    from edgegw.wire.receipt import Receipt, Request

#: Far longer than anything here takes: only a broken machine meets it.
PATIENCE_S: Final = 60.0
KEY = ec.derive_private_key(0x5709E, ec.SECP256R1())
STORES = {cose.signer(KEY).kid: cose.verify_key(KEY.public_key())}

PROGRAM = """
import asyncio, sys
from pathlib import Path
from edgegw.config import Reference
from edgegw.problems import GatewayError
from edgegw.receive.run import ReceiveOptions, receive
from edgegw.tls import Server

def file(name):
    return Reference("file", name)

server, here, ca, cert, key, simulated = sys.argv[1:7]
options = ReceiveOptions(
    server=Server.parse(server), ca=file(ca), cert=file(cert), key=file(key), keys=Path(here, "keys"),
    signing_key=file(here + "/store.key"), store="sqlite:///" + here + "/up.db", json=True,
    accept_simulated=simulated == "1")
try:
    sys.exit(asyncio.run(receive(options)))
except GatewayError as error:
    print(error.json(), file=sys.stderr)
    sys.exit(int(error.exit_code))
"""

KILL_ONCE = """
import os, signal
from pathlib import Path
def die(point):
    try:
        os.close(os.open(os.path.join(os.path.dirname({db!r}), point), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
"""

AFTER_COMMIT = """
from edgegw.receive.desk import Desk
take = Desk.take
def taken(self, arrivals):
    reply = take(self, arrivals)
    if arrivals:
        die("after-commit")
    return reply
Desk.take = taken
"""

BEFORE_COMMIT = """
from edgegw.receive.upstream_store import UpstreamStore
save = UpstreamStore.save
def saved(self, log):
    save(self, log)
    die("before-commit")
UpstreamStore.save = saved
"""

DISK_FAILS = """
import sqlite3
from edgegw.receive.upstream_store import UpstreamStore
def save(self, log):
    raise sqlite3.OperationalError("disk I/O error")
UpstreamStore.save = save
"""


class Receiver:
    """`edgegw receive` in a process of its own, in a directory with its keys and its store."""

    def __init__(self, directory: Path, broker: Broker, name: str = "city") -> None:
        self.directory = directory
        self.keys = directory / "keys"
        self.keys.mkdir(parents=True)
        write_private(
            directory / "store.key", KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        self.lines: list[dict[str, Any]] = []
        self._broker = broker
        self._name = name
        self._process: subprocess.Popen[str] | None = None
        self._said = threading.Condition()

    def start(self, *, before: str = "", simulated: bool = False) -> None:
        files = self._broker.client(self._name)
        program = (KILL_ONCE.format(db=str(self.directory / "up.db")) + before if before else "") + PROGRAM
        url = f"mqtts://{self._broker.host}:{self._broker.port}"
        arguments = [url, self.directory, self._broker.ca, files.certificate, files.key, int(simulated)]
        self._process = subprocess.Popen(
            [sys.executable, "-c", program, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._listener = threading.Thread(target=self._listen, args=(self._process,))
        self._listener.start()

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                with self._said:
                    self.lines.append(json.loads(line))
                    self._said.notify_all()

    def says(self, kind: str, wanted: Callable[[dict[str, Any]], bool] = lambda _: True) -> dict[str, Any]:
        """Wait for a line of this type, and forget everything up to it."""

        def found() -> bool:
            return any(line["type"] == kind and wanted(line) for line in self.lines)

        with self._said:
            assert self._said.wait_for(found, PATIENCE_S), (kind, self.lines, self.errors())
            while True:
                line = self.lines.pop(0)
                if line["type"] == kind and wanted(line):
                    return line

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        assert self._process is not None
        self._process.send_signal(how)
        return self.ended()

    def ended(self) -> int:
        assert self._process is not None
        code = self._process.wait(PATIENCE_S)
        self._listener.join(PATIENCE_S)
        assert self._process.stderr is not None
        self._process.stderr.close()
        self._process = None
        return code

    def errors(self) -> str:
        if self._process is None or self._process.poll() is None or self._process.stderr is None:
            return ""
        return self._process.stderr.read()

    def failed(self) -> dict[str, Any]:
        """What it said when it gave up."""
        assert self._process is not None
        self._process.wait(PATIENCE_S)
        found: dict[str, Any] = json.loads(self.errors())
        self.ended()
        return found

    def end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self.ended()

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"file:{self.directory / 'up.db'}?mode=ro", uri=True)) as db:
            return db.execute(sql).fetchall()

    def holds(self, *logs: SignedLog) -> None:
        """Assert that exactly the readings of these logs are upstream, each once, with its value, proven."""
        rows = self.query("SELECT gateway, epoch, idx, coalesce(value, text), proven FROM readings")
        wanted = [(log.gateway, log.id.epoch, i, v, 1) for log in logs for i, v in log.values.items()]
        assert sorted(rows) == sorted(wanted)


class Sender:
    """A gateway's side of the broker: publishes, and collects what the store says."""

    def __init__(self, connection: Connection, log: SignedLog) -> None:
        self.log = log
        self._connection = connection
        self._receipts: list[Receipt] = []
        self._requests: list[Request] = []

    async def send(self, kind: str, *messages: bytes, topic: str = "") -> None:
        """Publish, and wait until the broker has them all."""
        waiting: set[int] = set()
        left = [Message(topic or self.log.to(kind, m).topic, m, retain=kind != "batch") for m in messages]
        async with asyncio.timeout(PATIENCE_S):
            while left or waiting:
                while left and self._connection.room:
                    waiting.add(self._connection.publish(left.pop(0)))
                event = await self._next()
                if isinstance(event, Acknowledged):
                    waiting.discard(event.handle)

    async def receipted(self, size: int) -> Receipt:
        """Wait for the receipt of exactly this size."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for receipt in self._receipts:
                    if receipt.log == self.log.id and receipt.size == size:
                        self._receipts.clear()
                        return receipt
                await self._next()

    async def asked(self) -> Request:
        """Wait for a request."""
        async with asyncio.timeout(PATIENCE_S):
            while not self._requests:
                await self._next()
        return self._requests.pop(0)

    async def _next(self) -> object:
        event = await self._connection.next()
        assert not isinstance(event, Closed), event.failure
        if isinstance(event, Received):
            if event.topic.endswith("/receipt"):
                self._receipts.append(verify.open_receipt(event.payload, STORES))
            else:
                self._requests.append(verify.open_request(event.payload, STORES))
        return event


@asynccontextmanager
async def sender(broker: Broker, log: SignedLog) -> AsyncIterator[Sender]:
    files = broker.client(log.gateway)
    tls = TlsFiles(broker.ca, files.certificate, files.key)
    connection = Connection(Dial(Server(broker.host, broker.port), tls, client_id=log.gateway))
    await connection.connect()
    await connection.subscribe([f"{PREFIX}/{log.gateway}/main/receipt", f"{PREFIX}/{log.gateway}/request"])
    try:
        yield Sender(connection, log)
    finally:
        await connection.close()


@pytest.fixture
def receiver(tmp_path: Path, broker: Broker) -> Iterator[Receiver]:
    found = Receiver(tmp_path / "city", broker)
    yield found
    found.end()


@pytest.fixture
def gateway(receiver: Receiver) -> SignedLog:
    log = SignedLog()
    register(receiver.keys, log)
    return log


async def test_readings_arrive_in_any_order_and_with_repeats_exactly_once(
    broker: Broker, receiver: Receiver, gateway: SignedLog
) -> None:
    other = SignedLog("gw-2")
    register(receiver.keys, other)
    receiver.start()
    receiver.says("connected")
    batches = [gateway.batch(count) for count in (100, 1, 37, 850, 5)]
    async with sender(broker, gateway) as one, sender(broker, other) as two:
        await one.send("batch", *batches[::-1], *batches)
        await two.send("batch", other.batch(10), other.batch(3))
        await two.send("head", other.head())
        receipt = await one.receipted(gateway.size)
        assert receipt.root == gateway.tree.root()
        assert receipt.store == "urn:dev:ops:32473-city"
        await two.receipted(other.size)
    line = receiver.says("progress", lambda line: line["receipted"] == 1006)
    assert (line["readings"], line["proven"]) == (1006, 1006)
    assert receiver.stop() == 0
    receiver.holds(gateway, other)
    assert receiver.query("SELECT gateway, size, receipted, gaps FROM gateways ORDER BY gateway") == [
        ("gw-1", 993, 993, 0),
        ("gw-2", 13, 13, 0),
    ]


async def test_a_gateway_that_connects_later_finds_the_receipt(
    broker: Broker, receiver: Receiver, gateway: SignedLog
) -> None:
    receiver.start()
    receiver.says("connected")
    async with sender(broker, gateway) as link:
        await link.send("batch", gateway.batch(3))
        await link.receipted(3)
    async with sender(broker, gateway) as link:
        await link.receipted(3)


async def test_what_is_wrong_is_refused_by_name_and_holds_nothing_up(
    broker: Broker, receiver: Receiver, gateway: SignedLog
) -> None:
    simulated = SignedLog("gw-2", simulated=True)
    stranger = SignedLog("gw-3")
    register(receiver.keys, simulated)
    receiver.start()
    receiver.says("connected")
    good = gateway.batch(3)
    flipped = good[:-1] + bytes([good[-1] ^ 1])
    async with sender(broker, gateway) as link:
        await link.send("batch", flipped, b"", b"\xd2" * 1000, *[flipped] * 50)
        await link.send("head", b"retained nonsense")
        await link.send("batch", good, topic=f"{PREFIX}/gw-2/main/batch")
        await link.send("batch", simulated.batch(2), topic=f"{PREFIX}/gw-2/main/batch")
        await link.send("batch", stranger.batch(2), topic=f"{PREFIX}/gw-3/main/batch")
        await link.send("batch", good)
        await link.receipted(3)
    line = receiver.says("progress", lambda line: sum(line["refused"].values()) == 57)
    assert line["refused"] == {"signature": 51, "malformed": 3, "topic": 1, "simulated": 1, "unknown_key": 1}
    assert receiver.stop() == 0
    receiver.holds(gateway)


async def test_simulated_readings_are_taken_where_they_are_wanted(broker: Broker, receiver: Receiver) -> None:
    log = SignedLog(simulated=True)
    register(receiver.keys, log)
    receiver.start(simulated=True)
    receiver.says("connected")
    async with sender(broker, log) as link:
        await link.send("batch", log.batch(2))
        await link.receipted(2)


@pytest.mark.parametrize("point", ["before-commit", "after-commit"])
async def test_a_receiver_that_is_killed_loses_and_repeats_nothing(
    broker: Broker, receiver: Receiver, gateway: SignedLog, point: str
) -> None:
    receiver.start(before={"before-commit": BEFORE_COMMIT, "after-commit": AFTER_COMMIT}[point])
    receiver.says("connected")
    batches = [gateway.batch(50) for _ in range(4)]
    async with sender(broker, gateway) as link:
        await link.send("batch", *batches)
        assert receiver.ended() == -signal.SIGKILL
        assert (receiver.directory / point).exists()  # it died where it was meant to
        stored = receiver.query("SELECT count(*) FROM readings")[0][0]
        assert (stored == 0) is (point == "before-commit")
        receiver.start()
        receiver.says("connected")
        await link.send("batch", *batches, gateway.batch(50))  # no receipt came, so they are sent again
        await link.receipted(250)
    assert receiver.stop() == 0
    receiver.holds(gateway)


async def test_a_disk_that_fails_ends_it_with_nothing_acknowledged(
    broker: Broker, receiver: Receiver, gateway: SignedLog
) -> None:
    receiver.start(before=DISK_FAILS)
    receiver.says("connected")
    batches = [gateway.batch(50) for _ in range(3)]
    async with sender(broker, gateway) as link:
        await link.send("batch", *batches)
        error = receiver.failed()
        assert (error["code"], error["exit_code"]) == ("EG-STORE-FAILED", 9)
        assert "disk I/O error" in error["what"]
        assert receiver.query("SELECT count(*) FROM readings") == [(0,)]
        receiver.start()
        receiver.says("connected")
        await link.send("batch", *batches)
        await link.receipted(150)
    receiver.holds(gateway)


async def test_a_receiver_that_starts_again_goes_on_where_it_was(
    broker: Broker, receiver: Receiver, gateway: SignedLog
) -> None:
    async with sender(broker, gateway) as link:
        for turn in range(1, 4):
            receiver.start()
            receiver.says("connected")
            if turn > 1:
                await link.receipted(20 * (turn - 1))  # published again with the connection
            await link.send("batch", gateway.batch(20))
            await link.receipted(20 * turn)
            receiver.end() if turn == 2 else receiver.stop()
    receiver.holds(gateway)


async def test_a_broker_that_comes_late_and_dies_is_waited_for(
    broker: Broker, receiver: Receiver, gateway: SignedLog
) -> None:
    broker.kill()
    receiver.start()
    assert receiver.says("disconnected")["reason"] == "connection_refused"
    for turn in range(1, 3):
        broker.start()
        receiver.says("connected")
        async with sender(broker, gateway) as link:
            await link.send("batch", gateway.batch(20))
            await link.receipted(20 * turn)
        broker.kill()
    receiver.says("disconnected")
    assert receiver.stop() == 0
    receiver.holds(gateway)


async def test_a_hole_is_asked_for_and_filled(broker: Broker, receiver: Receiver, gateway: SignedLog) -> None:
    first, second, third = (gateway.batch(10) for _ in range(3))
    async with sender(broker, gateway) as link:
        await link.send("status", gateway.status())
        await link.send("head", gateway.head())
        receiver.start()
        receiver.says("connected")
        await link.send("batch", first, third)
        request = await link.asked()
        assert (request.first, request.end, request.head, request.log) == (10, 20, 1, gateway.id)
        assert receiver.says("gap")["first"] == 10
        await link.send("batch", second)
        await link.receipted(30)
    receiver.says("gap_closed")
    receiver.holds(gateway)


async def test_what_arrived_before_the_stop_is_stored_and_receipted(
    broker: Broker, receiver: Receiver, gateway: SignedLog
) -> None:
    slow = "import time\nfrom edgegw.receive.intake import Intake\none = Intake._one\n"
    slow += "def slowly(self, *a):\n    time.sleep(0.05)\n    one(self, *a)\nIntake._one = slowly\n"
    receiver.start(before=slow)
    receiver.says("connected")
    async with sender(broker, gateway) as link:
        await link.send("batch", *(gateway.batch(5) for _ in range(40)))
        assert receiver.stop() == 0
        stored = receiver.query("SELECT count(*) FROM readings")[0][0]
        assert stored > 0
        await link.receipted(stored)


async def test_control_c_is_told_apart_from_a_stop(receiver: Receiver, gateway: SignedLog) -> None:
    del gateway
    receiver.start()
    receiver.says("connected")
    assert receiver.stop(signal.SIGINT) == 130


async def test_more_than_the_receive_maximum_waits_at_the_broker(
    tmp_path: Path, make_broker: MakeBroker
) -> None:
    broker = make_broker(options=["max_inflight_messages 0", "max_queued_messages 0"])
    receiver = Receiver(tmp_path / "city", broker)
    log = SignedLog()
    register(receiver.keys, log)
    receiver.start()
    receiver.says("connected")
    try:
        async with sender(broker, log) as link:
            await link.send("batch", *(log.batch(3) for _ in range(500)))
            await link.receipted(1500)
        assert receiver.stop() == 0
        receiver.holds(log)
    finally:
        receiver.end()


async def test_a_broker_that_does_not_let_it_write_receipts_is_named(
    tmp_path: Path, make_broker: MakeBroker
) -> None:
    broker = make_broker(acl="user gw-1\ntopic readwrite edgegw/1/#\nuser city\ntopic read edgegw/1/#\n")
    receiver = Receiver(tmp_path / "city", broker)
    log = SignedLog()
    register(receiver.keys, log)
    receiver.start()
    try:
        receiver.says("connected")
        async with sender(broker, log) as link:
            await link.send("batch", log.batch(3))
        line = receiver.says("unpublished")
        assert (line["topic"], line["code"]) == (f"{PREFIX}/gw-1/main/receipt", 0x87)
        assert receiver.stop() == 0
    finally:
        receiver.end()
    receiver.holds(log)


@pytest.mark.parametrize("what", ["store", "key", "mode", "keys"])
def test_what_cannot_work_is_said_before_anything_is_connected(receiver: Receiver, what: str) -> None:
    if what == "store":
        (receiver.directory / "up.db").write_bytes(b"a letter from the mayor")
    elif what == "key":
        (receiver.directory / "store.key").write_text("no key")
    elif what == "mode":
        (receiver.directory / "store.key").chmod(0o644)
    else:
        receiver.keys.rmdir()
    receiver.start()
    error = receiver.failed()
    assert error["exit_code"] == (9 if what == "store" else 8)
    assert error["what"]
    assert error["todo"]

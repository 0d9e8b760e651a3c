"""Brokers of the local network: a real mosquitto, two versions of MQTT, and brokers that are none."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from broker import free_port
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from edgegw.driver import Login, Subscription
from edgegw.packets import PacketError
from edgegw.ports.errors import PortError
from edgegw.ports.mqtt_local import Arrived, Brokers
from edgegw.ports.mqtt_local import brokers as brokers_module
from edgegw.ports.mqtt_local.brokers import overlap
from edgegw.ports.mqtt_local.packets import check_3_1_1
from edgegw.ports.mqtt_local.worker import PACKET_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from broker import Broker, MakeBroker

#: Far longer than a message on loopback takes.
PATIENT_S = 60.0


def answers(port: int) -> int:
    """The port, as soon as somebody answers there: mosquitto opens its listeners one after the other."""
    deadline = time.monotonic() + PATIENT_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), PATIENT_S).close()
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        else:
            return port


class Site:
    """A broker with a plain port, and somebody who publishes there."""

    def __init__(self, broker: Broker, port: int) -> None:
        self.broker = broker
        self.port = answers(port)

    def source(self, *topics: str, version: int = 5, login: Login | None = None) -> Subscription:
        return Subscription(f"mqtt://127.0.0.1:{self.port}", topics, version, "", login or Login())

    def publish(
        self, topic: str, payload: str | bytes = "1", *, retain: bool = False, login: str = ""
    ) -> None:
        client = Client(CallbackAPIVersion.VERSION2)
        if login:
            client.username_pw_set(login, login)
        client.connect("127.0.0.1", self.port)
        client.loop_start()
        try:
            client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(PATIENT_S)
        finally:
            client.disconnect()
            client.loop_stop()


class Listener:
    """Somebody who listens, and what was heard."""

    def __init__(self, brokers: Brokers, source: Subscription) -> None:
        self.heard: list[Arrived] = []
        self.lost = 0
        self._more = asyncio.Event()
        self.task = asyncio.create_task(brokers.listen(source, self._take, self._lost))

    def _take(self, message: Arrived) -> None:
        self.heard.append(message)
        self._more.set()

    def _lost(self, count: int) -> None:
        self.lost += count
        self._more.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENT_S):
            while not condition():
                self._more.clear()
                waiting = asyncio.create_task(self._more.wait())
                await asyncio.wait({self.task, waiting}, return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
                if self.task.done() and not condition():
                    self.task.result()
                    raise AssertionError("it listens no longer")

    @property
    def payloads(self) -> list[bytes]:
        return [each.payload for each in self.heard]


@pytest.fixture
def site(make_broker: MakeBroker) -> Site:
    port = free_port()
    options = [f"listener {port} 127.0.0.1", "allow_anonymous true", "max_queued_messages 100000"]
    return Site(make_broker(options=options), port)


@pytest.fixture
async def brokers() -> AsyncIterator[Brokers]:
    before = asyncio.all_tasks()
    yield Brokers()
    for task in asyncio.all_tasks() - before:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, PortError):
            await task


async def subscribed(site: Site, listener: Listener, topic: str) -> None:
    """Publish a mark until it is heard: then the subscription is there."""
    while not any(each.payload == b"mark" for each in listener.heard):
        await asyncio.to_thread(site.publish, topic, "mark")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await listener.until(lambda: bool(listener.heard))
        if listener.task.done():
            listener.task.result()
    listener.heard.clear()


async def refused(listener: Listener) -> PortError:
    with pytest.raises(PortError) as error:
        async with asyncio.timeout(PATIENT_S):
            await listener.task
    assert error.value.why.endswith(".")
    assert error.value.todo
    return error.value


@pytest.mark.parametrize("version", [5, 4])
async def test_what_is_published_is_heard_by_whom_it_fits(site: Site, brokers: Brokers, version: int) -> None:
    listener = Listener(brokers, site.source("site/+/state", version=version))
    await subscribed(site, listener, "site/x/state")
    await asyncio.to_thread(site.publish, "site/a/state", b"\x00\xff")
    await asyncio.to_thread(site.publish, "site/a/other", "no")
    await asyncio.to_thread(site.publish, "site/b/state", "last")
    await listener.until(lambda: b"last" in listener.payloads)
    marks = [each for each in listener.heard if each.payload != b"mark"]
    assert [(each.topic, each.payload, each.retained) for each in marks] == [
        ("site/a/state", b"\x00\xff", False),
        ("site/b/state", b"last", False),
    ]
    assert marks[0].at <= marks[1].at


@pytest.mark.parametrize("version", [5, 4])
async def test_a_message_that_the_broker_had_kept_is_marked(
    site: Site, brokers: Brokers, version: int
) -> None:
    await asyncio.to_thread(site.publish, "old", "kept", retain=True)
    listener = Listener(brokers, site.source("old", version=version))
    await listener.until(lambda: bool(listener.heard))
    assert listener.heard[0]._replace(at=0.0) == Arrived("old", b"kept", True, 0.0)
    await asyncio.to_thread(site.publish, "old", "fresh", retain=True)
    await listener.until(lambda: len(listener.heard) > 1)
    assert listener.heard[1]._replace(at=0.0) == Arrived("old", b"fresh", False, 0.0)


async def test_sensors_share_a_connection_and_each_hears_its_own(site: Site, brokers: Brokers) -> None:
    one, two = Listener(brokers, site.source("a")), Listener(brokers, site.source("b"))
    again = Listener(brokers, site.source("a"))
    await subscribed(site, two, "b")
    await subscribed(site, one, "a")
    assert len(brokers._links) == 1
    await asyncio.to_thread(site.publish, "a", "x")
    await one.until(lambda: b"x" in one.payloads)
    await again.until(lambda: b"x" in again.payloads)
    assert b"x" not in two.payloads
    assert again.payloads.count(b"x") == 1
    one.task.cancel()
    again.task.cancel()
    await asyncio.to_thread(site.publish, "b", "y")
    await two.until(lambda: b"y" in two.payloads)


async def test_topics_that_overlap_get_connections_of_their_own_so_that_nothing_comes_twice(
    site: Site, brokers: Brokers
) -> None:
    wide, narrow = Listener(brokers, site.source("a/#")), Listener(brokers, site.source("a/b"))
    await subscribed(site, wide, "a/b")
    await subscribed(site, narrow, "a/b")
    assert len(brokers._links) == 2
    await asyncio.to_thread(site.publish, "a/b", "x")
    await asyncio.to_thread(site.publish, "a/b", "end")
    for listener in (wide, narrow):
        await listener.until(lambda who=listener: b"end" in who.payloads)  # type: ignore[misc]
        assert listener.payloads.count(b"x") == 1


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("a", "a", True),
        ("a", "b", False),
        ("a/b", "a", False),
        ("a/+", "a/b", True),
        ("+/b", "a/+", True),
        ("+", "a/b", False),
        ("a/#", "a", True),
        ("a/#", "b/#", False),
        ("#", "x/y/z", True),
        ("a/+/c", "a/b/d", False),
        ("a/+", "a/b/c", False),
    ],
)
def test_two_filters_overlap_when_one_topic_can_fit_both(one: str, other: str, both: bool) -> None:
    assert overlap(one, other) is both
    assert overlap(other, one) is both


async def test_a_broker_that_dies_is_said_and_the_next_attempt_is_a_new_connection(
    site: Site, brokers: Brokers
) -> None:
    listener = Listener(brokers, site.source("a"))
    await subscribed(site, listener, "a")
    site.broker.kill()
    assert (await refused(listener)).reason == "lost"
    assert (await refused(Listener(brokers, site.source("a")))).reason == "refused"
    site.broker.start()
    await asyncio.to_thread(answers, site.port)
    again = Listener(brokers, site.source("a"))
    await subscribed(site, again, "a")
    assert len(brokers._links) == 1


async def test_a_defect_of_one_sensor_is_its_own(site: Site, brokers: Brokers) -> None:
    def fail(_message: Arrived) -> None:
        raise ZeroDivisionError("a defect")

    listener = Listener(brokers, site.source("a"))
    failing = asyncio.create_task(brokers.listen(site.source("a"), fail, lambda _count: None))
    await subscribed(site, listener, "a")
    with pytest.raises(ZeroDivisionError):
        async with asyncio.timeout(PATIENT_S):
            await failing
    await asyncio.to_thread(site.publish, "a", "after")
    await listener.until(lambda: b"after" in listener.payloads)


async def test_a_flood_while_the_loop_stands_still_is_bounded_and_counted(
    site: Site, brokers: Brokers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(brokers_module, "WAITING", 10)
    listener = Listener(brokers, site.source("a"))
    await subscribed(site, listener, "a")
    (link,) = brokers._links
    # The loop does not come round here: what the thread hands over waits.
    for number in range(100):
        link._arrived(Arrived("a", str(number).encode(), False, 0.0))
    await listener.until(lambda: listener.lost > 0)
    marks = [payload for payload in listener.payloads if payload != b"mark"]
    assert len(marks) + listener.lost >= 100
    assert marks[:10] == [str(number).encode() for number in range(10)]


async def test_a_message_that_is_too_large_ends_the_connection(site: Site, brokers: Brokers) -> None:
    listener = Listener(brokers, site.source("a", version=4))
    await subscribed(site, listener, "a")
    await asyncio.to_thread(site.publish, "a", b"x" * (PACKET_BYTES + 1))
    error = await refused(listener)
    assert error.reason == "lost"
    assert "more than" in error.why


# Who we are, who they are


@pytest.fixture
def guarded(make_broker: MakeBroker, tmp_path: Path) -> Site:
    passwords = tmp_path / "passwords"
    passwords.touch(mode=0o600)
    for name in ("reader", "publisher"):
        subprocess.run(["mosquitto_passwd", "-b", passwords, name, name], check=True, capture_output=True)
    port = free_port()
    options = [f"listener {port} 127.0.0.1", "allow_anonymous false", f"password_file {passwords}"]
    return Site(make_broker(options=options), port)


@pytest.mark.parametrize("version", [5, 4])
async def test_a_login_lets_us_in_and_a_wrong_one_is_said_in_words(
    guarded: Site, brokers: Brokers, version: int
) -> None:
    good = guarded.source("a", version=version, login=Login("reader", "reader"))
    listener = Listener(brokers, good)
    while not listener.heard:
        assert not listener.task.done()
        await asyncio.to_thread(guarded.publish, "a", "x", login="publisher")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await listener.until(lambda: bool(listener.heard))
    for login in (Login("reader", "wrong"), Login()):
        source = guarded.source("a", version=version, login=login)
        error = await refused(Listener(brokers, source))
        assert error.reason == "login"
        assert "reader" not in str(error)


async def test_mqtts_trusts_the_configured_authority_and_no_other(
    make_broker: MakeBroker, brokers: Brokers, tmp_path: Path
) -> None:
    from edgegw.simulate.authority import Authority

    port = free_port()
    first = make_broker(start=False)
    tls = [
        f"listener {port} 127.0.0.1",
        f"cafile {first.ca}",
        f"certfile {first.directory / 'server.crt'}",
        f"keyfile {first.directory / 'server.key'}",
        "allow_anonymous true",
    ]
    plain = free_port()
    site = Site(make_broker(options=[*tls, f"listener {plain} 127.0.0.1"]), plain)
    await asyncio.to_thread(answers, port)
    other = Authority().write(tmp_path / "other.crt")
    listener = Listener(brokers, Subscription(f"mqtts://localhost:{port}", ("a",), 5, str(first.ca)))
    await subscribed(site, listener, "a")
    wrong = Subscription(f"mqtts://localhost:{port}", ("a",), 5, str(other))
    assert (await refused(Listener(brokers, wrong))).reason == "tls"
    none = Subscription(f"mqtts://localhost:{port}", ("a",), 5, str(tmp_path / "none"))
    assert (await refused(Listener(brokers, none))).reason == "ca"


async def test_nothing_is_said_to_a_broker_that_is_not_near(
    site: Site, brokers: Brokers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgegw.ports.trust.is_near", lambda _: False)
    assert (await refused(Listener(brokers, site.source("a")))).reason == "public"


async def test_nobody_there_is_said_in_words(brokers: Brokers) -> None:
    nobody = Subscription(f"mqtt://127.0.0.1:{free_port()}", ("a",))
    assert (await refused(Listener(brokers, nobody))).reason == "refused"
    nowhere = Subscription("mqtt://nowhere.invalid", ("a",))
    assert (await refused(Listener(brokers, nowhere))).reason in {"unknown_host", "unreachable"}


@pytest.mark.parametrize("version", [5, 4])
@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x20\x02",
        b"\x20\x01\x00",
        b"\x20\xff\xff\xff\xff\x01",
        b"\x20\x02\x00\x00" + b"\x30\xff\xff\xff\x7f",
        b"\x20\x03\x00\x00\x00" + b"\x34\x05\x00\x01aXX",
        b"\x20\x03\x00\x00\x00" + b"\x36\x05\x00\x01aXX",
        b"\x20\x03\x00\x00\x00" + b"\x30\x02\x00\x09",
        b"\xf0\x00",
        b"",
    ],
)
async def test_whatever_is_no_broker_ends_the_connection_and_nothing_else(
    brokers: Brokers, answer: bytes, version: int
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await reader.read(100)
            writer.write(answer)
            await writer.drain()
            writer.write_eof()
            await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        listener = Listener(brokers, Subscription(f"mqtt://127.0.0.1:{port}", ("a",), version))
        assert (await refused(listener)).reason in {"lost", "login"}


@pytest.mark.parametrize(
    "packet", [b"\x10\x00", b"\x40\x02\x00\x01", b"\xe0\x00", b"\x20\x01\x00", b"\x32\x03\x00\x01a"]
)
def test_a_packet_that_no_3_1_1_broker_sends_is_refused(packet: bytes) -> None:
    with pytest.raises(PacketError):
        check_3_1_1(packet, 2)

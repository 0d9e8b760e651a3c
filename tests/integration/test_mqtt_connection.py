from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

import edgegw.mqtt
from edgegw.connection import Connection
from edgegw.exchange import Acknowledged, Closed, Dial, Message, Pulse, Received, Vital
from edgegw.linkfailure import LinkFailure, Reason
from edgegw.tls import Server, TlsFiles

if TYPE_CHECKING:
    from broker import Broker, MakeBroker

E = TypeVar("E")

PATIENCE_S = 60.0


def dial(
    broker: Broker,
    name: str = "gw-1",
    *,
    manual_ack: bool = False,
    receive_maximum: int = 16,
    max_packet: int = 16384,
    keepalive_s: int = 15,
    will: Message | None = None,
) -> Dial:
    files = broker.client(name)
    return Dial(
        Server(broker.host, broker.port),
        TlsFiles(broker.ca, files.certificate, files.key),
        name,
        manual_ack=manual_ack,
        receive_maximum=receive_maximum,
        max_packet=max_packet,
        keepalive_s=keepalive_s,
        will=will,
    )


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def expect(connection: Connection, kind: type[E]) -> E:
    async with asyncio.timeout(PATIENCE_S):
        event = await connection.next()
    assert isinstance(event, kind), event
    return event


async def test_a_message_reaches_a_subscriber_with_its_properties(broker: Broker) -> None:
    sender, reader = Connection(dial(broker)), Connection(dial(broker, "reader"))
    session = await sender.connect()
    await reader.connect()
    assert session.tls == "TLSv1.3"
    assert await reader.subscribe(["a/+"]) == (1,)
    user = (("specversion", "1.0"), ("id", "8a3b/7"))
    handle = sender.publish(Message("a/b", b"\x00\xff", user=user))
    received = await expect(reader, Received)
    assert (received.topic, received.payload, received.user) == ("a/b", b"\x00\xff", user)
    assert await expect(sender, Acknowledged) == Acknowledged(handle, 0)
    await sender.close()
    await reader.close()


async def test_nobody_subscribed_is_told_apart_from_success(broker: Broker) -> None:
    connection = Connection(dial(broker))
    await connection.connect()
    handle = connection.publish(Message("a/b", b"x"))
    assert await expect(connection, Acknowledged) == Acknowledged(handle, 0x10)
    await connection.close()


async def test_a_topic_that_the_access_list_forbids_is_answered_with_not_authorised(
    make_broker: MakeBroker,
) -> None:
    broker = make_broker(acl="user gw-1\ntopic write mine/#\n")
    connection = Connection(dial(broker))
    await connection.connect()
    connection.publish(Message("yours/x", b"x"))
    assert (await expect(connection, Acknowledged)).code == 0x87
    await connection.close()


async def test_a_message_that_the_broker_finds_too_large_is_refused_and_the_link_goes_on(
    make_broker: MakeBroker,
) -> None:
    # mosquitto answers with PUBACK 0x95, which the standard does not list and paho does not know
    connection = Connection(dial(make_broker(options=["message_size_limit 1000"])))
    await connection.connect()
    connection.publish(Message("a/b", bytes(2000)))
    assert (await expect(connection, Acknowledged)).code == 0x95
    connection.publish(Message("a/b", bytes(10)))
    assert (await expect(connection, Acknowledged)).code == 0x10
    await connection.close()


async def test_what_the_broker_grants_is_known_and_held(make_broker: MakeBroker) -> None:
    broker = make_broker(options=["max_inflight_messages 3", "max_packet_size 1000"])
    connection = Connection(dial(broker))
    session = await connection.connect()
    assert (session.receive_maximum, session.max_packet) == (3, 1000)
    assert not connection.fits(Message("a/b", bytes(1000)))
    with pytest.raises(RuntimeError, match="fits"):
        connection.publish(Message("a/b", bytes(1000)))
    for _ in range(3):
        connection.publish(Message("a/b", b"x"))
    assert connection.room == 0
    with pytest.raises(RuntimeError, match="room"):
        connection.publish(Message("a/b", b"x"))
    await expect(connection, Acknowledged)
    assert connection.room > 0
    await connection.close()


@pytest.mark.parametrize("option", ["retain_available false", "max_qos 0"])
async def test_a_broker_without_what_we_need_is_named_as_such(option: str, make_broker: MakeBroker) -> None:
    connection = Connection(dial(make_broker(options=[option])))
    with pytest.raises(LinkFailure) as failed:
        await connection.connect()
    assert failed.value.reason is Reason.UNSUPPORTED
    await connection.close()


async def test_packets_never_exceed_the_size_that_is_computed_for_them(make_broker: MakeBroker) -> None:
    message = Message("a/b", bytes(700), user=(("id", "ä" * 40),))
    broker = make_broker(options=[f"max_packet_size {message.packet_size}"])
    connection = Connection(dial(broker))
    await connection.connect()
    connection.publish(message)
    assert (await expect(connection, Acknowledged)).code == 0x10
    await connection.close()


async def test_the_will_is_published_when_the_line_breaks_and_when_it_is_asked_for(broker: Broker) -> None:
    will = Message("gw/status", b"offline", retain=True)
    reader = Connection(dial(broker, "reader"))
    await reader.connect()
    await reader.subscribe(["gw/status"])
    asked = Connection(dial(broker, will=will))
    await asked.connect()
    await asked.close(will=True)
    assert (await expect(reader, Received)).payload == b"offline"

    broken = Connection(dial(broker, will=will))
    await broken.connect()
    taker = Connection(dial(broker, will=None))  # the same name: the broker ends the first
    await taker.connect()
    assert (await expect(reader, Received)).payload == b"offline"
    await taker.close()  # a goodbye: no will, and it had none
    await broken.close()

    silent = Connection(dial(broker, will=Message("gw/status", b"never")))
    await silent.connect()
    await silent.close()
    marker = Connection(dial(broker))
    await marker.connect()
    marker.publish(Message("gw/status", b"marker"))
    assert (await expect(reader, Received)).payload == b"marker"
    await marker.close()
    await reader.close()


async def test_a_kept_message_arrives_with_the_subscription_and_says_that_it_was_kept(broker: Broker) -> None:
    connection = Connection(dial(broker))
    await connection.connect()
    connection.publish(Message("a/b", b"kept", retain=True))
    await expect(connection, Acknowledged)
    await connection.subscribe(["a/b"])
    assert (await expect(connection, Received)).retain
    await connection.close()


async def test_with_manual_acknowledgement_the_receive_maximum_is_back_pressure(broker: Broker) -> None:
    reader = Connection(dial(broker, "reader", manual_ack=True, receive_maximum=3))
    sender = Connection(dial(broker))
    await reader.connect()
    await sender.connect()
    await reader.subscribe(["a"])
    for number in range(8):
        sender.publish(Message("a", str(number).encode()))
    for _ in range(8):
        await expect(sender, Acknowledged)
    held = [await expect(reader, Received) for _ in range(3)]
    assert reader.take() == []  # the broker waits for us
    for number in range(3, 8):
        reader.ack(held.pop(0))
        held.append(await expect(reader, Received))
        assert held[-1].payload == str(number).encode()
        assert reader.take() == []  # nor does it get more through than that, and mosquitto 2.0.11 tries
    await reader.close()
    await sender.close()


async def test_the_end_of_the_broker_is_the_last_event_and_whoever_waits_is_told(broker: Broker) -> None:
    connection = Connection(dial(broker))
    await connection.connect()
    broker.kill()
    closed = await expect(connection, Closed)
    assert closed.failure.reason is Reason.LOST
    assert connection.room == 0
    for attempt in (connection.next, lambda: connection.subscribe(["a"])):
        with pytest.raises(LinkFailure):
            await attempt()
    with pytest.raises(LinkFailure):
        connection.publish(Message("a", b"x"))
    await connection.close()


async def test_a_broker_that_stops_is_noticed_while_an_answer_is_owed(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edgegw.mqtt, "SILENCE_S", 0.5)
    connection = Connection(dial(broker))
    await connection.connect()
    broker.pause()
    connection.publish(Message("a", b"x"))
    closed = await expect(connection, Closed)
    assert closed.failure.reason is Reason.SILENT
    assert closed.failure.code == "EG-UPLINK-LOST"
    await connection.close()
    broker.resume()


async def test_a_broker_that_stops_is_noticed_by_the_keep_alive_when_nothing_is_owed(broker: Broker) -> None:
    connection = Connection(dial(broker, keepalive_s=1))
    await connection.connect()
    broker.pause()
    assert (await expect(connection, Closed)).failure.reason in {Reason.LOST, Reason.SILENT}
    await connection.close()
    broker.resume()


def test_silence_counts_only_while_an_answer_is_owed_and_no_byte_moves() -> None:
    pulse = Pulse(0.0)
    assert pulse.silence(100, Vital(0, 0, 0), owed=False) == 0
    assert pulse.silence(104, Vital(0, 0, 5), owed=True) == 0  # only now
    assert pulse.silence(109, Vital(0, 0, 5), owed=True) == 5
    assert pulse.silence(110, Vital(0, 3, 2), owed=True) == 0  # a slow line still takes bytes
    assert pulse.silence(115, Vital(0, 5, 0), owed=True) == 5  # all of it is there: now the broker counts
    assert (
        pulse.silence(116, Vital(0, 9, 0), owed=True) == 6
    )  # the kernel of a stopped broker takes bytes too
    assert pulse.silence(117, Vital(1, 9, 0), owed=True) == 0  # a packet came


async def test_reconnecting_again_and_again_leaves_no_thread_and_no_file_behind(broker: Broker) -> None:
    async def once(name: str) -> None:
        connection = Connection(dial(broker, name))
        await connection.connect()
        connection.publish(Message("a", b"x"))
        await connection.close()

    await once("gw-1")
    threads, files = threading.active_count(), open_files()
    for _ in range(50):
        await once("gw-1")
    assert threading.active_count() == threads
    assert open_files() == files
    broker.stop()
    for _ in range(50):
        connection = Connection(dial(broker))
        with pytest.raises(LinkFailure):
            await connection.connect()
        await connection.close()
    assert threading.active_count() == threads
    assert open_files() == files


async def test_giving_up_while_connecting_leaves_nothing_behind(broker: Broker) -> None:
    broker.pause()
    before = threading.active_count()
    connection = Connection(dial(broker))
    connecting = asyncio.create_task(connection.connect())
    await asyncio.sleep(0)
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connecting
    broker.resume()
    await connection.close()
    assert threading.active_count() == before


async def test_the_thread_is_named_after_the_client(broker: Broker) -> None:
    connection = Connection(dial(broker, "kyiv-podil-0042"))
    await connection.connect()
    assert "mqtt kyiv-podil-0042" in {thread.name for thread in threading.enumerate()}
    await connection.close()


async def test_a_defect_in_the_thread_ends_the_connection_with_its_name(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = Connection(dial(broker))
    await connection.connect()
    monkeypatch.setattr(edgegw.mqtt, "_properties", lambda *_: 1 / 0)
    connection.publish(Message("a", b"x"))
    closed = await expect(connection, Closed)
    assert closed.failure.reason is Reason.DEFECT
    assert "ZeroDivisionError" in closed.failure.what
    await connection.close()


async def test_a_message_of_the_largest_size_in_a_full_window_passes(broker: Broker) -> None:
    reader = Connection(dial(broker, "reader", max_packet=300_000))
    sender = Connection(dial(broker))
    await reader.connect()
    await sender.connect()
    await reader.subscribe(["a"])
    for number in range(20):
        sender.publish(Message("a", bytes([number]) * 245_760))
    for number in range(20):
        assert (await expect(reader, Received)).payload == bytes([number]) * 245_760
    await sender.close()
    await reader.close()

from __future__ import annotations

import asyncio
import os
import re
import signal
from typing import TYPE_CHECKING

import pytest
from scripted import Peer, Relay, Scripted, connack, packet
from upstream import BASE, GATEWAY, Gateway, Upstream, enough, eventually, everything

import edgegw.mqtt
from edgegw import outbox as outbox_module
from edgegw import refusals as refusals_module
from edgegw.connection import Connection
from edgegw.exchange import Dial
from edgegw.link import CONTROL_PER_S, State
from edgegw.linkfailure import Reason
from edgegw.tls import Server, TlsFiles

if TYPE_CHECKING:
    from broker import Broker, MakeBroker


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Timers of ten seconds and more, made short: what is tested is what happens then."""
    monkeypatch.setattr(outbox_module, "RESEND_S", (0.5, 2.0))
    monkeypatch.setattr(refusals_module, "RIGHTS_S", (0.2, 1.0))
    monkeypatch.setattr(refusals_module, "PAUSE_S", (0.1, 0.5))
    monkeypatch.setattr(edgegw.mqtt, "SILENCE_S", 0.5)


@pytest.mark.usefixtures("hasty")
async def test_a_broker_that_is_not_there_yet_is_waited_for(make_broker: MakeBroker) -> None:
    broker = make_broker(start=False)
    gateway = Gateway(broker)
    gateway.commit(5)
    async with gateway:
        await eventually(lambda: gateway.link.failure is not None)
        assert gateway.link.failure is not None
        assert gateway.link.failure.reason is Reason.CONNECTION_REFUSED
        broker.start()
        async with Upstream(broker):
            await eventually(lambda: gateway.log.receipted == 50)
            await eventually(lambda: gateway.link.failure is None)
    assert len([call for call in gateway.said.calls if call.method_name == "warning"]) == 1  # said once


@pytest.mark.usefixtures("hasty")
async def test_a_broker_that_is_killed_after_its_puback_loses_nothing_for_good(broker: Broker) -> None:
    async with Gateway(broker) as gateway:
        for _ in range(10):
            gateway.commit(3)
            await eventually(lambda: gateway.link.state is State.ONLINE)
            # acknowledged, and nobody was there to take them: all of it is gone with the broker
            await eventually(lambda: not gateway.outbox.busy())
            broker.kill()
            await eventually(lambda: gateway.link.state is not State.ONLINE)
            broker.start()
        assert gateway.log.receipted == 0
        async with Upstream(broker) as upstream:
            await eventually(lambda: gateway.log.receipted == 300)
            assert set(upstream.batches) == everything(gateway)


@pytest.mark.usefixtures("hasty")
async def test_kills_at_any_moment_lose_nothing(broker: Broker) -> None:
    async with Upstream(broker) as upstream, Gateway(broker, length=20_000) as gateway:
        for number in range(8):
            gateway.commit(40)
            await upstream.until(enough(upstream, gateway))
            broker.kill()
            if number % 2:
                await eventually(lambda: gateway.link.state is not State.ONLINE)
            broker.start()
        await eventually(lambda: gateway.log.receipted == gateway.log.size)
        assert set(upstream.batches) == everything(gateway)


@pytest.mark.usefixtures("hasty")
async def test_a_queue_that_overflows_in_the_broker_loses_nothing_for_good(make_broker: MakeBroker) -> None:
    broker = make_broker(options=["max_queued_messages 5", "max_inflight_messages 2"])
    gateway = Gateway(broker)
    gateway.commit(300)
    async with Upstream(broker) as upstream:
        await upstream.ready.wait()
        async with gateway:
            await eventually(lambda: gateway.log.receipted == 3000)
    assert set(upstream.batches) == everything(gateway)


@pytest.mark.usefixtures("hasty")
async def test_missing_rights_free_nothing_and_are_named_until_somebody_gives_them(
    make_broker: MakeBroker,
) -> None:
    reader = f"user store\ntopic read {BASE}/#\ntopic write {BASE}/main/receipt\n"
    broker = make_broker(acl=f"{reader}user {GATEWAY}\ntopic read {BASE}/#\n")
    gateway = Gateway(broker)
    gateway.commit(5)
    async with Upstream(broker) as upstream, gateway:
        await eventually(lambda: gateway.outbox.refusal == 0x87)
        await asyncio.sleep(0)
        assert gateway.log.receipted == 0
        assert gateway.link.state is State.ONLINE
        (broker.directory / "acl").write_text(f"{reader}user {GATEWAY}\ntopic readwrite {BASE}/#\n")
        os.kill(broker.pid, signal.SIGHUP)
        await eventually(lambda: gateway.log.receipted == 50)
        assert gateway.outbox.refusal is None
        assert set(upstream.batches) == everything(gateway)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("option", ["message_size_limit 5000", "max_packet_size 5000"])
async def test_one_batch_that_is_too_large_for_the_broker_is_set_aside_and_the_rest_arrives(
    option: str, make_broker: MakeBroker
) -> None:
    broker = make_broker(options=[option])
    gateway = Gateway(broker)
    gateway.log.lengths[7] = 6000
    gateway.commit(300)
    async with Upstream(broker) as upstream:
        await upstream.ready.wait()
        async with gateway:
            await upstream.until(lambda: len(upstream.batches) == 299)
            gateway.commit()
            await upstream.until(lambda: 300 in upstream.batches)
            assert gateway.outbox.poison == 1
            assert gateway.log.receipted == 70


@pytest.mark.usefixtures("hasty")
async def test_a_batch_over_which_the_broker_hangs_up_is_set_aside_and_the_rest_arrives(
    broker: Broker,
) -> None:
    taken: set[bytes] = set()

    async def play(peer: Peer) -> None:
        await peer.packet()
        await peer.say(connack())
        while True:
            first, body = await peer.packet()
            after_topic = 2 + int.from_bytes(body[:2])
            if first & 0xF0 == 0x80:
                await peer.say(packet(0x90, body[:2] + b"\x00\x01\x01"))
            elif first & 0xF0 == 0x30:
                found = re.search(rb"(\d+):\.+$", body)
                number = found[1] if found else b""
                if number == b"13":
                    await peer.say(packet(0xE0, b"\x95\x00"))
                    return
                taken.add(number)
                await peer.say(packet(0x40, body[after_topic : after_topic + 2]))

    files = broker.authority.server().write(broker.directory, "scripted")
    async with Scripted(files, play) as scripted:
        gateway = Gateway(broker, servers=[Server("localhost", scripted.port)])
        gateway.commit(40)
        async with gateway:
            await eventually(lambda: len(taken) == 39)
            assert gateway.outbox.poison == 1


async def test_another_client_with_our_name_is_suspected_and_given_way(broker: Broker) -> None:
    files = broker.client(GATEWAY)
    dial = Dial(Server(broker.host, broker.port), TlsFiles(broker.ca, files.certificate, files.key), GATEWAY)
    gateway = Gateway(broker, longest_wait_s=60)
    gateway.commit()
    async with gateway:
        for _ in range(3):
            await eventually(lambda: gateway.link.state is State.ONLINE)
            clone = Connection(dial)
            await clone.connect()
            await eventually(lambda: gateway.link.state is not State.ONLINE)
            await clone.close()
        await eventually(lambda: gateway.link.state is State.REFUSED)
        assert gateway.link.failure is not None
        assert gateway.link.failure.code == "EG-UPLINK-TAKEN-OVER"


@pytest.mark.usefixtures("hasty")
async def test_a_half_open_line_is_noticed_and_everything_arrives_by_another(broker: Broker) -> None:
    async with Relay(broker.port) as relay, Upstream(broker) as upstream:
        await upstream.ready.wait()
        async with Gateway(broker, servers=[Server("localhost", relay.port)]) as gateway:
            gateway.commit(3)
            await eventually(lambda: gateway.log.receipted == 30)
            for up, down in ((True, True), (False, True), (True, False)):
                relay.mute(up=up, down=down)
                gateway.commit(3)
                await eventually(lambda: gateway.link.failure is not None)
                assert gateway.link.failure is not None
                assert gateway.link.failure.reason is Reason.SILENT
                relay.heal()
                await eventually(lambda: gateway.log.receipted == gateway.log.size)
        assert set(upstream.batches) == everything(gateway)


async def test_a_slow_line_is_not_taken_for_a_dead_one(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edgegw.mqtt, "SILENCE_S", 3.0)
    async with Relay(broker.port, rate=60_000) as relay, Upstream(broker) as upstream:
        await upstream.ready.wait()
        gateway = Gateway(broker, servers=[Server("localhost", relay.port)], length=240_000)
        gateway.commit(2)  # four seconds each: longer than the silence that is allowed
        async with gateway:
            await eventually(lambda: gateway.log.receipted == 20)
        assert set(upstream.batches.values()) == {1}
        assert relay.connections == 1


@pytest.mark.usefixtures("hasty")
async def test_resets_in_the_middle_of_messages_lose_nothing(broker: Broker) -> None:
    async with Relay(broker.port) as relay, Upstream(broker) as upstream:
        await upstream.ready.wait()
        gateway = Gateway(broker, servers=[Server("localhost", relay.port)], length=60_000)
        gateway.commit(300)
        async with gateway:
            while gateway.log.receipted < gateway.log.size:
                await upstream.until(enough(upstream, gateway))
                relay.cut()
        assert set(upstream.batches) == everything(gateway)
        assert relay.connections > 3


async def test_a_flood_from_above_is_looked_at_twenty_times_a_second(broker: Broker) -> None:
    async with Upstream(broker) as upstream, Gateway(broker) as gateway:
        await upstream.ready.wait()
        await eventually(lambda: gateway.link.state is State.ONLINE)
        begin = asyncio.get_running_loop().time()
        for _ in range(400):
            await eventually(lambda: upstream.room > 5)
            upstream.say("main/receipt", b"0")
        gateway.commit(3)
        await eventually(lambda: gateway.log.receipted == 30)
        seconds = asyncio.get_running_loop().time() - begin
        assert len(gateway.log.receipts) <= CONTROL_PER_S * (seconds + 1)


async def test_the_will_says_that_we_are_gone_when_the_line_is_cut(broker: Broker) -> None:
    async with Relay(broker.port) as relay, Upstream(broker) as upstream:
        await upstream.ready.wait()
        async with Gateway(broker, servers=[Server("localhost", relay.port)]) as gateway:
            gateway.link.publish_status(b"online")
            await upstream.until(lambda: upstream.statuses == [b"online"])
            relay.cut()
            await upstream.until(lambda: upstream.statuses[-1] == b"offline")


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(
    "said",
    [
        b"\x00" * 50,
        packet(0xE0, b"\x8b\x00"),
        packet(0xE0, b"\x97\x00"),
        packet(0x30, b"\xff\xff"),
        b"\x30\xff\xff\xff\x7f",
        packet(0x90, b"\x00\x01\x00\x87\x87"),
        packet(0x90, b"\x00\x01\x00"),
        b"",
    ],
    ids=lambda said: said[:6].hex() or "silence",
)
async def test_no_broker_ends_the_link_for_good(said: bytes, broker: Broker) -> None:
    async def play(peer: Peer) -> None:
        await peer.packet()
        await peer.say(connack())
        await peer.packet()
        await peer.say(said)
        if not said:
            await peer.reader.read()

    files = broker.authority.server().write(broker.directory, "scripted")
    async with Scripted(files, play) as scripted, Upstream(broker):
        servers = [Server("localhost", scripted.port), Server(broker.host, broker.port)]
        gateway = Gateway(broker, servers=servers)
        gateway.commit(5)
        async with gateway:
            await eventually(lambda: gateway.log.receipted == 50)


async def test_a_subscription_that_is_refused_is_named(broker: Broker) -> None:
    async def play(peer: Peer) -> None:
        await peer.packet()
        await peer.say(connack())
        _, body = await peer.packet()
        await peer.say(packet(0x90, body[:2] + b"\x00\x01\x87"))
        await peer.reader.read()

    files = broker.authority.server().write(broker.directory, "scripted")
    async with (
        Scripted(files, play) as scripted,
        Gateway(broker, servers=[Server("localhost", scripted.port)]) as gateway,
    ):
        await eventually(lambda: gateway.link.state is State.REFUSED)
        assert gateway.link.failure is not None
        assert gateway.link.failure.reason is Reason.NOT_AUTHORISED
        assert "receipt" in gateway.link.failure.what


async def test_a_status_that_the_broker_refuses_is_said_and_stops_nothing(make_broker: MakeBroker) -> None:
    allowed = f"topic write {BASE}/main/#\ntopic read {BASE}/#\n"
    broker = make_broker(acl=f"user {GATEWAY}\n{allowed}user store\n{allowed}")
    async with Upstream(broker) as upstream, Gateway(broker) as gateway:
        await upstream.ready.wait()
        gateway.link.publish_status(b"refused")
        gateway.commit()
        await eventually(lambda: gateway.log.receipted == 10)
        await eventually(lambda: "refuses our status" in str(gateway.said.calls))

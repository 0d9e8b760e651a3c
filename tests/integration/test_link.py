from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from broker import free_port
from upstream import BASE, Gateway, Upstream, eventually

from edgegw.connection import Connection
from edgegw.exchange import Dial, Message
from edgegw.link import State
from edgegw.tls import Server, TlsFiles

if TYPE_CHECKING:
    from broker import Broker


async def test_what_is_committed_arrives_and_a_receipt_frees_it(broker: Broker) -> None:
    async with Upstream(broker) as upstream, Gateway(broker) as gateway:
        await upstream.ready.wait()
        await eventually(lambda: gateway.link.state is State.ONLINE)
        for _ in range(20):
            gateway.commit()
            await asyncio.sleep(0)
        gateway.head()
        await eventually(lambda: gateway.log.receipted == 200)
        assert upstream.order == [(number, False) for number in range(20)]
        assert upstream.heads == [(200, False)]
        assert gateway.outbox.in_flight == 0


async def test_a_backlog_goes_in_order_and_marked_after_the_newest_head_and_live_data_before_it(
    broker: Broker,
) -> None:
    gateway = Gateway(broker, length=30_000)
    gateway.commit(60)
    gateway.head()
    gateway.commit(200)
    gateway.head()
    async with Upstream(broker) as upstream:
        await upstream.ready.wait()
        async with gateway:
            await upstream.until(lambda: len(upstream.order) > 10)
            gateway.commit()
            at = len(upstream.order)
            await eventually(lambda: gateway.log.receipted == gateway.log.size)
    live = upstream.order.index((260, False))
    assert live < at + 60  # what was on its way, and no more
    assert [number for number, replayed in upstream.order if replayed] == list(range(260))
    assert upstream.heads[0] == (2600, False)
    assert (600, False) in upstream.heads
    assert upstream.heads.count((2600, False)) == 1 + (upstream.heads[-1] == (2600, False))
    assert set(upstream.batches.values()) == {1}


async def test_messages_carry_the_cloudevents_attributes(broker: Broker) -> None:
    gateway = Gateway(broker)
    gateway.commit(2)
    async with Upstream(broker) as upstream:
        await upstream.ready.wait()
        async with gateway:
            await upstream.until(lambda: len(upstream.users) == 2)
    assert dict(upstream.users[1]) == {
        "specversion": "1.0",
        "id": "8a3b0c1d/10",
        "source": "urn:dev:ops:32473-gw-1",
        "type": "edgegw.batch.v1",
        "time": "2027-01-15T08:00:00.500Z",
        "replayed": "1",
    }


async def test_the_newest_head_is_kept_by_the_broker_and_older_ones_are_not(broker: Broker) -> None:
    gateway = Gateway(broker)
    gateway.commit(5)
    gateway.head()
    gateway.commit(5)
    gateway.head()
    gateway.commit(1)
    async with Upstream(broker) as upstream:
        await upstream.ready.wait()
        async with gateway:
            await eventually(lambda: gateway.log.receipted == gateway.log.size)
            await upstream.until(lambda: (50, False) in upstream.heads)
            async with Upstream(broker) as late:
                await late.until(lambda: bool(late.heads))
                assert late.heads[0] == (100, True)


async def test_servers_are_tried_in_turn(broker: Broker) -> None:
    servers = [
        Server("localhost", free_port()),
        Server("no-such-name.invalid"),
        Server(broker.host, broker.port),
    ]
    gateway = Gateway(broker, servers=servers)
    gateway.commit()
    async with Upstream(broker), gateway:
        await eventually(lambda: gateway.log.receipted == 10)


async def test_what_the_upstream_asks_for_is_sent_again(broker: Broker) -> None:
    async with Upstream(broker) as upstream, Gateway(broker) as gateway:
        await upstream.ready.wait()
        gateway.commit(10)
        await eventually(lambda: gateway.log.receipted == 100)
        upstream.say("request", b"20-50")
        await upstream.until(lambda: upstream.batches[4] == 2)
        assert [number for number, times in upstream.batches.items() if times == 2] == [2, 3, 4]
        upstream.say("request", b"nonsense")
        upstream.say("request", b"90-10")
        upstream.say("main/receipt", b"\xff" * 5000)
        upstream.say("main/receipt", b"999999999999999999999")
        gateway.commit()
        await eventually(lambda: gateway.log.receipted == 110)


async def test_in_the_weaker_mode_a_puback_frees(broker: Broker) -> None:
    gateway = Gateway(broker, wait_for_receipts=False)
    gateway.commit(100)
    async with Upstream(broker, receipts=False) as upstream:
        await upstream.ready.wait()
        async with gateway:
            await eventually(lambda: gateway.log.receipted == 1000)


async def test_a_loss_in_the_store_is_jumped_over(broker: Broker) -> None:
    gateway = Gateway(broker)
    gateway.commit(20)
    gateway.log.lost = {0, 1, 7, 8, 9, 19}
    async with Upstream(broker, receipts=False) as upstream:
        await upstream.ready.wait()
        async with gateway:
            await upstream.until(lambda: len(upstream.batches) == 14)
            gateway.commit()
            await upstream.until(lambda: 20 in upstream.batches)
    assert dict(upstream.users[0])["id"] == "8a3b0c1d/20"


async def test_the_status_is_kept_by_the_broker_and_the_farewell_says_that_we_are_gone(
    broker: Broker,
) -> None:
    async with Upstream(broker) as upstream, Gateway(broker) as gateway:
        await upstream.ready.wait()
        gateway.link.publish_status(b"one")
        await upstream.until(lambda: b"one" in upstream.statuses)
        gateway.commit(5)
        gateway.link.publish_status(b"two")
        await gateway.link.farewell(10)
        await upstream.until(lambda: upstream.statuses[-1] == b"offline")
        assert upstream.statuses == [b"one", b"two", b"offline"]
        assert len(upstream.batches) == 5


async def test_retained_receipts_of_another_life_do_no_harm(broker: Broker) -> None:
    files = broker.client("store")
    connection = Connection(
        Dial(Server(broker.host, broker.port), TlsFiles(broker.ca, files.certificate, files.key), "store")
    )
    await connection.connect()
    connection.publish(Message(f"{BASE}/main/receipt", b"30", retain=True))
    await connection.subscribe([f"{BASE}/main/receipt"])
    assert isinstance(await connection.next(), object)
    await connection.close()
    gateway = Gateway(broker)
    gateway.commit(10)
    async with Upstream(broker) as upstream:
        await upstream.ready.wait()
        async with gateway:
            await upstream.until(lambda: 9 in upstream.batches)
            await eventually(lambda: gateway.log.receipted >= 30)

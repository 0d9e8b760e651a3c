from __future__ import annotations

import asyncio
import ssl
import tracemalloc
from itertools import pairwise
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import Peer, Scripted, connack, packet, publish

from edgegw.connection import Connection
from edgegw.exchange import Acknowledged, Closed, Dial, Message, Received
from edgegw.linkfailure import CONNACK, DISCONNECT, REFUSALS, LinkFailure, Reason
from edgegw.packets import MAX_PROPERTIES, Channel, PacketError, check, variable_integer
from edgegw.simulate.authority import Authority
from edgegw.tls import Server, TlsFiles

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    Play = Callable[[Peer], Awaitable[None]]

PATIENCE_S = 60.0


class Bench:
    """Credentials for a scripted broker and for us."""

    def __init__(self, directory: Path) -> None:
        authority = Authority()
        self.peer = authority.server().write(directory, "peer")
        ours = authority.client("gw-1").write(directory, "gw-1")
        self.files = TlsFiles(authority.write(directory / "ca.crt"), ours.certificate, ours.key)

    def connection(self, scripted: Scripted, *, manual_ack: bool = False) -> Connection:
        dial = Dial(
            Server("localhost", scripted.port), self.files, "gw-1", receive_maximum=4, manual_ack=manual_ack
        )
        return Connection(dial)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


def answers(first: bytes, *more: bytes) -> Play:
    """A broker that answers CONNECT with `first` and then says the rest, whatever is sent to it."""

    async def play(peer: Peer) -> None:
        await peer.packet()
        await peer.say(first)
        for each in more:
            await peer.say(each)
        await peer.reader.read()

    return play


async def refusal(bench: Bench, first: bytes) -> LinkFailure:
    async with Scripted(bench.peer, answers(first)) as scripted:
        connection = bench.connection(scripted)
        with pytest.raises(LinkFailure) as failed:
            async with asyncio.timeout(PATIENCE_S):
                await connection.connect()
        await connection.close()
    return failed.value


async def end_of(bench: Bench, *said: bytes) -> LinkFailure:
    async with Scripted(bench.peer, answers(connack(), *said)) as scripted:
        connection = bench.connection(scripted)
        async with asyncio.timeout(PATIENCE_S):
            await connection.connect()
            while not isinstance(event := await connection.next(), Closed):
                pass
        await connection.close()
    return event.failure


@pytest.mark.parametrize("code", sorted({*CONNACK, 0x05, 0x7F, 0x8B, 0xFE, 0xFF}), ids=hex)
async def test_every_refusal_of_a_connect_has_its_reason(code: int, bench: Bench) -> None:
    failure = await refusal(bench, connack(code))
    expected = CONNACK[code].reason if code in CONNACK else Reason.PROTOCOL
    assert failure.reason is expected
    assert failure.reason_code == code
    assert failure.refused == (expected in REFUSALS)


async def test_the_answer_of_an_older_broker_is_named_as_such(bench: Bench) -> None:
    failure = await refusal(bench, packet(0x20, b"\x00\x01"))
    assert failure.reason is Reason.NOT_MQTT5
    assert "MQTT 5" in failure.what


@pytest.mark.parametrize("code", sorted({*DISCONNECT, 0x01, 0x7F, 0xFE, 0xFF}), ids=hex)
@pytest.mark.parametrize("properties", [b"", b"\x00", b"\x04\x1f\x00\x01x"], ids=["short", "none", "reason"])
async def test_every_farewell_of_a_broker_has_its_reason(code: int, properties: bytes, bench: Bench) -> None:
    failure = await end_of(bench, packet(0xE0, bytes((code,)) + properties))
    assert failure.reason is (DISCONNECT[code].reason if code in DISCONNECT else Reason.PROTOCOL)
    assert failure.reason_code == code


async def test_a_farewell_without_a_code_is_a_lost_link(bench: Bench) -> None:
    assert (await end_of(bench, packet(0xE0, b""))).reason is Reason.LOST


async def test_another_client_with_our_name_is_reported(bench: Bench) -> None:
    failure = await end_of(bench, packet(0xE0, b"\x8e\x00"))
    assert failure.code == "EG-UPLINK-TAKEN-OVER"
    assert failure.refused


async def test_every_answer_to_a_publication_is_handed_on_and_none_ends_the_link(bench: Bench) -> None:
    async def play(peer: Peer) -> None:
        await peer.packet()
        await peer.say(connack())
        for code in range(256):
            first, body = await peer.packet()
            assert first & 0xF6 == 0x32
            topic = int.from_bytes(body[:2])
            await peer.say(packet(0x40, body[2 + topic : 4 + topic] + bytes((code,)) + b"\x00" * (code % 2)))
        await peer.reader.read()

    async with Scripted(bench.peer, play) as scripted:
        connection = bench.connection(scripted)
        await connection.connect()
        for code in range(256):
            handle = connection.publish(Message("a", b"x"))
            async with asyncio.timeout(PATIENCE_S):
                assert await connection.next() == Acknowledged(handle, code)
        await connection.close()


async def test_answers_to_what_was_never_sent_are_ignored(bench: Bench) -> None:
    async def play(peer: Peer) -> None:
        await peer.packet()
        await peer.say(connack() + b"".join(packet(0x40, bytes((9, mid))) for mid in range(200)))
        await peer.say(packet(0x90, b"\x00\x07\x00\x01") + publish(b"a", b"still here", qos=0))
        await peer.reader.read()

    async with Scripted(bench.peer, play) as scripted:
        connection = bench.connection(scripted)
        await connection.connect()
        async with asyncio.timeout(PATIENCE_S):
            event = await connection.next()
        assert isinstance(event, Received)
        assert event.payload == b"still here"
        await connection.close()


@pytest.mark.parametrize(
    "said",
    [
        b"\x30\xff\xff\xff\x7f",  # a message of 256 MB is announced
        b"\x30\xff\xff\xff\xff\x01",  # a length of five bytes
        packet(0x30, bytes(20_000)),  # more than we said we take
        publish(b"a", b"x", qos=2),
        packet(0x36, b""),
        packet(0x30, b""),
        packet(0x30, b"\x00\x01a"),  # ends before its properties
        packet(0x30, b"\x00\x01a\xff\xff\xff\x7f"),  # properties of 256 MB
        packet(0x40, b"\x00"),
        packet(0x20, b"\x00"),
        packet(0xC0, b""),
        packet(0xF0, b"\x18\x00"),
        packet(0x10, b"\x00\x04MQTT"),
        packet(0x00, b""),
        packet(0x50, b"\x00\x01"),
        packet(0x82, b"\x00\x01\x00\x00\x01a\x01"),
        packet(0xD0, b"\x00"),
        publish(b"a", b"x", properties=b"\x7f\x00"),  # a property that does not exist
        publish(b"a", b"x", properties=b"\x26\x00\x05a"),
    ],
    ids=lambda said: said[:8].hex(),
)
async def test_what_no_broker_may_send_ends_the_link_as_a_breach_of_protocol(
    said: bytes, bench: Bench
) -> None:
    failure = await end_of(bench, said)
    assert failure.reason in {Reason.PROTOCOL, Reason.LOST}


async def test_a_message_stuffed_with_properties_arrives_without_them(bench: Bench) -> None:
    stuffing = b"\x26\x00\x00\x00\x00" * 3000  # seconds of decoding, and more with every byte
    said = publish(b"a", b"payload", properties=stuffing) + publish(b"\xff\xfe", b"odd topic", mid=2)
    async with Scripted(bench.peer, answers(connack(), said)) as scripted:
        connection = bench.connection(scripted)
        await connection.connect()
        async with asyncio.timeout(PATIENCE_S):
            first, second = await connection.next(), await connection.next()
        assert isinstance(first, Received)
        assert isinstance(second, Received)
        assert (first.topic, first.payload, first.user) == ("a", b"payload", ())
        assert (second.topic, second.payload) == ("", b"odd topic")
        await connection.close()


@pytest.mark.parametrize("qos", [0, 1])
async def test_a_flood_of_messages_waits_at_the_broker_in_flat_memory(qos: int, bench: Bench) -> None:
    flooding = asyncio.Event()

    async def play(peer: Peer) -> None:
        await peer.packet()
        await peer.say(connack())
        number = 0
        while number < 2000:
            number += 1
            peer.writer.write(publish(b"a", bytes(15_000), qos=qos, mid=number))
            if peer.writer.transport.get_write_buffer_size() > 4_000_000:
                flooding.set()  # the line is full: nobody reads at the other end
                await peer.writer.drain()
        flooding.set()
        await peer.reader.read()

    async with Scripted(bench.peer, play) as scripted:
        connection = bench.connection(scripted, manual_ack=True)
        await connection.connect()
        tracemalloc.start()
        async with asyncio.timeout(PATIENCE_S):
            await flooding.wait()
            held = [await connection.next() for _ in range(4)]
        assert connection.take() == []
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 20_000_000  # the scripted broker's own buffer is most of it
        for event in held:
            assert isinstance(event, Received)
            connection.ack(event)
        async with asyncio.timeout(PATIENCE_S):
            assert isinstance(await connection.next(), Received)
        await connection.close()


class Pieces:
    """A socket that gives the prepared pieces one by one, then says "not yet"."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    def recv(self, _size: int) -> bytes:
        if not self._pieces:
            raise ssl.SSLWantReadError
        return self._pieces.pop(0)


def read_all(pieces: list[bytes], limit: int = 4096) -> bytes:
    channel = Channel(cast("ssl.SSLSocket", Pieces([piece for piece in pieces if piece])), limit)
    found = bytearray()
    while True:
        try:
            found += channel.recv(7)
        except ssl.SSLWantReadError:
            assert channel.drained
            return bytes(found)


GOOD = [connack(), publish(b"a/b", b"payload", qos=1), packet(0x40, b"\x00\x01"), packet(0xD0, b"")]


@given(st.lists(st.integers(0, 60), max_size=8))
def test_packets_are_the_same_however_they_are_torn(cuts: list[int]) -> None:
    whole = b"".join(GOOD)
    edges = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    assert read_all([whole[a:b] for a, b in pairwise(edges)]) == whole


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_hostile_bytes_give_whole_packets_or_a_packet_error_and_nothing_else(pieces: list[bytes]) -> None:
    try:
        found = read_all(pieces)
    except PacketError:
        return
    while found:  # what came through is a row of whole packets
        length = variable_integer(found, 1)
        assert length is not None
        found = found[sum(length) :] if found[0] else b"never"


@given(st.binary(min_size=2, max_size=300))
def test_a_checked_packet_is_never_longer_than_it_was(data: bytes) -> None:
    whole = packet(data[0], data[1:])
    length = variable_integer(whole, 1)
    assert length is not None
    try:
        note = check(whole, length[1])
    except PacketError:
        return
    assert len(note.data) <= len(whole)


def test_properties_are_kept_up_to_the_limit_and_left_out_above() -> None:
    for size in (MAX_PROPERTIES, MAX_PROPERTIES + 1):
        properties = b"\x26\x00\x01a" + (size - 6).to_bytes(2) + b"v" * (size - 6)
        whole = publish(b"topic", b"payload" * 100, properties=properties)
        length = variable_integer(whole, 1)
        assert length is not None
        note = check(whole, length[1])
        assert (properties in note.data) == (size <= MAX_PROPERTIES)
        assert note.data.endswith(b"payload" * 100)

"""The endpoint that devices post to, over real sockets: what is taken, and what strangers cannot do."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgegw.ports.errors import PortError
from edgegw.ports.http import Endpoint, endpoint
from edgegw.ports.http.fetch import DOCUMENT_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

#: Far longer than any answer on loopback takes.
PATIENT_S = 30.0


class World:
    """An endpoint with one sensor behind it."""

    def __init__(self, token: str = "") -> None:
        self.endpoint = Endpoint("127.0.0.1", 0)
        self.token = token
        self.taken: list[bytes] = []
        self.refusal = ""
        self.defect: Exception | None = None
        self.task: asyncio.Task[None] | None = None

    def take(self, body: bytes, now: float) -> str:
        assert now > 0
        if self.defect is not None:
            raise self.defect
        self.taken.append(body)
        return self.refusal

    async def start(self, name: str = "gate") -> asyncio.Task[None]:
        task = asyncio.create_task(self.endpoint.receive(name, self.token, self.take))
        while not self.endpoint.port:
            assert not task.done()
            await asyncio.sleep(0.001)
        return task

    async def say(self, *requests: bytes, patience_s: float = PATIENT_S) -> bytes:
        """Send bytes on a connection of their own; all that is answered until the other side closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.endpoint.port)
        try:
            for request in requests:
                with contextlib.suppress(ConnectionError):
                    writer.write(request)
                    await writer.drain()
            if writer.can_write_eof():
                with contextlib.suppress(OSError):
                    writer.write_eof()
            found = b""
            async with asyncio.timeout(patience_s):
                with contextlib.suppress(ConnectionError):
                    while data := await reader.read(65536):
                        found += data
            return found
        finally:
            writer.close()

    async def status(self, request: bytes) -> int:
        answer = await self.say(request)
        assert answer.startswith(b"HTTP/1.1 "), answer
        text = answer.partition(b"\r\n\r\n")[2]
        assert text.endswith(b"\n"), "a sentence for the log of the device"
        return int(answer[9:12])


def post(body: bytes = b"{}", path: str = "/push/gate", head: str = "", method: str = "POST") -> bytes:
    lines = f"{method} {path} HTTP/1.1\r\nHost: gw\r\nContent-Length: {len(body)}\r\n{head}\r\n"
    return lines.encode() + body


@pytest.fixture
async def world() -> AsyncIterator[World]:
    found = World()
    task = await found.start()
    yield found
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@pytest.fixture
async def guarded() -> AsyncIterator[World]:
    found = World("s3cret-token")
    task = await found.start()
    yield found
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


# What is taken


async def test_a_document_is_answered_with_200_after_the_sensor_took_it(world: World) -> None:
    assert await world.status(post(b'{"a": 1}')) == 200
    assert await world.status(post(b"", method="PUT")) == 200
    assert world.taken == [b'{"a": 1}', b""]


@pytest.mark.parametrize(
    "request_",
    [
        b"POST /push/gate HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
        b"POST /push/gate HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /push/g%61te?x=1 HTTP/1.1\r\nHost: g\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /push/gate HTTP/1.1\r\nHost: g\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
    ],
)
async def test_every_way_of_posting_is_understood(world: World, request_: bytes) -> None:
    assert b"200 OK" in await world.say(request_)
    assert world.taken == [b"{}"]


async def test_a_device_may_keep_its_connection_and_send_before_it_was_answered(world: World) -> None:
    answer = await world.say(post(b"1") + post(b"2"), post(b"3") + post(b"4")[:-1], b"4")
    assert answer.count(b"HTTP/1.1 200 OK") == 4
    assert world.taken == [b"1", b"2", b"3", b"4"]


async def test_a_document_that_is_refused_is_answered_with_the_reason(world: World) -> None:
    world.refusal = "The document was not understood: malformed."
    answer = await world.say(post())
    assert answer.startswith(b"HTTP/1.1 422 ")
    assert answer.endswith(b"The document was not understood: malformed.\n")


async def test_a_defect_of_the_sensor_is_its_own_and_the_device_is_asked_to_come_again(world: World) -> None:
    world.defect = ZeroDivisionError("a defect")
    other = World()
    other.endpoint = world.endpoint
    task = await other.start("door")
    failing = asyncio.create_task(world.endpoint.receive("roof", "", world.take))
    await asyncio.sleep(0)
    assert await world.status(post(path="/push/roof")) == 503
    with pytest.raises(ZeroDivisionError):
        await failing
    assert await other.status(post(path="/push/door")) == 200
    assert await other.status(post(path="/push/roof")) == 404
    task.cancel()


# Who may


@pytest.mark.parametrize(
    ("path", "head"),
    [
        ("/push/gate", "Authorization: Bearer s3cret-token\r\n"),
        ("/push/gate?token=s3cret-token", ""),
        ("/push/gate?x=1&token=s3cret%2Dtoken", ""),
    ],
)
async def test_with_a_token_only_who_brings_it_is_heard(guarded: World, path: str, head: str) -> None:
    assert await guarded.status(post(path=path, head=head)) == 200


@pytest.mark.parametrize(
    ("path", "head"),
    [
        ("/push/gate", ""),
        ("/push/gate?token=", ""),
        ("/push/gate?token=s3cret-toke", ""),
        ("/push/gate?token=s3cret-token2", ""),
        ("/push/gate", "Authorization: Basic s3cret-token\r\n"),
        ("/push/gate", "Authorization: Bearer \xe9\r\n"),
    ],
)
async def test_a_wrong_token_is_refused(guarded: World, path: str, head: str) -> None:
    assert await guarded.status(post(path=path, head=head)) in {400, 401}
    assert guarded.taken == []


async def test_a_page_in_somebodys_browser_invents_no_readings(world: World) -> None:
    assert await world.status(post(head="Origin: https://evil.example\r\n")) == 403
    assert world.taken == []


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (post(path="/"), 404),
        (post(path="/push/"), 404),
        (post(path="/push/other"), 404),
        (post(path="/push/gate/"), 404),
        (post(path="/push/../push/gate"), 404),
        (post(path="//[x/push/gate"), 400),
        (post(path="/push/gate?" + "a=1&" * 40), 400),
        (post(method="GET"), 405),
        (post(method="DELETE"), 405),
        (post(head="Content-Encoding: gzip\r\n"), 415),
        (post(b"x" * (DOCUMENT_BYTES + 1)), 413),
        (post(b"")[:-2].replace(b"Content-Length: 0", b"Content-Length: 99999999") + b"\r\n", 413),
        (post(head="X: " + "x" * 40_000 + "\r\n"), 431),
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 50 + b"\r\n\r\n", 400),
        (post(head="Content-Length: 5\r\n"), 400),
        (b"POST /push/gate HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", 400),
    ],
)
async def test_whatever_is_wrong_is_answered_with_a_sentence(
    world: World, request_: bytes, status: int
) -> None:
    assert await world.status(request_) == status
    assert world.taken == []


async def test_after_a_refusal_nothing_more_on_the_connection_is_heard(world: World) -> None:
    answer = await world.say(post(path="/push/other") + post(b"smuggled"))
    assert answer.count(b"HTTP/1.1") == 1
    assert b"Connection: close" in answer
    assert world.taken == []


async def test_chunks_that_never_end_are_cut_off(world: World) -> None:
    head = b"POST /push/gate HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert b" 413 " in (await world.say(head, *[b"1000\r\n" + b"x" * 4096 + b"\r\n"] * 20))


# Limits


async def test_a_request_that_takes_too_long_is_ended(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "REQUEST_S", 0.3)
    reader, writer = await asyncio.open_connection("127.0.0.1", world.endpoint.port)
    writer.write(b"POST /push/gate HTTP/1.1\r\nHost: g\r\n")
    async with asyncio.timeout(PATIENT_S):
        answer = await reader.read(100)
    assert answer.startswith(b"HTTP/1.1 408 ")
    writer.close()


async def test_a_connection_on_which_nothing_comes_is_ended(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "IDLE_S", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", world.endpoint.port)
    async with asyncio.timeout(PATIENT_S):
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
    writer.close()


async def test_one_address_has_a_few_connections_and_no_more(world: World) -> None:
    open_ones = [
        await asyncio.open_connection("127.0.0.1", world.endpoint.port)
        for _ in range(endpoint.CONNECTIONS_EACH)
    ]
    for reader, writer in open_ones:  # each is served
        writer.write(post())
        async with asyncio.timeout(PATIENT_S):
            assert b"200 OK" in await reader.readuntil(b"taken\n")
    assert await world.say(post()) == b""
    assert len(world.endpoint._serving) == endpoint.CONNECTIONS_EACH
    for _, writer in open_ones:
        writer.close()
    async with asyncio.timeout(PATIENT_S):
        while world.endpoint._serving:  # noqa: ASYNC110 -- nothing tells when a close has arrived
            await asyncio.sleep(0.001)
    assert await world.status(post()) == 200


async def test_a_device_that_posts_without_pause_is_slowed_down(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "REFILL_S", 3600.0)
    statuses = [await world.status(post()) for _ in range(endpoint.BURST + 3)]
    assert statuses == [200] * endpoint.BURST + [429] * 3


async def test_strangers_who_guess_are_slowed_down_and_the_device_is_not(
    guarded: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "REFILL_S", 3600.0)
    statuses = [
        await guarded.status(post(path=f"/push/gate?token={n}")) for n in range(endpoint.STRANGERS + 2)
    ]
    assert statuses == [401] * endpoint.STRANGERS + [429] * 2
    assert await guarded.status(post(path="/push/gate?token=s3cret-token")) == 200


# When it listens


async def test_it_listens_only_while_a_sensor_is_posted_to() -> None:
    world = World()
    task = await world.start()
    port = world.endpoint.port
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert world.endpoint.port == 0
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_an_address_that_is_not_ours_is_said_in_words() -> None:
    with pytest.raises(PortError) as refused:
        await Endpoint("192.0.2.1", 8080).receive("gate", "", lambda _body, _now: "")
    assert refused.value.reason == "listen"
    assert "192.0.2.1:8080 cannot be listened on" in refused.value.why


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.binary(max_size=400)
    | st.tuples(st.integers(0, 90), st.binary(max_size=9)).map(
        lambda parts: post()[: parts[0]] + parts[1] + post()[parts[0] :]
    )
)
def test_any_bytes_of_a_stranger_do_no_harm(hostile: bytes) -> None:
    async def tell() -> None:
        world = World()
        task = await world.start()
        await world.say(hostile)
        assert await world.status(post(b"after")) == 200
        assert world.taken[-1] == b"after"
        assert not task.done()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert not world.endpoint._serving

    asyncio.run(tell())

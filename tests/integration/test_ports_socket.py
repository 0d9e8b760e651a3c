"""A TCP port on real sockets: what arrives, what is sent, what goes wrong, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from edgegw.ports import socket as ports_socket
from edgegw.ports.errors import PortError
from edgegw.ports.socket import CHUNK_BYTES, WRITE_BYTES, SocketPort

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

PATIENCE_S = 90


class Server:
    """The other end: a serial server with one client."""

    def __init__(self, family: socket.AddressFamily = socket.AF_INET) -> None:
        self._listener = socket.create_server(
            ("127.0.0.1" if family == socket.AF_INET else "::1", 0), family=family
        )
        self._listener.settimeout(PATIENCE_S)
        self.port: int = self._listener.getsockname()[1]
        self.client: socket.socket | None = None

    def accept(self) -> socket.socket:
        self.client, _ = self._listener.accept()
        self.client.settimeout(PATIENCE_S)
        return self.client

    def reset(self) -> None:
        assert self.client is not None
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.client.close()

    def close(self) -> None:
        self._listener.close()
        if self.client is not None:
            self.client.close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


class Heard:
    """What `on_data` was given."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.times: list[float] = []
        self._size = 0
        self._more = asyncio.Event()
        self._open = asyncio.Event()

    def port(self, server: Server, host: str = "127.0.0.1") -> SocketPort:
        return SocketPort(host, server.port, on_data=self, on_open=self._open.set)

    async def opened(self) -> None:
        await asyncio.wait_for(self._open.wait(), PATIENCE_S)

    def __call__(self, chunk: bytes, seconds: float) -> None:
        self.chunks.append(chunk)
        self.times.append(seconds)
        self._size += len(chunk)
        self._more.set()

    async def bytes(self, size: int) -> bytes:
        async with asyncio.timeout(PATIENCE_S):
            while self._size < size:
                self._more.clear()
                await self._more.wait()
        return b"".join(self.chunks)


@contextlib.asynccontextmanager
async def running(port: SocketPort) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(port.run())
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, PortError, ArithmeticError):
            await task


async def written_for_ever(port: SocketPort) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            await port.write(bytes(WRITE_BYTES))


async def failure(port: SocketPort) -> PortError:
    with pytest.raises(PortError) as caught:
        async with asyncio.timeout(PATIENCE_S):
            await port.run()
    return caught.value


@contextlib.asynccontextmanager
async def connected(server: Server, heard: Heard) -> AsyncIterator[tuple[SocketPort, asyncio.Task[None]]]:
    port = heard.port(server)
    async with running(port) as task:
        await heard.opened()
        await asyncio.to_thread(server.accept)
        yield port, task


async def test_what_a_device_says_arrives_on_the_loop_with_the_second_of_its_arrival(server: Server) -> None:
    heard = Heard()
    async with connected(server, heard):
        before = asyncio.get_running_loop().time()
        assert server.client is not None
        server.client.sendall(b"R+0000\r\n")
        assert await heard.bytes(8) == b"R+0000\r\n"
        assert before <= heard.times[0] <= asyncio.get_running_loop().time()


async def test_a_request_is_sent_and_its_answer_read(server: Server) -> None:
    heard = Heard()
    async with connected(server, heard) as (port, _):
        assert server.client is not None
        await port.write(b"DOD?\r\n")
        assert await asyncio.to_thread(server.client.recv, 100) == b"DOD?\r\n"
        server.client.sendall(b"71.3")
        assert await heard.bytes(4) == b"71.3"


async def test_a_flood_arrives_whole_and_in_order_in_bounded_chunks(server: Server) -> None:
    flood = os.urandom(3_000_000)
    heard = Heard()
    async with connected(server, heard):
        assert server.client is not None
        talker = threading.Thread(target=server.client.sendall, args=(flood,))
        talker.start()
        assert await heard.bytes(len(flood)) == flood
        talker.join()
    assert max(map(len, heard.chunks)) <= CHUNK_BYTES
    assert heard.times == sorted(heard.times)


async def test_a_loop_that_is_behind_makes_the_peer_wait_and_loses_nothing(server: Server) -> None:
    flood = os.urandom(30_000_000)
    heard = Heard()
    async with connected(server, heard) as (_, task):
        assert server.client is not None
        talker = threading.Thread(target=server.client.sendall, args=(flood,))
        talker.start()
        talker.join(0.5)  # the loop stands still meanwhile
        assert talker.is_alive(), "somebody took 30 megabytes that nobody fetched"
        assert await heard.bytes(len(flood)) == flood
        talker.join()
        assert not task.done()


async def test_a_peer_that_closes_ends_the_run_after_its_last_words(server: Server) -> None:
    heard = Heard()
    async with connected(server, heard) as (_, task):
        assert server.client is not None
        server.client.sendall(b"last words")
        server.client.close()
        with pytest.raises(PortError) as caught:
            await asyncio.wait_for(task, PATIENCE_S)
    assert caught.value.reason == "disconnected"
    assert f"127.0.0.1:{server.port}" in caught.value.why
    assert "one client at a time" in caught.value.todo
    assert b"".join(heard.chunks) == b"last words"


async def test_a_peer_that_resets_is_lost(server: Server) -> None:
    async with connected(server, Heard()) as (_, task):
        server.reset()
        with pytest.raises(PortError) as caught:
            await asyncio.wait_for(task, PATIENCE_S)
    assert caught.value.reason == "lost"


async def test_nobody_who_listens_is_refused_and_the_connection_can_be_made_later(server: Server) -> None:
    server.close()
    heard = Heard()
    port = heard.port(server)
    error = await failure(port)
    assert error.reason == "refused"
    assert "raw TCP server mode" in error.todo
    listener = socket.create_server(("127.0.0.1", server.port))
    async with running(port):
        await heard.opened()
    listener.close()


async def test_an_address_that_nothing_answers_on_is_unreachable(
    monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    monkeypatch.setattr(ports_socket, "CONNECT_S", 0.2)
    # A full queue of connections: the kernel drops what comes, as a device that is off does.
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    waiting = [socket.socket() for _ in range(4)]
    for each in waiting:
        each.setblocking(False)
        each.connect_ex(full.getsockname())
    error = await failure(SocketPort("127.0.0.1", full.getsockname()[1], on_data=Heard()))
    assert error.reason == "unreachable"
    assert "ping 127.0.0.1" in error.todo
    for each in (*waiting, full):
        each.close()
    del server


async def test_a_name_without_an_address_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_: object, **__: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nothing)
    error = await failure(SocketPort("meter.invalid", 2255, on_data=Heard()))
    assert error.reason == "unknown_host"
    assert "The name meter.invalid has no address" in error.why


async def test_a_name_service_that_hangs_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(ports_socket, "CONNECT_S", 0.05)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: release.wait(PATIENCE_S) and [])
    error = await failure(SocketPort("meter.example", 2255, on_data=Heard()))
    assert error.reason == "unreachable"
    release.set()


async def test_of_several_addresses_the_one_that_answers_is_taken(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [(None, None, None, "", (address, server.port)) for address in ("::1", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    heard = Heard()
    async with running(heard.port(server, "box")):
        await heard.opened()


async def test_an_ipv6_address_is_named_in_brackets() -> None:
    try:
        server = Server(socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6")
    heard = Heard()
    async with running(heard.port(server, "::1")) as task:
        await heard.opened()
        await asyncio.to_thread(server.accept)
        server.close()
        with pytest.raises(PortError, match=rf"\[::1\]:{server.port} closed the connection"):
            await asyncio.wait_for(task, PATIENCE_S)


async def test_the_kernel_is_told_to_notice_a_peer_that_is_gone_without_a_word(server: Server) -> None:
    heard = Heard()
    async with connected(server, heard) as (port, _):
        assert port._connection is not None
        assert port._connection._transport is not None
        sock: socket.socket = port._connection._transport.get_extra_info("socket")

        def told(level: int, option: int) -> int:
            return sock.getsockopt(level, option)

        assert told(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        idle, every, times = (
            told(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        )
        assert idle + every * times <= 30
        assert told(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) <= 30_000
        assert told(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


# In a network of its own, whose only interface goes down under a connection.
CUT = """
import asyncio, socket, subprocess
from edgegw.ports.errors import PortError
from edgegw.ports.socket import SocketPort

async def main():
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    listener, opened = socket.create_server(("127.0.0.1", 0)), asyncio.Event()
    port = SocketPort("127.0.0.1", listener.getsockname()[1], on_data=print, on_open=opened.set)
    task = asyncio.create_task(port.run())
    await opened.wait()
    client = listener.accept()
    subprocess.run(["ip", "link", "set", "lo", "down"], check=True)
    try:
        await task
    except PortError as error:
        print(error.reason, error.why)

asyncio.run(main())
"""


def test_a_peer_that_is_gone_without_a_word_is_noticed_while_nobody_sends() -> None:
    own_network = ["unshare", "-rn"]
    known = all(map(shutil.which, ("unshare", "ip")))
    if not known or subprocess.run([*own_network, "ip", "link"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody make a network of its own")
    done = subprocess.run(
        [*own_network, sys.executable, "-c", CUT],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    assert done.stdout.startswith("lost The connection to 127.0.0.1:")
    assert "timed out" in done.stdout


async def test_what_the_kernel_says_of_a_dead_peer_is_lost(server: Server) -> None:
    async with connected(server, Heard()) as (port, task):
        assert port._connection is not None
        # What the transport is told when the probes were not answered.
        port._connection.connection_lost(OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)))
        with pytest.raises(PortError, match="Connection timed out") as caught:
            await asyncio.wait_for(task, PATIENCE_S)
        assert caught.value.reason == "lost"


async def test_a_peer_that_takes_nothing_ends_the_run_in_bounded_time_and_memory(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports_socket, "WRITE_S", 0.1)
    async with connected(server, Heard()) as (port, task):
        with pytest.raises(PortError) as caught:
            await written_for_ever(port)
        assert caught.value.reason == "write_timeout"
        with pytest.raises(PortError) as ended:
            await asyncio.wait_for(task, PATIENCE_S)
        assert ended.value.reason == "write_timeout"


async def test_a_write_that_waits_when_the_peer_goes_is_told_so(server: Server) -> None:
    async with connected(server, Heard()) as (port, task):
        filling = asyncio.create_task(written_for_ever(port))
        await asyncio.wait([filling], timeout=0.2)
        server.reset()
        with pytest.raises(PortError) as caught:
            await asyncio.wait_for(filling, PATIENCE_S)
        assert caught.value.reason in {"lost", "closed"}
        with pytest.raises(PortError):
            await asyncio.wait_for(task, PATIENCE_S)


async def test_a_write_is_refused_while_there_is_no_connection(server: Server) -> None:
    with pytest.raises(PortError) as caught:
        await Heard().port(server).write(b"x")
    assert caught.value.reason == "closed"


async def test_a_write_that_no_request_can_be_is_refused(server: Server) -> None:
    with pytest.raises(ValueError, match="4097 bytes in one write, at most 4096"):
        await Heard().port(server).write(bytes(WRITE_BYTES + 1))


async def test_what_the_receiver_raises_ends_the_run_and_is_not_swallowed(server: Server) -> None:
    def on_data(chunk: bytes, seconds: float) -> None:
        raise ArithmeticError(f"{chunk!r} at {seconds > 0}")

    async with running(SocketPort("127.0.0.1", server.port, on_data=on_data)) as task:
        client = await asyncio.to_thread(server.accept)
        client.sendall(b"1")
        with pytest.raises(ArithmeticError):
            await asyncio.wait_for(task, PATIENCE_S)


async def test_cancelling_closes_the_connection_at_once(server: Server) -> None:
    async with connected(server, Heard()) as (_, task):
        task.cancel()
        await asyncio.wait([task], timeout=PATIENCE_S)
        assert task.cancelled()
        assert server.client is not None
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.to_thread(server.client.recv, 1) == b""

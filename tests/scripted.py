"""A TLS peer that says exactly what a test wrote down, and a relay that spoils what passes it.

Both live in the event loop of the test. `Scripted` accepts connections, waits for the first packet and answers
with bytes; it speaks no MQTT of its own, so it can say what no broker would. `Relay` passes TCP through to a
real broker until it is told otherwise.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from edgegw.simulate.authority import Files


def packet(first: int, body: bytes) -> bytes:
    """An MQTT packet with its fixed header."""
    length = bytearray()
    size = len(body)
    while True:
        length.append(size & 0x7F | (0x80 if size > 0x7F else 0))
        size >>= 7
        if not size:
            return bytes((first,)) + bytes(length) + body


def connack(code: int = 0, properties: bytes = b"") -> bytes:
    """A CONNACK of MQTT 5."""
    return packet(0x20, bytes((0, code, len(properties))) + properties)


def publish(topic: bytes, payload: bytes, *, qos: int = 1, mid: int = 1, properties: bytes = b"") -> bytes:
    """A PUBLISH of MQTT 5."""
    number = struct.pack("!H", mid) if qos else b""
    length = packet(0, properties)[1:]  # the same variable byte integer as a packet's length
    return packet(0x30 | qos << 1, struct.pack("!H", len(topic)) + topic + number + length + payload)


class Peer:
    """The peer's side of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def packet(self) -> tuple[int, bytes]:
        """The next packet of the client: its first byte and its body."""
        first = (await self.reader.readexactly(1))[0]
        length = shift = 0
        while True:
            byte = (await self.reader.readexactly(1))[0]
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return first, await self.reader.readexactly(length)

    async def say(self, data: bytes) -> None:
        """Send bytes."""
        self.writer.write(data)
        await self.writer.drain()


class Scripted:
    """Accepts TLS connections with the given credentials and runs `play` for each."""

    def __init__(self, files: Files, play: Callable[[Peer], Awaitable[None]]) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(files.certificate, files.key)
        self._play = play
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
                await self._play(Peer(reader, writer))
        finally:
            self._tasks.discard(task)
            writer.transport.abort()


class Relay:
    """Passes TCP between clients and 127.0.0.1:`target`; `mute` loses bytes in silence, `cut` resets.

    `rate` (bytes a second) makes the way up slow, with the small window of a device that has little memory.
    """

    def __init__(self, target: int, rate: float | None = None) -> None:
        self.target = target
        self.rate = rate
        self.port = 0
        self.mute_up = self.mute_down = False
        self.connections = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        listener = socket.create_server(("127.0.0.1", 0))
        if self.rate is not None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)  # inherited by what is accepted
        self._server = await asyncio.start_server(self._accept, sock=listener, limit=16384)
        self.port = listener.getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def mute(self, *, up: bool = True, down: bool = True) -> None:
        """Lose what clients (`up`) and the broker (`down`) send from now on, without a sign."""
        self.mute_up, self.mute_down = up, down

    def heal(self) -> None:
        """Pass everything again, for new connections."""
        self.mute_up = self.mute_down = False

    def cut(self) -> None:
        """Reset every connection, on both sides."""
        for writer in self._writers:
            sock = writer.get_extra_info("socket")
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            try:
                inner, outer = await asyncio.open_connection("127.0.0.1", self.target)
            except OSError:
                return
            self._writers |= {writer, outer}
            await asyncio.gather(self._pump(reader, outer, up=True), self._pump(inner, writer, up=False))
            self._writers -= {writer, outer}
            outer.transport.abort()
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, up: bool) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536 if self.rate is None else 8192):
                if up and self.rate is not None:
                    await asyncio.sleep(len(data) / self.rate)
                if not (self.mute_up if up else self.mute_down):
                    writer.write(data)
                    await writer.drain()
        if not (self.mute_up or self.mute_down):
            writer.transport.abort()

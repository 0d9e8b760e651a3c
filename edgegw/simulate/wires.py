"""The real wires of virtual sensors: pseudo-terminals under stable names, and TCP listeners."""

from __future__ import annotations

import asyncio
import os
import select
import tty
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

# How soon a new listener on a pty is seen: there is no event for it, only a state that can be asked.
LISTENER_POLL_S: Final = 0.02
_CHUNK: Final = 4096
# A street device serves a few masters at once; more connections are turned away.
MOST_CONNECTIONS: Final = 8


class PtyLine:
    """A serial line whose far end is a symbolic link to a pty, as `/dev/serial/by-id` names real adapters.

    `unplug` hangs the line up and takes the link away; `plug` brings it back with a new pty.
    """

    def __init__(self, link: Path) -> None:
        self.link = link
        self._master: int | None = None
        self._readable: asyncio.Future[None] | None = None

    @property
    def plugged(self) -> bool:
        """Whether the adapter is in its socket."""
        return self._master is not None

    def plug(self) -> None:
        """Make the pty and its name; nothing when it is there already."""
        if self._master is not None:
            return
        master, slave = os.openpty()
        try:
            # Raw from the start, or the kernel would echo the first bytes and translate line ends.
            tty.setraw(slave)
            os.set_blocking(master, False)
            self.link.parent.mkdir(parents=True, exist_ok=True)
            self.link.unlink(missing_ok=True)
            self.link.symlink_to(os.ttyname(slave))
        except BaseException:
            os.close(master)
            raise
        finally:
            # With no listener left the master says POLLHUP, and that is how `heard` knows.
            os.close(slave)
        self._master = master

    def unplug(self) -> None:
        """Hang up: the listener's next read fails, and the name is gone."""
        if self._master is None:
            return
        self.link.unlink(missing_ok=True)
        self._wake()
        os.close(self._master)
        self._master = None

    @property
    def heard(self) -> bool:
        """Whether somebody has the line open."""
        if self._master is None:
            return False
        poll = select.poll()
        poll.register(self._master, 0)
        return not any(event & select.POLLHUP for _, event in poll.poll(0))

    def write(self, data: bytes) -> int:
        """Put bytes on the wire and return how many a listener can read; 0 when nobody listens."""
        if self._master is None or not self.heard:
            return 0
        try:
            return os.write(self._master, data)
        except OSError:
            # The listener's buffer is full or it has just hung up; a serial line waits for neither.
            return 0

    async def receive(self) -> bytes:
        """The next bytes from whoever listens; waits for as long as nobody says anything."""
        while True:
            if self._master is None or not self.heard:
                await asyncio.sleep(LISTENER_POLL_S)
                continue
            await self._wait_readable(self._master)
            data = self._take()
            if data:
                return data

    def discard(self) -> None:
        """Forget what has arrived and was not received."""
        while self._take():
            pass

    def _take(self) -> bytes:
        """What has arrived; nothing when the listener (EIO) or the line itself is gone."""
        if self._master is None:
            return b""
        try:
            return os.read(self._master, _CHUNK)
        except OSError:
            return b""

    async def _wait_readable(self, master: int) -> None:
        loop = asyncio.get_running_loop()
        self._readable = loop.create_future()
        loop.add_reader(master, self._wake)
        try:
            await self._readable
        finally:
            self._wake()

    def _wake(self) -> None:
        if self._master is not None and self._readable is not None:
            asyncio.get_running_loop().remove_reader(self._master)
        if self._readable is not None and not self._readable.done():
            self._readable.set_result(None)
        self._readable = None


class TcpLine:
    """A TCP listener on the loopback that keeps its port for life; `unplug` drops everybody."""

    def __init__(
        self, serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
    ) -> None:
        self._serve = serve
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.StreamWriter] = set()
        self.port = 0

    @property
    def plugged(self) -> bool:
        """Whether the device is on the network."""
        return self._server is not None

    async def plug(self) -> None:
        """Listen; the kernel chooses the port the first time, afterwards it stays the same."""
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def unplug(self) -> None:
        """Stop listening and cut the connections."""
        if self._server is None:
            return
        self._server.close()
        for writer in tuple(self._clients):
            writer.transport.abort()
        await self._server.wait_closed()
        self._server = None

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._clients) >= MOST_CONNECTIONS:
            writer.transport.abort()
            return
        self._clients.add(writer)
        try:
            await self._serve(reader, writer)
        except* (ConnectionError, asyncio.IncompleteReadError, ValueError):
            # The master went away or spoke something else: a device hangs up and waits for the next one.
            pass
        finally:
            self._clients.discard(writer)
            writer.transport.abort()

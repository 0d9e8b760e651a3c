"""A device behind a raw TCP socket: a serial server, or an instrument that listens by itself.

What arrives is handed on as it is read, so nothing gathers here: while the loop is busy, the kernel's window
fills and the peer waits. What is sent waits until the kernel has taken it, for a bounded time.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
import time
from typing import TYPE_CHECKING, Final, cast

from edgegw.ports.errors import PortError
from edgegw.ports.thread import PortThread

if TYPE_CHECKING:
    from collections.abc import Callable

# Longest attempt: the kernel repeats a lost SYN after 1 s, so two lost packets still connect.
CONNECT_S: Final = 5.0
# Of a name with more, the later ones would get less time than one lost packet takes on a slow line.
MAX_ADDRESSES: Final = 3
# Bytes of one call of `on_data`, as of a serial port: about 10 ms of decoding, then others have their turn.
CHUNK_BYTES: Final = 16384
# Longest write: requests of sensors are below 300 bytes.
WRITE_BYTES: Final = 4096
# A serial server with a full buffer takes 4096 bytes at 9600 baud in 4.3 s.
WRITE_S: Final = 5.0
# A peer that is gone without a word (its power, a cable, a router's table) is asked after so many seconds of
# silence, then so often and so many times: it is noticed within 25 s, and the connection made again.
KEEPALIVE_IDLE_S: Final = 10
KEEPALIVE_EVERY_S: Final = 5
KEEPALIVE_TIMES: Final = 3
# The same for a request that is never acknowledged: otherwise the kernel tries again for a quarter of an hour.
UNACKNOWLEDGED_MS: Final = 20_000

_REASONS: Final = {
    errno.ECONNREFUSED: "refused",
    errno.EACCES: "permission",
    errno.EPERM: "permission",
    errno.ETIMEDOUT: "unreachable",
}
_TEXTS: Final = {
    "refused": (
        "{peer} refuses connections.",
        "Check the port number and that the device listens on it; a serial server must be in raw TCP server mode.",
    ),
    "unreachable": (
        "{peer} cannot be reached ({error}).",
        "Check power, cable and IP address of the device; `ping {host}` should answer.",
    ),
    "unknown_host": (
        "The name {host} has no address ({error}).",
        "Give the device's IP address: names need a working DNS.",
    ),
    "permission": (
        "This service may not connect to {peer} ({error}).",
        "Check the firewall and IPAddressDeny of the service.",
    ),
    "disconnected": (
        "{peer} closed the connection.",
        "Most devices serve one client at a time: stop the other one. It is connected again by itself.",
    ),
    "lost": (
        "The connection to {peer} was lost ({error}).",
        "Check power and cable of the device and the way to it; it is connected again by itself.",
    ),
    "write_timeout": (
        "{peer} does not take the bytes to be sent.",
        "Check the line behind the serial server and its flow control; switch it off and on again.",
    ),
    "closed": (
        "The connection to {peer} is closed.",
        "Nothing to do: it is made again when the sensor is started.",
    ),
}


class SocketPort:
    """One TCP connection to `host`:`port`, as a port.

    `on_data(chunk, seconds)` is called on the event loop with 1 to CHUNK_BYTES bytes in the order of their
    arrival and the monotonic second at which they were read; what it raises ends `run`. `on_open()` is called
    each time that the connection is made.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        on_data: Callable[[bytes, float], None],
        on_open: Callable[[], None] | None = None,
    ) -> None:
        """Connects nothing yet. `host` is a name or an address, `port` is from 1 to 65535."""
        self._host = host
        self._port = port
        self._on_data = on_data
        self._on_open = on_open
        self._connection: _Connection | None = None

    async def run(self) -> None:
        """Connect and read until the connection ends; making it again is the caller's decision.

        Raises:
            PortError: `unknown_host`, `refused`, `unreachable`, `permission` when it cannot be made,
                `disconnected`, `lost` or `write_timeout` when it ends later.
        """
        try:
            connection = await self._connect()
        except OSError as error:  # TimeoutError and gaierror are among them
            raise self._error(_reason(error), str(error) or "no answer") from error
        self._connection = connection
        try:
            if self._on_open is not None:
                self._on_open()
            await connection.ended.wait()
        finally:
            self._connection = None
            connection.close()
        if connection.defect is not None:
            raise connection.defect
        raise self._gone(connection.error)

    async def write(self, data: bytes) -> None:
        """Send up to WRITE_BYTES bytes; returns when the kernel has taken them.

        Raises:
            PortError: `closed` while there is no connection, `lost` or `write_timeout` when it ends with this.
            ValueError: More than WRITE_BYTES bytes.
        """
        if len(data) > WRITE_BYTES:
            raise ValueError(f"{len(data)} bytes in one write, at most {WRITE_BYTES}")
        connection = self._connection
        if connection is None:
            raise self._error("closed")
        try:
            await connection.write(data)
        except OSError as error:
            raise self._gone(error) from error

    async def _addresses(self) -> list[str]:
        """The IP addresses; a name is looked up in a thread of its own, since DNS can take minutes to fail."""
        try:
            return [str(ipaddress.ip_address(self._host))]
        except ValueError:
            thread = PortThread(f"resolve {self._host}")
            found = thread.call(_look_up, self._host, self._port)
            thread.stop()
            return await found

    async def _connect(self) -> _Connection:
        """The first address that answers: a device with a name may have IPv4 only, and IPv6 is listed first."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + CONNECT_S
        async with asyncio.timeout_at(deadline):
            addresses = await self._addresses()
        last = OSError(errno.EADDRNOTAVAIL, "no address")
        for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            share = (deadline - loop.time()) / left  # a silent address leaves the others their turn
            try:
                async with asyncio.timeout(share):
                    _, connection = await loop.create_connection(
                        lambda: _Connection(self._on_data), address, self._port
                    )
            except OSError as error:
                last = error
            else:
                return connection
        raise last

    def _gone(self, error: BaseException | None) -> PortError:
        if error is None:
            return self._error("disconnected")
        return self._error("write_timeout" if isinstance(error, _StuckError) else "lost", str(error))

    def _error(self, reason: str, error: str = "") -> PortError:
        why, todo = _TEXTS[reason]
        peer = f"[{self._host}]:{self._port}" if ":" in self._host else f"{self._host}:{self._port}"
        names = {"host": self._host, "peer": peer, "error": error}
        return PortError(reason, why.format(**names), todo.format(**names))


class _StuckError(OSError):
    """The peer takes no bytes."""


class _Connection(asyncio.BufferedProtocol):
    """One connection. When it is over, `ended` is set; `error` is what ended it, None when the peer closed it.

    `defect` is what `on_data` raised.
    """

    def __init__(self, on_data: Callable[[bytes, float], None]) -> None:
        self._on_data = on_data
        self._buffer = bytearray(CHUNK_BYTES)
        self._transport: asyncio.Transport | None = None
        self._room = asyncio.Event()
        self.ended = asyncio.Event()
        self.error: Exception | None = None
        self.defect: Exception | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask the kernel to notice a dead peer."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=0)
        sock: socket.socket = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_EVERY_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_TIMES)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS)

    def get_buffer(self, sizehint: int) -> bytearray:
        """Where the next bytes are read to: at most CHUNK_BYTES before others have their turn."""
        del sizehint
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Hand bytes on; what that raises ends the connection."""
        if self.ended.is_set():
            return
        try:
            self._on_data(bytes(self._buffer[:nbytes]), time.monotonic())
        except Exception as error:  # noqa: BLE001 - nothing is swallowed: `run` raises it
            self.defect = error
            self.ended.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits for the end, or for room to write."""
        self._end(exc)

    def resume_writing(self) -> None:
        """The kernel has taken everything."""
        self._room.set()

    async def write(self, data: bytes) -> None:
        """Return when the kernel has the bytes; OSError when it does not take them, or the connection ends."""
        if self._transport is None or self.ended.is_set():
            raise self.error or OSError(errno.ENOTCONN, "it ended")
        self._room.clear()
        self._transport.write(data)
        if not self._transport.get_write_buffer_size():
            return
        try:
            async with asyncio.timeout(WRITE_S):
                await self._room.wait()
        except TimeoutError:
            # Half a request is on the wire: nothing that follows on this connection would be understood.
            self._end(_StuckError(errno.ETIMEDOUT, "it takes no bytes"))
        if self.ended.is_set():
            raise self.error or OSError(errno.ENOTCONN, "it ended")

    def close(self) -> None:
        """End it now, with whatever was not sent."""
        self._end(None)
        if self._transport is not None:
            self._transport.abort()

    def _end(self, error: Exception | None) -> None:
        if not self.ended.is_set():
            self.error = error
            self.ended.set()
        self._room.set()


def _look_up(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))[:MAX_ADDRESSES]


def _reason(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "unknown_host"
    return _REASONS.get(error.errno or 0, "unreachable")

"""TCP connections to one host and port: with named failures and growing pauses between them."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
import time
from typing import TYPE_CHECKING, Final, TypeVar

from edgegw.ports.errors import PortError
from edgegw.ports.thread import PortThread

if TYPE_CHECKING:
    from collections.abc import Callable

P = TypeVar("P", bound=asyncio.BaseProtocol)

# Longest attempt: the kernel repeats a lost SYN after 1 s, so one lost packet still connects.
CONNECT_S: Final = 3.0
# Of a name with more, the later ones would get less time than one lost packet takes on a slow line.
MAX_ADDRESSES: Final = 3
# Pauses after failures: 0.5 s, doubling up to 5 s, so that a device that is back is found within 10 s.
PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 5.0

_REASONS: Final = {
    errno.ECONNREFUSED: "refused",
    errno.EACCES: "permission",
    errno.EPERM: "permission",
}
_TEXTS: Final = {
    "refused": (
        "{peer} refuses connections.",
        "Check the port (Modbus TCP has 502) and that the device has Modbus TCP switched on.",
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
        "{peer} closes the connection without an answer.",
        "Another master may hold its only connection; check how many masters the device allows.",
    ),
    "closed": ("The connection to {peer} is closed.", "Nothing to do: the sensor was stopped."),
}


class Connector:
    """Makes the connections to `host`:`port`, one at a time."""

    def __init__(self, host: str, port: int) -> None:
        """Connects nothing yet."""
        self._host = host
        self._port = port
        self._failures = 0
        self._error: PortError | None = None
        self._next_at = 0.0

    async def connect(self, protocol: Callable[[], P]) -> P:
        """A connected protocol.

        Raises:
            PortError: No connection, or still in the pause after the last failure (the same error again).
        """
        if self._error is not None and time.monotonic() < self._next_at:
            raise self._error
        loop = asyncio.get_running_loop()
        try:
            deadline = loop.time() + CONNECT_S
            async with asyncio.timeout_at(deadline):
                addresses = await self._addresses()
            return await self._first(protocol, addresses, deadline)
        except OSError as error:  # TimeoutError and gaierror are among them
            raise self.failed(_reason(error), str(error) or "no answer") from error

    async def _first(self, protocol: Callable[[], P], addresses: list[str], deadline: float) -> P:
        """The first address that answers: a device with a name may have IPv4 only, and IPv6 is listed first."""
        loop = asyncio.get_running_loop()
        last: OSError = OSError(errno.EADDRNOTAVAIL, "no address")
        for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            share = (deadline - loop.time()) / left  # a silent address leaves the others their turn
            try:
                async with asyncio.timeout(share):
                    _, connected = await loop.create_connection(protocol, address, self._port)
            except OSError as error:
                last = error
            else:
                return connected
        raise last

    def worked(self) -> None:
        """The connection gave an answer: the next failure is the first again."""
        self._failures = 0

    def failed(self, reason: str, error: str = "") -> PortError:
        """The error to raise; the next attempt is made after a pause."""
        self._error = self.error(reason, error)
        self._next_at = time.monotonic() + min(LONGEST_PAUSE_S, PAUSE_S * 2 ** min(self._failures, 10))
        self._failures += 1
        return self._error

    def error(self, reason: str, error: str = "") -> PortError:
        """A PortError with the texts of `reason`."""
        why, todo = _TEXTS[reason]
        names = {"host": self._host, "peer": f"{self._host}:{self._port}", "error": error}
        return PortError(reason, why.format(**names), todo.format(**names))

    async def _addresses(self) -> list[str]:
        """The IP addresses, at most `MAX_ADDRESSES`; a name is looked up in a thread of its own, since DNS can take minutes to fail."""
        try:
            return [str(ipaddress.ip_address(self._host))]
        except ValueError:
            thread = PortThread(f"resolve {self._host}")
            found = thread.call(_look_up, self._host, self._port)
            thread.stop()
            return await found


def _look_up(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found[:MAX_ADDRESSES]]


def _reason(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "unknown_host"
    return _REASONS.get(error.errno or 0, "unreachable")

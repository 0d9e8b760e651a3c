"""Fetch one document with GET: a fresh connection, one answer, every size and the whole time bounded.

Redirects are not followed (the device that was configured is meant, no other), and nothing compressed is taken (a
hundred bytes could become a gigabyte).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
import ssl
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import h11

from edgegw import __version__
from edgegw.ports.errors import PortError
from edgegw.ports.trust import authority, refuse_far, said

if TYPE_CHECKING:
    from urllib.parse import SplitResult

    from edgegw.driver import Pull

#: The longest document, in bytes; a push may be as long. The devices at hand send below 32 KiB.
DOCUMENT_BYTES: Final = 64 * 1024
#: Status line and headers of an answer; devices send a few hundred bytes.
HEADER_BYTES: Final = 16 * 1024
# Chunk headers and line ends besides the document: in chunks of one byte there are five of them for each.
_RECEIVED_BYTES: Final = HEADER_BYTES + 8 * DOCUMENT_BYTES
_READ_BYTES: Final = 16 * 1024
_CHECK_ADDRESS: Final = "Check the address, and that the device is switched on and in this network."


async def fetch(pull: Pull) -> bytes:
    """The document behind `pull.url`; PortError says in words why there is none."""
    parts = urlsplit(pull.url)
    peer = parts.netloc
    try:
        async with asyncio.timeout(pull.timeout_s):
            return await _fetched(pull, parts)
    except TimeoutError as error:
        raise PortError(
            "timeout", f"{peer} did not answer within {pull.timeout_s:g} s.", _CHECK_ADDRESS
        ) from error
    except ssl.SSLError as error:
        raise PortError(
            "tls",
            f"{peer} could not prove who it is: {said(error)}.",
            "Check `ca`, the name in the device's certificate, and the clocks of both.",
        ) from error
    except socket.gaierror as error:
        raise PortError(
            "unknown_host",
            f"The name {parts.hostname} has no address ({said(error)}).",
            "Give the device's IP address: names need a working DNS.",
        ) from error
    except ConnectionRefusedError as error:
        raise PortError(
            "refused",
            f"{peer} refuses connections.",
            "Check the port in `url`, and that the device serves HTTP.",
        ) from error
    except OSError as error:
        raise PortError("unreachable", f"{peer} cannot be reached: {said(error)}.", _CHECK_ADDRESS) from error
    except h11.RemoteProtocolError as error:
        raise PortError(
            "protocol", f"{peer} does not answer with HTTP as it should: {error}.", "Check the port in `url`."
        ) from error


async def _fetched(pull: Pull, parts: SplitResult) -> bytes:
    secure = parts.scheme == "https"
    context = authority(pull.ca) if secure else None
    port = parts.port or (443 if secure else 80)
    reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=context, limit=_READ_BYTES)
    try:
        if not secure:
            refuse_far(parts.netloc, str(writer.get_extra_info("peername")[0]), "https")
        protocol = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEADER_BYTES)
        writer.write(_request(protocol, pull, parts))
        await writer.drain()
        return await _answer(protocol, reader, parts.netloc)
    finally:
        # The answer is there or lost: no farewell of TLS is waited for.
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _request(protocol: h11.Connection, pull: Pull, parts: SplitResult) -> bytes:
    headers = [
        ("Host", parts.netloc),
        ("User-Agent", f"edgegw/{__version__}"),
        ("Accept", "application/json"),
        ("Accept-Encoding", "identity"),
        ("Connection", "close"),
    ]
    if pull.login.name:
        both = f"{pull.login.name}:{pull.login.password}".encode()
        headers.append(("Authorization", f"Basic {base64.b64encode(both).decode()}"))
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    data = protocol.send(h11.Request(method="GET", target=target, headers=headers))
    return (data or b"") + (protocol.send(h11.EndOfMessage()) or b"")


async def _answer(protocol: h11.Connection, reader: asyncio.StreamReader, peer: str) -> bytes:
    body = bytearray()
    received = 0
    while True:
        event = protocol.next_event()
        if event is h11.NEED_DATA:
            data = await reader.read(_READ_BYTES)
            received += len(data)
            if received > _RECEIVED_BYTES:
                raise _too_long(peer)
            protocol.receive_data(data)
        elif isinstance(event, h11.Response):
            _refuse(event, peer)
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > DOCUMENT_BYTES:
                raise _too_long(peer)
        elif isinstance(event, h11.EndOfMessage):
            return bytes(body)
        elif isinstance(event, h11.ConnectionClosed):
            raise PortError("truncated", f"{peer} closed the connection without an answer.", _CHECK_ADDRESS)


def _refuse(response: h11.Response, peer: str) -> None:
    """PortError for an answer that is no document."""
    status = response.status_code
    headers = dict(response.headers)
    if 300 <= status < 400:
        where = headers.get(b"location", b"")[:100].decode("ascii", "replace")
        raise PortError(
            "redirect",
            f"{peer} says that the document is elsewhere ({status} {where!r}); redirects are not followed.",
            "Write the final address into `url`, if it is the device's.",
        )
    if status in {401, 403}:
        raise PortError(
            "login",
            f"{peer} does not let us in ({status}).",
            "Check `user` and `password`; only Basic authentication is spoken.",
        )
    if status != 200:
        raise PortError(
            f"http_{status}",
            f"{peer} answers {status} {response.reason[:60].decode('ascii', 'replace')}.",
            "Check the path in `url` and the firmware of the device.",
        )
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise PortError(
            "compressed",
            f"{peer} sends a compressed document unasked.",
            "Switch compression off in the device.",
        )
    length = headers.get(b"content-length", b"0")
    if int(length) > DOCUMENT_BYTES:  # h11 has seen that it is a number
        raise _too_long(peer)


def _too_long(peer: str) -> PortError:
    return PortError(
        "too_long",
        f"{peer} sends more than {DOCUMENT_BYTES // 1024} KiB.",
        "Check the path in `url`: a document of readings is far shorter.",
    )

"""The endpoint to which devices of the local network post their documents, at `/push/` and the sensor's name.

It is off unless an address is configured, and serves only while a sensor listens. A document is answered with 200
after its sensor took it, because devices such as Xovis repeat what was not; whatever is wrong is answered with a
sentence, so that a device's log shows it. Strangers reach it: every size, time, number and rate is bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hmac
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

import h11

from edgegw.ports.errors import PortError
from edgegw.ports.http.fetch import DOCUMENT_BYTES
from edgegw.ports.trust import said

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Connections at once: some tens of devices, each with one. A connection costs about 20 KiB.
CONNECTIONS: Final = 32
#: Of one address: devices behind one router are few, and one of them must not take all places.
CONNECTIONS_EACH: Final = 8
#: Request line and headers; devices send a few hundred bytes.
HEADER_BYTES: Final = 8 * 1024
#: A whole request: 64 KiB over a slow radio take a few seconds.
REQUEST_S: Final = 10.0
#: Between two requests on one connection: devices that post each minute may keep theirs.
IDLE_S: Final = 75.0
#: Requests of one sensor: this many at once, then one for each REFILL_S seconds. Fast devices push once a second.
BURST: Final = 20
REFILL_S: Final = 0.2
#: Requests of all strangers together, which name no sensor or bring a wrong token.
STRANGERS: Final = 50
_READ_BYTES: Final = 16 * 1024
PREFIX: Final = "/push/"
_CHECK: Final = "Check `listen` under [endpoint]: an address of this machine, and a port from 1024 on that nobody else has."
# What the unit's SocketBindDeny refuses.
_ALLOW: Final = (
    "The unit opens no port. `systemctl edit edgegw`: [Service] SocketBindAllow=tcp; then restart it."
)


class Answer(NamedTuple):
    """What is answered: a status and a sentence."""

    status: int
    text: str


class Endpoint:
    """One HTTP server for all sensors that are posted to; it listens while there is one."""

    def __init__(self, host: str, port: int) -> None:
        """Take the address; nothing listens yet."""
        self._address = (host, port)
        self._shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._inlets: dict[str, _Inlet] = {}
        self._server: asyncio.Server | None = None
        self._starting = asyncio.Lock()
        self._serving: dict[asyncio.Task[None], str] = {}
        self._strangers = _Bucket(STRANGERS)

    @property
    def port(self) -> int:
        """The port on which it listens now, 0 for none."""
        return self._server.sockets[0].getsockname()[1] if self._server else 0

    async def receive(self, name: str, token: str, take: Callable[[bytes, float], str]) -> None:
        """Hand the documents for `name` to `take`, with the monotonic second of their arrival, until cancelled.

        `take` returns an empty text, or why the document is refused; what it raises is raised here too.
        PortError when the address cannot be listened on.
        """
        inlet = _Inlet(token, take, asyncio.get_running_loop().create_future(), _Bucket(BURST))
        self._inlets[name] = inlet
        try:
            await self._start()
            await inlet.failed
        finally:
            if self._inlets.get(name) is inlet:
                del self._inlets[name]
            if not self._inlets:
                await self._stop()

    async def _start(self) -> None:
        async with self._starting:
            if self._server is not None:
                return
            try:
                self._server = await asyncio.start_server(
                    self._serve, *self._address, limit=_READ_BYTES, backlog=CONNECTIONS
                )
            except OSError as error:
                raise PortError(
                    "listen",
                    f"{self._shown} cannot be listened on: {said(error)}.",
                    _ALLOW if error.errno == errno.EPERM else _CHECK,
                ) from error

    async def _stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        peer = str((writer.get_extra_info("peername") or ("",))[0])
        too_many = (
            len(self._serving) >= CONNECTIONS
            or list(self._serving.values()).count(peer) >= CONNECTIONS_EACH
            or self._server is None
        )
        if task is None or too_many:
            writer.transport.abort()
            return
        self._serving[task] = peer
        try:
            await self._converse(reader, writer)
        except (TimeoutError, OSError, h11.ProtocolError):
            pass  # silent, gone, or answered already: nobody is left to be told
        except asyncio.CancelledError:
            pass  # the endpoint stops; asyncio's streams complain about a handler that ends cancelled
        finally:
            self._serving.pop(task, None)
            writer.transport.abort()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request after the other on a connection."""
        protocol = h11.Connection(h11.SERVER, max_incomplete_event_size=HEADER_BYTES)
        while True:
            async with asyncio.timeout(IDLE_S):
                if not protocol.trailing_data[0]:
                    data = await reader.read(_READ_BYTES)
                    protocol.receive_data(data)
                    if not data:
                        return
            try:
                async with asyncio.timeout(REQUEST_S):
                    answer = await self._answered(protocol, reader, writer)
            except TimeoutError:
                answer = Answer(408, f"The request was not complete within {REQUEST_S:.0f} s.")
            except h11.RemoteProtocolError as error:
                answer = Answer(error.error_status_hint, f"This is no HTTP that is understood: {error}.")
            if answer is None:
                return
            goes_on = answer.status == 200 and protocol.their_state is h11.DONE
            async with asyncio.timeout(REQUEST_S):
                writer.write(_response(protocol, answer, goes_on=goes_on))
                await writer.drain()
            if not goes_on or protocol.our_state is not h11.DONE:
                await _part(reader, writer)
                return
            protocol.start_next_cycle()

    async def _answered(
        self, protocol: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Answer | None:
        """The answer to the request that begins now; None when nobody waits for one."""
        body = bytearray()
        inlet: _Inlet | None = None
        while True:
            event = protocol.next_event()
            if event is h11.NEED_DATA:
                if protocol.they_are_waiting_for_100_continue:
                    go_on = h11.InformationalResponse(status_code=100, headers=[])
                    writer.write(protocol.send(go_on) or b"")
                protocol.receive_data(await reader.read(_READ_BYTES))
            elif isinstance(event, h11.Request):
                found = self._inlet(event)
                if isinstance(found, Answer):
                    return found
                inlet = found
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > DOCUMENT_BYTES:
                    return Answer(413, f"A document has at most {DOCUMENT_BYTES // 1024} KiB.")
            elif isinstance(event, h11.EndOfMessage) and inlet is not None:
                return inlet.take_in(bytes(body))
            else:  # gone before it had said everything
                return None

    def _inlet(self, request: h11.Request) -> _Inlet | Answer:
        """Where the request's document goes, or why it is not wanted."""
        headers = {name: value.decode("latin-1") for name, value in request.headers}
        refusal = _refusal(request.method, headers)
        if refusal is not None:
            return refusal
        try:
            target = urlsplit(request.target.decode("latin-1"))
            asked = parse_qs(target.query, max_num_fields=16).get("token", [])
        except ValueError:
            return Answer(400, "The path of the request cannot be understood.")
        path = unquote(target.path)
        inlet = self._inlets.get(path.removeprefix(PREFIX)) if path.startswith(PREFIX) else None
        tokens = [headers.get(b"authorization", "").removeprefix("Bearer "), *asked]
        if inlet is None or not inlet.knows(tokens):
            if not self._strangers.take():
                return Answer(429, "Too many requests that are for nobody.")
            if inlet is None:
                return Answer(404, "No sensor is posted to here; the path is /push/ and the sensor's name.")
            return Answer(401, "The token is missing or wrong: Authorization: Bearer TOKEN, or ?token=TOKEN.")
        if not inlet.bucket.take():
            return Answer(429, f"Too many documents: at most one in {REFILL_S:g} s.")
        return inlet


@dataclass
class _Inlet:
    """A sensor that is posted to."""

    token: str
    take: Callable[[bytes, float], str]
    failed: asyncio.Future[None]
    bucket: _Bucket

    def knows(self, tokens: list[str]) -> bool:
        """Whether one of these is the sensor's token; any will do for a sensor without one."""
        wanted = self.token.encode()
        return not wanted or any(hmac.compare_digest(each.encode(), wanted) for each in tokens)

    def take_in(self, body: bytes) -> Answer:
        """Hand a document over; a sensor that fails is told so, the device is asked to come again."""
        try:
            refusal = self.take(body, time.monotonic())
        except Exception as error:  # noqa: BLE001 -- a defect of the driver: it belongs to the sensor, not to the server
            if not self.failed.done():
                self.failed.set_exception(error)
            return Answer(503, "The sensor failed over this document; it is started again.")
        return Answer(422, refusal) if refusal else Answer(200, "taken")


class _Bucket:
    """A rate: so many at once, then one for each REFILL_S seconds."""

    def __init__(self, burst: int) -> None:
        self._burst = burst
        self._left = float(burst)
        self._at = time.monotonic()

    def take(self) -> bool:
        """Whether one more may pass now."""
        now = time.monotonic()
        self._left = min(self._burst, self._left + (now - self._at) / REFILL_S)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


def _refusal(method: bytes, headers: dict[bytes, str]) -> Answer | None:
    """Why a request is refused before its sensor is looked for; None when it is not."""
    if method not in {b"POST", b"PUT"}:
        return Answer(405, "Documents are posted here; nothing can be fetched.")
    if b"origin" in headers:
        # Only browsers send it: somebody's web page must not invent readings from inside the network.
        return Answer(403, "Requests of web pages are not taken.")
    if headers.get(b"content-encoding", "identity").lower() != "identity":
        return Answer(415, "Compressed documents are not taken.")
    length = headers.get(b"content-length", "0")
    if int(length) > DOCUMENT_BYTES:  # h11 has seen that it is a number
        return Answer(413, f"A document has at most {DOCUMENT_BYTES // 1024} KiB.")
    return None


def _response(protocol: h11.Connection, answer: Answer, *, goes_on: bool) -> bytes:
    text = (answer.text + "\n").encode()
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(text)))]
    if not goes_on:
        headers.append(("Connection", "close"))
    events: tuple[h11.Event, ...] = (
        h11.Response(status_code=answer.status, headers=headers, reason=_REASONS.get(answer.status, b"")),
        h11.Data(data=text),
        h11.EndOfMessage(),
    )
    return b"".join(_sent(protocol, events))


def _sent(protocol: h11.Connection, events: tuple[h11.Event, ...]) -> Iterator[bytes]:
    for event in events:
        yield protocol.send(event) or b""


async def _part(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """End a connection so that the answer arrives: what still comes is read and dropped, for a moment."""
    with contextlib.suppress(OSError, TimeoutError):
        writer.write_eof()
        async with asyncio.timeout(1.0):
            while await reader.read(_READ_BYTES):
                pass


_REASONS: Final = {
    200: b"OK",
    400: b"Bad Request",
    401: b"Unauthorized",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    413: b"Content Too Large",
    415: b"Unsupported Media Type",
    422: b"Unprocessable Content",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    503: b"Service Unavailable",
}

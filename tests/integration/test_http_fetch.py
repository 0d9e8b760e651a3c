"""Documents fetched from real sockets, friendly and hostile ones."""

from __future__ import annotations

import asyncio
import base64
import gzip
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgegw.driver import Login, Pull
from edgegw.ports.errors import PortError
from edgegw.ports.http import fetch
from edgegw.ports.http.fetch import DOCUMENT_BYTES
from edgegw.ports.trust import is_near

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from edgegw.simulate.authority import Authority

#: Far longer than any answer on loopback takes.
PATIENT_S = 30.0


class Device:
    """A server that says fixed bytes and remembers what it was asked."""

    def __init__(self, answer: bytes, *, hangs: bool = False) -> None:
        self.answer = answer
        self.hangs = hangs
        self.asked = b""
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.asked = await reader.readuntil(b"\r\n\r\n")
            writer.write(self.answer)
            await writer.drain()
            while self.hangs and await reader.read(1):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def device(
    answer: bytes, *, hangs: bool = False, context: ssl.SSLContext | None = None
) -> AsyncIterator[Device]:
    found = Device(answer, hangs=hangs)
    async with await asyncio.start_server(found.serve, "127.0.0.1", 0, ssl=context) as server:
        found.port = server.sockets[0].getsockname()[1]
        yield found


def page(body: bytes, head: str = "", status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{head}\r\n".encode() + body


async def fetched(answer: bytes, *, hangs: bool = False, timeout_s: float = PATIENT_S) -> bytes:
    async with device(answer, hangs=hangs) as found:
        return await fetch(Pull(f"http://127.0.0.1:{found.port}/d.json", timeout_s))


async def refused(awaitable: Awaitable[bytes]) -> PortError:
    with pytest.raises(PortError) as error:
        await awaitable
    assert error.value.why.endswith(".")
    assert error.value.todo.endswith(".")
    return error.value


async def test_a_document_is_asked_for_plainly_and_taken_as_it_is() -> None:
    async with device(page(b'{"a": 1}')) as found:
        pull = Pull(f"http://127.0.0.1:{found.port}/path/d.json?x=1&y", PATIENT_S, "", Login("user", "pass"))
        assert await fetch(pull) == b'{"a": 1}'
    lines = found.asked.decode().split("\r\n")
    assert lines[0] == "GET /path/d.json?x=1&y HTTP/1.1"
    assert f"Host: 127.0.0.1:{found.port}" in lines
    assert "Accept-Encoding: identity" in lines
    assert f"Authorization: Basic {base64.b64encode(b'user:pass').decode()}" in lines


async def test_nobody_is_named_where_no_user_is_configured() -> None:
    async with device(page(b"{}")) as found:
        await fetch(Pull(f"http://127.0.0.1:{found.port}", PATIENT_S))
    assert found.asked.startswith(b"GET / HTTP/1.1\r\n")
    assert b"Authorization" not in found.asked


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}1\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n{}1",  # the end of the connection is the end of the document
        b"HTTP/1.1 100 Continue\r\n\r\n" + page(b"{}1"),
        page(b"{}1") + b"more that nobody asked for",
    ],
)
async def test_every_way_of_sending_a_document_is_understood(answer: bytes) -> None:
    assert await fetched(answer) == b"{}1"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (page(b"", "Location: http://192.0.2.1/\r\n", "302 Found"), "redirect"),
        (page(b"", status="401 Unauthorized"), "login"),
        (page(b"", status="403 Forbidden"), "login"),
        (page(b"", status="404 Not Found"), "http_404"),
        (page(b"", status="500 Oops"), "http_500"),
        (page(gzip.compress(b"{}", mtime=0), "Content-Encoding: gzip\r\n"), "compressed"),
        (page(b"x" * (DOCUMENT_BYTES + 1)), "too_long"),
        (b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * (DOCUMENT_BYTES + 1), "too_long"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 70_000, "too_long"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 40_000, "protocol"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "protocol"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", "protocol"),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", "protocol"),
        (b"", "protocol"),
    ],
)
async def test_whatever_is_no_document_is_refused_in_words(answer: bytes, reason: str) -> None:
    assert (await refused(fetched(answer))).reason == reason


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\n", page(b"{}")[:-1]])
async def test_a_device_that_stops_in_the_middle_is_waited_for_no_longer_than_allowed(answer: bytes) -> None:
    assert (await refused(fetched(answer, hangs=True, timeout_s=0.5))).reason == "timeout"


async def test_nobody_there_is_said_in_words() -> None:
    async with device(b"") as found:
        port = found.port
    assert (await refused(fetch(Pull(f"http://127.0.0.1:{port}/", PATIENT_S)))).reason == "refused"
    name = Pull("http://nowhere.invalid/", PATIENT_S)
    assert (await refused(fetch(name))).reason in {"unknown_host", "unreachable", "timeout"}


async def test_nothing_is_sent_in_the_clear_to_an_address_that_is_not_near(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edgegw.ports.trust.is_near", lambda _: False)
    async with device(page(b"{}")) as found:
        assert (await refused(fetch(Pull(f"http://127.0.0.1:{found.port}/", PATIENT_S)))).reason == "public"
    assert found.asked == b""


@pytest.mark.parametrize(
    ("address", "near"),
    [
        ("127.0.0.1", True),
        ("10.1.2.3", True),
        ("172.16.0.1", True),
        ("192.168.4.20", True),
        ("169.254.7.7", True),
        ("fd00::1", True),
        ("fe80::1%eth0", True),
        ("::ffff:192.168.4.20", True),
        ("8.8.8.8", False),
        ("172.32.0.1", False),
        ("2600::1", False),
        ("::ffff:8.8.8.8", False),
        ("camera", False),
    ],
)
def test_near_is_what_belongs_to_private_networks(address: str, near: bool) -> None:
    assert is_near(address) is near


# https


@pytest.fixture
def server_context(authority: Authority, tmp_path: Path) -> Callable[[], ssl.SSLContext]:
    def make() -> ssl.SSLContext:
        files = authority.server().write(tmp_path, "device")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.certificate, files.key)
        return context

    return make


async def test_https_trusts_the_configured_authority_and_no_other(
    authority: Authority, tmp_path: Path, server_context: Callable[[], ssl.SSLContext]
) -> None:
    from edgegw.simulate.authority import Authority

    ca, other = authority.write(tmp_path / "ca.crt"), Authority().write(tmp_path / "other.crt")
    async with device(page(b"{}"), context=server_context()) as found:
        url = f"https://localhost:{found.port}/"
        assert await fetch(Pull(url, PATIENT_S, str(ca))) == b"{}"
        assert (await refused(fetch(Pull(url, PATIENT_S, str(other))))).reason == "tls"
        assert (await refused(fetch(Pull(url, PATIENT_S, str(tmp_path / "none.crt"))))).reason == "ca"


async def test_https_to_a_device_that_speaks_http_is_said_in_words(
    authority: Authority, tmp_path: Path
) -> None:
    ca = authority.write(tmp_path / "ca.crt")
    async with device(page(b"{}")) as found:
        pull = Pull(f"https://localhost:{found.port}/", 5.0, str(ca))
        assert (await refused(fetch(pull))).reason in {"tls", "timeout", "unreachable"}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.binary(max_size=400)
    | st.tuples(
        st.sampled_from([page(b"{}"), page(b"{}", "X: y\r\n")]), st.integers(0, 60), st.binary(max_size=9)
    ).map(lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] :])
)
def test_any_bytes_of_a_device_give_a_document_or_a_reason(answer: bytes) -> None:
    async def ask() -> None:
        try:
            body = await fetched(answer)
        except PortError as error:
            assert error.reason  # noqa: PT017 -- either outcome is right
        else:
            assert len(body) <= DOCUMENT_BYTES

    asyncio.run(ask())

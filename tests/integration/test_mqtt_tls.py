from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from broker import free_port
from scripted import Peer, Scripted

from edgegw.connection import Connection
from edgegw.exchange import Dial
from edgegw.linkfailure import LinkFailure, Reason
from edgegw.simulate.authority import EXPIRED, FUTURE, Authority, Credentials, self_signed
from edgegw.tls import Server, TlsFiles, client_context

if TYPE_CHECKING:
    from pathlib import Path

    from broker import Broker


class World:
    """An authority, our files, and whatever peer a test puts there."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority = Authority()
        ours = self.authority.client("gw-1").write(directory, "gw-1")
        self.files = TlsFiles(self.authority.write(directory / "ca.crt"), ours.certificate, ours.key)

    async def failure(self, port: int, host: str = "localhost", timeout_s: float = 20) -> LinkFailure:
        dial = Dial(Server(host, port), self.files, "gw-1", connect_timeout_s=timeout_s)
        connection = Connection(dial)
        with pytest.raises(LinkFailure) as failed:
            async with asyncio.timeout(60):
                await connection.connect()
        await connection.close()
        assert failed.value.what
        assert failed.value.code.startswith("EG-")
        return failed.value


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def elsewhere(world: World) -> Credentials:
    return world.authority.server(["elsewhere.example"])


@pytest.mark.parametrize(
    ("reason", "make"),
    [
        (Reason.SERVER_EXPIRED, lambda world: world.authority.server(validity=EXPIRED)),
        (Reason.SERVER_NOT_YET_VALID, lambda world: world.authority.server(validity=FUTURE)),
        (Reason.WRONG_HOST, elsewhere),
        (Reason.WRONG_HOST, lambda world: world.authority.server(["*.example"])),
        (Reason.UNKNOWN_CA, lambda _: Authority("somebody else").server()),
        (Reason.SELF_SIGNED, lambda _: self_signed()),
        (Reason.TLS, lambda world: world.authority.client("localhost")),
    ],
    ids=["expired", "future", "wrong host", "wildcard", "foreign", "self-signed", "not for servers"],
)
async def test_a_peer_that_cannot_prove_itself_gets_no_byte_and_is_named_in_words(
    reason: Reason, make: object, world: World
) -> None:
    assert callable(make)
    said: list[bytes] = []

    async def listen(peer: Peer) -> None:
        said.append(await peer.reader.read(1))

    async with Scripted(make(world).write(world.directory, "peer"), listen) as peer:
        failure = await world.failure(peer.port)
    assert failure.reason is reason
    assert "could not prove who it is" in failure.what
    assert b"".join(said) == b""


async def test_the_clock_is_blamed_beside_the_certificate_that_is_not_valid_yet(world: World) -> None:
    async def listen(_peer: Peer) -> None: ...

    files = world.authority.server(validity=FUTURE).write(world.directory, "peer")
    async with Scripted(files, listen) as peer:
        failure = await world.failure(peer.port)
    assert "clock" in failure.what
    assert failure.code == "EG-UPLINK-CLOCK"


async def test_a_peer_of_an_older_protocol_is_refused(world: World) -> None:
    files = world.authority.server().write(world.directory, "peer")
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    old.load_cert_chain(files.certificate, files.key)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def accept() -> None:  # blocking, because asyncio closes without the alert that OpenSSL has ready
            with listener.accept()[0] as plain, pytest.raises(ssl.SSLError):
                old.wrap_socket(plain, server_side=True)

        serving = asyncio.create_task(asyncio.to_thread(accept))
        failure = await world.failure(listener.getsockname()[1], host="127.0.0.1")
        await serving
    assert failure.reason is Reason.OLD_TLS


@pytest.mark.parametrize(
    ("greeting", "reason"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Reason.TLS),
        (b"\x20\x03\x00\x00\x00", Reason.TLS),
        (b"", Reason.LOST),
        (None, Reason.TIMEOUT),
    ],
    ids=["a web server", "MQTT without TLS", "closes at once", "stalls"],
)
async def test_a_peer_that_does_not_speak_tls_gets_a_handshake_and_nothing_else(
    greeting: bytes | None, reason: Reason, world: World
) -> None:
    heard = bytearray()
    done = asyncio.Event()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.extend(await reader.read(4096))
        if greeting is not None:
            writer.write(greeting)
            writer.close()
        await done.wait()
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    failure = await world.failure(port, timeout_s=1)
    done.set()
    server.close()
    assert failure.reason is reason
    assert heard[:2] == b"\x16\x03"  # a ClientHello (RFC 8446 §4.1.2); what follows is an alert at the most
    assert b"MQTT" not in heard


async def test_a_peer_that_shakes_hands_and_then_says_nothing_is_given_up(world: World) -> None:
    async def stall(peer: Peer) -> None:
        await peer.packet()
        await peer.reader.read()

    async with Scripted(world.authority.server().write(world.directory, "peer"), stall) as peer:
        failure = await world.failure(peer.port, timeout_s=1)
    assert failure.reason is Reason.TIMEOUT


async def test_a_port_where_nothing_listens_is_told_apart_from_a_dead_way(world: World) -> None:
    assert (await world.failure(free_port())).reason is Reason.CONNECTION_REFUSED
    with closing(socket.socket()) as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        with closing(socket.create_connection(("127.0.0.1", port))):  # the queue of one is taken
            failure = await world.failure(port, host="127.0.0.1", timeout_s=0.5)
    assert failure.reason is Reason.TIMEOUT


@pytest.mark.parametrize("host", ["no-such-name.invalid", "a" * 64 + ".example", "..", "nul\0byte"])
async def test_a_name_that_cannot_be_resolved_says_so(host: str, world: World) -> None:
    failure = await world.failure(8883, host=host)
    assert failure.reason in {Reason.DNS, Reason.UNREACHABLE}
    assert failure.todo


@pytest.mark.parametrize(
    "make",
    [
        lambda _: Authority("somebody else").client("gw-1"),
        lambda broker: broker.authority.client("gw-1", EXPIRED),
        lambda broker: broker.authority.client("gw-1", FUTURE),
        lambda broker: broker.authority.server(["gw-1"]),
    ],
    ids=["foreign", "expired", "future", "not for clients"],
)
async def test_a_client_certificate_that_the_broker_refuses_is_named_after_the_handshake(
    make: object, broker: Broker, tmp_path: Path
) -> None:
    # TLS 1.3 tells it only after our side is done: sometimes before, sometimes after our first packet
    assert callable(make)
    ours = make(broker).write(tmp_path, "refused")
    files = TlsFiles(broker.ca, ours.certificate, ours.key)
    for _ in range(10):
        connection = Connection(Dial(Server(broker.host, broker.port), files, "gw-1"))
        with pytest.raises(LinkFailure) as failed:
            await connection.connect()
        await connection.close()
        assert failed.value.reason is Reason.CLIENT_CERTIFICATE
        assert failed.value.refused
        assert failed.value.code == "EG-UPLINK-REFUSED"


async def test_the_files_are_read_again_for_each_connection(broker: Broker, tmp_path: Path) -> None:
    files = broker.authority.client("gw-1", EXPIRED).write(tmp_path, "ours")
    dial = Dial(Server(broker.host, broker.port), TlsFiles(broker.ca, files.certificate, files.key), "gw-1")
    first = Connection(dial)
    with pytest.raises(LinkFailure):
        await first.connect()
    await first.close()
    broker.authority.client("gw-1").write(tmp_path, "ours")
    second = Connection(dial)
    await second.connect()
    await second.close()


@pytest.mark.parametrize("content", [None, b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_a_file_that_cannot_be_used_is_named(content: bytes | None, world: World, tmp_path: Path) -> None:
    bad = tmp_path / "bad.pem"
    if content is not None:
        bad.write_bytes(content)
    ca, certificate, key = world.files
    for files, reason in (
        (TlsFiles(bad, certificate, key), Reason.CA),
        (TlsFiles(ca, bad, key), Reason.IDENTITY),
        (TlsFiles(ca, certificate, bad), Reason.IDENTITY),
    ):
        with pytest.raises(LinkFailure) as failed:
            client_context(files)
        assert failed.value.reason is reason
        assert str(bad) in failed.value.what


def test_a_key_of_another_certificate_and_an_encrypted_key_are_refused_without_a_question(
    world: World, tmp_path: Path
) -> None:
    other = world.authority.client("gw-2").write(tmp_path, "gw-2")
    encrypted = tmp_path / "encrypted.pem"
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        PrivateFormat,
        load_pem_private_key,
    )

    key = load_pem_private_key(world.files.key.read_bytes(), None)
    encrypted.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    )
    for wrong in (other.key, encrypted):
        with pytest.raises(LinkFailure) as failed:
            client_context(TlsFiles(world.files.ca, world.files.certificate, wrong))
        assert failed.value.reason is Reason.IDENTITY


def test_only_the_configured_authority_is_trusted(world: World) -> None:
    context = client_context(world.files)
    assert [entry["subject"] for entry in context.get_ca_certs()] == [
        ((("commonName", "edgegw throwaway CA"),),)
    ]
    assert context.minimum_version is ssl.TLSVersion.TLSv1_3
    assert context.check_hostname
    assert context.verify_mode is ssl.VerifyMode.CERT_REQUIRED


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("mqtts://broker.example", Server("broker.example", 8883)),
        ("mqtts://Broker.Example:18883/", Server("broker.example", 18883)),
        ("mqtts://10.0.0.5:1", Server("10.0.0.5", 1)),
        ("mqtts://[2001:db8::1]:8883", Server("2001:db8::1", 8883)),
    ],
)
def test_a_server_is_written_as_a_url(url: str, server: Server) -> None:
    assert Server.parse(url) == server
    assert Server.parse(f"mqtts://{server}") == server


@pytest.mark.parametrize(
    "url",
    [
        "broker.example",
        "mqtt://broker.example",
        "https://broker.example",
        "mqtts://",
        "mqtts://:8883",
        "mqtts://broker:0",
        "mqtts://broker:65536",
        "mqtts://broker:port",
        "mqtts://user:secret@broker",
        "mqtts://broker/path",
        "mqtts://broker?x=1",
        "mqtts://[::1",
    ],
)
def test_what_is_no_server_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Server.parse(url)

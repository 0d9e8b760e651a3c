"""Open one mutual TLS 1.3 connection to a broker, or say in words why that is not possible.

Only the configured authority is trusted, never the system's; the host name is checked; there is no older
protocol and no fallback of any kind. Everything here blocks: it runs in the thread of one connection.

Outside facts: X509_V_ERR_* numbers from OpenSSL's x509_vfy.h (`verify_code`); TCP_USER_TIMEOUT and zero windows
from Linux net/ipv4/tcp_timer.c, tcp_probe_timer; RFC 8446 §4.4.2.4 for the alerts of a refused client certificate, which in TLS 1.3 arrive only after the
client's handshake is done.
"""

from __future__ import annotations

import errno
import socket
import ssl
import time
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from edgegw.linkfailure import LinkFailure, Reason

if TYPE_CHECKING:
    from pathlib import Path

MQTTS_PORT: Final = 8883
"""Port of `mqtts://` where none is given (IANA: secure-mqtt)."""

MAX_ADDRESSES: Final = 8
"""Addresses of one name that are tried: a name with hundreds of them must not take minutes."""


class Server(NamedTuple):
    """Where a broker is: a DNS name or an IP address (IPv6 without brackets), and a port from 1 to 65535."""

    host: str
    port: int = MQTTS_PORT

    @classmethod
    def parse(cls, url: str) -> Server:
        """Read `mqtts://host[:port]`; ValueError says what is wrong with anything else."""
        parts = urlsplit(url)
        if parts.scheme != "mqtts":
            raise ValueError(f"{url!r} does not start with mqtts:// (there is no link without TLS)")
        if not parts.hostname:
            raise ValueError(f"{url!r} names no host")
        if parts.username is not None or parts.path.strip("/") or parts.query or parts.fragment:
            raise ValueError(f"{url!r} has more than a host and a port")
        port = MQTTS_PORT if parts.port is None else parts.port  # ValueError above 65535
        if port == 0:
            raise ValueError(f"{url!r} has port 0")
        return cls(parts.hostname, port)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class TlsFiles(NamedTuple):
    """PEM files, read again for each connection: the authority to trust, our certificate chain and key."""

    ca: Path
    certificate: Path
    key: Path


def client_context(files: TlsFiles) -> ssl.SSLContext:
    """A TLS 1.3 client that trusts `files.ca` alone and shows our certificate.

    An intermediate authority may stand in `ca` without its root. Raises LinkFailure with the reason `ca` or
    `identity` when a file is missing, unreadable, not PEM or belongs to another key.
    """
    context = ssl.SSLContext(
        ssl.PROTOCOL_TLS_CLIENT
    )  # create_default_context may load the system's authorities
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(cafile=files.ca)
    except OSError as error:  # ssl.SSLError is one
        raise LinkFailure(
            Reason.CA,
            f"the authority in {files.ca} cannot be read: {_said(error)}",
            ("check ca under [uplink]: a PEM certificate",),
        ) from error
    try:
        # The empty password keeps an encrypted key from asking at a terminal that nobody sits at.
        context.load_cert_chain(files.certificate, files.key, password="")
    except OSError as error:
        raise LinkFailure(
            Reason.IDENTITY,
            f"the certificate {files.certificate} with the key {files.key} cannot be used: {_said(error)}",
            ("edgegw identity show", "edgegw identity install CERTIFICATE"),
        ) from error
    return context


def open_tls(server: Server, context: ssl.SSLContext, timeout_s: float) -> ssl.SSLSocket:
    """Connect and shake hands within about `timeout_s` seconds; the name look-up takes the resolver's time.

    Not one byte of ours is sent to a peer that did not prove to be `server`. Raises LinkFailure.
    """
    plain = _connect(server, _resolve(server), time.monotonic() + timeout_s)
    try:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # No TCP_USER_TIMEOUT: the kernel also counts the time in which a slow peer keeps its window small, and
        # so cuts a line that is alive. Whether the peer is silent is judged by `exchange.Pulse`.
        plain.settimeout(timeout_s)
        return context.wrap_socket(plain, server_hostname=server.host)
    except (OSError, ValueError) as error:  # ValueError: a host that is no name, such as ".broker"
        plain.close()
        raise handshake_failure(server, error) from error


def _resolve(server: Server) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
    """Addresses of the server, as many as are tried, in the resolver's order."""
    try:
        found = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # UnicodeError: a label longer than 63 bytes
        raise LinkFailure(
            Reason.DNS,
            f"the name {server.host} cannot be resolved: {_said(error)}",
            (f"resolvectl query {server.host}", "check server under [uplink]"),
        ) from error
    return [(family, address) for family, _, _, _, address in found[:MAX_ADDRESSES]]  # type: ignore[misc]


def _connect(
    server: Server, addresses: list[tuple[socket.AddressFamily, tuple[str, int]]], deadline: float
) -> socket.socket:
    """The first address that answers; the time is shared so that each of them gets its turn."""
    last: OSError = OSError(errno.EADDRNOTAVAIL, "no address")
    for left, (family, address) in zip(range(len(addresses), 0, -1), addresses, strict=True):
        try:
            plain = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:  # IPv6 is switched off on this machine
            last = error
            continue
        try:
            plain.settimeout(max(0.1, (deadline - time.monotonic()) / left))
            plain.connect(address)
        except OSError as error:
            plain.close()
            last = error
        else:
            return plain
    raise _unreachable(server, last) from last


def _unreachable(server: Server, error: OSError) -> LinkFailure:
    if isinstance(error, ConnectionRefusedError):
        return LinkFailure(
            Reason.CONNECTION_REFUSED,
            f"{server} refuses connections: nothing listens there",
            ("check that the broker runs", "check the port of server under [uplink]"),
        )
    if isinstance(error, TimeoutError):
        return LinkFailure(
            Reason.TIMEOUT,
            f"{server} does not answer: the way there is blocked, or the machine is off",
            ("ip route", "ask for the firewall between here and the broker"),
        )
    return LinkFailure(Reason.UNREACHABLE, f"{server} cannot be reached: {_said(error)}", ("ip route",))


_VERIFY: Final = {
    9: (Reason.SERVER_NOT_YET_VALID, "its certificate is not valid yet, or the clock here is behind"),
    10: (Reason.SERVER_EXPIRED, "its certificate is out of date, or the clock here is ahead"),
    18: (Reason.SELF_SIGNED, "its certificate is self-signed"),
    19: (Reason.UNKNOWN_CA, "its certificate comes from another authority than the configured one"),
    20: (Reason.UNKNOWN_CA, "its certificate comes from another authority than the configured one"),
    21: (Reason.UNKNOWN_CA, "its certificate comes from another authority than the configured one"),
    62: (Reason.WRONG_HOST, "its certificate is for another name"),
    64: (Reason.WRONG_HOST, "its certificate is for another address"),
}
"""What OpenSSL's verification results mean: number → reason and words."""

_TODO: Final = {
    Reason.SERVER_NOT_YET_VALID: (
        "timedatectl status",
        "wait for the time service: the gateway goes on by itself",
    ),
    Reason.SERVER_EXPIRED: ("timedatectl status", "renew the certificate of the broker"),
    Reason.WRONG_HOST: ("check server under [uplink]: it must be a name in the broker's certificate",),
}

_CERTIFICATE_ALERTS: Final = (
    "CERTIFICATE_REQUIRED",
    "CERTIFICATE_EXPIRED",
    "CERTIFICATE_REVOKED",
    "CERTIFICATE_UNKNOWN",
    "BAD_CERTIFICATE",
    "UNSUPPORTED_CERTIFICATE",
    "ALERT_UNKNOWN_CA",
    "ALERT_ACCESS_DENIED",
    "ALERT_DECRYPT_ERROR",
)
"""Parts of OpenSSL's names for the alerts with which a peer refuses our certificate (RFC 8446 §6.2)."""


def handshake_failure(server: Server, error: Exception) -> LinkFailure:
    """Name what went wrong with TLS, in the handshake or, for our own certificate, after it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        reason, words = _VERIFY.get(error.verify_code, (Reason.TLS, error.verify_message))
        todo = _TODO.get(reason, ("check ca under [uplink]", "edgegw uplink test"))
        return LinkFailure(reason, f"{server} could not prove who it is: {words}", todo)
    name = (error.reason or "") if isinstance(error, ssl.SSLError) else ""
    if any(alert in name for alert in _CERTIFICATE_ALERTS):
        return LinkFailure(
            Reason.CLIENT_CERTIFICATE,
            f"{server} does not accept the certificate of this gateway: {_said(error)}",
            ("edgegw identity show", "timedatectl status", "ask the operator of the broker"),
        )
    if "PROTOCOL_VERSION" in name or "UNSUPPORTED_PROTOCOL" in name:
        return LinkFailure(Reason.OLD_TLS, f"{server} does not speak TLS 1.3", ("update the broker",))
    if isinstance(error, TimeoutError):
        return LinkFailure(Reason.TIMEOUT, f"{server} answers, but stalls in the TLS handshake")
    if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
        what = f"{server} does not speak TLS as it should: {_said(error)}"
        return LinkFailure(Reason.TLS, what, ("check the port of server under [uplink]",))
    return LinkFailure(Reason.LOST, f"{server} closed the connection in the TLS handshake")


def _said(error: Exception) -> str:
    """The words of an exception without numbers and source lines of C."""
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).replace("_", " ").lower()
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error)

"""What a broker sends, cut into whole packets and checked before the MQTT library sees it.

The library trusts its broker: it takes packets of 256 MB, keeps QoS 2 messages without bound, spends seconds on
a message stuffed with properties, and gives up on a reason code that it does not know, so that the one message
that a broker refuses with such a code would end every connection. A `Channel` stands between it and the socket:
it hands over only packets of a bounded size and of a kind that a broker may send, and notes the reason codes.

Outside facts: OASIS MQTT 5.0 §2.1 (fixed header), §1.5.5 (variable byte integer), §3.2 to §3.14 (packets).
"""

from __future__ import annotations

from ssl import SSLError, SSLWantReadError, SSLWantWriteError
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from socket import socket

CONNACK: Final = 0x20
PUBLISH: Final = 0x30
PUBACK: Final = 0x40
SUBACK: Final = 0x90
PINGRESP: Final = 0xD0
DISCONNECT: Final = 0xE0

FROM_BROKER: Final = frozenset({CONNACK, PUBLISH, PUBACK, SUBACK, PINGRESP, DISCONNECT})
"""Packet types that a broker may send to a client of ours, which never uses QoS 2, AUTH or UNSUBSCRIBE."""

MAX_PROPERTIES: Final = 1024
"""Bytes of properties of a PUBLISH that are decoded; ours have about 250. Decoding takes quadratic time, and
they are unsigned hints: longer ones are left out and the message is delivered without them."""

RECORD: Final = 16384
"""Bytes read at once: what one TLS record holds (RFC 8446 §5.1)."""


class PacketError(ConnectionError):
    """The broker sent what no MQTT 5 broker may send to us."""


class Note(NamedTuple):
    """A checked packet: its type, its reason code (None where the type has none), and the bytes to decode."""

    kind: int
    code: int | None
    data: bytes


def variable_integer(data: bytes | bytearray, start: int) -> tuple[int, int] | None:
    """Value and end of the variable byte integer at `start`; None while bytes are missing.

    Raises PacketError when it is longer than four bytes.
    """
    value = 0
    for place in range(4):
        if start + place >= len(data):
            return None
        byte = data[start + place]
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, start + place + 1
    raise PacketError("a length of more than four bytes")


def check(packet: bytes, body: int) -> Note:
    """Check one whole packet whose body starts at `body`; PacketError says what is wrong with it.

    Reason codes are taken out of PUBACK and DISCONNECT, so that a code that the library does not know does
    no harm; a PUBLISH with too many properties loses them.
    """
    kind = packet[0] & 0xF0
    if kind not in FROM_BROKER:
        raise PacketError(f"a packet of type 0x{packet[0]:02x}, which no broker sends")
    size = len(packet) - body
    if kind == PUBLISH:
        return Note(kind, None, _publish(packet, body))
    if kind == PUBACK:
        if size < 2:
            raise PacketError("a PUBACK without a message")
        code = packet[body + 2] if size > 2 else 0
        return Note(kind, code, bytes((PUBACK, 2)) + packet[body : body + 2])
    if kind == DISCONNECT:
        return Note(kind, packet[body] if size else 0, bytes((DISCONNECT, 0)))
    if kind == CONNACK:
        if size < 2:
            raise PacketError("a CONNACK without a code")
        return Note(kind, packet[body + 1], packet)
    return Note(kind, None, packet)


def _publish(packet: bytes, body: int) -> bytes:
    """The packet as it may be decoded."""
    qos = packet[0] >> 1 & 3
    if qos > 1:
        raise PacketError("a message with QoS 2, which nobody asked for")
    if len(packet) < body + 2:
        raise PacketError("a message without a topic")
    properties = body + 2 + int.from_bytes(packet[body : body + 2]) + 2 * qos
    length = variable_integer(packet, properties)
    if length is None or length[1] + length[0] > len(packet):
        raise PacketError("a message that ends in its properties")
    if length[0] <= MAX_PROPERTIES:
        return packet
    rest = packet[body:properties] + b"\0" + packet[length[1] + length[0] :]
    return packet[:1] + _encoded(len(rest)) + rest


def _encoded(value: int) -> bytes:
    """A variable byte integer."""
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


class Channel:
    """The socket that the MQTT library reads and writes: whole, checked packets in, bytes out.

    `limit` is the largest packet in bytes. `received` counts packets, `note` is the one being decoded,
    `drained` says that `recv` would give nothing now, and `error` keeps the exception that ended the
    connection, which the library would swallow. While it is `full`, nothing is read: the broker has to wait.
    `check` judges each packet; the usual one knows MQTT 5.
    """

    def __init__(self, sock: socket, limit: int, check: Callable[[bytes, int], Note] = check) -> None:
        self._sock = sock
        self._limit = limit
        self._check = check
        self._incoming = bytearray()
        self._checked = b""
        self._given = 0
        self.received = 0
        self.drained = False
        self.full = False
        self.note: Note | None = None
        self.error: OSError | None = None

    def recv(self, size: int) -> bytes:
        """The next bytes, at most `size`, of checked packets; b"" at the end; BlockingIOError for "not yet"."""
        try:
            while self._given == len(self._checked):
                if self.full:
                    raise BlockingIOError
                if not self._next_packet():
                    data = self._sock.recv(RECORD)
                    if not data:
                        return b""
                    self._incoming += data
                    self.drained = False
        except (SSLWantReadError, SSLWantWriteError, BlockingIOError):
            self.drained = True
            raise
        except OSError as error:
            self.error = self.error or error
            raise
        chunk = self._checked[self._given : self._given + size]
        self._given += len(chunk)
        return chunk

    def _next_packet(self) -> bool:
        """Move one whole packet from what came in to what may be decoded; False when none is whole."""
        incoming = self._incoming
        length = variable_integer(incoming, 1) if incoming else None
        if length is None:
            return False
        remaining, body = length
        if body + remaining > self._limit:
            raise PacketError(f"a packet of {body + remaining} bytes, more than the {self._limit} we take")
        if len(incoming) < body + remaining:
            return False
        with memoryview(incoming) as view:
            packet = bytes(view[: body + remaining])
        self.note = self._check(packet, body)
        del incoming[: body + remaining]
        self._checked, self._given = self.note.data, 0
        self.received += 1
        return True

    def send(self, data: bytes | bytearray) -> int:
        """Write what fits now and return how many bytes that was; raises as a non-blocking SSLSocket does."""
        try:
            return self._sock.send(data)
        except (SSLWantReadError, SSLWantWriteError, BlockingIOError):
            raise
        except OSError as error:
            self.error = self.error or self._last_words() or error
            raise

    def _last_words(self) -> OSError | None:
        """Why the peer closed: its alert may have come although it takes nothing from us any more."""
        try:
            self._sock.recv(RECORD)
        except (SSLWantReadError, SSLWantWriteError, BlockingIOError):
            return None
        except SSLError as alert:
            return alert
        except OSError:
            return None
        return None

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()

    def fileno(self) -> int:
        """The socket's file descriptor."""
        return self._sock.fileno()

    def setblocking(self, flag: bool) -> None:
        """As of a socket."""
        self._sock.setblocking(flag)

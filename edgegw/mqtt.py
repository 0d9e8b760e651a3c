"""One MQTT 5 connection over mutual TLS: made once, used once, thrown away.

paho is the codec; nothing of it outlives the connection, so that its own queue and its own reconnecting never
come into play. One named thread per connection opens it, owns every paho object and ends with it; the asyncio
side (`edgegw.connection`) only hands orders over and takes events back. A clean start and no session expiry:
what must survive is in the store of the caller. This is the only module that imports paho.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import sys
import time
from collections import deque
from fcntl import ioctl
from ssl import SSLEOFError, SSLError
from termios import TIOCOUTQ
from typing import TYPE_CHECKING, Final, NamedTuple

from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edgegw.exchange import Acknowledged, Closed, Message, Pulse, Received, Session, Vital
from edgegw.linkfailure import LinkFailure, Reason, disconnected, refused_connect
from edgegw.packets import CONNACK, Channel, PacketError
from edgegw.tls import Server, client_context, handshake_failure, open_tls

if TYPE_CHECKING:
    from collections.abc import Callable
    from ssl import SSLSocket

    from paho.mqtt.client import DisconnectFlags, MQTTMessage

    from edgegw.exchange import Dial

SILENCE_S: Final = 10.0
"""A broker that owes an answer and gives no sign of life for this long is gone: within the 15 s in which a
half-open link has to be noticed, and longer than a busy broker takes to answer."""

GOODBYE_S: Final = 2.0
"""How long the last packets may take to leave: a stop must not wait for a dead line."""

BURST: Final = 64
"""Packets that are read before it is the writer's turn again."""

_BYTES_ACKED: Final = 120
"""Offset of `tcpi_bytes_acked` in `struct tcp_info` (Linux 4.1, include/uapi/linux/tcp.h)."""


class Opened(NamedTuple):
    """The broker accepted us."""

    session: Session


class Subscribed(NamedTuple):
    """The broker's answer to the subscription with this token: one reason code for each filter."""

    token: int
    codes: tuple[int, ...]


class Publish(NamedTuple):
    """Order: publish; the answer is an `Acknowledged` with this handle."""

    handle: int
    message: Message


class Subscribe(NamedTuple):
    """Order: subscribe with QoS 1; the answer is a `Subscribed` with this token."""

    token: int
    filters: tuple[str, ...]


class Release(NamedTuple):
    """Order: the message with this token was taken; acknowledge it."""

    token: int


class Leave(NamedTuple):
    """Order: say goodbye and end; `will` asks the broker to publish the will all the same."""

    will: bool


Order = Publish | Subscribe | Release | Leave
News = Opened | Subscribed | Acknowledged | Received | Closed


class _Paho(Client):
    """A paho client on a channel that was opened before."""

    def __init__(self, dial: Dial, channel: Channel) -> None:
        self._channel = channel
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id=dial.client_id,
            protocol=MQTTv5,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        self.max_inflight_messages = 0  # no queue of paho's own: the window is the caller's

    def _create_socket(self) -> Channel:
        return self._channel


class Worker:
    """The life of one connection, in one thread: `run` opens, serves and closes it.

    `post` is called from that thread with news, the last of them `Closed`. `orders` may be appended to from any
    thread, followed by a write to the event file descriptor `wake`.
    """

    def __init__(self, dial: Dial, wake: int, post: Callable[[list[News]], None]) -> None:
        self.orders: deque[Order] = deque()
        self._dial = dial
        self._wake = wake
        self._post = post
        self._news: list[News] = []
        self._failure: LinkFailure | None = None
        self._open = False
        self._leave_by: float | None = None
        self._sent: dict[int, int] = {}
        self._subscribing: dict[int, int] = {}
        self._held: dict[int, MQTTMessage] = {}
        self._tokens = 0

    def run(self) -> None:
        """Open the connection, serve it until it ends, and post `Closed` with the reason; never raises."""
        try:
            context = client_context(self._dial.files)
            with open_tls(self._dial.server, context, self._dial.connect_timeout_s) as sock:
                failure = self._serve(sock)
        except LinkFailure as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - a thread that dies in silence is the worst of all failures
            failure = LinkFailure(Reason.DEFECT, f"{self._dial.server}: a defect ended the link: {error!r}")
            failure.__cause__ = error
        self._post([*self._news, Closed(failure)])

    def _serve(self, sock: SSLSocket) -> LinkFailure:
        channel = Channel(sock, self._dial.max_packet)
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        poll.register(sock, select.POLLIN)
        client = self._client(channel, sock)
        pulse = Pulse(time.monotonic())
        connack_by = time.monotonic() + self._dial.connect_timeout_s
        failure = None
        while failure is None and client.socket() is not None:
            reading = 0 if channel.full else select.POLLIN
            poll.modify(sock, reading | (select.POLLOUT if client.want_write() else 0))
            for ready, _ in poll.poll(self._patience_ms(channel)):
                if ready == self._wake:
                    os.eventfd_read(self._wake)
            self._obey(client)
            channel.full = len(self._held) >= self._dial.receive_maximum
            for _ in range(BURST):
                if client.loop_read() == MQTTErrorCode.MQTT_ERR_PROTOCOL:
                    self._failure = self._failure or _undecodable(self._dial, channel)
                if client.socket() is None or channel.drained:
                    break
            if client.want_write():
                client.loop_write()
            client.loop_misc()
            self._flush()
            now = time.monotonic()
            owed = bool(self._sent or self._subscribing) and not channel.full
            silence = pulse.silence(now, _vital(sock, channel), owed=owed)
            failure = self._ended(client, channel, now, connack_by, silence)
        return failure or _lost(self._dial, channel, opened=False)

    def _client(self, channel: Channel, sock: SSLSocket) -> Client:
        dial = self._dial
        client = _Paho(dial, channel)
        client.tls_set_context(sock.context)  # should paho ever open a socket itself, then not a plain one
        client.on_connect = lambda _c, _d, _f, code, granted: self._connected(sock, channel, code, granted)
        client.on_disconnect = lambda _c, _d, flags, _r, _p: self._gone(channel, flags)
        client.on_message = lambda _c, _d, message: self._received(channel, message)
        client.on_subscribe = lambda _c, _d, mid, codes, _p: self._subscribed(mid, codes)
        client.on_publish = lambda _c, _d, mid, _r, _p: self._acknowledged(channel, mid)
        if dial.will is not None:
            will = dial.will
            properties = _properties(will, PacketTypes.WILLMESSAGE)
            client.will_set(will.topic, will.payload, 1, will.retain, properties)
        connect = _no_properties(PacketTypes.CONNECT)
        connect.ReceiveMaximum = dial.receive_maximum
        connect.MaximumPacketSize = dial.max_packet
        client.connect(
            dial.server.host, dial.server.port, dial.keepalive_s, clean_start=True, properties=connect
        )
        return client

    def _patience_ms(self, channel: Channel) -> float:
        """How long to wait for something to happen: a second while an answer is owed, else for the next ping."""
        if not channel.drained:
            return 0
        if self._sent or self._subscribing or not self._open or self._leave_by is not None:
            return 1000
        return min(5.0, self._dial.keepalive_s / 4) * 1000

    def _obey(self, client: Client) -> None:
        while self.orders:
            order = self.orders.popleft()
            if isinstance(order, Publish):
                message = order.message
                properties = _properties(message, PacketTypes.PUBLISH)
                info = client.publish(message.topic, message.payload, 1, message.retain, properties)
                self._sent[info.mid] = order.handle
            elif isinstance(order, Subscribe):
                options = SubscribeOptions(qos=1)
                _, mid = client.subscribe([(topic, options) for topic in order.filters])
                if mid is not None:
                    self._subscribing[mid] = order.token
            elif isinstance(order, Release):
                held = self._held.pop(order.token, None)
                if held is not None and held.qos == 1:
                    client.ack(held.mid, 1)
            elif self._leave_by is None:
                self._leave_by = time.monotonic() + GOODBYE_S
                code = 0x04 if order.will else 0x00
                client.disconnect(ReasonCode(PacketTypes.DISCONNECT, identifier=code))

    def _flush(self) -> None:
        if self._news:
            self._post(self._news)
            self._news = []

    def _ended(
        self, client: Client, channel: Channel, now: float, connack_by: float, silence: float
    ) -> LinkFailure | None:
        """Why the connection is over, or None while it goes on."""
        server = self._dial.server
        if self._leave_by is not None and (client.socket() is None or now > self._leave_by):
            return LinkFailure(Reason.CLOSED, f"{server}: we said goodbye")
        if self._failure is not None:
            return self._failure
        if client.socket() is None:
            return _lost(self._dial, channel, opened=self._open)
        if not self._open and now > connack_by:
            return LinkFailure(
                Reason.TIMEOUT, f"{server} took the connection, but does not answer as MQTT broker"
            )
        if silence > SILENCE_S:
            return LinkFailure(Reason.SILENT, f"{server} has not answered for {SILENCE_S:.0f} s")
        return None

    def _connected(
        self, sock: SSLSocket, channel: Channel, code: ReasonCode, properties: Properties | None
    ) -> None:
        granted = _granted(properties)
        server = self._dial.server
        if code.value != 0:
            raw = channel.note.code if channel.note is not None else None
            self._failure = refused_connect(raw or code.value, str(server))
        elif not granted.keeps or not granted.qos1:
            self._failure = refused_connect(0x9B if granted.keeps else 0x9A, str(server))
        else:
            self._open = True
            address = str(Server(*sock.getpeername()[:2]))
            session = Session(granted.receive_maximum, granted.max_packet, address, sock.version() or "")
            self._news.append(Opened(session))

    def _gone(self, channel: Channel, flags: DisconnectFlags) -> None:
        # paho calls this twice when the keep-alive runs out; only a packet of the broker says anything.
        if flags.is_disconnect_packet_from_server and channel.note is not None:
            self._failure = self._failure or disconnected(channel.note.code or 0, str(self._dial.server))

    def _acknowledged(self, channel: Channel, mid: int) -> None:
        code = channel.note.code if channel.note is not None else None
        self._news.append(Acknowledged(self._sent.pop(mid), code or 0))

    def _subscribed(self, mid: int, codes: list[ReasonCode]) -> None:
        token = self._subscribing.pop(mid, None)
        if token is not None:
            self._news.append(Subscribed(token, tuple(code.value for code in codes)))

    def _received(self, channel: Channel, message: MQTTMessage) -> None:
        self._tokens += 1
        self._held[self._tokens] = message
        # mosquitto 2.0.11 sends as many messages again for each PUBACK of ours: Receive Maximum alone bounds nothing.
        channel.full = len(self._held) >= self._dial.receive_maximum
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""  # a topic that nobody subscribed to
        user = tuple(getattr(message.properties, "UserProperty", ()))
        payload = bytes(message.payload)
        self._news.append(Received(topic, payload, message.qos, message.retain, user, self._tokens))


class _Granted(NamedTuple):
    """What a CONNACK allows (MQTT 5.0 §3.2.2.3)."""

    receive_maximum: int
    max_packet: int
    keeps: bool
    qos1: bool


def _granted(properties: Properties | None) -> _Granted:
    return _Granted(
        receive_maximum=getattr(properties, "ReceiveMaximum", 65535),
        max_packet=getattr(properties, "MaximumPacketSize", 268435455),
        keeps=getattr(properties, "RetainAvailable", 1) == 1,
        qos1=getattr(properties, "MaximumQoS", 2) >= 1,
    )


def _no_properties(packet: int) -> Properties:
    return Properties(packet)  # type: ignore[no-untyped-call]  # paho left its constructor untyped


def _properties(message: Message, packet: int) -> Properties:
    """MQTT properties of a message, for a PUBLISH or a will."""
    properties = _no_properties(packet)
    properties.PayloadFormatIndicator = 0
    properties.ContentType = message.content_type
    if message.user:
        properties.UserProperty = list(message.user)
    return properties


def _vital(sock: SSLSocket, channel: Channel) -> Vital:
    """Signs of life now; a closed socket shows none."""
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED + 8)
        (unsent,) = struct.unpack("i", ioctl(sock, TIOCOUTQ, bytes(4)))
    except (OSError, ValueError):
        return Vital(channel.received, 0, 0)
    acked = int.from_bytes(info[_BYTES_ACKED:], sys.byteorder)
    return Vital(channel.received, acked, unsent)


def _undecodable(dial: Dial, channel: Channel) -> LinkFailure:
    """Name the end of a connection over a packet that the library does not understand."""
    note = channel.note
    if note is not None and note.kind == CONNACK and note.code:
        return refused_connect(note.code, str(dial.server))
    what = f"{dial.server} sent a packet that MQTT 5 does not know"
    return LinkFailure(Reason.PROTOCOL, what, ("ask the operator of the broker",))


def _lost(dial: Dial, channel: Channel, *, opened: bool) -> LinkFailure:
    """Name the end of a connection that the broker did not explain."""
    server, error = dial.server, channel.error
    if isinstance(error, PacketError):
        return LinkFailure(Reason.PROTOCOL, f"{server} sent {error}", ("ask the operator of the broker",))
    if isinstance(error, SSLError) and not isinstance(error, SSLEOFError):
        return handshake_failure(server, error)
    if isinstance(error, TimeoutError):
        return LinkFailure(Reason.SILENT, f"the way to {server} is dead: nothing arrives there any more")
    if channel.full:
        return LinkFailure(
            Reason.LOST, f"{server}: messages were not taken here for longer than the keep-alive"
        )
    if opened:
        return LinkFailure(Reason.LOST, f"{server} closed the connection without a reason")
    return LinkFailure(
        Reason.CLIENT_CERTIFICATE,
        f"{server} closed the connection before it answered: most likely it does not accept this gateway's certificate",
        ("edgegw identity show", "timedatectl status", "ask the operator of the broker"),
    )

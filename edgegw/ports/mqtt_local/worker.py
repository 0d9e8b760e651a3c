"""One connection to a broker of the local network: made once, used once, thrown away, in a thread of its own.

paho is the codec and nothing more, as on the uplink: its own reconnecting and its own thread never come into play,
and a `Channel` hands it only packets of a bounded size that a broker may send.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from paho.mqtt.client import Client, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edgegw.packets import Channel, check
from edgegw.ports.errors import PortError
from edgegw.ports.mqtt_local.packets import check_3_1_1
from edgegw.ports.trust import authority, refuse_far, said

if TYPE_CHECKING:
    from collections.abc import Callable

    from paho.mqtt.client import MQTTMessage
    from paho.mqtt.reasoncodes import ReasonCode

    from edgegw.driver import Subscription

#: The largest packet: a document of 64 KiB with a long topic. A longer one ends the connection.
PACKET_BYTES: Final = 68 * 1024
#: TCP and TLS together, and again the broker's answers to CONNECT and SUBSCRIBE: it is in the same building.
PATIENCE_S: Final = 10.0
#: A broker that is gone without a word is noticed within one and a half of these.
KEEPALIVE_S: Final = 20
# Packets that are read before it is the writer's turn again.
_BURST: Final = 64
MQTT_PORT: Final = 1883
MQTTS_PORT: Final = 8883


class Arrived(NamedTuple):
    """A message: its topic, what it holds, whether the broker had kept it, and the monotonic second it came at."""

    topic: str
    payload: bytes
    retained: bool
    at: float


class _Paho(Client):
    """A paho client on a channel that was opened before."""

    def __init__(self, channel: Channel, version: int) -> None:
        self._channel = channel
        super().__init__(
            CallbackAPIVersion.VERSION2,
            # Random: two gateways of one image must not throw each other out.
            client_id=f"edgegw-{os.urandom(6).hex()}",
            protocol=MQTTv5 if version == 5 else MQTTv311,
            clean_session=None if version == 5 else True,
            reconnect_on_failure=False,
        )

    def _create_socket(self) -> Channel:
        return self._channel


class Worker:
    """The life of one connection: `run` opens, serves and closes it, in its own thread.

    `arrived` takes each message, in that thread. `topics` and `leave` may be used from any thread.
    """

    def __init__(self, access: Subscription, arrived: Callable[[Arrived], None]) -> None:
        parts = urlsplit(access.server)
        self.secure = parts.scheme == "mqtts"
        self._host = parts.hostname or ""
        self._port = parts.port or (MQTTS_PORT if self.secure else MQTT_PORT)
        self._shown = parts.netloc
        self._access = access
        self._arrived = arrived
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._lock = threading.Lock()
        self._wanted: deque[str] = deque()
        self._asked: dict[int, tuple[str, float]] = {}
        self._leaving = False
        self._open = False
        self._failure: PortError | None = None

    def subscribe(self, topic: str) -> None:
        """Subscribe to one more topic, now or as soon as the connection is open."""
        self._wanted.append(topic)
        self._rouse()

    def leave(self) -> None:
        """End the connection; `run` returns soon."""
        self._leaving = True
        self._rouse()

    def run(self) -> PortError | None:
        """Serve the connection until it ends; why it did, or None when it was asked to."""
        try:
            with self._connected() as sock:
                self._serve(sock)
        except PortError as error:
            return error
        except ssl.SSLError as error:
            return PortError(
                "tls",
                f"The broker {self._shown} could not prove who it is: {said(error)}.",
                "Check `ca`, the name in the broker's certificate, and the clocks of both.",
            )
        except OSError as error:
            return self._lost(said(error))
        finally:
            with self._lock:
                os.close(self._wake)
                self._wake = -1
        return None

    def _rouse(self) -> None:
        """Wake the thread, if it still runs."""
        with self._lock:
            if self._wake >= 0:
                os.eventfd_write(self._wake, 1)

    def _connected(self) -> socket.socket:
        context = authority(self._access.ca) if self.secure else None
        try:
            plain = socket.create_connection((self._host, self._port), PATIENCE_S)
        except socket.gaierror as error:
            raise PortError(
                "unknown_host",
                f"The name {self._host} has no address ({said(error)}).",
                "Give the broker's IP address: names need a working DNS.",
            ) from error
        except OSError as error:
            raise PortError(
                "refused" if isinstance(error, ConnectionRefusedError) else "unreachable",
                f"The broker {self._shown} cannot be reached: {said(error)}.",
                "Check `server`, and that the broker runs and listens in this network.",
            ) from error
        try:
            if context is not None:
                return context.wrap_socket(plain, server_hostname=self._host)
            refuse_far(self._shown, str(plain.getpeername()[0]), "mqtts://")
        except BaseException:
            plain.close()
            raise
        return plain

    def _serve(self, sock: socket.socket) -> None:
        channel = Channel(sock, PACKET_BYTES, check if self._access.version == 5 else check_3_1_1)
        client = self._client(channel)
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        poll.register(sock, select.POLLIN)
        begun = time.monotonic()
        while not (self._leaving or self._failed()):
            poll.modify(sock, select.POLLIN | (select.POLLOUT if client.want_write() else 0))
            for ready, _ in poll.poll(1000 if channel.drained else 0):
                if ready == self._wake:
                    os.eventfd_read(self._wake)
            self._obey(client)
            for _ in range(_BURST):
                code = client.loop_read()
                if client.socket() is None or channel.drained or code != MQTTErrorCode.MQTT_ERR_SUCCESS:
                    break
            if client.want_write():
                client.loop_write()
            client.loop_misc()
            if client.socket() is None:
                why = said(channel.error) if channel.error else "it closed the connection"
                self._failure = self._failure or self._lost(why)
            self._judge_silence(begun)
        client.disconnect()
        if self._failure is not None and not self._leaving:
            raise self._failure

    def _client(self, channel: Channel) -> Client:
        access = self._access
        client = _Paho(channel, access.version)
        client.on_connect = lambda _c, _d, _f, code, _p: self._connack(code)
        client.on_message = lambda _c, _d, message: self._message(message)
        client.on_subscribe = lambda _c, _d, mid, codes, _p: self._suback(mid, codes)
        if access.login.name:
            client.username_pw_set(access.login.name, access.login.password or None)
        properties = None
        if access.version == 5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho left it untyped
            properties.MaximumPacketSize = PACKET_BYTES
        client.connect(self._host, self._port, KEEPALIVE_S, properties=properties)
        return client

    def _obey(self, client: Client) -> None:
        while self._open and self._wanted:
            topic = self._wanted.popleft()
            _, mid = client.subscribe(topic, qos=1)
            if mid is not None:
                self._asked[mid] = (topic, time.monotonic())

    def _failed(self) -> bool:
        return self._failure is not None

    def _judge_silence(self, begun: float) -> None:
        """Note a broker that took the connection and owes an answer."""
        since = min((at for _, at in self._asked.values()), default=begun if not self._open else None)
        if since is not None and time.monotonic() - since > PATIENCE_S and self._failure is None:
            self._failure = PortError(
                "no_answer",
                f"{self._shown} took the connection, but does not answer as an MQTT broker.",
                "Check the port in `server`, and `protocol`: old brokers speak 3.1.1.",
            )

    def _connack(self, code: ReasonCode) -> None:
        if not code.is_failure:
            self._open = True
            return
        self._failure = PortError(
            "login",
            f"The broker {self._shown} does not let us in: {str(code).lower()}.",
            "Check `user`, `password` and `protocol`, and who may connect to the broker.",
        )

    def _suback(self, mid: int, codes: list[ReasonCode]) -> None:
        topic, _ = self._asked.pop(mid, ("", 0.0))
        if any(code.is_failure for code in codes):
            self._failure = PortError(
                "not_allowed",
                f"The broker {self._shown} does not let us subscribe to {topic}.",
                "Check the broker's access list and `topic`.",
            )

    def _message(self, message: MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            return  # a topic that nobody subscribed to
        self._arrived(Arrived(topic, bytes(message.payload), bool(message.retain), time.monotonic()))

    def _lost(self, why: str) -> PortError:
        return PortError(
            "lost",
            f"The connection to the broker {self._shown} was lost: {why}.",
            "Check the broker and the way to it; it is connected again by itself.",
        )

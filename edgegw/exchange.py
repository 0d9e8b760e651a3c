"""What passes between an MQTT connection and whoever uses it: plain values, and the pulse of a connection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from edgegw.linkfailure import LinkFailure
    from edgegw.tls import Server, TlsFiles

#: RFC 9052 §2 registers it for one `COSE_Sign1`: all that the gateway and the upstream store send.
COSE_SIGN1: Final = 'application/cose; cose-type="cose-sign1"'


class Message(NamedTuple):
    """A message to publish with QoS 1 and its MQTT properties; the payload format indicator is 0 (bytes)."""

    topic: str
    payload: bytes
    retain: bool = False
    user: tuple[tuple[str, str], ...] = ()
    content_type: str = COSE_SIGN1

    @property
    def packet_size(self) -> int:
        """Upper bound of the PUBLISH packet in bytes (MQTT 5.0 §3.3): lengths are counted at their longest."""
        names = sum(5 + len(key.encode()) + len(value.encode()) for key, value in self.user)
        head = 5 + 2 + len(self.topic.encode()) + 2 + 4
        return head + 2 + 3 + len(self.content_type) + names + len(self.payload)


@dataclass(frozen=True)
class Dial:
    """How to connect.

    `keepalive_s` is 1 to 65535; `connect_timeout_s` holds for TCP and TLS together and again for the CONNACK.
    `receive_maximum` messages of the broker are held at most before they are taken (with `manual_ack`: before
    `ack` is called for them), none larger than `max_packet` bytes: 16 by 16 KiB is plenty for receipts of some
    hundred bytes. More are left with the broker; when they are not taken for two keep-alives, the link ends. `will` is published by the broker when this connection ends without a goodbye.
    """

    server: Server
    files: TlsFiles
    client_id: str
    keepalive_s: int = 15
    connect_timeout_s: float = 10.0
    receive_maximum: int = 16
    max_packet: int = 16 * 1024
    manual_ack: bool = False
    will: Message | None = None


class Session(NamedTuple):
    """What the broker granted: how many messages may wait for their PUBACK, and bytes of the largest packet."""

    receive_maximum: int
    max_packet: int
    address: str
    tls: str


class Received(NamedTuple):
    """A message from the broker; `token` is for `ack`."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    user: tuple[tuple[str, str], ...]
    token: int


class Acknowledged(NamedTuple):
    """The broker's answer to one published message: the handle that `publish` gave, and the reason code.

    0 and 0x10 (nobody is subscribed) are no failures for the broker; whatever is 0x80 or above is one.
    """

    handle: int
    code: int


class Closed(NamedTuple):
    """The connection has ended, and why; nothing comes after it."""

    failure: LinkFailure


class Vital(NamedTuple):
    """What the kernel and the channel say of a connection at one moment."""

    received: int
    """packets that came from the broker so far"""
    acked: int
    """bytes that the peer's kernel has acknowledged so far"""
    unsent: int
    """bytes of ours that the peer's kernel has not acknowledged yet"""


@dataclass
class Pulse:
    """Tells a broker that is silent from one that is slow to reach.

    A packet from the broker is a sign of life. While our own bytes are still on their way, so is every byte that
    the peer's kernel takes: on a slow line a full window takes longer than any timeout. Once all is there,
    only the broker itself counts, because the kernel of a stopped process still takes bytes for it.
    """

    silent_since: float
    last: Vital | None = None
    owed: bool = False

    def silence(self, now: float, vital: Vital, *, owed: bool) -> float:
        """Seconds for which the broker has owed us an answer without a sign of life; 0 when none is owed."""
        last = self.last or vital
        alive = vital.received != last.received or (vital.unsent > 0 and vital.acked != last.acked)
        if alive or not owed or not self.owed:  # what became owed just now has not been owed before
            self.silent_since = now
        self.last, self.owed = vital, owed
        return now - self.silent_since

"""Every way in which a connection to a broker fails, in words for the person at the cabinet.

`LinkFailure` carries a reason that scripts can match, a sentence that says what happened and why, the next
steps, and the code of the problem that `explain` knows. The tables cover every reason code that MQTT 5 allows
in CONNACK and DISCONNECT (OASIS MQTT 5.0 §3.2.2.2, §3.14.2.1); codes outside them are named by their number.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple


class Reason(StrEnum):
    """Why there is no link. The words stay: scripts, metrics and tests hold on to them."""

    IDENTITY = "identity"
    CA = "ca"
    DNS = "dns"
    UNREACHABLE = "unreachable"
    CONNECTION_REFUSED = "connection_refused"
    TIMEOUT = "timeout"
    SERVER_EXPIRED = "certificate_expired"
    SERVER_NOT_YET_VALID = "certificate_not_yet_valid"
    WRONG_HOST = "wrong_host"
    UNKNOWN_CA = "unknown_ca"
    SELF_SIGNED = "self_signed"
    OLD_TLS = "old_protocol"
    TLS = "tls"
    CLIENT_CERTIFICATE = "client_certificate"
    NOT_MQTT5 = "not_mqtt5"
    NOT_AUTHORISED = "not_authorised"
    CLIENT_ID = "client_id"
    BANNED = "banned"
    TAKEN_OVER = "taken_over"
    BUSY = "busy"
    SHUTTING_DOWN = "shutting_down"
    QUOTA = "quota"
    TOO_LARGE = "too_large"
    PAYLOAD = "payload"
    MOVED = "moved"
    ADMINISTRATIVE = "administrative"
    UNSUPPORTED = "unsupported"
    PROTOCOL = "protocol"
    SILENT = "silent"
    LOST = "lost"
    CLOSED = "closed"
    DEFECT = "defect"


#: The broker (or our own identity) says no: trying again soon will not change that.
REFUSALS: Final = frozenset(
    {
        Reason.IDENTITY,
        Reason.CLIENT_CERTIFICATE,
        Reason.NOT_MQTT5,
        Reason.NOT_AUTHORISED,
        Reason.CLIENT_ID,
        Reason.BANNED,
        Reason.TAKEN_OVER,
        Reason.UNSUPPORTED,
    }
)

_CODES: Final = {
    Reason.IDENTITY: "EG-IDENTITY-CERTIFICATE",
    Reason.CA: "EG-UPLINK-TLS",
    Reason.DNS: "EG-UPLINK-DNS",
    Reason.UNREACHABLE: "EG-UPLINK-UNREACHABLE",
    Reason.CONNECTION_REFUSED: "EG-UPLINK-UNREACHABLE",
    Reason.TIMEOUT: "EG-UPLINK-UNREACHABLE",
    Reason.SERVER_EXPIRED: "EG-UPLINK-TLS",
    Reason.SERVER_NOT_YET_VALID: "EG-UPLINK-CLOCK",
    Reason.WRONG_HOST: "EG-UPLINK-TLS",
    Reason.UNKNOWN_CA: "EG-UPLINK-TLS",
    Reason.SELF_SIGNED: "EG-UPLINK-TLS",
    Reason.OLD_TLS: "EG-UPLINK-TLS",
    Reason.TLS: "EG-UPLINK-TLS",
    Reason.NOT_MQTT5: "EG-UPLINK-PROTOCOL",
    Reason.UNSUPPORTED: "EG-UPLINK-PROTOCOL",
    Reason.TAKEN_OVER: "EG-UPLINK-TAKEN-OVER",
    Reason.BUSY: "EG-UPLINK-QUOTA",
    Reason.QUOTA: "EG-UPLINK-QUOTA",
    Reason.TOO_LARGE: "EG-UPLINK-POISON",
    Reason.PAYLOAD: "EG-UPLINK-POISON",
}


class LinkFailure(Exception):  # noqa: N818 - it is the outcome of a connection, and most of them are weather
    """Why a connection could not be made, or ended.

    `what` is one sentence, `todo` the next steps (none: it mends itself), `reason_code` the MQTT 5 code where
    the broker gave one. Nothing is lost by any of them: the store keeps what no receipt covers.
    """

    def __init__(
        self, reason: Reason, what: str, todo: tuple[str, ...] = (), reason_code: int | None = None
    ) -> None:
        super().__init__(what)
        self.reason = reason
        self.what = what
        self.todo = todo
        self.reason_code = reason_code

    @property
    def code(self) -> str:
        """The problem code (`EG-...`) that stands for this failure."""
        if self.reason in _CODES:
            return _CODES[self.reason]
        return "EG-UPLINK-REFUSED" if self.refused else "EG-UPLINK-LOST"

    @property
    def refused(self) -> bool:
        """Whether somebody has to change something, rather than the weather."""
        return self.reason in REFUSALS


class _Row(NamedTuple):
    reason: Reason
    what: str
    todo: tuple[str, ...] = ()


_ASK: Final = "ask the operator of the broker"
_IDENTITY: Final = "edgegw identity show"
_ACL: Final = "check that the broker's access list names the CN of this gateway's certificate"

_OLD: Final = _Row(
    Reason.NOT_MQTT5, "the broker does not speak MQTT 5", ("use a broker with MQTT 5, such as mosquitto 2",)
)

_BOTH: Final = {
    0x80: _Row(Reason.LOST, "the broker gave up without a reason (unspecified error)", (_ASK,)),
    0x81: _Row(Reason.PROTOCOL, "the broker could not read a packet of ours (malformed packet)", (_ASK,)),
    0x82: _Row(Reason.PROTOCOL, "the broker holds that we broke the protocol (protocol error)", (_ASK,)),
    0x83: _Row(Reason.LOST, "the broker refused for a reason of its own (implementation specific)", (_ASK,)),
    0x87: _Row(Reason.NOT_AUTHORISED, "the broker does not allow this gateway", (_ACL, _ASK)),
    0x89: _Row(Reason.BUSY, "the broker is busy and asks to come back later"),
    0x8C: _Row(
        Reason.UNSUPPORTED, "the broker wants a way of authentication that is not a certificate", (_ASK,)
    ),
    0x90: _Row(
        Reason.NOT_AUTHORISED, "the broker does not accept a topic name", ("check prefix under [uplink]",)
    ),
    0x95: _Row(
        Reason.TOO_LARGE, "a message is larger than the broker takes", ("raise its packet size limit",)
    ),
    0x97: _Row(Reason.QUOTA, "a quota of the broker is exceeded", (_ASK,)),
    0x99: _Row(Reason.PAYLOAD, "the broker does not accept the content of a message", (_ASK,)),
    0x9A: _Row(
        Reason.UNSUPPORTED, "the broker does not keep retained messages", ("allow retain on the broker",)
    ),
    0x9B: _Row(Reason.UNSUPPORTED, "the broker does not support QoS 1", ("allow QoS 1 on the broker",)),
    0x9C: _Row(
        Reason.MOVED, "the broker asks to use another server for now", ("check server under [uplink]",)
    ),
    0x9D: _Row(Reason.MOVED, "the broker has moved", ("check server under [uplink]",)),
    0x9F: _Row(Reason.BUSY, "the broker accepts connections more slowly than they come"),
}

CONNACK: Final = _BOTH | {
    0x01: _OLD,  # the answer of MQTT 3.1.1: unacceptable protocol version
    0x84: _OLD,
    0x85: _Row(
        Reason.CLIENT_ID,
        "the broker does not accept the client id",
        ("id under [gateway] must equal the CN",),
    ),
    0x86: _Row(Reason.NOT_AUTHORISED, "the broker wants a user name and password", (_ACL, _ASK)),
    0x88: _Row(Reason.BUSY, "the broker says that it is not available"),
    0x8A: _Row(Reason.BANNED, "the broker has banned this client", (_ASK,)),
}
"""What a CONNACK with this code means (MQTT 5.0 §3.2.2.2); 0 is success and has no row."""

DISCONNECT: Final = _BOTH | {
    0x00: _Row(Reason.LOST, "the broker closed the connection"),
    0x04: _Row(Reason.LOST, "the broker closed the connection"),
    0x8B: _Row(Reason.SHUTTING_DOWN, "the broker is shutting down"),
    0x8D: _Row(Reason.SILENT, "the broker heard nothing from us within the keep-alive"),
    0x8E: _Row(
        Reason.TAKEN_OVER,
        "another client connected with the name of this gateway",
        ("find the other gateway with this certificate", "give each its own: edgegw identity init"),
    ),
    0x8F: _Row(
        Reason.NOT_AUTHORISED, "the broker does not accept a topic filter", ("check prefix under [uplink]",)
    ),
    0x93: _Row(Reason.PROTOCOL, "the broker says that we sent more than its Receive Maximum", (_ASK,)),
    0x94: _Row(Reason.PROTOCOL, "the broker says that a topic alias is invalid", (_ASK,)),
    0x96: _Row(Reason.QUOTA, "the broker says that messages come too fast", (_ASK,)),
    0x98: _Row(Reason.ADMINISTRATIVE, "somebody closed the connection at the broker", (_ASK,)),
    0x9E: _Row(Reason.UNSUPPORTED, "the broker does not support shared subscriptions", (_ASK,)),
    0xA0: _Row(Reason.LOST, "the broker allows connections of this length only"),
    0xA1: _Row(Reason.UNSUPPORTED, "the broker does not support subscription identifiers", (_ASK,)),
    0xA2: _Row(Reason.UNSUPPORTED, "the broker does not support wildcards in subscriptions", (_ASK,)),
}
"""What a DISCONNECT from the broker with this code means (MQTT 5.0 §3.14.2.1)."""


def refused_connect(code: int, server: str) -> LinkFailure:
    """The failure that a CONNACK with a code other than 0 stands for; `server` is named in the sentence."""
    row = CONNACK.get(
        code, _Row(Reason.PROTOCOL, f"the broker refused with an unknown code (0x{code:02X})", (_ASK,))
    )
    return LinkFailure(row.reason, f"{server}: {row.what}", row.todo, code)


def disconnected(code: int, server: str) -> LinkFailure:
    """The failure that a DISCONNECT from the broker with this code stands for."""
    row = DISCONNECT.get(
        code, _Row(Reason.PROTOCOL, f"the broker left with an unknown code (0x{code:02X})", (_ASK,))
    )
    return LinkFailure(row.reason, f"{server}: {row.what}", row.todo, code)

"""Try the uplink step by step: resolve, connect, TLS, client certificate, MQTT 5, publish permission.

It speaks under a client id of its own, so that it does not push the daemon off the broker, and publishes
only what the gateway would publish anyhow.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from edgegw import keys, tls
from edgegw.connection import Connection
from edgegw.exchange import Acknowledged, Closed, Dial, Message
from edgegw.linkfailure import LinkFailure, Reason
from edgegw.problems import GatewayError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgegw.config import Config

#: The steps, in their order.
STEPS: Final = ("resolve", "connect", "tls", "client certificate", "mqtt 5", "subscribe", "publish")

_AT: Final = {
    Reason.CA: "tls",
    Reason.IDENTITY: "client certificate",
    Reason.DNS: "resolve",
    Reason.UNREACHABLE: "connect",
    Reason.CONNECTION_REFUSED: "connect",
    Reason.TIMEOUT: "connect",
    Reason.SERVER_EXPIRED: "tls",
    Reason.SERVER_NOT_YET_VALID: "tls",
    Reason.WRONG_HOST: "tls",
    Reason.UNKNOWN_CA: "tls",
    Reason.SELF_SIGNED: "tls",
    Reason.OLD_TLS: "tls",
    Reason.TLS: "tls",
    Reason.CLIENT_CERTIFICATE: "client certificate",
}
# These files are read before anything is sent: when one cannot be used, no step was tried.
_OWN_FILES: Final = {Reason.CA, Reason.IDENTITY}
# Longer than a keep-alive: a broker that has not answered a message by then holds it back.
ANSWER_S: Final = 20.0


class Step(NamedTuple):
    """One step: `ok` is None when it was not reached; `text` says what was found."""

    name: str
    ok: bool | None
    text: str


class Outcome(NamedTuple):
    """All steps, and the failure that ended them (None: all is well)."""

    steps: list[Step]
    failure: LinkFailure | None


async def test(config: Config, env: Mapping[str, str], head: bytes | None) -> list[tuple[str, Outcome]]:
    """Each configured broker with its outcome; `head` is the newest stored head, published again where it is given.

    A receiver knows the head already; one that does not may have it. Raises GatewayError for a configuration
    without a broker and for a key that cannot be used.
    """
    uplink, identity = config.uplink, config.identity
    if not uplink.servers or uplink.ca is None:
        raise GatewayError("EG-UPLINK-NONE")
    keys.load_private(identity.tls_key, env)
    places = [keys.locate(each, env) for each in (uplink.ca, identity.tls_cert, identity.tls_key)]
    base = f"{uplink.prefix}/{config.gateway.id}"
    message = Message(f"{base}/main/head", head, retain=True) if head else None
    found = []
    for server in uplink.servers:
        dial = Dial(tls.Server(*server), tls.TlsFiles(*places), config.gateway.id, int(uplink.keepalive))
        found.append((str(server), await probe(dial, [f"{base}/main/receipt", f"{base}/request"], message)))
    return found


async def probe(dial: Dial, filters: list[str], message: Message | None) -> Outcome:
    """Connect as `dial` says, subscribe to `filters`, publish `message` (None: that step is left out)."""
    connection = Connection(replace(dial, client_id=f"{dial.client_id}-test", will=None))
    found: dict[str, str] = {}
    try:
        session = await connection.connect()
        found.update(dict.fromkeys(STEPS[:2], session.address))
        found["tls"] = session.tls
        found["client certificate"] = "accepted"
        found["mqtt 5"] = f"at most {session.receive_maximum} messages without an answer"
        codes = await connection.subscribe(filters)
        _allowed(max(codes), "subscribe to", " and ".join(filters))
        found["subscribe"] = "allowed"
        if message is not None:
            async with asyncio.timeout(ANSWER_S):
                code = await _published(connection, message)
            _allowed(code, "publish to", message.topic)
            found["publish"] = "allowed" if code == 0 else "allowed, but nobody is subscribed"
    except TimeoutError:
        failure = LinkFailure(Reason.SILENT, f"{dial.server} takes a message and does not acknowledge it")
        return _outcome(found, failure, "publish")
    except LinkFailure as failure:
        return _outcome(found, failure, _AT.get(failure.reason, _next(found)))
    finally:
        await connection.close()
    return _outcome(found, None, "")


async def _published(connection: Connection, message: Message) -> int:
    """The reason code of the broker's answer."""
    handle = connection.publish(message)
    while True:
        event = await connection.next()
        if isinstance(event, Acknowledged) and event.handle == handle:
            return event.code
        if isinstance(event, Closed):
            raise event.failure


def _allowed(code: int, verb: str, topics: str) -> None:
    if code >= 0x80:
        raise LinkFailure(
            Reason.NOT_AUTHORISED,
            f"the broker does not let this gateway {verb} {topics} (0x{code:02X})",
            ("check that the broker's access list names the CN of this gateway's certificate",),
            code,
        )


def _next(found: dict[str, str]) -> str:
    """The step that was under way."""
    return next((name for name in STEPS if name not in found), STEPS[-1]) if found else "mqtt 5"


def _outcome(found: dict[str, str], failure: LinkFailure | None, failed: str) -> Outcome:
    steps = []
    for name in STEPS:
        if failure is None:
            steps.append(
                Step(name, True if name in found else None, found.get(name, "nothing to publish yet"))
            )
        elif name == failed:
            steps.append(Step(name, ok=False, text=failure.what))
        else:
            before = STEPS.index(name) < STEPS.index(failed) and failure.reason not in _OWN_FILES
            steps.append(
                Step(name, True if before else None, found.get(name, "") if before else "not reached")
            )
    return Outcome(steps, failure)

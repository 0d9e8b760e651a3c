"""The signed status of a gateway (WIRE §5): a CBOR map with the keys of `status --json`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edgegw.wire import cbor, cose, log
from edgegw.wire.log import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

STREAM: Final = "status"


@dataclass(frozen=True, slots=True)
class Status:
    """A status whose signature is checked."""

    iss: str
    issued: int
    content: Mapping[str, Any]

    @property
    def simulated(self) -> bool:
        """Whether the gateway's sensors are virtual."""
        return bool(self.content.get("simulated"))


def seal(iss: str, content: dict[str, Any], *, by: cose.Signer, issued: int) -> bytes:
    """The signed status message."""
    headers = {cose.CLAIMS: {log.ISS: iss, log.SUB: STREAM, log.IAT: issued}}
    return cose.sign1(headers, cbor.encode(content), by)


def read(message: cose.Sign1, iss: str, issued: int) -> Status:
    """The status in a message whose signature is already checked; Refused when it is none."""
    try:
        content = cbor.decode(message.payload or b"")
    except cbor.CborError:
        raise Refused("header", log.gateway_of(iss) or "") from None
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise Refused("header", log.gateway_of(iss) or "")
    return Status(iss, issued, content)

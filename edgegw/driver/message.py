"""Devices on the local network that say their values in documents: fetched, pushed to us, or on a broker."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, TypeAlias

from edgegw.driver.about import Driver

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgegw.driver.about import Outcome


@dataclass(frozen=True)
class Login:
    """Who we say we are; nobody where `name` is empty."""

    name: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True)
class Pull:
    """A document that is fetched each interval with GET. `url` is `http://…` or `https://…`.

    `ca` is a file with the only authority that `https` trusts; `login` is sent with Basic authentication.
    """

    url: str
    timeout_s: float = 5.0
    ca: str = ""
    login: Login = Login()


@dataclass(frozen=True)
class Push:
    """Documents that the device posts to the gateway's own endpoint, at `/push/` and the sensor's name.

    `token` is what the device must send along; empty lets anybody post who reaches the endpoint.
    """

    token: str = field(default="", repr=False)


@dataclass(frozen=True)
class Subscription:
    """Documents on a broker of the local network: `server` is `mqtt://HOST:PORT` or `mqtts://HOST:PORT`.

    `topics` may hold wildcards; `version` is 5 or 4 (MQTT 3.1.1); `ca` is a file with the only authority that
    `mqtts` trusts.
    """

    server: str
    topics: tuple[str, ...]
    version: int = 5
    ca: str = ""
    login: Login = Login()


#: Where documents come from.
Source: TypeAlias = Pull | Push | Subscription


class Message(NamedTuple):
    """One document. `topic` is the topic on which it came, empty when it was fetched or pushed."""

    body: bytes
    topic: str = ""


class MessageDecoder(Protocol):
    """Decodes the documents of one device, in order."""

    def decode(self, message: Message, now: float) -> Sequence[Outcome]:
        """Outcomes of a document that came at monotonic second `now`; FrameError when it gives none."""
        ...


@dataclass(frozen=True)
class MessageDriver(Driver, ABC):
    """A device that says its values in documents (mostly JSON)."""

    kind: ClassVar[str] = "message"
    #: Layers that are one document each.
    layers: ClassVar[Sequence[str]] = ("http-json", "mqtt-json")
    #: Paths under which devices of this driver serve their document, for `sensors probe`.
    paths: ClassVar[Sequence[str]] = ()

    @abstractmethod
    def source(self) -> Source:
        """Where the documents come from."""

    @abstractmethod
    def decoder(self) -> MessageDecoder:
        """A fresh decoder for one device."""

    def decode_layer(self, layer: str, data: bytes, options: Mapping[str, Any]) -> Sequence[Outcome] | None:
        """Outcomes of one document; `options` may name the `topic` on which it came."""
        if layer not in self.layers:
            return None
        return self.decoder().decode(Message(data, str(options.get("topic", ""))), 0.0)

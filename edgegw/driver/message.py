"""Devices on the local network that say their values in documents: fetched, pushed to us, or on a broker."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, TypeAlias

from edgegw.driver.about import Driver

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgegw.driver.about import Outcome


@dataclass(frozen=True)
class Pull:
    """A document that is fetched each interval with GET. `url` is `http://…` or `https://…`."""

    url: str
    timeout_s: float = 5.0


@dataclass(frozen=True)
class Push:
    """Documents that the device posts to the gateway's own endpoint, at `path` (`/push/NAME`)."""

    path: str


@dataclass(frozen=True)
class Subscription:
    """Documents on a broker of the local network: `server` is `mqtt://HOST:PORT`; `topics` may hold wildcards."""

    server: str
    topics: tuple[str, ...]


#: Where documents come from.
Source: TypeAlias = Pull | Push | Subscription


class Message(NamedTuple):
    """One document. `topic` is the topic or the path of the request on which it came, empty when fetched."""

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

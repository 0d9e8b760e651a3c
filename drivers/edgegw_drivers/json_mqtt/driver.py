"""The driver of every device with JSON on a broker of the local network: what its documents mean stands in a map."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal
from urllib.parse import urlsplit

from edgegw.driver import Login, Subscription
from edgegw_drivers.json_map.driver import JsonDriver

if TYPE_CHECKING:
    from collections.abc import Mapping

# MQTT 5.0 §1.5.4: the longest text there is.
LONGEST_TOPIC: Final = 65535


@dataclass(frozen=True, kw_only=True)
class JsonMqtt(JsonDriver):
    """A device with JSON on a broker of the local network, as its map describes it."""

    layer: ClassVar[str] = "mqtt-json"
    # The shell decodes what somebody has; where it comes from does not matter there.
    decode_options: ClassVar[Mapping[str, Any]] = {"map": "", "server": "mqtt://localhost", "topic": "#"}

    server: str = field(metadata={"doc": "the broker, mqtt://HOST[:PORT], or mqtts://HOST[:PORT] with ca"})
    topic: str = field(metadata={"doc": "what is subscribed to; + stands for a level, # for all that follow"})
    protocol: Literal["5", "3.1.1"] = field(default="5", metadata={"doc": "of MQTT: 5 or 3.1.1"})
    ca: str = field(
        default="",
        metadata={"doc": "file:PATH of the only authority that mqtts trusts, PEM", "path": "file:"},
    )
    user: str = field(default="", metadata={"doc": "name at the broker"})
    password: str = field(default="", repr=False, metadata={"doc": "password at the broker", "secret": True})

    def __post_init__(self) -> None:
        """ValueError for a broker or topic that cannot be, or options that do not fit together."""
        super().__post_init__()
        parts = urlsplit(self.server)
        if parts.scheme not in {"mqtt", "mqtts"} or not parts.hostname:
            raise ValueError("server: must look like mqtt://10.0.0.2:1883")
        if parts.username is not None or parts.password is not None:
            raise ValueError('server: holds a name or password; write user = … and password = "file:PATH"')
        if parts.path.strip("/") or parts.query or parts.fragment or parts.port == 0:
            raise ValueError("server: has more than a host and a port from 1 to 65535")
        if self.ca and not self.ca.startswith("file:"):
            raise ValueError("ca: must be file:PATH")
        if (parts.scheme == "mqtts") != bool(self.ca):
            raise ValueError(
                "ca: is missing, file:PATH: mqtts trusts this authority and no other"
                if not self.ca
                else "ca: is for mqtts; mqtt proves nothing"
            )
        _refuse(self.topic)

    @property
    def proves_itself(self) -> bool:
        """A broker proves who it is with TLS; who publishes there is the broker's matter."""
        return self.server.startswith("mqtts://")

    def source(self) -> Subscription:
        """Where the documents come from."""
        version = 5 if self.protocol == "5" else 4
        login = Login(self.user, self.password)
        return Subscription(self.server, (self.topic,), version, self.ca.removeprefix("file:"), login)


def _refuse(topic: str) -> None:
    """ValueError for what MQTT 5.0 §4.7 does not let be subscribed to."""
    if not 1 <= len(topic.encode()) <= LONGEST_TOPIC or "\0" in topic:
        raise ValueError("topic: must be a text of 1 to 65535 bytes")
    levels = topic.split("/")
    if any("#" in level for level in levels[:-1]) or ("#" in levels[-1] and levels[-1] != "#"):
        raise ValueError("topic: # stands alone and last: sensors/#")
    if any("+" in level and level != "+" for level in levels):
        raise ValueError("topic: + stands for a whole level: sensors/+/state")

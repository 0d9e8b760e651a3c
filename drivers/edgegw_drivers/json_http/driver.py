"""The driver of every device with JSON over HTTP: what its documents mean stands in a map."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Final
from urllib.parse import urlsplit

from edgegw.driver import SECONDS, Login, Pull, Push, amount
from edgegw_drivers.json_map.driver import JsonDriver

if TYPE_CHECKING:
    from collections.abc import Sequence

# A device that takes longer than this for a page of text is gone; the shortest leaves room for one lost packet.
TIMEOUT_S: Final = (0.5, 60.0)


@dataclass(frozen=True, kw_only=True)
class JsonHttp(JsonDriver):
    """A device with JSON over HTTP, fetched each interval or pushed by the device, as its map describes it."""

    layer: ClassVar[str] = "http-json"
    # AirGradient, airRohr, Axis People Counter.
    paths: ClassVar[Sequence[str]] = (
        "/measures/current",
        "/data.json",
        "/local/people-counter/.api?live-sum.json",
    )

    url: str = field(
        default="",
        metadata={
            "doc": "what is fetched, http://… or https://…; empty: the device posts to [endpoint] at /push/NAME"
        },
    )
    timeout: str = field(default="5s", metadata={"doc": "longest time for one answer"})
    ca: str = field(
        default="",
        metadata={"doc": "file:PATH of the only authority that https trusts, PEM", "path": "file:"},
    )
    user: str = field(default="", metadata={"doc": "name for Basic authentication at the device"})
    password: str = field(
        default="", repr=False, metadata={"doc": "password for Basic authentication", "secret": True}
    )
    token: str = field(
        default="",
        repr=False,
        metadata={
            "doc": "what a device that posts must send, as Authorization: Bearer … or ?token=…",
            "secret": True,
        },
    )

    def __post_init__(self) -> None:
        """ValueError for a URL that cannot be fetched, or options that do not fit together."""
        super().__post_init__()
        seconds = amount(self.timeout, SECONDS)
        if not TIMEOUT_S[0] <= seconds <= TIMEOUT_S[1]:
            raise ValueError(f"timeout: must be from {TIMEOUT_S[0]} to {TIMEOUT_S[1]:.0f} s")
        if not self.url:
            if self.ca or self.user:
                raise ValueError("url: is missing; ca and user are for a device that is asked")
            return
        _refuse(self.url, self.ca)

    @property
    def proves_itself(self) -> bool:
        """Only a device that is asked over https proves who it is; a token can be read along on the network."""
        return self.url.startswith("https://")

    def source(self) -> Pull | Push:
        """Where the documents come from."""
        if not self.url:
            return Push(self.token)
        login = Login(self.user, self.password)
        return Pull(self.url, amount(self.timeout, SECONDS), self.ca.removeprefix("file:"), login)


def _refuse(url: str, ca: str) -> None:
    """ValueError for a URL that is none, or whose host could not prove who it is."""
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("url: holds a blank or a character that no URL has")
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("url: must look like http://10.0.0.7/measures/current")
    if parts.username is not None or parts.password is not None:
        raise ValueError('url: holds a name or password; write user = … and password = "file:PATH"')
    if parts.fragment:
        raise ValueError("url: has a part behind #, which is never sent")
    if parts.port == 0:  # ValueError of its own above 65535
        raise ValueError("url: has port 0")
    if ca and not ca.startswith("file:"):
        raise ValueError("ca: must be file:PATH")
    if (parts.scheme == "https") != bool(ca):
        raise ValueError(
            "ca: is missing, file:PATH: https trusts this authority and no other"
            if not ca
            else "ca: is for https; http proves nothing"
        )

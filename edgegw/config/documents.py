"""Rules for devices of the local network that say their values in documents, and for the endpoint they post to."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from edgegw.driver import Pull, Push

if TYPE_CHECKING:
    from edgegw.config.models import Endpoint
    from edgegw.config.sources import Tree
    from edgegw.driver import MessageDriver

Note = tuple[tuple[str, ...], str]

_PLAIN: Final = (
    "is not encrypted: its readings are marked unauthenticated; keep the device in a network of its own"
)


def check_endpoint(tree: Tree, endpoint: Endpoint) -> list[Note]:
    """Rules of `[endpoint]`."""
    where = ("endpoint", "listen")
    if endpoint.listen is None or not tree.clean(*where):
        return []
    address = ipaddress.ip_address(endpoint.listen.host.partition("%")[0])
    if address.is_unspecified and not endpoint.any_address:
        tree.mistake(
            where,
            f"is {address}: every network of this machine, the uplink's too; name the address in the sensors' network, "
            "or say any_address = true",
        )
    elif address.is_global:
        return [
            (where, "is reachable from the internet; anybody can post readings for a sensor without token")
        ]
    return []


def check_document(tree: Tree, name: str, driver: MessageDriver, endpoint: Endpoint | None) -> list[Note]:
    """Rules of one sensor; `endpoint` is None where it stands in another file."""
    here = ("sensor", name)
    try:
        source = driver.source()
        driver.decoder()
    except ValueError as fault:
        tree.mistake(here, str(fault))
        return []
    if isinstance(source, Push):
        if endpoint is None or endpoint.listen is not None:
            return []
        # No mistake: the other sensors must not wait for it.
        what = (
            "the device posts its values, and nothing listens: [endpoint] listen, or the url that is fetched"
        )
        return [(here, what)]
    if isinstance(source, Pull):
        return _check_way(tree, (*here, "url"), source.url, "https")
    return _check_way(tree, (*here, "server"), source.server, "mqtts")


def _check_way(tree: Tree, where: tuple[str, ...], url: str, secured: str) -> list[Note]:
    """What is plain stays near, and somebody should know of it."""
    parts = urlsplit(url)
    if parts.scheme == secured:
        return []
    try:
        far = ipaddress.ip_address(parts.hostname or "").is_global
    except ValueError:
        far = False  # a name: what it means is seen when it is connected
    if far:
        tree.mistake(where, f"is outside of private networks; only {secured}:// with ca is spoken there")
        return []
    return [(where, _PLAIN)]

"""The ways of documents from the local network: fetched, posted to our endpoint, or published on a broker.

Each library is imported with the first document: h11 and paho take time and memory that a gateway without such
sensors does not spend.
"""

# ruff: noqa: PLC0415 -- for the reason above

from __future__ import annotations

from typing import TYPE_CHECKING

from edgegw.ports.errors import PortError

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgegw.driver import Pull, Subscription
    from edgegw.ports.http import Endpoint
    from edgegw.ports.mqtt_local import Arrived, Brokers


class LocalNetwork:
    """What all sensors with documents share: the endpoint and the connections to brokers.

    `listen` is the endpoint's address and port; None: it is off.
    """

    def __init__(self, listen: tuple[str, int] | None = None) -> None:
        self._listen = listen
        self._endpoint: Endpoint | None = None
        self._brokers: Brokers | None = None

    async def fetch(self, pull: Pull) -> bytes:
        """See `sensing.wires.Documents`."""
        from edgegw.ports.http import fetch

        return await fetch(pull)

    async def receive(self, name: str, token: str, take: Callable[[bytes, float], str]) -> None:
        """See `sensing.wires.Documents`."""
        from edgegw.ports.http import Endpoint

        if self._listen is None:
            raise PortError(
                "no_endpoint",
                "The device posts its values, and nothing listens for them.",
                'Write [endpoint] listen = "ADDRESS:PORT" and restart; only the daemon is posted to.',
            )
        if self._endpoint is None:
            self._endpoint = Endpoint(*self._listen)
        await self._endpoint.receive(name, token, take)

    async def listen(
        self, source: Subscription, take: Callable[[Arrived], None], lost: Callable[[int], None]
    ) -> None:
        """See `sensing.wires.Documents`."""
        from edgegw.ports.mqtt_local import Brokers

        if self._brokers is None:
            self._brokers = Brokers()
        await self._brokers.listen(source, take, lost)

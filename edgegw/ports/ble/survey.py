"""Listen for a while and say who is there: for `edgegw sensors scan`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from edgegw import registry
from edgegw.driver import AdvertDriver
from edgegw.ports.ble import adverts, scans
from edgegw.ports.ble.patterns import Wants

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# A page of a hundred devices is not read any more; past a thousand addresses somebody makes them up.
MOST_NEIGHBOURS: Final = 1000


@dataclass
class Neighbour:
    """A device that was heard: `rssi` in dBm is that of the newest of `count` advertisements.

    `companies` and `services` hold the newest manufacturer data by company id and service data by 16-bit UUID;
    `name` is empty where the device says none, `random` None where the radio does not know.
    """

    address: str
    random: bool | None
    rssi: int
    name: str = ""
    count: int = 0
    companies: dict[int, bytes] = field(default_factory=dict)
    services: dict[int, bytes] = field(default_factory=dict)

    @property
    def drivers(self) -> list[str]:
        """Installed drivers that decode what it says; a guess, since nobody has looked into the data."""
        return decoders(self.companies, self.services)


async def survey(seconds: float, adapter: str = "", scanning: str = "auto") -> list[Neighbour]:
    """Listen for `seconds` and return who was heard, the nearest first; at most `MOST_NEIGHBOURS`.

    Names come with an active scan only, so `auto` is active here; `passive` stays passive. PortError, with what to
    do, when the radio cannot be used.
    """
    # dbus-fast, only with the first scan.
    from edgegw.ports.ble.bluez import Bluez  # noqa: PLC0415

    found: dict[str, Neighbour] = {}

    def on_air(device: Any, data: Any) -> None:
        advert = adverts.heard(device, data)
        if advert is None or (advert.address not in found and len(found) >= MOST_NEIGHBOURS):
            return
        each = found.setdefault(advert.address, Neighbour(advert.address, advert.random, advert.rssi))
        each.rssi, each.name = advert.rssi, data.local_name or each.name
        each.count += 1
        each.companies.update(advert.companies)
        each.services.update(advert.services)

    async with Bluez(adapter) as bluez:
        one = await bluez.adapter()
        await bluez.power_on(one)
        mode: scans.Mode = "passive" if scanning == "passive" else "active"
        async with scans.scan(one.name, _every_kind(), mode, on_air):
            await asyncio.sleep(seconds)
    return sorted(found.values(), key=lambda each: (-each.rssi, each.address))


def decoders(companies: Iterable[int], services: Iterable[int]) -> list[str]:
    """Installed drivers whose company ids or service UUIDs are among these; broken ones are left out.

    Drivers that hear everything (a count of who is there) decode nobody's data and are not named.
    """
    companies, services = set(companies), set(services)
    return [
        name
        for name, (ids, uuids) in _known().items()
        if not (ids.isdisjoint(companies) and uuids.isdisjoint(services))
    ]


def _known() -> Mapping[str, tuple[frozenset[int], frozenset[int]]]:
    """The company ids and service UUIDs of each installed driver that decodes advertisements."""
    found: dict[str, tuple[frozenset[int], frozenset[int]]] = {}
    for name in registry.names():
        try:
            driver = registry.load(name)
        except registry.DriverError:
            continue
        if issubclass(driver, AdvertDriver):
            found[name] = driver.company_ids, driver.service_ids
    return found


def _every_kind() -> Wants:
    """Everything, and by name what an installed driver decodes."""
    known = _known().values()
    return Wants(
        frozenset().union(*(ids for ids, _ in known)),
        frozenset().union(*(uuids for _, uuids in known)),
        everything=True,
    )

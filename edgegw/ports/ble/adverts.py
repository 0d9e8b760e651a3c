"""What BlueZ says of an advertisement, as the drivers know it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from edgegw.driver import Advert

if TYPE_CHECKING:
    from collections.abc import Mapping

# The Bluetooth base UUID (Core specification, vol. 3 part B §2.5.1): a 16-bit UUID stands in front of it.
_BASE: Final = "-0000-1000-8000-00805f9b34fb"
# What bleak gives where BlueZ has no RSSI: the property changed for another reason than an advertisement.
UNHEARD: Final = -127
# The controller's word for "not available" (Core specification, vol. 4 part E §7.7.65.2).
_UNKNOWN_RSSI: Final = 127


def advert(
    address: str,
    kind: str | None,
    rssi: int,
    companies: Mapping[int, bytes],
    services: Mapping[str, bytes],
) -> Advert | None:
    """The advertisement; None when what changed was not heard on the air.

    `kind` is BlueZ's AddressType (`public`, `random`), `services` is service data by UUID in text; those without a
    16-bit UUID are left out. An RSSI that the controller does not know becomes -127 dBm: weaker than any.
    """
    if rssi == UNHEARD:
        return None
    return Advert(
        address.upper(),
        None if kind is None else kind == "random",
        UNHEARD if rssi == _UNKNOWN_RSSI else rssi,
        companies,
        {short: data for uuid, data in services.items() if (short := short_uuid(uuid)) is not None},
    )


def short_uuid(uuid: str) -> int | None:
    """The 16-bit number of a UUID in text; None for a longer one."""
    low = uuid.lower()
    if len(low) != 36 or not low.startswith("0000") or not low.endswith(_BASE):
        return None
    try:
        return int(low[4:8], 16)
    except ValueError:
        return None


def heard(device: Any, data: Any) -> Advert | None:
    """The advertisement in what bleak's callback gets: its BLEDevice and AdvertisementData."""
    kind = data.platform_data[1].get("AddressType")
    return advert(device.address, kind, data.rssi, data.manufacturer_data, data.service_data)

"""Bluetooth LE devices that say their values in advertisements; nobody connects to them."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, runtime_checkable

from edgegw.driver.about import Driver

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgegw.driver.about import Outcome

_LAYER = re.compile(r"ble-(manufacturer|service)-data-0x([0-9a-f]{4})", re.IGNORECASE)
# As people write addresses: with colons or dashes between the octets, or with nothing.
_ADDRESS = re.compile(r"[0-9A-F]{2}([:-]?)[0-9A-F]{2}(\1[0-9A-F]{2}){4}")
#: The address of an advertisement whose sender was not said.
NOBODY = "00:00:00:00:00:00"


def address(text: str) -> str:
    """A Bluetooth address in upper case with colons, however it was written; ValueError when it is none."""
    if not _ADDRESS.fullmatch(text.strip().upper()):
        raise ValueError(f"address: {text!r} is no Bluetooth address such as AA:BB:CC:DD:EE:FF")
    digits = re.sub("[:-]", "", text.strip().upper())
    return ":".join(digits[at : at + 2] for at in range(0, 12, 2))


class Advert(NamedTuple):
    """One received advertisement.

    `address` is upper case with colons; `random` says that it is no public address, and is None where the
    radio did not say. `rssi` is in dBm. `companies` holds manufacturer data by company id, `services` service data by
    16-bit service UUID (others are left out).
    """

    address: str
    random: bool | None
    rssi: int
    companies: Mapping[int, bytes]
    services: Mapping[int, bytes]


class AdvertDecoder(Protocol):
    """Decodes the advertisements of one sensor, in order."""

    def decode(self, advert: Advert, now: float) -> Sequence[Outcome]:
        """Outcomes of an advertisement heard at monotonic second `now`; FrameError when it gives none."""
        ...

    def due(self, now: float) -> Sequence[Outcome]:
        """Outcomes that time alone brings at monotonic second `now` (a window that ended); asked each second."""
        ...


@runtime_checkable
class KeyedAdvertDecoder(AdvertDecoder, Protocol):
    """A decoder that counts senders without being able to know them again.

    It sees addresses only under a random key, and a driver has no randomness: whoever runs it brings the key.
    `rekey` is called once before the first advertisement and then before each `due`, `forget` when the decoder is
    given up.
    """

    def rekey(self, key: bytearray) -> None:
        """Offer 32 fresh random bytes that stand nowhere else.

        The decoder takes them for the window that begins now or next, overwrites them with zeros when that window
        is over, and those that it does not need at once.
        """
        ...

    def forget(self) -> None:
        """Overwrite the keys that it holds, and drop what it has counted."""
        ...


@dataclass(frozen=True)
class AdvertDriver(Driver, ABC):
    """A Bluetooth LE device. `company_ids` and `service_ids` say which advertisements are for this driver."""

    kind: ClassVar[str] = "advert"
    #: Company ids of manufacturer data, and 16-bit UUIDs of service data, that this driver decodes.
    company_ids: ClassVar[frozenset[int]] = frozenset()
    service_ids: ClassVar[frozenset[int]] = frozenset()

    address: str = field(
        default="",
        metadata={"doc": "the device's address, AA:BB:CC:DD:EE:FF; `edgegw sensors scan` shows it"},
    )

    def __post_init__(self) -> None:
        """Bring the address into its one form; ValueError when it is none."""
        if self.address:
            object.__setattr__(self, "address", address(self.address))

    @property
    def everything(self) -> bool:
        """Whether advertisements of any content are for this driver: it names no company and no service."""
        return not (self.company_ids or self.service_ids)

    def hears(self, advert: Advert) -> bool:
        """Whether this sensor wants the advertisement: its address, and data that the driver decodes."""
        if self.address and advert.address != self.address:
            return False
        if self.everything:
            return True
        return not self.company_ids.isdisjoint(advert.companies) or not self.service_ids.isdisjoint(
            advert.services
        )

    @abstractmethod
    def decoder(self) -> AdvertDecoder:
        """A fresh decoder for one sensor."""

    def decode_layer(self, layer: str, data: bytes, options: Mapping[str, Any]) -> Sequence[Outcome] | None:
        """Outcomes of the payload behind a company id (`ble-manufacturer-data-0xNNNN`) or service UUID.

        `options` may name the `mac` of the device where the driver's `address` is not given.
        """
        advert = self.advert_of(layer, data, options)
        return self.decoder().decode(advert, 0.0) if advert else None

    def advert_of(self, layer: str, data: bytes, options: Mapping[str, Any]) -> Advert | None:
        """The advertisement that `decode_layer` decodes; None for a layer that the driver does not know."""
        words = _LAYER.fullmatch(layer)
        if words is None:
            return None
        number = int(words[2], 16)
        if number not in (self.company_ids if words[1].lower() == "manufacturer" else self.service_ids):
            return None
        sender = address(str(options.get("mac", "") or self.address or NOBODY))
        data_of = {number: data}
        companies, services = (data_of, {}) if words[1].lower() == "manufacturer" else ({}, data_of)
        return Advert(sender, None, 0, companies, services)

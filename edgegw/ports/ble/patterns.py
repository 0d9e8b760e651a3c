"""What a passive scan lets through: BlueZ wants patterns, and has none that means "all". Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edgegw.driver import Advert

#: Position in the element's data, AD type, content.
Pattern = tuple[int, int, bytes]

# AD types (Assigned Numbers §2.3).
_FLAGS: Final = 0x01
_SERVICE_DATA: Final = 0x16
_MANUFACTURER: Final = 0xFF
#: Patterns that the kernel takes in one monitor (HCI_MAX_ADV_MONITOR_NUM_PATTERNS); with more it refuses all.
MOST_PATTERNS: Final = 16
#: Monitors that the kernel takes at once (HCI_MAX_ADV_MONITOR_NUM_HANDLES) are 32; half are left to other programs.
MOST_MONITORS: Final = 16

# There is no pattern for "any": these are the usual flags, and the makers and services of phones and beacons that
# send no flags (Apple, Microsoft, Samsung, Google; Eddystone, Fast Pair, Nearby, Exposure Notification, Tile).
_USUAL_FLAGS: Final = (0x00, 0x02, 0x04, 0x05, 0x06, 0x18, 0x1A, 0x1B)
_USUAL_COMPANIES: Final = (0x004C, 0x0006, 0x0075, 0x00E0)
_USUAL_SERVICES: Final = (0xFEAA, 0xFE2C, 0xFEF3, 0xFCF1, 0xFD5A, 0xFD6F, 0xFEED)


@dataclass(frozen=True)
class Wants:
    """What somebody wants to hear: manufacturer data of companies, service data of 16-bit services, or all."""

    companies: frozenset[int] = field(default_factory=frozenset)
    services: frozenset[int] = field(default_factory=frozenset)
    everything: bool = False

    def takes(self, advert: Advert) -> bool:
        """Whether the advertisement holds something that is wanted."""
        return (
            self.everything
            or not self.companies.isdisjoint(advert.companies)
            or not self.services.isdisjoint(advert.services)
        )

    @classmethod
    def union(cls, wants: Iterable[Wants]) -> Wants:
        """What at least one of them wants."""
        found = list(wants)
        return cls(
            frozenset().union(*(each.companies for each in found)),
            frozenset().union(*(each.services for each in found)),
            any(each.everything for each in found),
        )


def patterns(wants: Wants) -> list[list[Pattern]]:
    """The patterns for one monitor after the other, each with as many as the kernel takes.

    For `everything` they are the best that can be said, and not all: devices that send neither flags nor data of
    the usual makers and services stay unheard. ValueError for more than the kernel takes in all.
    """
    found: list[Pattern] = []
    companies, services = set(wants.companies), set(wants.services)
    if wants.everything:
        found += [(0, _FLAGS, bytes((flags,))) for flags in _USUAL_FLAGS]
        companies.update(_USUAL_COMPANIES)
        services.update(_USUAL_SERVICES)
    found += [(0, _MANUFACTURER, company.to_bytes(2, "little")) for company in sorted(companies)]
    found += [(0, _SERVICE_DATA, service.to_bytes(2, "little")) for service in sorted(services)]
    if len(found) > MOST_PATTERNS * MOST_MONITORS:
        raise ValueError(f"{len(found)} kinds of advertisements; a passive scan takes 256")
    return [found[at : at + MOST_PATTERNS] for at in range(0, len(found), MOST_PATTERNS)]

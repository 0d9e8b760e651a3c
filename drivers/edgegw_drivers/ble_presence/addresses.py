"""Classes of Bluetooth LE addresses."""

from __future__ import annotations

from typing import Final

PUBLIC: Final = "public"
STATIC: Final = "static_random"
RESOLVABLE: Final = "resolvable_private"
NON_RESOLVABLE: Final = "non_resolvable_private"
RESERVED: Final = "reserved"
UNKNOWN: Final = "unknown"

#: The class of a random address by its two top bits (Bluetooth Core 6.0, volume 6, part B, 1.3.2).
_RANDOM: Final = (NON_RESOLVABLE, RESOLVABLE, RESERVED, STATIC)


def class_of(first: int, random: bool | None) -> str:
    """The class of an address whose first printed octet is `first`; `random` as in `Advert`."""
    if random is None:
        return UNKNOWN
    return _RANDOM[first >> 6] if random else PUBLIC

"""The driver of the Aranet family."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from edgegw_drivers import ble
from edgegw_drivers.aranet.models import parse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgegw.driver import Advert, Outcome

#: SAF Tehnika (Bluetooth SIG, company identifiers).
COMPANY: Final = 0x0702


@dataclass(frozen=True)
class Aranet(ble.OneDevice):
    """An Aranet4, Aranet2, Aranet Radiation or Aranet Radon whose owner has allowed it to advertise its values."""

    company_ids: ClassVar[frozenset[int]] = frozenset({COMPANY})
    layer: ClassVar[str] = "ble-manufacturer-data-0x0702"
    quantities: ClassVar[Sequence[str]] = (
        "co2",
        "temperature",
        "humidity",
        "pressure",
        "radon",
        "dose_rate",
        "battery",
    )

    def decoder(self) -> _Decoder:
        """A decoder that has heard nothing yet."""
        return _Decoder()


class _Decoder:
    """One device: its newest measurement."""

    def __init__(self) -> None:
        self._repeats = ble.Repeats()

    def decode(self, advert: Advert, now: float) -> Sequence[Outcome]:
        """Readings of a measurement that was not heard before, and `not_available` for each value it lacks."""
        sample = parse(advert.companies[COMPANY])
        # The age grows from one repetition to the next; what was measured does not change.
        if not self._repeats.is_new(sample.meta["counter"], repr(sample.values).encode(), now):
            return ()
        return [
            ble.MISSING if value is None else ble.reading(name, value, sample.meta, provenance=ble.PLAIN)
            for name, value in sample.values.items()
        ]

    def due(self, now: float) -> Sequence[Outcome]:
        """Nothing: the device speaks by itself."""
        del now
        return ()

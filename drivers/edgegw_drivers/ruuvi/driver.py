"""The driver of Ruuvi's tags and air monitors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Final, Literal

from edgegw.driver import FrameError
from edgegw_drivers import ble
from edgegw_drivers.ruuvi.formats import parse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgegw.driver import Advert, Outcome
    from edgegw_drivers.ruuvi.formats import Sample

#: Ruuvi Innovations Ltd. (Bluetooth SIG, company identifiers).
COMPANY: Final = 0x0499
# How long a device that was heard with format E1 is taken at its word there, and its format 6 (the same samples,
# fewer quantities) passed over. Seconds.
EXTENDED_S: Final = 300.0


@dataclass(frozen=True)
class Ruuvi(ble.OneDevice):
    """A RuuviTag (data formats 3 and 5) or a Ruuvi Air (6 and E1)."""

    company_ids: ClassVar[frozenset[int]] = frozenset({COMPANY})
    layer: ClassVar[str] = "ble-manufacturer-data-0x0499"
    quantities: ClassVar[Sequence[str]] = (
        "temperature",
        "humidity",
        "pressure",
        "battery_voltage",
        "pm1",
        "pm2_5",
        "pm4",
        "pm10",
        "co2",
        "voc_index",
        "nox_index",
        "illuminance",
    )

    warm_up: Literal["flag", "drop"] = field(
        default="flag", metadata={"doc": "what becomes of values while a Ruuvi Air calibrates"}
    )

    def decoder(self) -> _Decoder:
        """A decoder that has heard nothing yet."""
        return _Decoder(drop=self.warm_up == "drop")


class _Decoder:
    """One device: its newest samples."""

    def __init__(self, *, drop: bool) -> None:
        self._drop = drop
        self._repeats = ble.Repeats()
        self._extended: float | None = None

    def decode(self, advert: Advert, now: float) -> Sequence[Outcome]:
        """Readings of a sample that was not heard before, and `not_available` for each value that it lacks."""
        sample = parse(advert.companies[COMPANY])
        _check_sender(advert.address, sample.meta)
        if sample.meta["format"] == 0xE1:
            self._extended = now
        elif sample.meta["format"] == 6 and self._extended is not None:
            if now - self._extended <= EXTENDED_S:
                return ()
            self._extended = None
        # The low byte numbers the same sample in both formats: the first of the two is taken.
        if sample.sequence is not None and not self._repeats.is_new(_number(sample), b"", now):
            return ()
        if sample.calibrating and self._drop:
            raise FrameError("warming_up", whole=True)
        return [
            ble.MISSING
            if value is None
            else ble.reading(name, value, sample.meta, provenance=ble.PLAIN, warming=sample.calibrating)
            for name, value in sample.values.items()
        ]

    def due(self, now: float) -> Sequence[Outcome]:
        """Nothing: the device speaks by itself."""
        del now
        return ()


def _number(sample: Sample) -> int:
    number = sample.sequence or 0
    return number & 0xFF if sample.meta["format"] == 0xE1 else number


def _check_sender(address: str, meta: Mapping[str, object]) -> None:
    """FrameError `wrong_address` when the payload names another device than the one that sent it."""
    said, tail = meta.get("mac"), meta.get("mac_tail")
    if said:
        ble.check_sender(address, str(said))
    elif tail:
        ble.check_sender(address, address.replace(":", "")[:6] + str(tail))

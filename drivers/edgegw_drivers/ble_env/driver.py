"""The driver of small environment sensors that advertise their values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from edgegw.driver import FrameError, Notice
from edgegw_drivers import ble
from edgegw_drivers.ble_env import atc, qingping, sensirion

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgegw.driver import Advert, Outcome
    from edgegw_drivers.ble_env.sample import Sample


@dataclass(frozen=True)
class BleEnv(ble.OneDevice):
    """A Qingping monitor, a Xiaomi thermometer with ATC or pvvx firmware, or a Sensirion gadget."""

    company_ids: ClassVar[frozenset[int]] = frozenset({sensirion.COMPANY})
    service_ids: ClassVar[frozenset[int]] = frozenset({qingping.SERVICE, atc.SERVICE})
    layer: ClassVar[str] = "ble-service-data-0x181A"
    quantities: ClassVar[Sequence[str]] = (
        "temperature",
        "humidity",
        "pressure",
        "illuminance",
        "co2",
        "pm1",
        "pm2_5",
        "pm4",
        "pm10",
        "voc_index",
        "nox_index",
        "battery",
        "battery_voltage",
    )

    key: str = field(
        default="",
        repr=False,
        metadata={
            "doc": "file:PATH or cred:NAME of the key of pvvx firmware, 32 hexadecimal digits",
            "secret": True,
        },
    )

    def __post_init__(self) -> None:
        """ValueError for an address or a key that cannot be."""
        super().__post_init__()
        ble.key_of(self.key)

    def decoder(self) -> _Decoder:
        """A decoder that has heard nothing yet; ValueError for a key of another length than 16 bytes."""
        return _Decoder(self)

    def decode_layer(self, layer: str, data: bytes, options: Mapping[str, Any]) -> Sequence[Outcome] | None:
        """As the base; FrameError `key_length` for a key of another length.

        With `last_counter` an encrypted packet with that counter is a replay: of eight bits more cannot be said.
        """
        try:
            encrypted = ble.cipher(self.key) is not None
        except ValueError:
            raise FrameError("key_length") from None
        found = super().decode_layer(layer, data, options)
        if encrypted and "last_counter" in options and str(options["last_counter"]) == str(data[0]):
            raise FrameError("replay")
        return found


class _Decoder:
    """One device: what it said last."""

    def __init__(self, driver: BleEnv) -> None:
        self._cipher = ble.cipher(driver.key)
        self._repeats = ble.Repeats()
        self._counter: tuple[int, bytes] | None = None

    def decode(self, advert: Advert, now: float) -> Sequence[Outcome]:
        """Readings of a sample that was not heard before; FrameError when the advertisement gives none."""
        if self._cipher is not None and atc.SERVICE not in advert.services:
            raise FrameError("downgrade")  # the other formats are plain
        if sensirion.COMPANY in advert.companies and atc.SERVICE not in advert.services:
            return self._told(sensirion.parse(advert.companies[sensirion.COMPANY]), b"", now)
        if qingping.SERVICE in advert.services:
            data = advert.services[qingping.SERVICE]
            return self._told(qingping.parse(data), data, now)
        data = advert.services[atc.SERVICE]
        sample = atc.parse(data, advert.address, self._cipher)
        if self._cipher is not None:
            last, self._counter = self._counter, (data[0], data)
            if last is not None and last[0] == data[0] and last[1] != data:
                self._counter = last
                return (
                    Notice("replay", "two packets came with one counter: somebody else may have the key"),
                    FrameError("replay"),
                )
        return self._told(sample, data, now)

    def due(self, now: float) -> Sequence[Outcome]:
        """Nothing: the device speaks by itself."""
        del now
        return ()

    def _told(self, sample: Sample, content: bytes, now: float) -> Sequence[Outcome]:
        if sample.number is not None and not self._repeats.is_new(sample.number, content, now):
            return ()
        return [
            ble.reading(name, value, sample.meta, provenance=sample.provenance)
            for name, value in sample.values.items()
        ]

"""The driver of every BTHome v2 device."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from edgegw.driver import QUANTITIES, FrameError, Notice, Reading
from edgegw_drivers import ble
from edgegw_drivers.bthome import objects
from edgegw_drivers.bthome.counter import LARGEST, Counter, Verdict
from edgegw_drivers.bthome.packet import opened
from edgegw_drivers.bthome.rain import Rain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgegw.driver import Advert, Outcome
    from edgegw_drivers.bthome.objects import Object
    from edgegw_drivers.bthome.packet import Packet

#: Service data of BTHome (Bluetooth SIG, assigned numbers: 0xFCD2, Allterco Robotics).
SERVICE: Final = 0xFCD2
# What the shell shows of an advertisement without a quantity: how many objects it has; they stand in `meta`.
_OBJECTS: Final = QUANTITIES["targets"]._replace(name="objects")


@dataclass(frozen=True)
class Bthome(ble.OneDevice):
    """A device that speaks BTHome v2, encrypted or not."""

    service_ids: ClassVar[frozenset[int]] = frozenset({SERVICE})
    layer: ClassVar[str] = "ble-service-data-0xFCD2"
    quantities: ClassVar[Sequence[str]] = objects.QUANTITIES
    # The shell shows all that one advertisement says.
    decode_options: ClassVar[Mapping[str, Any]] = {
        **ble.OneDevice.decode_options,
        "instance": 0,
        "precipitation": "increment",
    }

    key: str = field(
        default="",
        repr=False,
        metadata={"doc": "file:PATH or cred:NAME of the key, 32 hexadecimal digits", "secret": True},
    )
    last_counter: int | None = field(
        default=None, metadata={"doc": "packets with this counter and lower ones are old, from the start on"}
    )
    counter_restart: Literal["refuse", "accept"] = field(
        default="refuse", metadata={"doc": "accept: a counter that fell is the device's new beginning"}
    )
    instance: int = field(
        default=1, metadata={"doc": "which of several objects of one quantity is read; 0: all of them"}
    )
    voltage: Literal["battery", "other"] = field(
        default="battery",
        metadata={"doc": "what the object voltage (0x0C) is: battery_voltage, or no reading"},
    )
    precipitation: Literal["total", "increment"] = field(
        default="total", metadata={"doc": "total: the device counts up, and readings are the difference"}
    )

    def __post_init__(self) -> None:
        """ValueError for an address, a key or a number that cannot be."""
        super().__post_init__()
        ble.key_of(self.key)
        if self.last_counter is not None and not 0 <= self.last_counter < LARGEST:
            raise ValueError(f"last_counter: 0 to {LARGEST - 1}, not {self.last_counter}")
        if self.instance < 0:
            raise ValueError(f"instance: 1 is the first, 0 means all, not {self.instance}")

    def decoder(self) -> Decoder:
        """A decoder that has heard nothing yet; ValueError for a key of another length than 16 bytes."""
        return Decoder(self)

    def decode_layer(self, layer: str, data: bytes, options: Mapping[str, Any]) -> Sequence[Outcome] | None:
        """As the base; what has no quantity is shown as `objects`, their number, with all of them in `meta`."""
        try:
            decoder = self.decoder()
        except ValueError:
            raise FrameError("key_length") from None
        advert = self.advert_of(layer, data, options)
        if advert is None:
            return None
        outcomes = decoder.decode(advert, 0.0)
        if not decoder.meta or any(isinstance(each, Reading) for each in outcomes):
            return outcomes
        return (*outcomes, Reading(_OBJECTS, len(decoder.meta["objects"]), None, (), decoder.meta))


class Decoder:
    """One device: its counter, what it said last, and how much rain there was."""

    def __init__(self, driver: Bthome) -> None:
        self._driver = driver
        self._cipher = ble.cipher(driver.key)
        self._counter = Counter(driver.last_counter, may_restart=driver.counter_restart == "accept")
        self._knows_packet = driver.last_counter is None
        self._repeats = ble.Repeats()
        self._rain = Rain()
        #: What the newest packet says besides its readings.
        self.meta: dict[str, Any] = {}

    def decode(self, advert: Advert, now: float) -> Sequence[Outcome]:
        """Readings of what has a quantity, then why others are missing; FrameError when the packet is refused."""
        data = advert.services[SERVICE]
        packet = opened(data, advert.address, self._cipher)
        if packet.mac:
            ble.check_sender(advert.address, packet.mac)
        alarm = self._judged(packet, data)
        if alarm is not None:
            return alarm
        if not packet.payload:
            raise FrameError("no_data")
        said = objects.read(packet.payload)
        number = next((each.raw for each in said.found if each.id == objects.PACKET_ID), None)
        if number is not None and not self._repeats.is_new(number, packet.payload, now):
            return ()
        self.meta = _meta(packet, said)
        outcomes = [*self._readings(said.found, packet), *_ordered(said.found)]
        if said.unknown is not None:
            outcomes.append(FrameError("unknown_object"))
        if said.cut:
            outcomes.append(FrameError("truncated"))
        return outcomes

    def due(self, now: float) -> Sequence[Outcome]:
        """Nothing: the device speaks by itself."""
        del now
        return ()

    def _judged(self, packet: Packet, data: bytes) -> Sequence[Outcome] | None:
        """What is said instead of readings about a packet that is old; None for one that is new, or plain."""
        if packet.counter is None:
            return None
        verdict = self._counter.judge(packet.counter, data)
        if verdict is Verdict.NEW:
            self._knows_packet = True
            return None
        if verdict is Verdict.REPEATED:
            # Where only the number was configured, nobody knows what the packet said: it is old all the same.
            return () if self._knows_packet else (FrameError("replay"),)
        why = {
            Verdict.TWICE: "another packet came with the same counter: somebody else may have the key",
            Verdict.FELL: "a packet came with a lower counter: it was recorded and sent again, or the device "
            "began to count anew. After a change of its battery restart the sensor, without last_counter",
        }[verdict]
        return (Notice("replay", f"{why}. It was refused."), FrameError("replay"))

    def _readings(self, found: Sequence[Object], packet: Packet) -> list[Outcome]:
        provenance = () if packet.counter is not None else ble.PLAIN
        seen: dict[str, int] = {}
        outcomes: list[Outcome] = []
        for each in found:
            name = each.kind.quantity
            if not name or (each.id == objects.VOLTAGE and self._driver.voltage == "other"):
                continue
            seen[name] = seen.get(name, 0) + 1
            if self._driver.instance not in {0, seen[name]}:
                continue
            value = float(each.value) if isinstance(each.value, float) else each.raw
            if each.id == objects.PRECIPITATION and self._driver.precipitation == "total":
                fallen = self._rain.since(each.raw)
                if isinstance(fallen, FrameError):
                    outcomes.append(fallen)
                    continue
                value = fallen
            outcomes.append(ble.reading(name, value, self.meta, provenance=provenance))
        return outcomes


def _meta(packet: Packet, said: objects.Objects) -> dict[str, Any]:
    """All objects in order, those without a quantity also by name, and what the packet says about itself."""
    meta: dict[str, Any] = {
        each.kind.name: each.value for each in reversed(said.found) if not each.kind.quantity
    }
    meta["objects"] = [[each.kind.name, each.value] for each in said.found]
    meta["encrypted"] = packet.counter is not None
    if packet.counter is not None:
        meta["counter"] = packet.counter
    if packet.mac:
        meta["mac"] = packet.mac
    if packet.triggered:
        meta["triggered"] = True
    if said.unknown is not None:
        meta["unknown_object"] = said.unknown
    return meta


def _ordered(found: Sequence[Object]) -> Sequence[Notice]:
    ids = [each.id for each in found]
    if ids == sorted(ids):
        return ()
    return (
        Notice("order", "the device does not send its objects in the order of their ids, against BTHome v2"),
    )

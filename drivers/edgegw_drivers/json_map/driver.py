"""What the drivers of JSON devices share, wherever their documents come from."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final

from edgegw.driver import Message, MessageDriver
from edgegw_drivers.json_map import document as documents
from edgegw_drivers.json_map import find
from edgegw_drivers.json_map.decoder import Decoder
from edgegw_drivers.json_map.milesight import TABLES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgegw.driver import Outcome
    from edgegw_drivers.json_map.map import Map

#: The layer of bare Milesight payloads.
TLV: Final = "milesight-tlv"


@dataclass(frozen=True, kw_only=True)
class JsonDriver(MessageDriver, ABC):
    """A device that speaks JSON, as its map describes it."""

    # Without a map the shell recognises the device by its document.
    decode_options: ClassVar[Mapping[str, Any]] = {"map": ""}

    map: str = field(
        metadata={
            "doc": "name of a map that ships or lies in /etc/edgegw/maps, or file:PATH",
            "path": "file:",
        }
    )
    device: str = field(
        default="",
        metadata={"doc": "serial number of the device; documents of any other are refused"},
    )
    line: str = field(
        default="",
        metadata={"doc": "only this counting line or scenario, where the map tells them apart by name"},
    )
    _map: Map | None = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        """Read the map, once; ValueError when there is no good one."""
        if self.map:
            object.__setattr__(self, "_map", find.load(self.map))
            if self.device and not self._loaded.identity:
                raise ValueError("device: documents of this map do not say which device they are of")
            if self.line and not self._loaded.rows.name:
                raise ValueError("line: this map tells no lines apart")

    @classmethod
    def candidates(cls) -> Sequence[Mapping[str, Any]]:
        """Every map that there is."""
        return [{"map": name} for name in find.names()]

    @property
    def sha256(self) -> str:
        """SHA-256 of the map's text, in hexadecimal: two sensors with the same one decode alike."""
        return self._loaded.sha256

    @property
    def proves_itself(self) -> bool:
        """Whether the other end proves who it is, with TLS."""
        return False

    def emits(self) -> Sequence[str]:
        """The quantities of the map."""
        return list(dict.fromkeys(read.quantity.name for read in self._map.reads)) if self._map else ()

    def decoder(self) -> Decoder:
        """A decoder that has seen nothing yet."""
        # DEVICES §2 rule 11: where a value comes from goes with it. The flag stays: it may well be right.
        checks = () if self.proves_itself else ("unauthenticated",)
        return Decoder(self._loaded, self.device, self.line, checks)

    def decode_layer(self, layer: str, data: bytes, options: Mapping[str, Any]) -> Sequence[Outcome] | None:
        """Outcomes of one document, or one bare payload, that stands alone: running totals as they are.

        `options` may name the `model` of a Milesight device. ValueError when it is needed and not known.
        """
        model = str(options.get("model", "")).lower()
        if layer == TLV:
            name = f"milesight-{model}" if model else self.map
            plan = find.load(name) if name else None
            if plan is None or plan.payload is None:
                raise ValueError(f"model: name the device of the payload: {', '.join(TABLES)}")
            return self._alone(plan).payload(data, model or plan.payload.model)
        if layer not in self.layers:
            return None
        plan = self._map
        if plan is None and model in TABLES:
            plan = find.load(f"milesight-{model}")
        if plan is None:
            plan = find.recognised(documents.parse(data))
        return self._alone(plan).decode(Message(data), 0.0)

    def _alone(self, plan: Map) -> Decoder:
        return Decoder(plan, self.device, self.line, totals=True)

    @property
    def _loaded(self) -> Map:
        if self._map is None:
            raise ValueError(f"map: name one: {', '.join(find.names())}, or file:PATH")
        return self._map

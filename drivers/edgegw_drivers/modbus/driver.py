"""The driver of every Modbus device: what it asks and how it decodes stands in a profile."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from edgegw.driver import Block, PollDriver, Reading, SerialLine
from edgegw_drivers.modbus import adu, find, layers
from edgegw_drivers.modbus.decoder import Decoder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgegw_drivers.modbus.profile import Profile


@dataclass(frozen=True)
class Modbus(PollDriver):
    """A Modbus device, RTU or TCP, as its profile describes it."""

    # Without a profile the shell shows bare registers.
    decode_options: ClassVar[Mapping[str, Any]] = {"profile": ""}

    profile: str = field(
        metadata={
            "doc": "name of a profile that ships or lies in /etc/edgegw/profiles, or file:PATH",
            "path": "file:",
        }
    )
    _profile: Profile | None = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        """Read the profile, once; ValueError when there is no good one."""
        if self.profile:
            object.__setattr__(self, "_profile", find.load(self.profile))

    @property
    def sha256(self) -> str:
        """SHA-256 of the profile's text, in hexadecimal: two sensors with the same one decode alike."""
        return self._loaded.sha256

    @property
    def timeout_s(self) -> float:
        """Longest time in seconds that the device takes to answer."""
        return self._loaded.timeout_s

    @property
    def min_gap_s(self) -> float:
        """Silence in seconds that the device wants between two requests on its line."""
        return self._loaded.min_gap_s

    def emits(self) -> Sequence[str]:
        """The quantities of the profile."""
        return [read.quantity.name for read in self._profile.reads] if self._profile else ()

    def lines(self) -> Sequence[SerialLine]:
        """Line settings of the device on RTU, the usual one first."""
        return self._loaded.lines

    def blocks(self) -> Sequence[Block]:
        """What one poll reads: neighbouring registers in one request."""
        return self._loaded.blocks

    def decoder(self) -> Decoder:
        """A decoder without a memory of counters."""
        return Decoder(self._loaded)

    def encode(self, command: str, options: Mapping[str, Any]) -> bytes:
        """A whole RTU request as bytes, for the shell alone; see `adu.request`."""
        return adu.request(command, options)

    def decode_layer(self, layer: str, data: bytes, options: Mapping[str, Any]) -> Sequence[Reading] | None:
        """Readings of a whole RTU answer (`modbus-rtu`) or of bare registers (`modbus-registers`)."""
        if layer == "modbus-rtu":
            return layers.rtu(self._profile, data, options)
        if layer == "modbus-registers":
            return layers.registers(self._profile, data, options)
        return None

    @property
    def _loaded(self) -> Profile:
        if self._profile is None:
            raise ValueError(f"profile: name one: {', '.join(find.names())}, or file:PATH")
        return self._profile

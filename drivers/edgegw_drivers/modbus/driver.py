"""The driver of every Modbus device: what it asks and how it decodes stands in a profile."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from edgegw.driver import Block, Discovery, FrameError, Outcome, PollDriver, SerialLine, Setting
from edgegw_drivers.modbus import adu, asked, find, layers, rows
from edgegw_drivers.modbus.decoder import Decoder
from edgegw_drivers.modbus.settings import settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgegw.driver import Answer
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
    settings_: dict[str, int] = field(
        default_factory=dict,
        hash=False,
        metadata={
            "option": "settings",
            "doc": "settings of the device by the profile's names; written with allow_setup = true, else compared",
        },
    )
    _profile: Profile | None = field(init=False, repr=False, compare=False, default=None)
    _settings: Sequence[Setting] = field(init=False, repr=False, compare=False, default=())

    @classmethod
    def candidates(cls) -> Sequence[Mapping[str, Any]]:
        """Every profile that there is."""
        return [{"profile": name} for name in find.names()]

    def __post_init__(self) -> None:
        """Read the profile, once; ValueError when there is no good one, or it knows no such setting."""
        if self.profile:
            profile = find.load(self.profile)
            object.__setattr__(self, "_profile", profile)
            object.__setattr__(self, "_settings", settings(profile, self.settings_))

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

    @property
    def retries(self) -> int:
        """How often a lost poll is repeated."""
        return self._loaded.retries

    @property
    def units(self) -> Sequence[int]:
        """Addresses that the device has as it leaves its maker."""
        return self._loaded.units

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

    def settings(self) -> Sequence[Setting]:
        """What the profile or the sensor's own table wants the device to be set to."""
        return self._settings

    def identity_blocks(self) -> Sequence[Block]:
        """Each register that tells who it is by itself: a device may lack any of them."""
        return [mark.block for mark in self._loaded.identity]

    def identity(self, answers: Sequence[Answer]) -> str:
        """`serial 0012abcd, firmware 3.66`, as far as the device says."""
        found = []
        for mark, answer in zip(self._loaded.identity, answers, strict=True):
            if not isinstance(answer, FrameError):
                try:
                    found.append(f"{mark.name} {mark.of(answer)}")
                except FrameError:
                    continue
        return ", ".join(found)

    def discovery(self) -> Discovery | None:
        """As the profile's `[discover]` says."""
        return self._loaded.discover.discovery if self._loaded.discover else None

    def encode(self, command: str, options: Mapping[str, Any]) -> bytes:
        """A whole RTU request as bytes, for the shell alone; see `adu.request`."""
        return adu.request(command, options)

    def decode_layer(self, layer: str, data: bytes, options: Mapping[str, Any]) -> Sequence[Outcome] | None:
        """Outcomes of an RTU answer (`modbus-rtu`), of registers (`modbus-registers`), of numbers (`numeric`)."""
        if layer not in {"modbus-rtu", "modbus-registers", "numeric"}:
            return None
        options = asked.named(options)
        if layer == "numeric":
            return rows.numeric(data, options)
        profile = self._profile
        if profile is None and options.get("profile"):
            profile = find.load(str(options["profile"]))
        if layer == "modbus-rtu":
            if profile is None and data and "address" not in options:
                # Nobody said whose answer this is: some devices can be known by their address.
                profile = find.of_unit(data[0])
            return layers.rtu(profile, data, options)
        if profile is None and "register" in options and "type" not in options:
            function = asked.whole(options, "function", range(1, 5)) if "function" in options else None
            profile = find.of_register(function, asked.whole(options, "register", range(0x10000)))
        return layers.registers(profile, data, options)

    @property
    def _loaded(self) -> Profile:
        if self._profile is None:
            raise ValueError(f"profile: name one: {', '.join(find.names())}, or file:PATH")
        return self._profile

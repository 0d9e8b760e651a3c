"""A driver that listens to one device, known by its address."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final

from edgegw.driver import AdvertDriver, FrameError

if TYPE_CHECKING:
    from collections.abc import Mapping

#: An address that stands for a sender whom nobody named: only the shell decodes so.
SENDER: Final = "00:00:00:00:00:00"


@dataclass(frozen=True)
class OneDevice(AdvertDriver):
    """A device that is known by its address, which has to be given: two devices are two sensors."""

    decode_options: ClassVar[Mapping[str, Any]] = {"address": SENDER}

    address: str = field(
        metadata={"doc": "the device's address, AA:BB:CC:DD:EE:FF; `edgegw sensors scan` shows it"}
    )

    def __post_init__(self) -> None:
        """ValueError for an address that is none."""
        super().__post_init__()
        if not self.address:
            raise ValueError("address: is empty; `edgegw sensors scan` shows the devices that are heard")


def check_sender(address: str, said: str) -> None:
    """FrameError `wrong_address` when a device says another address (in hexadecimal) than it has."""
    if address != SENDER and said.lower() != address.replace(":", "").lower():
        raise FrameError("wrong_address")

"""Modbus devices, which are polled over RTU or TCP."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeAlias

from edgegw.driver.about import Driver

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgegw.driver.about import Outcome
    from edgegw.driver.serial import SerialLine
    from edgegw.framing import FrameError


@dataclass(frozen=True)
class Block:
    """Neighbouring Modbus registers that are read in one request.

    `function` is 1 to 4 (read only), `address` the first register or bit (0 to 65535), `count` how many.
    """

    function: int
    address: int
    count: int


#: What one block gave: its registers (or bits, 0 and 1), or the reason why there are none.
Answer: TypeAlias = "Sequence[int] | FrameError"


class PollDecoder(Protocol):
    """Decodes the polls of one Modbus device, in order."""

    def decode(self, answers: Sequence[Sequence[int] | FrameError], now: float) -> Sequence[Outcome]:
        """Readings and refusals from the answers to `PollDriver.blocks`, in the same order as the blocks."""
        ...


@dataclass(frozen=True)
class PollDriver(Driver, ABC):
    """A Modbus device, polled over RTU or TCP."""

    kind: ClassVar[str] = "poll"
    layer: ClassVar[str] = "modbus-rtu"

    @abstractmethod
    def lines(self) -> Sequence[SerialLine]:
        """Line settings of the device on RTU, the usual one first."""

    @abstractmethod
    def blocks(self) -> Sequence[Block]:
        """What one poll reads, in order; functions 1 to 4 only."""

    @abstractmethod
    def decoder(self) -> PollDecoder:
        """A fresh decoder for one device."""

    @property
    def timeout_s(self) -> float:
        """Longest time in seconds that the device takes to answer."""
        return 0.5

    @property
    def min_gap_s(self) -> float:
        """Silence in seconds that the device wants between two requests on its line."""
        return 0.0

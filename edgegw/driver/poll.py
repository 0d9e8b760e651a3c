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


@dataclass(frozen=True)
class Write:
    """One write to a device: function 5 (one coil), 6 (one register) or 16 (registers).

    `values` are the words as they go over the wire (a coil is 0 or 0xFF00).
    """

    function: int
    address: int
    values: tuple[int, ...]


@dataclass(frozen=True)
class Setting:
    """Something that the device keeps, and what it should be.

    `block` is read; where it does not say `values`, `write` changes it, which happens only with
    `allow_setup = true`. The device shows the new state within `settle_s` seconds.
    """

    name: str
    block: Block
    values: tuple[int, ...]
    write: Write
    settle_s: float = 0.0


@dataclass(frozen=True)
class Discovery:
    """How a device that is alone on its line tells its address: asked at `unit`, it answers from its own.

    `address_at` is the index of the register in the answer that repeats that address; None where none does.
    """

    unit: int
    block: Block
    address_at: int | None = None


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

    @property
    def retries(self) -> int:
        """How often a poll that got no good answer is repeated before its tick is given up."""
        return 0

    @property
    def units(self) -> Sequence[int]:
        """Addresses that the device has as it leaves its maker, the usual one first."""
        return (1,)

    def settings(self) -> Sequence[Setting]:
        """What the device should be set to; never its calibration."""
        return ()

    def identity_blocks(self) -> Sequence[Block]:
        """What tells one device from another: read once, and again after it was away."""
        return ()

    def identity(self, answers: Sequence[Sequence[int] | FrameError]) -> str:
        """Who answered, from the answers to `identity_blocks`, for people; empty where it does not say."""
        del answers
        return ""

    def discovery(self) -> Discovery | None:
        """How it tells its address when that is unknown; None where it cannot."""
        return None

"""The driver contract: the one module of the gateway that a driver imports.

A driver is a frozen dataclass whose fields are its options (validated by the gateway before `__post_init__`,
which may raise ValueError with a sentence for the technician; begun with `option: `, it points at that
option's line). It is pure: bytes or registers and a monotonic time in, readings out. It opens nothing, waits
for nothing and knows no clock. State (tracks, counters) lives in the object that `decoder()` returns, one per
opened device.

Kinds:

* `StreamDriver`: a device on a serial line that talks, or answers a request of `request()`.
* `PollDriver`: a Modbus device; the driver names the register blocks and decodes the answers.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, TypeAlias

from edgegw.framing import FixedLength, FrameError, Framing
from edgegw.reading import QUANTITIES, Quality, Quantity, Reading

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "METRES",
    "QUANTITIES",
    "SECONDS",
    "Answer",
    "Block",
    "Driver",
    "FixedLength",
    "FrameError",
    "Framing",
    "PollDecoder",
    "PollDriver",
    "Quality",
    "Quantity",
    "Reading",
    "SerialLine",
    "StreamDecoder",
    "StreamDriver",
    "amount",
]

#: Units of durations and lengths in options, for `amount`.
SECONDS: Final[Mapping[str, float]] = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
METRES: Final[Mapping[str, float]] = {"mm": 0.001, "cm": 0.01, "m": 1}


def amount(text: str | float, units: Mapping[str, float]) -> float:
    """The number in an option such as `"30s"` or `"0.3m"`, in the unit whose factor is 1.

    A bare number is taken to be in that unit. ValueError, with a sentence, for anything but a finite number
    from 0 up.
    """
    words = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-z]+)\s*", text) if isinstance(text, str) else None
    value = math.nan
    if words and words[2] in units:
        value = float(words[1]) * units[words[2]]
    elif not isinstance(text, str):
        value = float(text)
    if not 0 <= value < math.inf:
        raise ValueError(f"{text!r} is no number with one of the units {', '.join(units)}")
    return value


@dataclass(frozen=True)
class SerialLine:
    """Settings of a serial line: baud, data bits, parity (`N`, `E`, `O`), stop bits."""

    baudrate: int
    bytesize: int = 8
    parity: str = "N"
    stopbits: int = 1


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


class StreamDecoder(Protocol):
    """Decodes the frames of one opened serial device, in order."""

    def decode(self, frame: bytes, now: float) -> Sequence[Reading]:
        """Readings of a frame that arrived at monotonic second `now`; FrameError when it gives none."""
        ...


class PollDecoder(Protocol):
    """Decodes the polls of one Modbus device, in order."""

    def decode(
        self, answers: Sequence[Sequence[int] | FrameError], now: float
    ) -> Sequence[Reading | FrameError]:
        """Readings and refusals from the answers to `PollDriver.blocks`, in the same order as the blocks."""
        ...


@dataclass(frozen=True)
class Driver:
    """What every kind of driver says about itself."""

    #: `stream` or `poll`; set by the two classes below.
    kind: ClassVar[str]
    #: What `edgegw drivers decode` takes its input for when no layer is named.
    layer: ClassVar[str]
    #: Names in QUANTITIES that this driver, so configured, can give.
    quantities: ClassVar[Sequence[str]] = ()
    #: Version of the decoding; it is signed with the sensor's configuration.
    version: ClassVar[str] = "1"
    #: Options that `edgegw drivers decode` uses unless told otherwise: it shows what a frame says, unfiltered.
    decode_options: ClassVar[Mapping[str, Any]] = {}

    def emits(self) -> Sequence[str]:
        """Quantities that this instance gives; by default `quantities`."""
        return self.quantities

    def encode(self, command: str, options: Mapping[str, Any]) -> bytes:
        """Bytes of a named command of the device; ValueError when it has no such command."""
        del options
        raise ValueError(f"no command {command!r}")

    def decode_layer(self, layer: str, data: bytes, options: Mapping[str, Any]) -> Sequence[Reading] | None:
        """Decode one input of a named layer other than this kind's own; None when the layer is unknown.

        FrameError when the input gives no reading.
        """
        del layer, data, options
        return None


@dataclass(frozen=True)
class StreamDriver(Driver):
    """A device on a serial line.

    `line` and `framing` describe the wire. A stateless driver defines `decode` alone; one with state defines
    `decoder` alone, which returns a fresh object per opened device. Each is the other's default.
    """

    kind: ClassVar[str] = "stream"
    layer: ClassVar[str] = "uart"
    line: ClassVar[SerialLine]
    framing: ClassVar[Framing]
    #: Usual time in seconds between two frames. It stands for the time that a capture of bytes does not hold.
    period_s: ClassVar[float] = 1.0

    def __init_subclass__(cls) -> None:
        """TypeError for a driver that lacks a part, when its module is imported: not at three in the morning."""
        super().__init_subclass__()
        missing = [name for name in ("line", "framing") if not hasattr(cls, name)]
        if cls.decode is StreamDriver.decode and cls.decoder is StreamDriver.decoder:
            missing.append("decode() or decoder()")
        if missing:
            raise TypeError(f"driver {cls.__qualname__} has no {', no '.join(missing)}")

    def decode(self, frame: bytes) -> Sequence[Reading]:
        """Readings of one whole frame that stands alone; FrameError with a reason when it gives none."""
        return self.decoder().decode(frame, 0.0)

    def decoder(self) -> StreamDecoder:
        """A fresh decoder for one opened device."""
        return _Stateless(self)

    def setup(self) -> Sequence[bytes]:
        """Frames that change the device's mode, sent once after opening, only with `allow_setup = true`."""
        return ()

    def request(self) -> bytes:
        """The frame that asks for one measurement, sent each interval; empty for a device that only talks."""
        return b""


class _Stateless:
    """A stateless driver seen as a decoder."""

    def __init__(self, driver: StreamDriver) -> None:
        self._decode = driver.decode

    def decode(self, frame: bytes, now: float) -> Sequence[Reading]:
        del now
        return self._decode(frame)


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

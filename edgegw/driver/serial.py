"""Devices on a serial line: those that talk by themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

from edgegw.driver.about import Driver

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgegw.driver.about import Outcome
    from edgegw.driver.ask import Request
    from edgegw.framing import Framing


@dataclass(frozen=True)
class SerialLine:
    """Settings of a serial line: baud, data bits, parity (`N`, `E`, `O`), stop bits."""

    baudrate: int
    bytesize: int = 8
    parity: str = "N"
    stopbits: int = 1


class StreamDecoder(Protocol):
    """Decodes the frames of one opened serial device, in order."""

    def decode(self, frame: bytes, now: float) -> Sequence[Outcome]:
        """Outcomes of a frame that arrived at monotonic second `now`; FrameError when it gives none."""
        ...


@runtime_checkable
class ToldDecoder(StreamDecoder, Protocol):
    """A decoder that is told what was sent to its device, so that it can miss an acknowledgement."""

    def sent(self, request: Request, now: float) -> None:
        """Told that a request of `StreamDriver.setup()` goes out at monotonic second `now`."""
        ...


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
    #: Layers that `decode_layer` shows in full where the decoder has to hold back what no quantity fits.
    shows: ClassVar[frozenset[str]] = frozenset()
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

    def decode(self, frame: bytes) -> Sequence[Outcome]:
        """Readings of one whole frame that stands alone; FrameError with a reason when it gives none."""
        return self.decoder().decode(frame, 0.0)

    def decoder(self) -> StreamDecoder:
        """A fresh decoder for one opened device."""
        return _Stateless(self)

    def remark(self, frame: bytes) -> Sequence[Outcome]:
        """What a whole frame that gives no reading says, for the shell alone: what no quantity fits, in `meta`."""
        del frame
        return ()

    def setup(self) -> Sequence[Request]:
        """What is sent once after opening, in order, each `after_s` seconds after the one before it.

        Questions about the device's settings, and what changes them (`Request.changes`: that goes out only with
        `allow_setup = true`). Nobody waits for a reply: replies are frames like any other, for the decoder.
        """
        return ()

    def request(self) -> bytes:
        """The frame that asks for one measurement, sent each interval; empty for a device that only talks."""
        return b""


class _Stateless:
    """A stateless driver seen as a decoder."""

    def __init__(self, driver: StreamDriver) -> None:
        self._decode = driver.decode

    def decode(self, frame: bytes, now: float) -> Sequence[Outcome]:
        del now
        return self._decode(frame)

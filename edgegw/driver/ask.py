"""Devices on a serial line, or behind a raw TCP socket, that are asked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

from edgegw.driver.about import Driver
from edgegw.framing import FrameError, Framer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgegw.driver.about import Outcome
    from edgegw.driver.serial import SerialLine
    from edgegw.framing import Framing

# What the shell can decode of every device that is asked: one answer, or a raw stream of answers with noise.
_ANSWER: Final = "uart"
_STREAM: Final = "uart-stream"


@dataclass(frozen=True)
class Request:
    """One exchange with a device that is asked: what is sent, and what is waited for.

    The next request goes out when `replies` frames were accepted as this one's answer, or `timeout_s` seconds
    after it was sent; with 0 `replies` nothing is waited for. `after_s` is a pause in seconds before it goes out;
    what arrived before it went out is never taken for its answer, and after one that nobody answered the line stays
    quiet for `timeout_s` again, for an answer that is late. `changes` says that it changes the
    device (its mode, its sleep, a setting): it is then sent only where the sensor says `allow_setup = true`.
    `name` says in one word what is asked, for logs and for the decoder.
    """

    data: bytes
    name: str = "read"
    replies: int = 1
    timeout_s: float = 1.0
    after_s: float = 0.0
    changes: bool = False


class AskDecoder(Protocol):
    """The conversation with one opened device. It decides what to ask; the gateway asks, waits and counts.

    A request that was not sent (it `changes` the device, and the sensor does not allow that) is neither decoded
    nor silent: the decoder hears of it no more.
    """

    def opening(self) -> Sequence[Request]:
        """What is asked once after the device was opened: who it is, how it is set, what wakes it."""
        ...

    def cycle(self) -> Sequence[Request]:
        """What is asked for one measurement, each interval; it may depend on what was answered before.

        It is called once for a cycle, before the first of its requests goes out.
        """
        ...

    def decode(self, request: Request, frame: bytes, now: float) -> Sequence[Outcome]:
        """Outcomes of a frame that came at monotonic second `now` while `request` was open.

        FrameError with `whole` is the request's answer, which holds no value; any other FrameError says that
        the frame is no answer to it (torn, late, another's): it is counted, and the waiting goes on.
        """
        ...

    def silent(self, request: Request, now: float) -> Sequence[Outcome]:
        """Told when `request` timed out at monotonic second `now`; the gateway has counted `no_reply`."""
        ...


@dataclass(frozen=True)
class AskDriver(Driver, ABC):
    """A device that answers requests. `line` and `framing` describe the wire.

    `interval` of the sensor is the time between two cycles.
    """

    kind: ClassVar[str] = "ask"
    layer: ClassVar[str] = "uart"

    @property
    @abstractmethod
    def line(self) -> SerialLine:
        """Settings of the serial line."""

    @property
    @abstractmethod
    def framing(self) -> Framing:
        """How answers are found in what the device sends."""

    @abstractmethod
    def decoder(self) -> AskDecoder:
        """A fresh conversation for one opened device."""

    def show(self, frame: bytes, options: Mapping[str, Any]) -> Sequence[Outcome]:
        """Outcomes of one frame for the shell: as an answer to a cycle's first request.

        A driver whose frames say by themselves what they answer has its own. `options` are the context that
        somebody gave with the frame.
        """
        del options
        decoder = self.decoder()
        return decoder.decode(decoder.cycle()[0], frame, 0.0)

    def decode_layer(self, layer: str, data: bytes, options: Mapping[str, Any]) -> Sequence[Outcome] | None:
        """Outcomes of one answer (`uart`), or of all in a raw stream (`uart-stream`), each by `show`."""
        if layer not in (self.layer, _ANSWER, _STREAM):
            return None
        if layer == _STREAM:
            found: list[Outcome] = []
            Framer(self.framing).feed(
                data, lambda frame: found.extend(self.show(frame, options)), found.append
            )
            return found
        reason = self.framing.refusal(data)
        if reason:
            raise FrameError(reason)
        return self.show(data, options)

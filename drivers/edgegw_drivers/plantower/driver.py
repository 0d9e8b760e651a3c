"""The driver of the Plantower PMS family (PMS3003, 5003, 7003, A003, 5003S, 5003T, 5003ST)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from edgegw.driver import (
    SECONDS,
    FrameError,
    LengthPrefixed,
    Notice,
    Outcome,
    Request,
    SerialLine,
    StreamDriver,
    amount,
)
from edgegw_drivers.plantower.frame import ACK, FRAMING, encode_command, parse
from edgegw_drivers.plantower.model import BY_LENGTH, LAYOUTS, is_empty, read

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Pause in seconds between two commands: a frame takes 33 ms, and the device answers between its frames.
COMMAND_GAP_S: Final = 0.2


@dataclass(frozen=True)
class Plantower(StreamDriver):
    """Particulate matter as the device states it, by itself or when asked."""

    line: ClassVar[SerialLine] = SerialLine(baudrate=9600)
    framing: ClassVar[LengthPrefixed] = FRAMING
    quantities: ClassVar[Sequence[str]] = (*LAYOUTS["pmsx003"].quantities(), "temperature", "humidity")
    # A lone frame says nothing about how long the fan has run.
    decode_options: ClassVar[Mapping[str, Any]] = {"warm_up_time": "0s"}

    variant: Literal[
        "auto", "pmsx003", "pms3003", "pms5003", "pms7003", "pmsa003", "pms5003s", "pms5003t", "pms5003st"
    ] = field(
        default="auto",
        metadata={
            "doc": "the model; auto: by a frame's length, which cannot tell a 5003T or 5003S from others"
        },
    )
    mode: Literal["listen", "ask"] = field(
        default="listen",
        metadata={"doc": "listen: take what the device says by itself; ask: read it once an interval"},
    )
    warm_up: Literal["flag", "drop"] = field(
        default="flag", metadata={"doc": "what becomes of values while the sensor warms up"}
    )
    warm_up_time: str = field(
        default="30s", metadata={"doc": "how long after the first frame the fan has to run"}
    )

    def __post_init__(self) -> None:
        """ValueError for a time that cannot be."""
        try:
            amount(self.warm_up_time, SECONDS)
        except ValueError as error:
            raise ValueError(f"warm_up_time: {error}") from error

    def emits(self) -> Sequence[str]:
        """What the model measures; with `auto`, what any that is recognised does."""
        return self.quantities if self.variant == "auto" else LAYOUTS[self.variant].quantities()

    def decoder(self) -> _Decoder:
        """A decoder that knows when the first frame came."""
        return _Decoder(self)

    def setup(self) -> Sequence[Request]:
        """Wake the device and set its mode. It forgets both without power."""
        commands = ("wake", "passive_mode" if self.mode == "ask" else "active_mode")
        return [Request(encode_command(name), name, after_s=COMMAND_GAP_S, changes=True) for name in commands]

    def request(self) -> bytes:
        """`passive_read` in ask mode."""
        return encode_command("passive_read") if self.mode == "ask" else b""

    def encode(self, command: str, options: Mapping[str, Any]) -> bytes:
        """See `frame.encode_command`."""
        del options
        return encode_command(command)


class _Decoder:
    """One opened device: when its fan is warm, and which model it is."""

    def __init__(self, driver: Plantower) -> None:
        self._layout = LAYOUTS.get(driver.variant)
        self._warm_up_s = amount(driver.warm_up_time, SECONDS)
        self._drop = driver.warm_up == "drop"
        self._warm_at: float | None = None
        self._length = 0
        self._spoke = False

    def decode(self, frame: bytes, now: float) -> Sequence[Outcome]:
        """The readings of the frame's model; nothing for an acknowledgement."""
        length, words = parse(frame)
        if length == ACK:
            return ()
        layout = self._layout or BY_LENGTH[length]
        if length != layout.length:
            raise FrameError("unsupported_length", whole=True)
        if self._warm_at is None:
            self._warm_at = now + self._warm_up_s
        # Zeros come first. A model that counts never counts nothing later; one that only weighs may find no dust.
        if is_empty(layout, words) and (layout.sizes or not self._spoke):
            raise FrameError("warming_up", whole=True)
        self._spoke = True
        warming = now < self._warm_at
        if warming and self._drop:
            raise FrameError("warming_up", whole=True)
        checks = ("warm_up",) if warming else ()
        return (*self._exchanged(length), *read(layout, words, checks, named=self._layout is not None))

    def _exchanged(self, length: int) -> Sequence[Notice]:
        """A notice when frames have another length than before: another model."""
        before, self._length = self._length, length
        if before in (0, length):
            return ()
        text = f"Frames of {length} bytes come where frames of {before} bytes came: the sensor was exchanged."
        return (Notice("device", text),)

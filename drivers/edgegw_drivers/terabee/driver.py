"""The driver of the TeraRanger Evo People Counter."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from edgegw.driver import (
    QUANTITIES,
    EitherOf,
    FrameError,
    Notice,
    Outcome,
    Reading,
    Request,
    SerialLine,
    StreamDriver,
)
from edgegw_drivers.terabee.frame import FRAMING, distances, encode_command, parse
from edgegw_drivers.terabee.passages import Passages

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COUNT_IN: Final = QUANTITIES["count_in"]
COUNT_OUT: Final = QUANTITIES["count_out"]
OCCUPANCY: Final = QUANTITIES["occupancy"]
# No quantity of the gateway: nothing but the shell ever sees it.
_DISTANCES: Final = QUANTITIES["targets"]._replace(name="distances")


@dataclass(frozen=True)
class Terabee(StreamDriver):
    """Passages through a doorway since the reading before, and the people whom the device takes to be inside."""

    line: ClassVar[SerialLine] = SerialLine(baudrate=115200)
    framing: ClassVar[EitherOf] = FRAMING
    quantities: ClassVar[Sequence[str]] = ("count_in", "count_out", "occupancy")
    # Somebody who looks at a frame wants to see the totals that are in it.
    decode_options: ClassVar[Mapping[str, Any]] = {"counts": "totals"}

    counts: Literal["passages", "totals"] = field(
        default="passages",
        metadata={
            "doc": "passages: since the reading before; totals: what the device says, for looking at frames"
        },
    )

    def decoder(self) -> _Decoder:
        """A decoder that knows the totals before."""
        return _Decoder(totals=self.counts == "totals")

    def remark(self, frame: bytes) -> Sequence[Outcome]:
        """The distances of a frame that holds no counts."""
        found = list(distances(frame))
        return (Reading(_DISTANCES, len(found), meta={"distance_mm": found}),)

    def setup(self) -> Sequence[Request]:
        """Have the device speak in frames with a CRC; it also knows text."""
        return (Request(encode_command("binary output"), "binary output", changes=True),)

    def encode(self, command: str, options: Mapping[str, Any]) -> bytes:
        """See `frame.encode_command`."""
        del options
        return encode_command(command)


class _Decoder:
    """One opened counter."""

    def __init__(self, *, totals: bool) -> None:
        self._shows_totals = totals
        self._passages = Passages()
        self._device = b""

    def decode(self, frame: bytes, now: float) -> Sequence[Outcome]:
        """The counts and the people inside; nothing for a frame of distances."""
        totals = parse(frame)
        if totals is None:
            return ()
        found: list[Outcome] = [*self._exchanged(totals.device)]
        meta = {"device_id": totals.device.hex()}
        passed = (totals.passed_in, totals.passed_out)
        if not self._shows_totals:
            found += self._since(passed, now, meta)
        else:
            found += (Reading(COUNT_IN, passed[0], meta=meta), Reading(COUNT_OUT, passed[1], meta=meta))
        # More have left than came since its start: somebody was inside already, and the number means nothing.
        found.append(
            FrameError("implausible") if totals.inside < 0 else Reading(OCCUPANCY, totals.inside, meta=meta)
        )
        return found

    def _since(self, passed: tuple[int, int], now: float, meta: Mapping[str, Any]) -> Sequence[Outcome]:
        try:
            counts = self._passages.since(passed, now)
        except FrameError as error:
            text = "The counter began again: it was without power, or somebody reset it. Who passed is not known."
            return (error, Notice("restart", text)) if error.reason == "counter_reset" else (error,)
        if counts is None:
            return ()
        return (Reading(COUNT_IN, counts[0], meta=meta), Reading(COUNT_OUT, counts[1], meta=meta))

    def _exchanged(self, device: bytes) -> Sequence[Notice]:
        """A notice when another device speaks than before; its totals are first ones."""
        before, self._device = self._device, device
        if before in (b"", device):
            return ()
        self._passages.forget()
        return (Notice("device", f"Counter {device.hex()} speaks where {before.hex()} was."),)

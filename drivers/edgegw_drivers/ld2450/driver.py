"""The driver of the Hi-Link LD2450 radar."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from edgegw.driver import METRES, QUANTITIES, FixedLength, Reading, SerialLine, StreamDriver, amount
from edgegw_drivers.ld2450.frame import FRAMING, encode_command, parse, plausible
from edgegw_drivers.ld2450.passage import Counter, Line
from edgegw_drivers.ld2450.tracking import Point, Tracker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TARGETS: Final = QUANTITIES["targets"]
COUNT_IN: Final = QUANTITIES["count_in"]
COUNT_OUT: Final = QUANTITIES["count_out"]

# A band wider than this leaves no room on both sides of a line within the radar's 6 m.
WIDEST_HYSTERESIS_M: Final = 2.0
# A line shorter than a doorway cannot be told from the error of one position.
SHORTEST_LINE_M: Final = 0.5


@dataclass(frozen=True)
class Ld2450(StreamDriver):
    """People in front of a radar: how many there are, and how many passed a line."""

    line: ClassVar[SerialLine] = SerialLine(baudrate=256000)
    framing: ClassVar[FixedLength] = FRAMING
    quantities: ClassVar[Sequence[str]] = ("targets", "count_in", "count_out")
    period_s: ClassVar[float] = 0.1
    # Somebody who looks at a frame wants to see what is in it.
    decode_options: ClassVar[Mapping[str, Any]] = {"filter": "none"}

    crossing: tuple[tuple[float, float], tuple[float, float]] | None = field(
        default=None,
        metadata={
            "option": "line",
            "doc": "two points in metres; in: from the line's left to its right, seen from the first point",
        },
    )
    hysteresis: str | float = field(
        default="0.3m", metadata={"doc": "who passes is counted once beyond this on both sides of the line"}
    )
    shown: Literal["plausibility", "none"] = field(
        default="plausibility",
        metadata={"option": "filter", "doc": "none: targets also counts slots in which nobody can be"},
    )

    def __post_init__(self) -> None:
        """ValueError for a line or a hysteresis that cannot be."""
        try:
            width = amount(self.hysteresis, METRES)
        except ValueError as error:
            raise ValueError(f"hysteresis: {error}") from error
        if width > WIDEST_HYSTERESIS_M:
            raise ValueError(f"hysteresis: {width} m on both sides of the line are more than the radar sees")
        if self.crossing is not None:
            if not all(math.isfinite(number) for point in self.crossing for number in point):
                raise ValueError("line: two points [x, y] in metres, each a finite number")
            if math.dist(*self.crossing) < SHORTEST_LINE_M:
                raise ValueError(f"line: its two points are less than {SHORTEST_LINE_M} m apart")

    def emits(self) -> Sequence[str]:
        """Counts only where a line is configured."""
        return self.quantities if self.crossing else self.quantities[:1]

    def decoder(self) -> _Decoder:
        """A decoder that follows the people in front of the radar."""
        counter = None
        if self.crossing:
            first, second = self.crossing
            counter = Counter(Line(Point(*first), Point(*second), amount(self.hysteresis, METRES)))
        return _Decoder(counter, show_all=self.shown == "none")

    def encode(self, command: str, options: Mapping[str, Any]) -> bytes:
        """See `frame.encode_command`."""
        del options
        return encode_command(command)


class _Decoder:
    """One opened radar."""

    def __init__(self, counter: Counter | None, *, show_all: bool) -> None:
        self._counter = counter
        self._show_all = show_all
        self._tracker = Tracker()

    def decode(self, frame: bytes, now: float) -> Sequence[Reading]:
        targets = parse(frame)
        there = [target for target in targets if plausible(target)]
        shown = targets if self._show_all else there
        tracks = {"targets": [target._asdict() for target in shown]}
        present = Reading(TARGETS, len(shown), meta=tracks)
        if self._counter is None:
            return (present,)
        steps = self._tracker.update([Point(t.x_mm / 1000, t.y_mm / 1000) for t in there], now)
        passed_in, passed_out = self._counter.update(steps, self._tracker.people)
        return (present, Reading(COUNT_IN, passed_in), Reading(COUNT_OUT, passed_out))

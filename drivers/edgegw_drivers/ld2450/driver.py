"""The driver of the Hi-Link LD2450 radar."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from edgegw.driver import (
    METRES,
    QUANTITIES,
    EitherOf,
    Notice,
    Outcome,
    Reading,
    Request,
    SerialLine,
    StreamDriver,
    amount,
)
from edgegw_drivers.hilink import (
    BLUETOOTH_OFF,
    REPLY_START,
    Conversation,
    Reply,
    conversation,
    encode,
    parse_reply,
    shown,
)
from edgegw_drivers.ld2450.frame import COMMANDS, LINE, SINGLE_TARGET, TRACKING_MODE, parse, plausible
from edgegw_drivers.ld2450.passage import Counter, Line
from edgegw_drivers.ld2450.tracking import Point, Tracker
from edgegw_drivers.ld2450.zones import MOST_ZONES, Zones

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TARGETS: Final = QUANTITIES["targets"]
COUNT_IN: Final = QUANTITIES["count_in"]
COUNT_OUT: Final = QUANTITIES["count_out"]
OCCUPANCY: Final = QUANTITIES["occupancy"]

# A band wider than this leaves no room on both sides of a line within the radar's 6 m.
WIDEST_HYSTERESIS_M: Final = 2.0
# A line shorter than a doorway cannot be told from the error of one position.
SHORTEST_LINE_M: Final = 0.5
# Bluetooth off and its restart come first: the tracking mode need not outlive one.
_SET_UP: Final = (
    *BLUETOOTH_OFF,
    "enable configuration",
    "multi target tracking",
    "query tracking mode",
    "end configuration",
)


@dataclass(frozen=True)
class Ld2450(StreamDriver):
    """People in front of a radar: how many there are, how many passed a line, how many are in zones."""

    line: ClassVar[SerialLine] = SerialLine(baudrate=256000)
    framing: ClassVar[EitherOf] = LINE
    quantities: ClassVar[Sequence[str]] = ("targets", "count_in", "count_out", "occupancy")
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
    zones: tuple[tuple[str, tuple[float, float], tuple[float, float]], ...] = field(
        default=(),
        metadata={
            "doc": 'rectangles ["name", [x, y], [x, y]] in metres, by two corners: who is in one occupies'
        },
    )
    shown: Literal["plausibility", "none"] = field(
        default="plausibility",
        metadata={"option": "filter", "doc": "none: targets also counts slots in which nobody can be"},
    )

    def __post_init__(self) -> None:
        """ValueError for a line, a hysteresis or zones that cannot be."""
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
        if len(self.zones) > MOST_ZONES:
            raise ValueError(f"zones: at most {MOST_ZONES}, not {len(self.zones)}")
        try:
            Zones(self.zones)
        except ValueError as error:
            raise ValueError(f"zones: {error}") from error

    def emits(self) -> Sequence[str]:
        """Counts only where a line is configured, occupancy only where zones are."""
        counts = ("count_in", "count_out") if self.crossing else ()
        return ("targets", *counts, *(("occupancy",) if self.zones else ()))

    def decoder(self) -> _Decoder:
        """A decoder that follows the people in front of the radar."""
        counter = None
        if self.crossing:
            first, second = self.crossing
            counter = Counter(Line(Point(*first), Point(*second), amount(self.hysteresis, METRES)))
        zones = Zones(self.zones) if self.zones else None
        return _Decoder(counter, zones, show_all=self.shown == "none")

    def setup(self) -> Sequence[Request]:
        """Switch Bluetooth off, then follow three people and ask whether that is so.

        Bluetooth is on by default and lets anybody nearby change the radar (PeterkoCZ91/HLK-LD2450-security).
        """
        return conversation(COMMANDS, _SET_UP)

    def remark(self, frame: bytes) -> Sequence[Outcome]:
        """The reply to a command, as it stands."""
        return (shown(frame),) if frame.startswith(REPLY_START) else ()

    def encode(self, command: str, options: Mapping[str, Any]) -> bytes:
        """The bytes of a command that needs no value."""
        del options
        return encode(COMMANDS, command)


class _Decoder:
    """One opened radar."""

    def __init__(self, counter: Counter | None, zones: Zones | None, *, show_all: bool) -> None:
        self._counter = counter
        self._zones = zones
        self._show_all = show_all
        self._tracker = Tracker()
        self._conversation = Conversation()

    def sent(self, request: Request, now: float) -> None:
        self._conversation.sent(request, now)

    def decode(self, frame: bytes, now: float) -> Sequence[Outcome]:
        if frame.startswith(REPLY_START):
            return self._replied(parse_reply(frame))
        targets = parse(frame)
        there = [target for target in targets if plausible(target)]
        shown = targets if self._show_all else there
        tracks = {"targets": [target._asdict() for target in shown]}
        found: list[Outcome] = [*self._conversation.overdue(now), Reading(TARGETS, len(shown), meta=tracks)]
        places = [Point(target.x_mm / 1000, target.y_mm / 1000) for target in there]
        if self._counter is not None:
            steps = self._tracker.update(places, now)
            passed_in, passed_out = self._counter.update(steps, self._tracker.people)
            found += (Reading(COUNT_IN, passed_in), Reading(COUNT_OUT, passed_out))
        if self._zones is not None:
            inside, by_zone = self._zones.count(places)
            found.append(Reading(OCCUPANCY, inside, meta={"zones": by_zone}))
        return found

    def _replied(self, reply: Reply) -> Sequence[Notice]:
        notices = self._conversation.heard(reply)
        if reply.command == TRACKING_MODE and reply.done and reply.payload[:2] == SINGLE_TARGET:
            text = "The radar follows one person alone, although it was told to follow three."
            return (*notices, Notice("settings", text))
        return notices

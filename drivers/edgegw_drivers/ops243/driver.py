"""The driver of the OmniPreSense OPS243 (also OPS242, OPS241) traffic radar."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from edgegw.driver import (
    QUANTITIES,
    SECONDS,
    FrameError,
    Lines,
    Notice,
    Outcome,
    Reading,
    Request,
    SerialLine,
    StreamDriver,
    amount,
    spelt,
)
from edgegw_drivers.ops243.line import LINES, METRES_A_SECOND, Info, Speed, Unit, parse
from edgegw_drivers.ops243.passage import Passages

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SPEED: Final = QUANTITIES["speed"]
COUNT_IN: Final = QUANTITIES["count_in"]
COUNT_OUT: Final = QUANTITIES["count_out"]
# No quantity of the gateway: nothing but the shell ever sees it.
_INFO: Final = SPEED._replace(name="info", unit="/")

# Faster than anything on a road, and than the radar measures (348 km/h); a damaged number may say so.
FASTEST: Final = 100.0
# At 60 degrees to the road half of the speed is left, and an error of one degree is one of 3 %.
WIDEST_ANGLE: Final = 60.0
# A gap shorter than the pauses within one reply would make several passages of one vehicle.
SHORTEST_GAP_S: Final = 0.2
# Two decimals are what the device gives; a corrected or converted speed is not finer.
_DECIMALS: Final = 2

# The radar forgets these without power, unless they are stored in it.
_COMMANDS: Final[Mapping[str, str]] = {
    "JSON output": "OJ",
    "plain output": "Oj",
    "units m/s": "UM",
    "units km/h": "UK",
    "units mph": "US",
    "units cm/s": "UC",
    "information": "??",
}


@dataclass(frozen=True)
class Ops243(StreamDriver):
    """The speed of what moves in front of the radar; approaching is positive."""

    layer: ClassVar[str] = "ascii-line"
    line: ClassVar[SerialLine] = SerialLine(baudrate=19200)
    framing: ClassVar[Lines] = LINES
    quantities: ClassVar[Sequence[str]] = ("speed", "count_in", "count_out")
    period_s: ClassVar[float] = 0.1
    # A line that somebody typed is whole, and is shown as the radar's documents read it: a speed and a direction.
    decode_options: ClassVar[Mapping[str, Any]] = {"first_line": "take", "speeds": "absolute"}

    positive: Literal["inbound", "outbound"] = field(
        default="inbound",
        metadata={
            "doc": "which way a positive number means where a line names no direction: prove it by a walk test"
        },
    )
    units: Unit = field(
        default="m/s", metadata={"doc": "the unit that the radar is set to, where a line names none"}
    )
    angle: float = field(
        default=0.0,
        metadata={
            "doc": "degrees (0 to 60) between the radar's view and the road: speeds are divided by its cosine"
        },
    )
    passage_gap: str | float = field(
        default="",
        metadata={
            "doc": "count passages, a new one after nothing was heard that way for so long; empty: none"
        },
    )
    first_line: Literal["drop", "take"] = field(
        default="drop",
        metadata={
            "doc": "a lone number that comes first after opening may have lost its first digits or sign"
        },
    )

    speeds: Literal["signed", "absolute"] = field(
        default="signed",
        metadata={"doc": "signed: approaching is positive; absolute: the direction stands in meta alone"},
    )

    def __post_init__(self) -> None:
        """ValueError for an angle or a gap that cannot be."""
        if not 0 <= self.angle <= WIDEST_ANGLE:
            raise ValueError(f"angle: 0 to {WIDEST_ANGLE:g} degrees, not {self.angle}")
        if self.passage_gap == "":
            return
        try:
            gap = amount(self.passage_gap, SECONDS)
        except ValueError as error:
            raise ValueError(f"passage_gap: {error}") from error
        if gap < SHORTEST_GAP_S:
            raise ValueError(f"passage_gap: at least {SHORTEST_GAP_S} s, or one vehicle is several")

    def emits(self) -> Sequence[str]:
        """Counts only where a gap is configured."""
        return self.quantities if self.passage_gap != "" else self.quantities[:1]

    def decoder(self) -> _Decoder:
        """A decoder that knows which passages go on."""
        return _Decoder(self)

    def setup(self) -> Sequence[Request]:
        """Have the radar name directions and speak in the configured unit, until it loses power."""
        names = ("JSON output", f"units {self.units}")
        return [
            Request(self.encode(name, {}), name, after_s=0.2, changes=True)
            for name in names
            if name in _COMMANDS
        ]

    def encode(self, command: str, options: Mapping[str, Any]) -> bytes:
        """The two characters of a command, which may name itself; ValueError for one that is not in the table."""
        del options
        own = command in _COMMANDS.values()
        return (command if own else _COMMANDS[spelt(command, _COMMANDS)]).encode()

    def decode_layer(self, layer: str, data: bytes, options: Mapping[str, Any]) -> Sequence[Outcome] | None:
        """One line, with or without its end."""
        del options
        if layer != self.layer:
            return None
        if b"\n" in data.strip() or len(data) > LINES.limit:
            raise FrameError("malformed")
        return self.decoder().decode(data, 0.0)

    def remark(self, frame: bytes) -> Sequence[Outcome]:
        """What the radar says of itself, or of a distance."""
        said = parse(LINES.text(frame))
        return (Reading(_INFO, 1, meta=said.said),) if isinstance(said, Info) else ()


class _Decoder:
    """One opened radar."""

    def __init__(self, driver: Ops243) -> None:
        self._driver = driver
        self._first = driver.first_line == "drop"
        self._unit: str = driver.units
        self._passages = Passages(amount(driver.passage_gap, SECONDS)) if driver.passage_gap != "" else None

    def decode(self, frame: bytes, now: float) -> Sequence[Outcome]:
        """The speed in a line, and the passages that begin with it; nothing for what the radar says of itself."""
        first, self._first = self._first, False
        said = parse(LINES.text(frame))
        notices = self._compared(said.unit)
        if isinstance(said, Info):
            return notices
        if first and said.plain:
            raise FrameError("torn", whole=True)
        if not said.value:
            # A zero report (BZ): nothing moves, and a Doppler radar sees nothing that stands still.
            raise FrameError("not_available", whole=True)
        approaching = self._approaching(said)
        speed = self._metres_a_second(abs(said.value))
        if speed > FASTEST:
            raise FrameError("implausible", whole=True)
        negative = self._driver.speeds == "signed" and not approaching
        meta: dict[str, Any] = {"direction": "inbound" if approaching else "outbound"}
        if said.magnitude is not None:
            meta["magnitude"] = said.magnitude
        found: list[Outcome] = [*notices, Reading(SPEED, -speed if negative else speed, meta=meta)]
        if self._passages is not None:
            passed_in, passed_out = self._passages.heard(approaching, now)
            found += (Reading(COUNT_IN, passed_in), Reading(COUNT_OUT, passed_out))
        return found

    def _approaching(self, said: Speed) -> bool:
        """The direction word decides, else the sign by the configured rule."""
        if said.direction:
            return said.direction == "inbound"
        return (said.value > 0) == (self._driver.positive == "inbound")

    def _metres_a_second(self, value: float) -> float:
        """A speed along the road; as it stands where nothing has to be converted."""
        factor = METRES_A_SECOND[self._unit] / math.cos(math.radians(self._driver.angle))
        return value if factor == 1 else round(value * factor, _DECIMALS)

    def _compared(self, unit: str) -> Sequence[Notice]:
        """A notice when the radar names another unit than this sensor does; the radar is believed."""
        if not unit or unit == self._unit:
            return ()
        self._unit = unit
        text = f'The radar speaks in {unit}, and this sensor says {self._driver.units}: set units = "{unit}".'
        return (Notice("settings", text),) if unit != self._driver.units else ()

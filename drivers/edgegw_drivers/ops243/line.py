"""Lines of the OPS243: objects of JSON, or numbers between commas.

Source: OmniPreSense OPS242/OPS243 user manuals (API tables); omnipresense/python_processor.
"""

from __future__ import annotations

import json
import math
import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

from edgegw.driver import FrameError, Lines

if TYPE_CHECKING:
    from collections.abc import Mapping

# The longest line with every field switched on has about 120 bytes.
LINES: Final = Lines(limit=256)

Unit: TypeAlias = Literal["m/s", "km/h", "mph", "ft/s", "cm/s"]
#: Metres a second in each unit; a foot is 0.3048 m and a mile 1609.344 m by definition.
METRES_A_SECOND: Final[Mapping[str, float]] = {
    "m/s": 1.0,
    "km/h": 1 / 3.6,
    "mph": 0.44704,
    "ft/s": 0.3048,
    "cm/s": 0.01,
}
# How the device spells units: in front of a value, and when it acknowledges a command.
_SPELLED: Final[Mapping[str, str]] = {
    "mps": "m/s",
    "m-per-sec": "m/s",
    "kmph": "km/h",
    "kph": "km/h",
    "km-per-hr": "km/h",
    "mph": "mph",
    "miles-per-hr": "mph",
    "fps": "ft/s",
    "feet-per-sec": "ft/s",
    "cmps": "cm/s",
    "cm-per-sec": "cm/s",
}
# Units of distances: such a line says a range.
_RANGES: Final = {"m", "cm", "ft", "in", "yd", "mm"}
# A speed alone; with a time or a magnitude before it; with both.
_MOST_COLUMNS: Final = 3
_NUMBER: Final = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)")


class Speed(NamedTuple):
    """A speed as the device says it: the number with its sign, the unit and direction where the line has them."""

    value: float
    unit: str = ""
    direction: Literal["", "inbound", "outbound"] = ""
    magnitude: float | None = None
    plain: bool = False


class Info(NamedTuple):
    """What the device says about itself; `unit` is one that it was set to, empty when it says none.

    `said` is what it says, by name; the distance of a line of ranges is its `range`, in the unit of the line.
    """

    unit: str = ""
    said: Mapping[str, Any] = MappingProxyType({})


def parse(text: str) -> Speed | Info:
    """What a line says; FrameError `malformed` when it is no line of this device."""
    return _object(text) if text.startswith("{") else _columns(text)


def _object(text: str) -> Speed | Info:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise FrameError("malformed", whole=True) from None
    if "speed" not in found:
        said = {"range": _number(found["range"])} if "range" in found else {"info": found}
        return Info(_unit(found["Units"]) if "Units" in found else "", said)
    direction = found.get("direction", "")
    if direction not in ("", "inbound", "outbound"):
        raise FrameError("malformed", whole=True)
    unit = _unit(found["unit"]) if "unit" in found else ""
    magnitude = _number(found["magnitude"]) if "magnitude" in found else None
    return Speed(_number(found["speed"]), unit, direction, magnitude)


def _columns(text: str) -> Speed | Info:
    columns = [column.strip() for column in text.split(",")]
    unit = ""
    if columns[0][:1] == '"' and len(columns) > 1:
        word = columns.pop(0).strip('"')
        if word in _RANGES:
            return Info(said={"range": _number(columns[-1]), "range_unit": word})
        unit = _unit(word)
    if len(columns) > _MOST_COLUMNS:
        raise FrameError("malformed", whole=True)
    numbers = [_number(column) for column in columns]
    magnitude = numbers[1] if len(numbers) == _MOST_COLUMNS else None
    return Speed(numbers[-1], unit, magnitude=magnitude, plain=True)


def _unit(word: Any) -> str:
    """A unit of ours for one of the device's; FrameError for one that is none."""
    found = _SPELLED.get(word, "") if isinstance(word, str) else ""
    if not found:
        raise FrameError("undefined", whole=True)
    return found


def _number(given: Any) -> float:
    """A finite number, which firmware 1.2 says as a text; FrameError `malformed` for anything else."""
    if isinstance(given, str):
        if not _NUMBER.fullmatch(given):
            raise FrameError("malformed", whole=True)
        return float(given)
    if not isinstance(given, int | float) or isinstance(given, bool) or not abs(given) < math.inf:
        raise FrameError("malformed", whole=True)
    try:
        return float(given)
    except OverflowError:
        raise FrameError("malformed", whole=True) from None

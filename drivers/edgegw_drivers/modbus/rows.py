"""A row of numbers for the shell: what a counter counted between them, or the mean of them. Pure."""

from __future__ import annotations

import math
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from edgegw.driver import FrameError, Reading, numbers
from edgegw_drivers.modbus import asked
from edgegw_drivers.modbus.decoder import added
from edgegw_drivers.modbus.layers import BARE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edgegw.driver import Outcome

# Directions whose vectors cancel out to less than this share have no mean; as the gateway's own sampling has it.
NO_DIRECTION: Final = 1e-6


def numeric(data: bytes, options: Mapping[str, Any]) -> Sequence[Outcome]:
    """Outcomes of a row of numbers.

    With `aggregate` they are values (times `scale`, plus `offset`) and give their mean; else they are what a counter
    of `width_bits` stood at, and give what it counted from each to the next.
    """
    row = numbers(data)
    if "aggregate" in options:
        scale, offset = asked.exact(options, "scale", 1), asked.exact(options, "offset", 0)
        values = [float(Decimal(number) * scale + offset) for number in row]
        return [Reading(BARE, aggregate(str(options["aggregate"]), values))]
    width = asked.whole(options, "width_bits", range(1, 65), 32)
    most = asked.whole(options, "max_plausible_step", range(1, 1 << 64), max(1, (1 << width - 1) - 1))
    counts = [number for number in row if isinstance(number, int) and 0 <= number < 1 << width]
    if len(counts) < len(row):
        raise FrameError("out_of_range")
    rows = [counts]
    if width > 16 and len(data.split()) == 1 and not len(counts) % 2:
        # Words without a blank between them may be the halves of wide counts: the likelier row is taken.
        rows.append([high << 16 | low for high, low in zip(counts[::2], counts[1::2], strict=True)])
    return min((counted(each, width, most) for each in rows), key=_refusals)


def counted(row: Sequence[int], width: int, most: int) -> list[Outcome]:
    """What was counted from each number to the next, or why that is not known."""
    found: list[Outcome] = []
    for before, count in pairwise(row):
        try:
            found.append(Reading(BARE, float(added(before, count, width, most))))
        except FrameError as error:
            found.append(error)
    return found or [FrameError("first_count")]


def _refusals(outcomes: Sequence[Outcome]) -> int:
    return sum(isinstance(each, FrameError) for each in outcomes)


def aggregate(rule: str, values: Sequence[float]) -> float:
    """The mean of values by a rule; FrameError `no_data` for directions that cancel out."""
    name = rule.lower().removesuffix("_mean").removesuffix(" mean")
    if name not in _RULES:
        raise ValueError(f"aggregate is {rule!r}; there are {', '.join(_RULES)}")
    return _RULES[name](values)


def _arithmetic(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _energy(values: Sequence[float]) -> float:
    highest = max(values)
    return highest + 10 * math.log10(
        math.fsum(10 ** ((value - highest) / 10) for value in values) / len(values)
    )


def _vector(values: Sequence[float]) -> float:
    x = math.fsum(math.cos(math.radians(value)) for value in values)
    y = math.fsum(math.sin(math.radians(value)) for value in values)
    if math.hypot(x, y) < NO_DIRECTION * len(values):
        raise FrameError("no_data")
    return round(math.degrees(math.atan2(y, x)) % 360, 9) % 360


_RULES: Final[Mapping[str, Callable[[Sequence[float]], float]]] = {
    "arithmetic": _arithmetic,
    "mean": _arithmetic,
    "energy": _energy,
    "vector": _vector,
    "sum": math.fsum,
    "highest": max,
    "lowest": min,
    "last": lambda values: values[-1],
}

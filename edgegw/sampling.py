"""One output per interval from a device that says more than that. Pure; accumulators, never lists of values.

Windows lie on a grid of the interval, so that they do not drift, and a window in which nothing came gives
nothing. Each quantity is combined by its own rule (`Mean`); the worst flag and every check carry over.

A mean is rounded to one decimal more than its window's values had, and to two at least: of 12.3 and 12.4 it is
12.35. What is not averaged (a sum of millimetres, a highest level) keeps the decimals of the values.
"""

from __future__ import annotations

import math
from collections import deque
from operator import gt, lt
from typing import TYPE_CHECKING, Final, Protocol

from edgegw.reading import QUANTITIES, Mean, Quality, Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edgegw.reading import Quantity

# A value with more decimals than this is no decimal of a device but a binary fraction: it is not rounded further.
MOST_DIGITS: Final = 12
# Decimals that a mean keeps at least: a device that states tenths may well say 50.0 for a whole window.
LEAST_DIGITS: Final = 2
# Closed windows that nobody has fetched: the one who fetches comes each interval, so these are a stall.
MOST_WAITING: Final = 60
# Different checks of one quantity and window; the catalogue of checks is shorter.
MOST_CHECKS: Final = 16
# Directions whose vectors cancel out to less than this share have no mean.
NO_DIRECTION: Final = 1e-6
# Flags from good to bad; none at all means "not evaluated" (QARTOD 2).
_WORSE: Final = {Quality.PASS: 0, None: 1, Quality.NOT_EVALUATED: 2, Quality.SUSPECT: 3, Quality.FAIL: 4}


class Sampler:
    """Combines the readings of one sensor to one per quantity and `interval` seconds."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._window: int | None = None
        self._open: dict[str, _Combined] = {}
        self._closed: deque[list[Reading]] = deque(maxlen=MOST_WAITING)

    def feed(self, readings: Sequence[Reading], t: float) -> None:
        """Take in readings that arrived at monotonic second `t`.

        Raises ValueError for a quantity that is not the catalogue's: the driver made it up.
        """
        self._advance(t)
        for reading in readings:
            name = reading.quantity.name
            combined = self._open.get(name)
            if combined is None:
                if QUANTITIES.get(name) != reading.quantity:
                    raise ValueError(f"a driver gave {name} in {reading.quantity.unit}, which is no quantity")
                combined = self._open[name] = _Combined(reading.quantity)
            combined.add(reading)

    def due(self, t: float) -> list[Reading]:
        """The readings of all windows that ended at or before `t` and were not fetched yet, oldest first."""
        self._advance(t)
        found = [reading for window in self._closed for reading in window]
        self._closed.clear()
        return found

    def _advance(self, t: float) -> None:
        """Close the open window when `t` lies behind it."""
        window = math.floor(t / self._interval)
        if self._window is not None and window > self._window and self._open:
            self._closed.append(self._readings())
            self._open = {}
        if self._window is None or window > self._window:
            self._window = window

    def _readings(self) -> list[Reading]:
        return [
            reading for combined in self._open.values() for reading in combined.readings("laeq" in self._open)
        ]


class _Combined:
    """What one quantity gave in the open window."""

    def __init__(self, quantity: Quantity) -> None:
        self._quantity = quantity
        self._rule: _Rule = _RULES[quantity.mean]()
        self._digits = 0
        self._last: Reading | None = None
        self._flag: int | None = Quality.PASS
        self._checks: dict[str, None] = {}
        self._impossible: Reading | None = None

    def add(self, reading: Reading) -> None:
        """Take a reading in."""
        value = reading.value
        if not math.isfinite(value):
            # It must not spoil the others; it goes on as it is, so that it is counted where readings are judged.
            self._impossible = reading
            return
        while self._digits < MOST_DIGITS and round(value, self._digits) != value:
            self._digits += 1
        self._rule.add(value)
        self._last = reading
        if reading.flag != self._flag and _WORSE.get(reading.flag, 4) > _WORSE.get(self._flag, 4):
            self._flag = reading.flag
        for check in reading.checks:
            if len(self._checks) < MOST_CHECKS:
                self._checks[check] = None

    def readings(self, has_laeq: bool) -> list[Reading]:
        """The window's reading, none for directions that cancel out; and an impossible one as it came.

        A level that was sampled becomes an equivalent level, unless the device states one itself.
        """
        found = [self._impossible] if self._impossible else []
        value = self._rule.value(self._digits) if self._last else None
        if self._last and value is not None:
            averaged = self._quantity.name == "la_sampled" and not has_laeq
            quantity = QUANTITIES["laeq"] if averaged else self._quantity
            found.append(Reading(quantity, value, self._flag, tuple(self._checks), self._last.meta))
        return found


class _Rule(Protocol):
    """Combines values without keeping them."""

    def add(self, value: float) -> None:
        """Take in a finite value."""
        ...

    def value(self, digits: int) -> float | None:
        """The combination of the values so far (at least one), which had `digits` decimals; None: undefined."""
        ...


def _finer(digits: int) -> int:
    """Decimals of a mean of values with so many."""
    return max(LEAST_DIGITS, digits + 1)


class _ArithmeticMean:
    """The sum over the number."""

    def __init__(self) -> None:
        self._sum, self._count = 0.0, 0

    def add(self, value: float) -> None:
        self._sum += value
        self._count += 1

    def value(self, digits: int) -> float:
        return round(self._sum / self._count, _finer(digits))


class _EnergyMean:
    """10·lg of the mean of 10^(L/10), taken relative to the highest level so that no level overflows."""

    def __init__(self) -> None:
        self._highest, self._energy, self._count = -math.inf, 0.0, 0

    def add(self, value: float) -> None:
        if value > self._highest:
            self._energy *= 10.0 ** ((self._highest - value) / 10)
            self._highest = value
        self._energy += 10.0 ** ((value - self._highest) / 10)
        self._count += 1

    def value(self, digits: int) -> float:
        return round(self._highest + 10 * math.log10(self._energy / self._count), _finer(digits))


class _VectorMean:
    """The direction of the sum of unit vectors, 0 to 360 degrees."""

    def __init__(self) -> None:
        self._x, self._y, self._count = 0.0, 0.0, 0

    def add(self, value: float) -> None:
        self._x += math.cos(math.radians(value))
        self._y += math.sin(math.radians(value))
        self._count += 1

    def value(self, digits: int) -> float | None:
        if math.hypot(self._x, self._y) < NO_DIRECTION * self._count:
            return None
        # Rounding may reach 360.0, which is 0.
        return round(math.degrees(math.atan2(self._y, self._x)) % 360, _finer(digits)) % 360


class _Sum:
    """Passages, millimetres of rain: whole numbers stay whole."""

    def __init__(self) -> None:
        self._sum: float = 0

    def add(self, value: float) -> None:
        self._sum += value

    def value(self, digits: int) -> float:
        return round(self._sum, digits)


class _Chosen:
    """One of the values: `better(new, kept)` says when a new one takes the place."""

    def __init__(self, better: Callable[[float, float], bool]) -> None:
        self._better = better
        self._kept: float | None = None

    def add(self, value: float) -> None:
        if self._kept is None or self._better(value, self._kept):
            self._kept = value

    def value(self, digits: int) -> float | None:
        del digits
        return self._kept


_RULES: Final[Mapping[Mean, Callable[[], _Rule]]] = {
    Mean.ARITHMETIC: _ArithmeticMean,
    Mean.ENERGY: _EnergyMean,
    Mean.VECTOR: _VectorMean,
    Mean.SUM: _Sum,
    Mean.LAST: lambda: _Chosen(lambda new, kept: True),  # noqa: ARG005  both are the rule's arguments
    Mean.HIGHEST: lambda: _Chosen(gt),
    Mean.LOWEST: lambda: _Chosen(lt),
}

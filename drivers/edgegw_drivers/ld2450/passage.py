"""Who passed a line, and which way."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from edgegw_drivers.ld2450.tracking import Point, Step

# Somebody is on a side after so many places in a row beyond the hysteresis: one may be a ghost's.
HELD: Final = 2


class Line:
    """A line on the ground from one point to another, in metres, with a band around it that decides nothing."""

    def __init__(self, first: Point, second: Point, hysteresis_m: float) -> None:
        self._first = first
        self._length = math.dist(first, second)
        self._ux = (second.x - first.x) / self._length
        self._uy = (second.y - first.y) / self._length
        self.hysteresis_m = hysteresis_m

    def off(self, place: Point) -> float:
        """Metres from the line, positive on its left as seen from the first point."""
        return self._ux * (place.y - self._first.y) - self._uy * (place.x - self._first.x)

    def along(self, place: Point) -> float:
        """Metres along the line from its first point."""
        return self._ux * (place.x - self._first.x) + self._uy * (place.y - self._first.y)

    def between(self, one: Point, other: Point) -> bool:
        """Whether the way from one place to another, on the other side, leads through the line's two ends."""
        far, near = self.off(one), self.off(other)
        share = far / (far - near)
        return 0 <= self.along(one) + share * (self.along(other) - self.along(one)) <= self._length


class Counter:
    """Counts those who pass a line: each once, after both sides were held beyond the hysteresis."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._ways: dict[int, _Way] = {}

    def update(self, steps: Iterable[Step], people: Collection[int]) -> tuple[int, int]:
        """Take in where people were found; returns how many passed just now: in (left to right), and out.

        `people` are those who may still come back; what is known of the others is forgotten.
        """
        passed = [0, 0]
        for step in steps:
            way = self._ways.setdefault(step.person, _Way(self._line))
            side = way.step(step.place)
            if side:
                passed[0 if side < 0 else 1] += 1
        self._ways = {person: way for person, way in self._ways.items() if person in people}
        return passed[0], passed[1]


class _Way:
    """One person's way: the side last held, and whether the line was last crossed between its ends."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._last: Point | None = None
        self._side = 0
        self._beyond = 0
        self._within = False

    def step(self, place: Point) -> int:
        """The side (+1 left, -1 right) on which a passage has just ended; 0 for none."""
        off = self._line.off(place)
        if self._last is not None and (off > 0) != (self._line.off(self._last) > 0):
            self._within = self._line.between(self._last, place)
        self._last = place
        side = (1 if off > 0 else -1) if abs(off) > self._line.hysteresis_m else 0
        # Places in a row on one side, with the sign of the side.
        self._beyond = side + (self._beyond if side * self._beyond > 0 else 0)
        if abs(self._beyond) < HELD or side == self._side:
            return 0
        came_from, self._side = self._side, side
        return side if came_from and self._within else 0

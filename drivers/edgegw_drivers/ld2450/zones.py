"""Who is inside which rectangle on the ground."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgegw_drivers.ld2450.tracking import Point

# More zones than three people can be in say nothing more; the bound keeps `meta` readable.
MOST_ZONES: Final = 16
# A side shorter than the error of a position (0.3 m) would be a zone by chance.
SHORTEST_SIDE_M: Final = 0.3


class _Zone(NamedTuple):
    """A rectangle by its least and greatest coordinates, in metres; its edges belong to it."""

    name: str
    left: float
    near: float
    right: float
    far: float

    def holds(self, place: Point) -> bool:
        return self.left <= place.x <= self.right and self.near <= place.y <= self.far


class Zones:
    """A set of named rectangles, each by two opposite corners; they may overlap.

    ValueError for a name that is empty or stands twice, and for a rectangle that is too small to be one.
    """

    def __init__(self, zones: Sequence[tuple[str, tuple[float, float], tuple[float, float]]]) -> None:
        self._zones = [_zone(*each) for each in zones]
        names = [zone.name for zone in self._zones]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two zones are called {name!r}")

    def count(self, places: Sequence[Point]) -> tuple[int, Mapping[str, int]]:
        """How many of these people are in any zone, each counted once; and how many are in each."""
        inside = sum(any(zone.holds(place) for zone in self._zones) for place in places)
        return inside, {zone.name: sum(map(zone.holds, places)) for zone in self._zones}


def _zone(name: str, one: tuple[float, float], other: tuple[float, float]) -> _Zone:
    if not name.strip():
        raise ValueError("a zone needs a name")
    if not all(math.isfinite(number) for number in (*one, *other)):
        raise ValueError(f"zone {name!r}: two corners [x, y] in metres, each a finite number")
    (left, right), (near, far) = sorted((one[0], other[0])), sorted((one[1], other[1]))
    if min(right - left, far - near) < SHORTEST_SIDE_M:
        raise ValueError(f"zone {name!r}: a side is shorter than {SHORTEST_SIDE_M} m")
    return _Zone(name, left, near, right, far)

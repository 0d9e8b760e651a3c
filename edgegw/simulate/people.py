"""People who walk over a counting line, with the truth about them: how many passed, and which way.

A walk knows by construction whether it is a passage, so the truth owes nothing to any tracker. People use
three lanes across the line and so keep their distance; a lane holds one person at a time, which is also as
many as an LD2450 can see.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

Point = tuple[float, float]

#: The counting line in metres, radar at the origin, seen from its first point; the configuration's `line`.
LINE: Final[tuple[Point, Point]] = ((-2.0, 3.0), (2.0, 3.0))
# Walks begin and end this far from the line: well beyond any hysteresis, and inside the radar's 6 m.
REACH_M: Final = 1.4
# Neighbouring lanes keep people 1.5 m apart: side by side, at 1 m, radars begin to merge them.
LANES_M: Final = (-1.5, 0.0, 1.5)
# A turn on the line goes this far beyond it: less than the 0.3 m that counts as the other side.
OVERSHOOT_M: Final = 0.1
# How people walk, in m/s (slow stroll to brisk).
SLOWEST_M_S: Final = 0.8
FASTEST_M_S: Final = 1.6
# One walk in ten turns round on the line, one in five is lost for half a second on its way.
TURNING: Final = 0.1
LOST: Final = 0.2
LOST_S: Final = 0.5


class Person(NamedTuple):
    """Where somebody is: metres and metres per second; `walk` tells people apart."""

    walk: int
    x: float
    y: float
    vx: float
    vy: float


class Passages(NamedTuple):
    """How many people passed: `into` from the line's left to its right, `out` the other way."""

    into: int
    out: int


@dataclass(frozen=True)
class Walk:
    """A straight way across the line (or up to it and back) at constant speed.

    `side` is +1 when it begins on the line's left, -1 on its right; `turns` says that it goes back.
    `lost_s` is when the radar loses it for half a second (None: never).
    """

    number: int
    start_s: float
    lane_m: float
    side: int
    speed_m_s: float
    turns: bool = False
    lost_s: float | None = None

    @property
    def end_s(self) -> float:
        """When the person is out of sight."""
        length = 2 * (REACH_M + OVERSHOOT_M) if self.turns else 2 * REACH_M
        return self.start_s + length / self.speed_m_s

    @property
    def passes_s(self) -> float | None:
        """When the person is on the line on the way over; None for one who turns round."""
        return None if self.turns else self.start_s + REACH_M / self.speed_m_s

    def seen(self, t: float) -> bool:
        """Whether the radar sees this person at second `t`."""
        hidden = self.lost_s is not None and self.lost_s <= t < self.lost_s + LOST_S
        return self.start_s <= t < self.end_s and not hidden

    def at(self, t: float) -> Person:
        """The person at second `t` of the walk."""
        gone = (t - self.start_s) * self.speed_m_s
        back = self.turns and gone > REACH_M + OVERSHOOT_M
        left = gone - REACH_M - 2 * OVERSHOOT_M if back else REACH_M - gone
        (ax, ay), (ux, uy) = _frame(LINE)
        across = self.side * left
        speed = self.side * self.speed_m_s * (1 if back else -1)
        # Left of the line, seen from its first point, is its direction turned by +90 degrees.
        return Person(
            self.number,
            ax + self.lane_m * ux - across * uy,
            ay + self.lane_m * uy + across * ux,
            -speed * uy,
            speed * ux,
        )


def _frame(line: tuple[Point, Point]) -> tuple[Point, Point]:
    """The middle of a line and its direction."""
    (ax, ay), (bx, by) = line
    length = math.hypot(bx - ax, by - ay)
    return ((ax + bx) / 2, (ay + by) / 2), ((bx - ax) / length, (by - ay) / length)


def walks(seed: int, lane: int, per_minute: float) -> Iterator[Walk]:
    """The endless sequence of people in one of the lanes, one after the other, about `per_minute` of them."""
    random = Random(f"{seed} lane {lane}")  # noqa: S311  a scene that can be repeated, no secret
    free_s = 0.0
    number = lane
    while True:
        speed = random.uniform(SLOWEST_M_S, FASTEST_M_S)
        start = free_s + random.expovariate(per_minute / 60)
        turns = random.random() < TURNING
        way = 2 * REACH_M / speed
        lost = start + random.uniform(0.2, 0.8) * way if random.random() < LOST and not turns else None
        walk = Walk(number, start, LANES_M[lane], random.choice((-1, 1)), speed, turns, lost)
        yield walk
        # The next one comes a second later, when the radar has forgotten this one.
        free_s = walk.end_s + 1.0
        number += len(LANES_M)


class Crowd:
    """Everybody near the line, in three lanes; asked for times that never go back."""

    def __init__(self, seed: int, per_minute: float) -> None:
        lanes = range(len(LANES_M))
        self._coming = [walks(seed, lane, per_minute / len(LANES_M)) for lane in lanes]
        self._now = [next(coming) for coming in self._coming]
        self._passed = Passages(0, 0)

    def at(self, t: float) -> list[Person]:
        """The people whom the radar sees at second `t`."""
        for lane, walk in enumerate(self._now):
            while walk.end_s <= t:
                self._passed = _count(self._passed, walk)
                walk = self._now[lane] = next(self._coming[lane])  # noqa: PLW2901  the lane's next person
        return [walk.at(t) for walk in self._now if walk.seen(t)]

    def passed(self, t: float) -> Passages:
        """The truth: who has crossed the line's middle by second `t` (after `at` was asked for it)."""
        passed = self._passed
        for walk in self._now:
            if walk.passes_s is not None and walk.passes_s <= t:
                passed = _count(passed, walk)
        return passed


def _count(passed: Passages, walk: Walk) -> Passages:
    if walk.turns:
        return passed
    # From the line's left to its right is in (INTERFACE §1).
    return passed._replace(into=passed.into + 1) if walk.side > 0 else passed._replace(out=passed.out + 1)

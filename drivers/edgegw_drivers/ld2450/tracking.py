"""Who is who from one frame to the next: people are followed by where they are, never by their slot.

Slots are renumbered when somebody leaves, so only positions tell. Each person is a constant-velocity Kalman
filter, and detections go to people so that the sum of squared distances is least. A detection that belongs to
nobody is a sighting; a second one beside it makes it a person, so that a ghost of one frame never is one. A
person who was missed in a frame is found again just where it was expected, or farther off by a sighting that
was confirmed: a ghost in a gap pulls nobody away.

The numbers below were chosen by counting passages in some thousand seeded scenes of known truth (tests/scenes.py).
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# The radar reports 10 to 12 times a second. Frames that a busy host reads together bear the same time: they
# count as at least this far apart.
SHORTEST_FRAME_S: Final = 0.08
# From one frame to the next a runner (3 m/s) moves 0.3 m, and a position errs by up to 0.3 m.
STEP_M: Final = 0.6
# Closer than a metre the radar itself merges people: somebody who was lost comes back within that.
RETURN_M: Final = 0.9
# Exactly where they were expected, they are taken for themselves at once: a ghost there would do no harm.
EXPECTED_M: Final = 0.4
# How much of the way that was predicted for them they are taken to have gone.
GOES_ON: Final = 0.8
# People hidden for half a second are common (somebody walks in front); after a second it may be another one.
LOST_S: Final = 1.0
# A sighting that is not confirmed by then, two frames later, was a ghost.
GHOST_S: Final = 0.25
# Three people, three who are lost, and as many ghosts: whatever is more, is noise.
MOST_PEOPLE: Final = 6
MOST_SIGHTINGS: Final = 6

# Error of one detection, standard deviation, squared (m^2).
_ERROR: Final = 0.1**2
# Walking speed that a new person may have, standard deviation, squared (m^2/s^2).
_WALK: Final = 1.5**2
# How fast people change their velocity: spectral density of the acceleration (m^2/s^3). At 10 frames a second
# this believes about half of each surprise.
_RESTLESS: Final = 1.0


class Point(NamedTuple):
    """A place in metres as the radar sees it: x to its right, y away from it."""

    x: float
    y: float


class Step(NamedTuple):
    """A place where a person was found; `person` is a number that tells people apart."""

    person: int
    place: Point


class Tracker:
    """The people in front of one radar."""

    def __init__(self) -> None:
        self._people: list[_Walker] = []
        self._sightings: list[_Walker] = []
        self._now = -math.inf
        self._numbers = itertools.count(1)

    @property
    def people(self) -> set[int]:
        """The numbers of those who may still be found again."""
        return {walker.number for walker in self._people}

    def update(self, detections: Sequence[Point], now: float) -> list[Step]:
        """Take in the detections of one frame (three at most) of monotonic second `now`.

        Returns where people were found, in order of time: one step for each who was seen, two for one who
        was confirmed or found again just now, none for one who was missed.
        """
        before, now = self._now, max(now, self._now + SHORTEST_FRAME_S)
        self._now = now
        self._people = [walker for walker in self._people if now - walker.seen_at <= LOST_S]
        self._sightings = [walker for walker in self._sightings if now - walker.seen_at <= GHOST_S]
        for walker in (*self._people, *self._sightings):
            walker.predict(now - before)
        live = [walker for walker in self._people if walker.seen_at == before]
        lost = [walker for walker in self._people if walker.seen_at < before]
        seen, rest = _seen(live, detections, now, STEP_M)
        found, rest = _seen(lost, rest, now, EXPECTED_M)
        confirmed, ghosts = _seen(self._sightings, rest, now, STEP_M)
        lost = [walker for walker in lost if walker not in found]
        steps = [Step(walker.number, walker.place) for walker in (*seen, *found)]
        for sighting, walker in self._identified(confirmed, lost):
            steps += (Step(walker.number, sighting.first), Step(walker.number, walker.place))
        waiting = [walker for walker in self._sightings if walker not in confirmed]
        self._sightings = [*(_Walker(place, now) for place in ghosts), *waiting][:MOST_SIGHTINGS]
        self._people.sort(key=lambda walker: -walker.seen_at)
        del self._people[MOST_PEOPLE:]
        return steps

    def _identified(
        self, confirmed: Sequence[_Walker], lost: Sequence[_Walker]
    ) -> Iterator[tuple[_Walker, _Walker]]:
        """Each confirmed sighting with the person it is: one who was lost nearby, or a new one."""
        squares = [[_square(walker.first, other.expected) for other in lost] for walker in confirmed]
        back = dict(pairs(squares, RETURN_M))
        for index, sighting in enumerate(confirmed):
            if index in back:
                walker = lost[back[index]]
                walker.correct(sighting.place, sighting.seen_at)
            else:
                walker = sighting
                walker.number = next(self._numbers)
                self._people.append(walker)
            yield sighting, walker


class _Walker:
    """A person or a sighting: where it is by a Kalman filter with the same variances for both axes."""

    def __init__(self, place: Point, now: float) -> None:
        self.number = 0
        self.first = self.last = place
        self.seen_at = now
        self._x, self._y = place
        self._vx = self._vy = 0.0
        # Variance of the place, of the velocity, and their covariance.
        self._place, self._velocity, self._both = _ERROR, _WALK, 0.0

    @property
    def place(self) -> Point:
        """Where it is now, predicted or corrected."""
        return Point(self._x, self._y)

    @property
    def expected(self) -> Point:
        """Where somebody who is hidden comes back: most go on, some slow down, stop or turn."""
        return Point(
            self.last.x + GOES_ON * (self._x - self.last.x), self.last.y + GOES_ON * (self._y - self.last.y)
        )

    def predict(self, dt: float) -> None:
        """Move on by `dt` seconds."""
        self._x += self._vx * dt
        self._y += self._vy * dt
        self._place += dt * (2 * self._both + dt * self._velocity) + _RESTLESS * dt**3 / 3
        self._both += dt * self._velocity + _RESTLESS * dt**2 / 2
        self._velocity += _RESTLESS * dt

    def correct(self, place: Point, now: float) -> None:
        """Take in a detection."""
        doubt = self._place + _ERROR
        gain, gain_v = self._place / doubt, self._both / doubt
        dx, dy = place.x - self._x, place.y - self._y
        self._x += gain * dx
        self._y += gain * dy
        self._vx += gain_v * dx
        self._vy += gain_v * dy
        self._velocity -= gain_v * self._both
        self._both *= 1 - gain
        self._place *= 1 - gain
        self.seen_at, self.last = now, self.place


def _seen(
    walkers: Sequence[_Walker], places: Sequence[Point], now: float, reach: float
) -> tuple[list[_Walker], list[Point]]:
    """Those whom the places belong to, corrected, and the places that belong to nobody."""
    squares = [[_square(place, walker.place) for walker in walkers] for place in places]
    found = dict(pairs(squares, reach))
    for index, which in found.items():
        walkers[which].correct(places[index], now)
    rest = [place for index, place in enumerate(places) if index not in found]
    return [walkers[which] for which in found.values()], rest


def pairs(squares: Sequence[Sequence[float]], reach: float) -> list[tuple[int, int]]:
    """Pairs of indices `(row, column)` of `squares`, squared distances, with the least sum.

    No pair is farther apart than `reach`, and a row without a pair costs its square. All combinations are
    tried: a frame has three places, so that six others make 229 at most.
    """
    miss = reach**2

    def best(row: int, free: frozenset[int]) -> tuple[float, tuple[tuple[int, int], ...]]:
        if row == len(squares):
            return 0.0, ()
        cost, found = best(row + 1, free)
        options = [(cost + miss, found)]
        for column in sorted(free):
            if squares[row][column] < miss:
                cost, found = best(row + 1, free - {column})
                options.append((cost + squares[row][column], ((row, column), *found)))
        return min(options)

    return list(best(0, frozenset(range(len(squares[0]) if squares else 0)))[1])


def _square(one: Point, other: Point) -> float:
    return (one.x - other.x) ** 2 + (one.y - other.y) ** 2

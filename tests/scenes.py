"""Scenes in front of a radar, with the truth about who passed the line; pure and seeded.

People follow ways of straight legs at constant speed with pauses, and keep 1 m apart. The radar sees them 10 to
12 times a second with an error, hides them for half a second, deals its slots anew, shows ghosts for one frame
and leaves old coordinates in empty slots. The truth comes from the ways alone: it is what a person with a tape
measure would write down, and scenes in which that person would have to think are not made.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random
from typing import NamedTuple

from edgegw_drivers.ld2450.frame import Target, encode_frame

Place = tuple[float, float]

LINE: tuple[Place, Place] = ((-2.0, 3.0), (2.0, 3.0))
HYSTERESIS_M = 0.3
APART_M = 1.0
SLOTS = 3
SECONDS = 60.0


class Radar(NamedTuple):
    """How badly the radar sees; probabilities are per frame."""

    error_m: float = 0.05
    miss: float = 0.01
    ghost: float = 0.03
    stale: float = 0.3
    deal: float = 0.05
    silence: float = 0.0
    hidden: float = 0.3  # share of people whom it loses once for half a second


RADAR = Radar()


class Frame(NamedTuple):
    """One report: when it arrived, and its slots."""

    t: float
    targets: list[Target]

    @property
    def data(self) -> bytes:
        return encode_frame(self.targets)


@dataclass
class Way:
    """Where one person is at which time: corners with the second at which each is reached."""

    corners: list[tuple[float, Place]]
    hidden_at: float = math.inf

    @property
    def begin(self) -> float:
        return self.corners[0][0]

    @property
    def end(self) -> float:
        return self.corners[-1][0]

    def at(self, t: float) -> Place | None:
        for (t0, (x0, y0)), (t1, (x1, y1)) in pairwise(self.corners):
            if t0 <= t <= t1:
                share = (t - t0) / (t1 - t0)
                return x0 + share * (x1 - x0), y0 + share * (y1 - y0)
        return None


def passages(way: Way, line: tuple[Place, Place], hysteresis_m: float, longer_m: float = 0.0) -> list[str]:
    """`in` and `out` for each time the way went over the line, from beyond the hysteresis to beyond it."""
    (ax, ay), (bx, by) = line
    length = math.hypot(bx - ax, by - ay)
    found, side, through, last = [], "", False, 0.0
    for step in range(int((way.end - way.begin) * 200) + 1):
        place = way.at(way.begin + step / 200)
        if place is None:
            continue
        x, y = place[0] - ax, place[1] - ay
        left = ((bx - ax) * y - (by - ay) * x) / length
        if last * left < 0:
            share = ((bx - ax) * x + (by - ay) * y) / length
            through = -longer_m <= share <= length + longer_m
        last = left or last
        now = "left" if left > hysteresis_m else "right" if left < -hysteresis_m else side
        if side and now != side and through:
            found.append("in" if now == "right" else "out")
        side = now
    return found


@dataclass
class Scene:
    """A seeded minute in front of the radar, or what happens on the ways that are given."""

    seed: int
    radar: Radar = RADAR
    line: tuple[Place, Place] = LINE
    ways: list[Way] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.ways:
            return
        random = Random(self.seed)
        for _ in range(int(SECONDS)):
            way = _way(random, self.line)
            if _clear(way, self.line) and self._room(way):
                if random.random() < self.radar.hidden:
                    way.hidden_at = _hidden(random, way)
                self.ways.append(way)

    @property
    def truth(self) -> tuple[int, int]:
        """How many passed: in and out."""
        found = [passage for way in self.ways for passage in passages(way, self.line, HYSTERESIS_M)]
        return found.count("in"), found.count("out")

    def frames(self) -> Iterator[Frame]:
        """What the radar says."""
        random, radar = Random(f"radar {self.seed}"), self.radar
        period, t, dealt = 1 / random.uniform(10, 12), 0.0, list(range(SLOTS))
        old, present = Target(1, 640, 2900, 0, 0), 0
        end = max((way.end for way in self.ways), default=0.0) + 2
        while t < end:
            t += period * random.uniform(0.9, 1.1) + (0.5 if random.random() < radar.silence else 0.0)
            seen = [place for place in (self._seen(way, t, random) for way in self.ways) if place][:SLOTS]
            if len(seen) < SLOTS and random.random() < radar.ghost:
                seen.append((random.uniform(-3, 3), random.uniform(0.5, 5.8)))
            if len(seen) != present or random.random() < radar.deal:
                random.shuffle(dealt)
            present = len(seen)
            targets = [_target(dealt[index] + 1, place) for index, place in enumerate(seen)]
            if present < SLOTS and random.random() < radar.stale:
                targets.append(old._replace(slot=dealt[present] + 1, resolution_mm=0))
            if seen:
                old = targets[0]
            yield Frame(1000 + t, targets)

    def _seen(self, way: Way, t: float, random: Random) -> Place | None:
        place = way.at(t)
        if not place or way.hidden_at <= t < way.hidden_at + 0.5 or random.random() < self.radar.miss:
            return None
        return place[0] + random.gauss(0, self.radar.error_m), place[1] + random.gauss(0, self.radar.error_m)

    def _room(self, way: Way) -> bool:
        """Whether somebody on that way keeps away from everybody, and the radar has a slot.

        Nobody begins where another one has just ended: nobody could tell those two from one.
        """
        for step in range(int((way.end - way.begin) * 20) + 1):
            t = way.begin + step / 20
            place = way.at(t)
            others = [other for other in (known.at(t) for known in self.ways) if other]
            if place and (len(others) >= SLOTS or any(math.dist(place, o) < APART_M for o in others)):
                return False
        return not any(
            abs(late.begin - early.end) < 1.5
            and math.dist(late.corners[0][1], early.corners[-1][1]) < 2 * APART_M
            for known in self.ways
            for late, early in ((way, known), (known, way))
        )


def _target(slot: int, place: Place) -> Target:
    return Target(slot, round(place[0] * 1000), max(0, round(place[1] * 1000)), 0, 320)


def _hidden(random: Random, way: Way) -> float:
    """When somebody is hidden for half a second: on a straight stretch, after being seen and before the end."""
    legs = [(begin + 0.4, end - 0.9) for (begin, _), (end, _) in pairwise(way.corners) if end - begin > 1.3]
    return random.uniform(*random.choice(legs)) if legs else math.inf


def _clear(way: Way, line: tuple[Place, Place]) -> bool:
    """Whether nobody would argue about that way: also with another hysteresis, or ends of the line elsewhere."""
    views = [
        passages(way, line, hysteresis_m, longer_m)
        for hysteresis_m in (HYSTERESIS_M - 0.12, HYSTERESIS_M, HYSTERESIS_M + 0.35)
        for longer_m in (-0.3, 0.0, 0.3)
    ]
    return all(view == views[0] for view in views)


def _way(random: Random, line: tuple[Place, Place]) -> Way:
    """Some way: over the line, up to it and back, beside it, with turns and rests."""
    (ax, ay), (bx, by) = line
    length = math.hypot(bx - ax, by - ay)
    ux, uy = (bx - ax) / length, (by - ay) / length

    def place(along: float, left: float) -> Place:
        return ax + along * ux - left * uy, ay + along * uy + left * ux

    along, side = random.uniform(-1.0, length + 1.0), random.choice([-1, 1])
    far, end = random.uniform(1.0, 2.2), random.uniform(1.0, 2.2)
    slant = random.uniform(-0.8, 0.8)
    kind = random.choice(["over", "over", "over", "turn", "back", "rest", "ends"])
    points: list[Place] = [place(along, side * far)]
    if kind == "over":
        points += [place(along + slant, -side * end)]
    elif kind == "turn":
        points += [
            place(along + slant / 2, -side * random.uniform(-0.1, 0.15)),
            place(along + slant, side * end),
        ]
    elif kind == "back":
        points += [place(along + slant, -side * end), place(along - slant, side * far)]
    elif kind == "rest":
        points += [place(along + slant / 2, 0.0)] * 2 + [place(along + slant, random.choice([-1, 1]) * end)]
    else:
        points += [place(along + slant, side * random.uniform(0.0, 0.8))]
    t = random.uniform(0, SECONDS)
    corners = [(t, points[0])]
    speed = random.uniform(0.5, 2.2)
    for before, after in pairwise(points):
        t += math.dist(before, after) / speed or random.uniform(0.5, 5.0)
        corners.append((t, after))
    return Way(corners)

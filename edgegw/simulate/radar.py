"""What an LD2450 radar says about people: slots, renumbering, ghosts and old coordinates.

The habits are those of the card in the vectors and of esphome issue 15025: slots are renumbered when people
come and go, an empty slot may keep old coordinates with resolution 0, rain and curtains give ghosts.
"""

from __future__ import annotations

import math
from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple

from edgegw.simulate import numbers
from edgegw.simulate.frames import LD2450_SLOTS, Target
from edgegw.simulate.people import REACH_M, Crowd, Person, Walk

if TYPE_CHECKING:
    from collections.abc import Sequence

RESOLUTION_MM: Final = 320
# Position noise of one report, standard deviation in metres.
JITTER_M: Final = 0.03
# One report in fifty shows somebody who is not there, at least this far from everybody who is.
GHOSTS: Final = 0.02
GHOST_APART_M: Final = 1.2
# One report in ten leaves old coordinates in an empty slot.
STALE: Final = 0.1
# Slots are dealt anew this often, and whenever somebody comes or goes.
RENUMBERED_S: Final = 2.0
# The parade's walker waits at each end until every tracker has made up its mind.
PARADE_PAUSE_S: Final = 0.5
PARADE_SPEED_M_S: Final = 1.2
# Where people stand in the parade: far from the walker's lane and from the line.
BYSTANDERS: Final = ((-2.4, 1.7), (2.4, 1.7))


class Leg(NamedTuple):
    """One way of the parade's walker over the line; `quantity` counts it."""

    number: int
    quantity: str


def target(person: Person) -> Target:
    """A person as one slot: millimetres, and the radial speed in cm/s, negative when approaching.

    The sign is ESPHome's reading of the device (its ld2450 component); the maker's manual is silent.
    """
    distance = math.hypot(person.x, person.y)
    radial = (person.x * person.vx + person.y * person.vy) / distance if distance else 0.0
    return Target(round(person.x * 1000), round(person.y * 1000), round(radial * 100), RESOLUTION_MM)


class CrowdRadar:
    """A radar that watches a crowd, with all the habits of the real one; seeded."""

    def __init__(self, seed: int, per_minute: float) -> None:
        self._seed = seed
        self.crowd = Crowd(seed, per_minute)
        self._old = Target(640, 4400, 0, 0)

    def targets(self, number: int, t: float) -> list[Target]:
        """The slots of report `number`, made at second `t`."""
        random = Random(f"{self._seed} report {number}")  # noqa: S311  a scene that can be repeated
        people = [_jittered(person, random) for person in self.crowd.at(t)]
        slots = [target(person) for person in self._dealt(people, t)]
        if len(slots) < LD2450_SLOTS and random.random() < GHOSTS:
            slots += [target(ghost) for ghost in [_ghost(people, random)] if ghost]
        if slots:
            self._old = slots[-1]._replace(speed_cm_s=0, resolution_mm=0)
        if len(slots) < LD2450_SLOTS and random.random() < STALE:
            slots.append(self._old)
        return slots

    def _dealt(self, people: Sequence[Person], t: float) -> list[Person]:
        """The people in the order of their slots; never the same order for long."""
        deal = int(t / RENUMBERED_S)
        present = sorted(person.walk for person in people)
        order = Random(f"{self._seed} {deal} {present}")  # noqa: S311  a scene that can be repeated
        order.shuffle(present)
        return sorted(people, key=lambda person: present.index(person.walk))


def _jittered(person: Person, random: Random) -> Person:
    return person._replace(x=person.x + random.gauss(0, JITTER_M), y=person.y + random.gauss(0, JITTER_M))


def _ghost(people: Sequence[Person], random: Random) -> Person | None:
    """Somebody who is not there, for one report; None when the place is too near to a real person."""
    bearing, distance = math.radians(random.uniform(-50, 50)), random.uniform(1.0, 5.5)
    ghost = Person(-1, distance * math.sin(bearing), distance * math.cos(bearing), 0.0, 0.0)
    near = any(math.hypot(ghost.x - p.x, ghost.y - p.y) < GHOST_APART_M for p in people)
    return None if near else ghost


class ParadeRadar:
    """One person who walks over the line and back for ever, while bystanders say the report's number.

    The number of bystanders follows `numbers.beside`; each way over the line is a `Leg`.
    """

    leg_s: Final = 2 * REACH_M / PARADE_SPEED_M_S + PARADE_PAUSE_S

    def targets(self, number: int, t: float) -> list[Target]:
        """The slots of report `number`, made at second `t`: 1 to 3 of them are taken."""
        leg = int(t / self.leg_s)
        walk = Walk(0, leg * self.leg_s, 0.0, 1 if leg % 2 == 0 else -1, PARADE_SPEED_M_S)
        person = walk.at(min(t, walk.end_s))
        beside = [Person(-1, x, y, 0.0, 0.0) for x, y in BYSTANDERS[: numbers.beside(number)]]
        return [target(person), *map(target, beside)]

    def leg(self, t: float) -> Leg:
        """The way that the walker is on at second `t`."""
        number = int(t / self.leg_s)
        return Leg(number, "count_in" if number % 2 == 0 else "count_out")

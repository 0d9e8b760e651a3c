import itertools
import math
from collections.abc import Callable, Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from outcomes import readings
from scenes import HYSTERESIS_M, LINE, Frame, Place, Radar, Scene, Way, passages

from edgegw_drivers.ld2450 import Ld2450
from edgegw_drivers.ld2450.frame import Target, encode_frame
from edgegw_drivers.ld2450.passage import Counter, Line
from edgegw_drivers.ld2450.tracking import MOST_PEOPLE, MOST_SIGHTINGS, Point, Step, Tracker, pairs

UPRIGHT: tuple[Place, Place] = ((0.0, 1.5), (0.0, 4.5))
SLANTED: tuple[Place, Place] = ((1.5, 4.0), (-1.5, 2.0))
EXACT = Radar(error_m=0.0, miss=0.0, ghost=0.0, stale=0.0, deal=0.0, hidden=0.0)


def counted(
    frames: Sequence[Frame], line: tuple[Place, Place] = LINE, clock: Callable[[float], float] = float
) -> tuple[int, int]:
    """In and out, as a gateway with that line would sum them up."""
    decoder = Ld2450(crossing=line, hysteresis=HYSTERESIS_M).decoder()
    found = [reading for frame in frames for reading in readings(decoder.decode(frame.data, clock(frame.t)))]
    sums = {"targets": 0.0, "count_in": 0.0, "count_out": 0.0}
    for reading in found:
        sums[reading.quantity.name] += reading.value
    return int(sums["count_in"]), int(sums["count_out"])


def walk(*places: Place, begin: float = 0.0, speed: float = 1.2, hidden_at: float = math.inf) -> Way:
    """A way with straight legs; a place that stands twice is a rest of two seconds."""
    t, corners = begin, [(begin, places[0])]
    for before, after in itertools.pairwise(places):
        t += math.dist(before, after) / speed or 2.0
        corners.append((t, after))
    return Way(corners, hidden_at)


def people(*ways: Way, radar: Radar = EXACT, seed: int = 0) -> list[Frame]:
    return list(Scene(seed, radar=radar, ways=list(ways)).frames())


# Scenes with known truth


@pytest.mark.parametrize("line", [LINE, UPRIGHT, SLANTED], ids=["across", "upright", "slanted"])
@pytest.mark.parametrize("seed", range(6))
def test_counts_are_exact_in_a_lively_scene(seed: int, line: tuple[Place, Place]) -> None:
    scene = Scene(seed, line=line)
    assert counted(list(scene.frames()), line) == scene.truth


@pytest.mark.parametrize(
    "radar", [Radar(error_m=0.1), Radar(ghost=0.15), Radar(deal=1.0), Radar(stale=1.0)], ids=str
)
@pytest.mark.parametrize("seed", range(3))
def test_counts_are_exact_before_a_bad_radar(seed: int, radar: Radar) -> None:
    scene = Scene(seed, radar=radar)
    assert counted(list(scene.frames())) == scene.truth


@pytest.mark.parametrize(
    "clock", [lambda t: math.ceil(t * 4) / 4, lambda t: t / 10, lambda _: 0.0], ids=["late", "fast", "none"]
)
def test_counts_are_exact_when_frames_arrive_together_or_too_fast(clock: Callable[[float], float]) -> None:
    for seed in range(3):
        scene = Scene(seed)
        assert counted(list(scene.frames()), clock=clock) == scene.truth


def test_the_scenes_are_worth_counting() -> None:
    truths = [Scene(seed).truth for seed in range(6)]
    assert all(into and out for into, out in truths)
    assert sum(map(sum, truths)) > 60


# Which way is in


def test_in_is_from_the_left_of_the_line_to_its_right_seen_from_its_first_point() -> None:
    towards_the_radar = people(walk((0.0, 4.5), (0.0, 1.5)))
    assert counted(towards_the_radar) == (1, 0)
    assert counted(towards_the_radar, (LINE[1], LINE[0])) == (0, 1)


def test_two_who_cross_at_once_in_opposite_directions_are_both_counted() -> None:
    both = people(walk((-0.5, 4.5), (-0.5, 1.5)), walk((0.5, 1.5), (0.5, 4.5)), radar=Radar(deal=1.0))
    assert counted(both) == (1, 1)


def test_three_abreast_are_three() -> None:
    row = [walk((x, 1.4), (x, 4.6)) for x in (-1.1, 0.0, 1.1)]
    assert counted(people(*row, radar=Radar(deal=1.0))) == (0, 3)


# What is no passage, or one more


@pytest.mark.parametrize("depth", [-0.2, 0.0, 0.2])
def test_who_turns_round_on_the_line_is_not_counted(depth: float) -> None:
    for seed in range(5):
        assert counted(people(walk((0, 5), (0, 3 - depth), (0, 5)), radar=Radar(), seed=seed)) == (0, 0)


def test_who_rests_on_the_line_is_counted_once_or_not_as_the_way_ends() -> None:
    rest: list[Place] = [(0.0, 3.0)] * 6
    for seed in range(3):
        radar = Radar(error_m=0.1, hidden=0.0)
        assert counted(people(walk((0, 5), *rest, (0, 1)), radar=radar, seed=seed)) == (1, 0)
        assert counted(people(walk((0, 5), *rest, (0, 5)), radar=radar, seed=seed)) == (0, 0)


def test_who_comes_back_is_counted_again() -> None:
    assert counted(people(walk((0, 4.5), (0, 1.5), (0, 4.5), (0, 1.5)))) == (2, 1)


@pytest.mark.parametrize(("x", "passed"), [(-2.3, 0), (-1.7, 1), (1.7, 1), (2.3, 0)])
def test_only_the_way_between_the_ends_of_the_line_counts(x: float, passed: int) -> None:
    assert counted(people(walk((x, 4.5), (x, 1.5)), radar=Radar())) == (passed, 0)


def test_who_walks_round_the_end_of_the_line_and_back_through_it_is_counted_once() -> None:
    assert counted(people(walk((0, 4.5), (2.6, 4.5), (2.6, 1.5), (0, 1.5), (0, 4.5)))) == (0, 1)


def test_who_ends_at_the_line_and_who_begins_behind_it_are_not_one_passage() -> None:
    for gap in (0.2, 0.5, 1.0):
        first = walk((0.0, 4.5), (0.0, 3.4))
        other = walk((1.3, 2.6), (1.3, 1.0), begin=first.end + gap)
        assert counted(people(first, other, radar=Radar(hidden=0.0))) == (0, 0)


# What the radar does


@pytest.mark.parametrize("hidden_at", [0.6, 0.9, 1.1, 1.3, 1.6])
def test_a_gap_of_half_a_second_loses_nobody(hidden_at: float) -> None:
    over = [
        walk((-0.6, 4.5), (-0.6, 1.5), hidden_at=hidden_at),
        walk((0.6, 1.5), (0.6, 4.5), hidden_at=hidden_at),
    ]
    for seed in range(3):
        assert counted(people(*over, radar=Radar(), seed=seed)) == (1, 1)


def test_half_a_second_of_silence_on_the_wire_loses_nobody() -> None:
    frames = people(walk((0.0, 4.5), (0.0, 1.5)), radar=Radar(hidden=0.0))
    begin = frames[0].t
    for silent in (0.5, 0.9, 1.2, 1.5):
        heard = [frame for frame in frames if not silent <= frame.t - begin < silent + 0.5]
        assert counted(heard) == (1, 0)


def test_a_ghost_of_one_frame_is_never_somebody() -> None:
    standing = walk((0.0, 3.6), (0.0, 3.6), (0.0, 3.6))
    for x, y in itertools.product((-0.5, 0.0, 0.5, 1.5), (2.2, 2.6, 4.0)):
        frames = people(standing, radar=Radar(hidden=0.0, ghost=0.0))
        frames[10].targets.append(_person(3, x, y))
        frames[20].targets[:] = [_person(2, x, y)]
        assert counted(frames) == (0, 0)


def test_old_coordinates_in_an_empty_slot_are_nobody() -> None:
    frames = people(walk((0.0, 4.5), (0.0, 1.5)))
    for number, frame in enumerate(frames):
        old = Target(3, 0, 2400 if number % 2 else 3600, 0, 0)
        frame.targets[:] = [target for target in frame.targets if target.slot != 3] + [old]
    assert counted(frames) == (1, 0)


def test_a_passage_is_told_once_and_in_the_frame_that_proves_it() -> None:
    decoder = Ld2450(crossing=LINE).decoder()
    told = []
    for frame in people(walk((0.0, 4.5), (0.0, 1.5))):
        present, into, out = readings(decoder.decode(frame.data, frame.t))
        told.append((into.value, out.value))
        assert present.value == len([target for target in frame.targets if target.resolution_mm])
    assert told.count((1, 0)) == 1
    assert set(told) == {(0, 0), (1, 0)}


def _person(slot: int, x: float, y: float) -> Target:
    return Target(slot, round(x * 1000), round(y * 1000), 0, 320)


# The parts


def test_the_scenes_know_the_truth_about_a_way() -> None:
    assert passages(walk((0.0, 4.5), (0.0, 1.5), (0.0, 4.5)), LINE, 0.3) == ["in", "out"]
    assert passages(walk((0.0, 4.5), (0.0, 2.8), (0.0, 4.5)), LINE, 0.3) == []
    assert passages(walk((2.5, 4.5), (2.5, 1.5)), LINE, 0.3) == []


def test_a_counter_forgets_who_is_gone() -> None:
    counter = Counter(Line(Point(-2, 3), Point(2, 3), 0.3))
    for person in range(1000):
        counter.update([Step(person, Point(0, 4))], {person})
    assert len(counter._ways) == 1


@given(st.integers(0, 2**32), st.floats(0, 2))
def test_hostile_scenes_stay_in_bounded_memory_and_give_whole_numbers(seed: int, width: float) -> None:
    random = Random(seed)
    decoder = Ld2450(crossing=LINE, hysteresis=width).decoder()
    for number in range(60):
        targets = [
            Target(
                slot, random.randint(-32767, 32767), random.randint(-100, 9000), 0, random.choice([0, 1, 320])
            )
            if random.random() < 0.5
            else _person(slot, random.uniform(-1, 1), random.uniform(2, 4))
            for slot in (1, 2, 3)
        ]
        now = number * random.choice([0.0, 0.01, 0.1, 1.0])
        _, into, out = readings(decoder.decode(encode_frame(targets), now))
        assert 0 <= into.value + out.value <= 3
        assert len(decoder._tracker._people) <= MOST_PEOPLE
        assert len(decoder._tracker._sightings) <= MOST_SIGHTINGS


squares = st.integers(0, 6).flatmap(
    lambda width: st.lists(st.lists(st.floats(0, 4), min_size=width, max_size=width), max_size=3)
)


@given(squares, st.floats(0.1, 2))
def test_pairs_are_the_cheapest_of_all_assignments(table: list[list[float]], reach: float) -> None:
    def cost(chosen: Sequence[int | None]) -> float:
        return sum(reach**2 if column is None else table[row][column] for row, column in enumerate(chosen))

    columns = list(range(len(table[0]) if table else 0))
    possible = [
        chosen
        for chosen in itertools.product([*columns, None], repeat=len(table))
        if len({c for c in chosen if c is not None}) == len([c for c in chosen if c is not None])
        and all(c is None or table[row][c] < reach**2 for row, c in enumerate(chosen))
    ]
    found = dict(pairs(table, reach))
    assert cost([found.get(row) for row in range(len(table))]) == pytest.approx(min(map(cost, possible)))
    assert tuple(found.get(row) for row in range(len(table))) in possible


def test_a_clock_that_stands_still_or_jumps_far_ahead_breaks_nothing() -> None:
    tracker = Tracker()
    for now in (0.0, 0.0, 1e12, 1e12, 1e300, 1e300):
        tracker.update([Point(0, 3), Point(1, 3)], now)
    assert len(tracker.people) <= 2

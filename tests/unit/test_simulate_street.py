"""Scenes and scripts are seeded, hold what they promise, and refuse mistakes in words."""

from __future__ import annotations

import contextlib
import itertools
import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegw.simulate import numbers, scenario
from edgegw.simulate.faults import Fault, FaultKind, Faults, spoken
from edgegw.simulate.people import LINE, Crowd, Passages, Walk, walks
from edgegw.simulate.radar import CrowdRadar, ParadeRadar
from edgegw.simulate.scenario import Street

if TYPE_CHECKING:
    from pathlib import Path

Y_OF_LINE = LINE[0][1]


def test_a_walk_from_the_far_side_to_the_radar_is_in() -> None:
    # Seen from the line's first point (-2, 3) its left is the far side: larger y.
    walk = Walk(0, 0.0, 0.0, side=1, speed_m_s=1.0)
    assert walk.at(0.0).y > Y_OF_LINE > walk.at(walk.end_s).y
    assert walk.at(0.5).vy == pytest.approx(-1.0)


def test_a_walk_is_on_the_line_when_it_says_so() -> None:
    walk = Walk(0, 5.0, 1.5, side=-1, speed_m_s=1.3)
    assert walk.passes_s is not None
    assert (walk.at(walk.passes_s).x, walk.at(walk.passes_s).y) == pytest.approx((1.5, Y_OF_LINE))


def test_one_who_turns_stays_within_a_hand_of_the_line_and_comes_back() -> None:
    walk = Walk(0, 0.0, 0.0, side=1, speed_m_s=1.0, turns=True)
    ys = [walk.at(step / 100).y for step in range(int(walk.end_s * 100))]
    assert min(ys) == pytest.approx(Y_OF_LINE - 0.1, abs=0.02)
    assert ys[-1] == pytest.approx(ys[0], abs=0.05)
    assert walk.passes_s is None


def test_the_truth_counts_each_passage_once_and_no_turn() -> None:
    crowd = Crowd(7, 40.0)
    for step in range(6000):
        crowd.at(step / 10)
    lanes = [itertools.takewhile(lambda w: w.start_s < 600, walks(7, lane, 40 / 3)) for lane in range(3)]
    done = [walk for lane in lanes for walk in lane if walk.passes_s is not None and walk.passes_s <= 599.9]
    into = sum(walk.side > 0 for walk in done)
    assert crowd.passed(599.9) == Passages(into, len(done) - into)
    assert into > 20
    assert len(done) - into > 20


@given(seed=st.integers(0, 1000))
def test_people_keep_a_metre_apart_and_inside_the_radars_fan(seed: int) -> None:
    crowd = Crowd(seed, 60.0)
    for step in range(300):
        people = crowd.at(step / 5)
        for one, other in itertools.combinations(people, 2):
            assert math.hypot(one.x - other.x, one.y - other.y) >= 1.0
        assert all(math.hypot(p.x, p.y) < 6 and abs(math.atan2(p.x, p.y)) < math.radians(60) for p in people)


def test_the_same_seed_shows_the_same_reports_and_another_seed_others() -> None:
    def reports(seed: int) -> list[object]:
        radar = CrowdRadar(seed, 45.0)
        return [radar.targets(number, number / 10) for number in range(600)]

    assert reports(3) == reports(3)
    assert reports(3) != reports(4)


def test_a_watched_crowd_shows_the_habits_of_the_real_radar() -> None:
    radar, plain = CrowdRadar(5, 30.0), Crowd(5, 30.0)
    ghosts = stale = 0
    for number in range(6000):
        targets = radar.targets(number, number / 10)
        there = len(plain.at(number / 10))
        seen = sum(target.resolution_mm > 0 for target in targets)
        assert len(targets) <= 3
        assert there <= seen <= there + 1
        ghosts += seen > there
        stale += any(target.resolution_mm == 0 and target.x_mm for target in targets)
    assert ghosts > 50
    assert stale > 300


def test_the_parade_crosses_the_line_on_each_leg_the_way_it_says() -> None:
    radar = ParadeRadar()
    for leg in range(4):
        begin, end = leg * radar.leg_s + 0.01, (leg + 1) * radar.leg_s - 0.01
        first, last = (radar.targets(0, t)[0].y_mm / 1000 for t in (begin, end))
        assert radar.leg(begin) == radar.leg(end)
        assert (first > Y_OF_LINE > last) == (radar.leg(begin).quantity == "count_in")
        assert (first < Y_OF_LINE < last) == (radar.leg(begin).quantity == "count_out")


def test_the_parade_never_jumps() -> None:
    radar = ParadeRadar()
    places = [radar.targets(0, step / 10)[0].y_mm for step in range(200)]
    assert max(abs(a - b) for a, b in itertools.pairwise(places)) <= 121


def test_eight_radar_reports_in_a_row_say_where_they_stand() -> None:
    period = 3**numbers.BESIDE_WINDOW
    said = [numbers.beside(number) for number in range(period + numbers.BESIDE_WINDOW)]
    windows = {tuple(said[at : at + numbers.BESIDE_WINDOW]) for at in range(period)}
    assert len(windows) == period


@given(st.integers(0, numbers.AIR_PERIOD - 1))
def test_two_dust_values_say_the_number_and_look_like_air(number: int) -> None:
    fine, coarse = numbers.air(number)
    assert fine + 5000 * (coarse - 5000) == number
    assert 0 <= fine < coarse < 9999


def test_a_thousand_answers_say_a_thousand_levels_on_the_transmitters_scale() -> None:
    said = [numbers.level(number) for number in range(numbers.LEVEL_PERIOD)]
    assert len(set(said)) == numbers.LEVEL_PERIOD
    assert (min(said), max(said)) == (300, 1299)


@pytest.mark.parametrize("name", ["blast", "city-night", "crowd"])
def test_each_scenario_that_ships_is_valid_and_seeded(name: str) -> None:
    assert name in scenario.names()
    script = scenario.load(name)
    one, again, other = Street(script, 1), Street(script, 1), Street(script, 2)
    times = [(number, number * 0.7) for number in range(300)]
    assert [one.level(*at) for at in times] == [again.level(*at) for at in times]
    assert [one.dust(*at) for at in times] != [other.dust(*at) for at in times]


@given(
    number=st.integers(0, 10**6),
    t=st.floats(0, 10**6),
    name=st.sampled_from(["blast", "city-night", "crowd"]),
)
def test_what_a_street_says_fits_the_sensors_at_any_time(number: int, t: float, name: str) -> None:
    street = Street(scenario.load(name), 1)
    fine, coarse = street.dust(number, t)
    assert 1 <= fine <= coarse <= 9999
    assert 300 <= street.level(number, t) <= 1400


def test_a_blast_overloads_the_transmitter_raises_dust_and_silences_sensors() -> None:
    script = scenario.load("blast")
    street, faults = Street(script, 1), Faults(script.fault, repeat_s=script.repeat)
    assert street.level(0, 19.0) < 900
    assert street.level(0, 20.0) > 1300
    assert street.level(0, 40.0) < 900
    assert street.dust(0, 24.0)[1] > 5 * street.dust(0, 19.0)[1]
    assert faults.condition("air-1", 0, 21.0).silent
    assert not faults.condition("air-1", 0, 27.0).silent
    assert faults.condition("air-1", 0, 141.0).silent  # the script repeats


def test_a_share_of_the_frames_is_damaged_the_same_ones_each_time() -> None:
    def damaged() -> list[bool]:
        fault = Fault(kind=FaultKind.CHECKSUM, sensor="air-1", at=0, lasts=10, share=0.3)
        faults = Faults([fault], seed=9)
        return [faults.condition("air-1", number, 5.0).damaged for number in range(1000)]

    assert damaged() == damaged()
    assert 200 < sum(damaged()) < 400


def test_a_fault_hits_its_own_sensor_in_its_own_time() -> None:
    faults = Faults(extra=[spoken("unplugged:air-1@10s+5s"), spoken("link-down@1+2.5")])
    assert [faults.condition("air-1", 0, t).unplugged for t in (9.9, 10.0, 14.9, 15.0)] == [
        False,
        True,
        True,
        False,
    ]
    assert not faults.condition("sound-1", 0, 12.0).unplugged
    assert [faults.link_down(t) for t in (0.9, 1.0, 3.4, 3.5)] == [False, True, True, False]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "write KIND"),
        ("silent:air-1", "write KIND"),
        ("quiet:air-1@1+1", "there are silent, unplugged"),
        ("silent@1+1", "every other fault names one"),
        ("link-down:air-1@1+1", "link-down names no sensor"),
        ("silent:air-1@1+0", "more than 0 s"),
        ("silent:air-1@99999+1", "within a day"),
    ],
)
def test_a_fault_that_is_none_gets_a_hint(text: str, hint: str) -> None:
    with pytest.raises(ValueError, match=hint):
        spoken(text)


@given(st.text(max_size=40))
def test_any_words_are_a_fault_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert spoken(text).lasts > 0


def test_a_scenario_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(ValueError, match="there are blast, city-night, crowd"):
        scenario.load("parade")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("about = 1", "about"),
        ("loud = 1", "loud"),
        ("= =", "Invalid"),
        ("[[fault]]\nkind = 'silent'\nat = 1\nfor = 1", "names one"),
        ("a" * 70_000, "at most 64 KiB"),
        ("a = " + "[" * 20_000, "recursion|Invalid|Unclosed|nest"),
    ],
)
def test_a_bad_scenario_file_is_named_with_its_mistake(tmp_path: Path, text: str, hint: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=hint) as caught:
        scenario.load(str(path))
    assert str(path) in str(caught.value)

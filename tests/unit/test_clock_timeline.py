from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from fakes_clock import NOW, FakeClock

from edgegw.clock import (
    DRIFT,
    RELEASED,
    UNREADABLE,
    UNTRUSTED,
    Anchor,
    ClockSettings,
    ClockState,
    Stretch,
    Sync,
    Timeline,
    look,
)
from edgegw.problems import PROBLEMS

if TYPE_CHECKING:
    from collections.abc import Callable

HOUR, DAY, YEAR = 3600.0, 86_400.0, 31_557_600.0


def begin(clock: FakeClock, *, floor: float = 0.0, saved: Stretch | None = None) -> Timeline:
    return Timeline(look(clock), boot_id=clock.boot_id(), floor=floor, saved=saved)


def now(timeline: Timeline, clock: FakeClock) -> float:
    return timeline.time(clock.boottime())


def stale(wall: float) -> FakeClock:
    """A board that woke up without a clock chip: the kernel does not vouch for `wall`."""
    clock = FakeClock()
    clock.set_wall(wall)
    return clock


# --- synchronised


def test_a_synchronised_clock_is_followed_from_the_first_moment() -> None:
    clock = FakeClock()
    timeline = begin(clock)
    assert now(timeline, clock) == NOW
    assert timeline.state == (1, 10)
    assert timeline.stretch is None
    assert timeline.problem == ""
    assert timeline.observe(look(clock)) is None


def test_a_reading_keeps_the_time_at_which_it_was_taken_however_late_it_is_stamped() -> None:
    clock = FakeClock()
    timeline = begin(clock)
    taken = clock.boottime()
    clock.advance(0.8)
    timeline.observe(look(clock))
    assert timeline.time(taken) == NOW


def test_times_are_rounded_to_a_millisecond() -> None:
    clock = FakeClock(NOW + 0.123456)
    assert now(begin(clock), clock) == NOW + 0.123


def test_a_step_of_a_synchronised_clock_is_followed_also_backwards() -> None:
    clock = FakeClock()
    timeline = begin(clock)
    clock._wall -= 1  # a leap second, or an NTP step
    timeline.observe(look(clock))
    assert now(timeline, clock) == NOW - 1
    assert timeline.state.sync is Sync.SYNCHRONISED


def test_a_synchronised_clock_before_the_release_is_not_believed_and_named() -> None:
    clock = FakeClock(wall=RELEASED - DAY)
    timeline = begin(clock, floor=NOW)
    assert now(timeline, clock) == NOW
    assert timeline.state == (0, 16_000)
    assert timeline.problem == UNTRUSTED


def test_a_synchronised_clock_before_the_newest_record_is_believed() -> None:
    clock = FakeClock()
    timeline = begin(clock, floor=NOW + 10 * YEAR)  # the records were made on a clock that was ahead
    assert now(timeline, clock) == NOW


def test_the_error_in_the_header_is_rounded_up() -> None:
    clock = FakeClock()
    clock.synchronise(0.0001)
    assert begin(clock).state == (1, 1)


def test_the_state_encodes_as_two_plain_integers() -> None:
    assert list(begin(FakeClock()).state) == [1, 10]
    assert isinstance(ClockState(Sync.UNKNOWN, 0).sync, int)


# --- free-running


def test_a_clock_at_1970_starts_at_the_floor() -> None:
    clock = stale(12.0)
    timeline = begin(clock, floor=NOW - HOUR)
    assert now(timeline, clock) == NOW - HOUR
    assert timeline.state == (0, 16_000)
    assert timeline.problem == UNTRUSTED


def test_the_problems_of_the_clock_have_their_words() -> None:
    assert {UNTRUSTED, UNREADABLE} <= set(PROBLEMS)


def test_without_any_memory_the_floor_is_the_release() -> None:
    clock = stale(12.0)
    assert now(begin(clock), clock) == RELEASED


def test_a_clock_chip_that_is_ahead_of_the_floor_is_taken_as_it_is() -> None:
    clock = stale(NOW + 60)
    assert now(begin(clock, floor=NOW), clock) == NOW + 60


@pytest.mark.parametrize("jump", [10 * YEAR, -10 * YEAR, 1.0])
def test_an_unsynchronised_clock_that_jumps_does_not_move_the_times(jump: float) -> None:
    clock = stale(NOW)
    timeline = begin(clock)
    clock.advance(10)
    clock.set_wall(clock.wall() + jump)
    assert timeline.observe(look(clock)) is None
    assert now(timeline, clock) == NOW + 10


def test_a_suspend_counts_as_time_that_passed() -> None:
    clock = stale(NOW)
    timeline = begin(clock)
    clock.suspend(8 * HOUR)
    timeline.observe(look(clock))
    assert now(timeline, clock) == NOW + 8 * HOUR


def test_a_clock_that_is_too_inexact_counts_as_free_running_until_it_is_exact() -> None:
    clock = FakeClock()
    clock.synchronise(0.6)
    timeline = begin(clock)
    assert timeline.state.sync is Sync.FREE_RUNNING
    clock.grow_error(0.5)
    assert isinstance(timeline.observe(look(clock)), Anchor)
    assert timeline.state == (1, 500)


@pytest.mark.parametrize("floor", [math.nan, math.inf, -math.inf, -1.0, 1e300])
def test_a_floor_that_makes_no_sense_is_the_release(floor: float) -> None:
    clock = stale(0.0)
    assert now(begin(clock, floor=floor), clock) == RELEASED


# --- anchors


def test_the_anchor_says_what_to_add_and_is_given_once() -> None:
    clock = stale(12.0)
    timeline = begin(clock)
    stretch = timeline.stretch
    assert stretch == Stretch(clock.boot_id(), RELEASED - 100, 100)
    clock.advance(HOUR)
    clock.synchronise(0.02)
    anchor = timeline.observe(look(clock))
    assert anchor == Anchor(stretch, NOW - RELEASED, 0.02 + HOUR * DRIFT)
    assert timeline.stretch is None
    assert timeline.observe(look(clock)) is None
    assert now(timeline, clock) == clock.truth


def test_a_clock_that_was_ten_years_ahead_is_anchored_backwards() -> None:
    clock = stale(NOW + 10 * YEAR)
    timeline = begin(clock)
    clock.synchronise()
    anchor = timeline.observe(look(clock))
    assert isinstance(anchor, Anchor)
    assert anchor.seconds_to_add == -10 * YEAR


def test_the_next_run_in_the_same_boot_continues_the_stretch_whatever_the_wall_clock_says() -> None:
    clock = stale(NOW - 5 * YEAR)
    first = begin(clock)
    clock.advance(60)
    clock.set_wall(NOW + 7 * YEAR)
    second = begin(clock, floor=NOW + YEAR, saved=first.stretch)
    assert now(second, clock) == now(first, clock)
    assert second.stretch == first.stretch


def test_a_clock_that_was_synchronised_while_the_daemon_was_down_anchors_the_earlier_run() -> None:
    clock = stale(12.0)
    saved = begin(clock).stretch
    clock.advance(60)
    clock.synchronise()
    timeline = begin(clock, saved=saved)
    assert timeline.state.sync is Sync.FREE_RUNNING
    anchor = timeline.observe(look(clock))
    assert isinstance(anchor, Anchor)
    assert anchor.stretch == saved
    assert anchor.seconds_to_add == NOW - RELEASED


def test_the_stretch_of_another_boot_is_over_and_gets_no_anchor() -> None:
    clock = stale(12.0)
    saved = begin(clock).stretch
    clock.reboot(off=DAY)
    timeline = begin(clock, saved=saved)
    assert timeline.stretch != saved
    clock.synchronise()
    anchor = timeline.observe(look(clock))
    assert isinstance(anchor, Anchor)
    assert anchor.stretch.boot_id == clock.boot_id()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda s: s._replace(offset_s=math.nan),
        lambda s: s._replace(offset_s=math.inf),
        lambda s: s._replace(offset_s=1e300),
        lambda s: s._replace(offset_s=0.0),
        lambda s: s._replace(since_s=1e9),
        lambda s: s._replace(since_s=-1.0),
        lambda s: s._replace(since_s=math.nan),
    ],
)
def test_a_saved_stretch_that_makes_no_sense_is_left_alone(spoil: Callable[[Stretch], Stretch]) -> None:
    clock = stale(NOW)
    saved = begin(clock).stretch
    assert saved is not None
    assert now(begin(clock, saved=spoil(saved)), clock) == NOW


def test_ten_years_wrong_with_jumps_a_suspend_and_restarts_one_anchor_makes_every_time_true() -> None:
    clock = stale(NOW - 10 * YEAR)
    timeline = begin(clock)
    taken: list[tuple[float, float]] = []
    for jump in (0.0, 5 * YEAR, -12 * YEAR, 3.0):
        clock.advance(600)
        clock.suspend(8 * HOUR)
        clock.set_wall(clock.wall() + jump)
        timeline = begin(clock, floor=now(timeline, clock), saved=timeline.stretch)
        assert timeline.observe(look(clock)) is None
        taken.append((now(timeline, clock), clock.truth))
    clock.synchronise()
    anchor = timeline.observe(look(clock))
    assert isinstance(anchor, Anchor)
    assert all(abs(time + anchor.seconds_to_add - truth) < 1 for time, truth in taken)


# --- holdover


def test_a_lost_synchronisation_counts_for_the_holdover_while_its_error_grows() -> None:
    clock = FakeClock()
    timeline = begin(clock)
    clock.lose()
    clock.advance(47 * HOUR)
    assert timeline.observe(look(clock)) is None
    assert timeline.state == (1, math.ceil(10 + 47 * HOUR * DRIFT * 1000))


def test_a_clock_that_is_set_by_hand_during_the_holdover_is_not_followed() -> None:
    clock = FakeClock()
    timeline = begin(clock)
    clock.advance(HOUR)
    clock.set_wall(NOW + YEAR)
    timeline.observe(look(clock))
    assert now(timeline, clock) == NOW + HOUR
    assert timeline.state.sync is Sync.SYNCHRONISED


def test_between_two_polls_of_a_slow_ntp_client_the_clock_stays_synchronised() -> None:
    clock = FakeClock()
    timeline = begin(clock)
    for _ in range(100):  # systemd-timesyncd polls each 2048 s: the error grows to a second, then falls
        clock.advance(2048)
        clock.grow_error(1.024)
        assert timeline.observe(look(clock)) is None
        assert timeline.state == (1, 1024)
        clock.grow_error(0.0)
        assert timeline.observe(look(clock)) is None


def test_after_the_holdover_a_stretch_begins_without_a_jump_and_the_next_anchor_ends_it() -> None:
    clock = FakeClock()
    timeline = begin(clock)
    clock.lose()
    clock.advance(49 * HOUR)
    before = now(timeline, clock)
    stretch = timeline.observe(look(clock))
    assert isinstance(stretch, Stretch)
    assert stretch == timeline.stretch
    assert now(timeline, clock) == before
    assert timeline.state.sync is Sync.FREE_RUNNING
    clock.advance(HOUR)
    clock.truth += 3  # the crystal was slow
    clock.synchronise()
    anchor = timeline.observe(look(clock))
    assert isinstance(anchor, Anchor)
    assert anchor.stretch == stretch
    assert anchor.seconds_to_add == pytest.approx(3)


def test_the_limits_of_the_configuration_are_kept_to_the_second() -> None:
    clock = FakeClock()
    settings = ClockSettings(max_error_s=0.01, holdover_s=10)
    timeline = Timeline(look(clock), boot_id=clock.boot_id(), floor=0, settings=settings)
    clock.lose()
    clock.advance(10)
    assert timeline.observe(look(clock)) is None
    clock.advance(1)
    assert isinstance(timeline.observe(look(clock)), Stretch)


# --- unknown


def test_when_the_kernel_refuses_the_wall_clock_is_used_and_the_header_says_unknown() -> None:
    clock = FakeClock()
    clock.refuse()
    timeline = begin(clock)
    assert now(timeline, clock) == NOW
    assert timeline.state == (2, 16_000)
    assert timeline.problem == UNREADABLE
    assert timeline.stretch is None


def test_when_the_kernel_refuses_the_floor_holds_and_goes_on_with_the_time() -> None:
    clock = FakeClock(wall=12.0)
    clock.refuse()
    timeline = begin(clock, floor=NOW)
    clock.advance(5)
    timeline.observe(look(clock))
    assert now(timeline, clock) == NOW + 5


def test_a_kernel_that_stops_answering_ends_the_stretch_without_an_anchor() -> None:
    clock = stale(12.0)
    timeline = begin(clock)
    clock.refuse()
    assert timeline.observe(look(clock)) is None
    assert timeline.stretch is None
    clock.synchronise()
    assert timeline.observe(look(clock)) is None

from __future__ import annotations

import math

import pytest
from fakes_clock import FakeClock
from hypothesis import given
from hypothesis import strategies as st

from edgegw.clock import (
    EARLIEST,
    LATEST,
    RELEASED,
    Anchor,
    Discipline,
    Moment,
    Stretch,
    Sync,
    Timeline,
    look,
)

DAY = 86_400.0
A_FREE_RUNNING_KERNEL = Discipline(Sync.FREE_RUNNING, 16.0)


def begin(clock: FakeClock, *, floor: float = 0.0, saved: Stretch | None = None) -> Timeline:
    return Timeline(look(clock), boot_id=clock.boot_id(), floor=floor, saved=saved)


def now(timeline: Timeline, clock: FakeClock) -> float:
    return timeline.time(clock.boottime())


def stale(wall: float) -> FakeClock:
    """A board that woke up without a clock chip: the kernel does not vouch for `wall`."""
    clock = FakeClock()
    clock.set_wall(wall)
    return clock


walls = st.floats(min_value=-1e9, max_value=1e11, allow_nan=False)
errors = st.floats(min_value=0, max_value=16)
steps = st.lists(
    st.tuples(
        st.sampled_from(["advance", "suspend", "set", "synchronise", "grow", "lose", "refuse", "restart"]),
        st.floats(min_value=0.001, max_value=4 * DAY),
        walls,
        errors,
    ),
    max_size=40,
)


def act(clock: FakeClock, verb: str, seconds: float, wall: float, error: float) -> None:
    match verb:
        case "suspend":
            clock.suspend(seconds)
        case "set":
            clock.set_wall(wall)
        case "synchronise":
            clock.synchronise(error)
        case "grow":
            clock.grow_error(error)
        case "lose":
            clock.lose()
        case "refuse":
            clock.refuse()
        case _:
            clock.advance(seconds)


@given(wall=walls, floor=st.floats(), uptime=st.floats(min_value=0, max_value=1e9))
def test_no_time_at_the_start_lies_below_the_floor(wall: float, floor: float, uptime: float) -> None:
    start = Moment(uptime, wall, A_FREE_RUNNING_KERNEL)
    time = Timeline(start, boot_id="b", floor=floor).time(uptime)
    assert time >= RELEASED - 0.001
    if floor <= LATEST:
        assert time >= floor - 0.001


@given(wall=walls, steps=steps, past=st.floats(min_value=-1e12, max_value=0))
def test_no_time_is_ever_below_2_to_the_28(
    wall: float, steps: list[tuple[str, float, float, float]], past: float
) -> None:
    clock = FakeClock(wall)
    timeline = Timeline(look(clock), boot_id="b", floor=0, released=-math.inf)
    for step in steps:
        act(clock, *step)
        timeline.observe(look(clock))
        assert now(timeline, clock) >= EARLIEST
        assert timeline.time(past) >= EARLIEST


@given(wall=walls, steps=steps)
def test_free_running_times_never_go_back_and_pass_as_the_boot_time_does(
    wall: float, steps: list[tuple[str, float, float, float]]
) -> None:
    clock = stale(wall)
    timeline = begin(clock)
    began, start = clock.boottime(), now(timeline, clock)
    for step in steps:
        if step[0] in {"synchronise", "grow", "refuse"}:
            continue
        act(clock, *step)
        assert timeline.observe(look(clock)) is None
        assert now(timeline, clock) == pytest.approx(start + clock.boottime() - began, abs=0.002)


@given(wall=walls, steps=steps)
def test_an_anchor_makes_every_time_of_its_stretch_true_to_a_second(
    wall: float, steps: list[tuple[str, float, float, float]]
) -> None:
    clock = stale(wall)
    timeline = begin(clock)
    open_: list[tuple[float, float]] = []
    anchors: list[Stretch] = []
    for verb, seconds, set_to, error in [*steps, ("synchronise", 1.0, 0.0, 0.1)]:
        if verb in {"refuse", "grow"}:
            continue  # a kernel that lies is not anchored to the truth
        act(clock, verb, seconds, set_to, error)
        if verb == "restart":
            timeline = begin(clock, floor=now(timeline, clock), saved=timeline.stretch)
        turn = timeline.observe(look(clock))
        if isinstance(turn, Anchor):
            assert turn.stretch not in anchors
            anchors.append(turn.stretch)
            for time, truth in open_:
                assert abs(time + turn.seconds_to_add - truth) < 1.0
            open_ = []
        if timeline.stretch is not None:
            open_.append((now(timeline, clock), clock.truth))
    assert timeline.stretch is None
    assert not open_


@given(steps=steps)
def test_state_0_is_said_exactly_while_a_stretch_is_open_and_errors_are_never_negative(
    steps: list[tuple[str, float, float, float]],
) -> None:
    clock = FakeClock()
    timeline = begin(clock)
    for step in steps:
        act(clock, *step)
        timeline.observe(look(clock))
        state = timeline.state
        assert (state.sync is Sync.FREE_RUNNING) == (timeline.stretch is not None)
        assert state.error_ms >= 0

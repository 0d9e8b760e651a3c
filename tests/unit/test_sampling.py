import gc
import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegw.reading import QUANTITIES, Quantity, Reading
from edgegw.sampling import MOST_CHECKS, MOST_WAITING, Sampler


def reading(name: str, value: float, flag: int | None = None, checks: tuple[str, ...] = ()) -> Reading:
    return Reading(QUANTITIES[name], value, flag, checks)


def combined(name: str, *values: float) -> list[float]:
    sampler = Sampler(10)
    sampler.feed([reading(name, value) for value in values], 101.0)
    return [found.value for found in sampler.due(110.0)]


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("pm2_5", [12.3, 12.4], 12.35),
        ("pm2_5", [0.1, 0.2, 0.3], 0.2),
        ("temperature", [20.123, 20.124], 20.1235),
        ("pm2_5", [10, 20, 25], 18.33),
        ("temperature", [-0.01, 0.02], 0.005),
        ("dose_rate", [1.1e-7, 1.2e-7], 1.15e-7),
        ("laeq", [60.0, 60.0], 60.0),
        ("laeq", [50.0, 70.0], 67.03),
        ("wind_direction", [350, 10], 0.0),
        ("wind_direction", [170, 190], 180.0),
        ("wind_direction", [0, 90], 45.0),
        ("count_in", [0, 1, 0, 2], 3),
        ("precipitation", [0.1, 0.2], 0.3),
        ("targets", [1, 3, 2], 2),
        ("lafmax", [61.2, 80.5, 60.0], 80.5),
        ("lafmin", [61.2, 80.5, 60.0], 60.0),
        ("lafmin", [61, 80], 61),
    ],
)
def test_each_quantity_is_combined_by_its_own_rule(name: str, values: list[float], expected: float) -> None:
    found = combined(name, *values)
    assert found == [expected]
    assert type(found[0]) is type(expected)


def test_a_sampled_level_becomes_an_equivalent_level() -> None:
    sampler = Sampler(60)
    sampler.feed([reading("la_sampled", 50.0)], 0.0)
    sampler.feed([reading("la_sampled", 70.0)], 1.0)
    assert sampler.due(60.0) == [reading("laeq", 67.03)]


def test_a_device_that_states_an_equivalent_level_itself_keeps_both_apart() -> None:
    sampler = Sampler(60)
    sampler.feed([reading("la_sampled", 50.0), reading("laeq", 55.0)], 0.0)
    assert sampler.due(60.0) == [reading("la_sampled", 50.0), reading("laeq", 55.0)]


def test_directions_that_cancel_out_have_no_mean() -> None:
    assert combined("wind_direction", 0, 180) == []
    assert combined("wind_direction", 0, 120, 240) == []


# Windows


def test_a_window_is_given_once_and_when_it_is_over() -> None:
    sampler = Sampler(10)
    sampler.feed([reading("pm10", 1.0)], 100.0)
    assert sampler.due(109.9) == []
    assert sampler.due(110.0) == [reading("pm10", 1.0)]
    assert sampler.due(120.0) == []


def test_a_window_without_data_gives_nothing_and_a_sum_of_nothing_only_when_frames_came() -> None:
    sampler = Sampler(10)
    assert sampler.due(100.0) == []
    sampler.feed([reading("count_in", 0)], 101.0)
    assert sampler.due(110.0) == [reading("count_in", 0)]
    assert sampler.due(120.0) == []
    sampler.feed([], 121.0)
    assert sampler.due(130.0) == []


def test_what_comes_before_the_last_window_was_fetched_belongs_to_the_next_one() -> None:
    sampler = Sampler(10)
    sampler.feed([reading("pm10", 1.0)], 109.9)
    sampler.feed([reading("pm10", 9.0)], 110.0)
    assert sampler.due(110.1) == [reading("pm10", 1.0)]
    assert sampler.due(120.0) == [reading("pm10", 9.0)]


def test_windows_do_not_drift_however_late_they_are_fetched() -> None:
    sampler = Sampler(10)
    found = []
    for second in range(1000):
        sampler.feed([reading("count_in", 1)], second + 0.5)
        if second % 10 == 3:
            found += [each.value for each in sampler.due(second + 0.9)]
    assert found == [10] * 99


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(0, 5)), max_size=60), st.floats(0.1, 20))
def test_every_passage_is_in_exactly_one_window(steps: list[tuple[float, int]], interval: float) -> None:
    sampler, t, found = Sampler(interval), 0.0, 0.0
    for wait, passed in steps:
        t += wait
        sampler.feed([reading("count_out", passed)], t)
        found += sum(each.value for each in sampler.due(t))
    found += sum(each.value for each in sampler.due(t + 2 * interval))
    assert found == sum(passed for _, passed in steps)


# What carries over


@pytest.mark.parametrize(
    ("flags", "worst"),
    [
        ([None, None], None),
        ([1, 1], 1),
        ([1, None], None),
        ([None, 3, 1], 3),
        ([4, 3], 4),
        ([2, 1], 2),
    ],
)
def test_the_worst_flag_carries_over(flags: list[int | None], worst: int | None) -> None:
    sampler = Sampler(1)
    sampler.feed([reading("co2", 400, flag) for flag in flags], 0.0)
    assert [found.flag for found in sampler.due(1.0)] == [worst]


def test_every_check_carries_over_once_and_the_newest_meta() -> None:
    sampler = Sampler(1)
    sampler.feed([reading("co2", 400, 3, ("warm_up",)), reading("co2", 401, 3, ("range", "warm_up"))], 0.0)
    sampler.feed([reading("co2", 402)._replace(meta={"device_id": "a160"})], 0.5)
    (found,) = sampler.due(1.0)
    assert found.checks == ("warm_up", "range")
    assert found.meta == {"device_id": "a160"}


# Hostile drivers


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_no_number_spoils_no_mean_and_goes_on_to_be_counted(value: float) -> None:
    sampler = Sampler(1)
    sampler.feed([reading("co2", 400.0), reading("co2", value), reading("co2", 500.0)], 0.0)
    impossible, mean = sampler.due(1.0)
    assert not math.isfinite(impossible.value)
    assert mean.value == 450.0


@given(st.sampled_from(sorted(QUANTITIES)), st.lists(st.floats(allow_nan=False), min_size=1, max_size=20))
def test_any_numbers_give_a_number_or_nothing_and_never_an_exception(name: str, values: list[float]) -> None:
    for value in combined(name, *values):
        assert not math.isnan(value)


@given(st.lists(st.floats(0, 140), min_size=1, max_size=30))
def test_an_energy_mean_lies_between_the_arithmetic_mean_and_the_highest(levels: list[float]) -> None:
    (found,) = combined("laeq", *levels)
    assert sum(levels) / len(levels) - 1e-6 <= found + 1e-6
    assert found <= max(levels) + 1e-6


def test_a_quantity_that_is_not_the_catalogues_is_a_fault_of_the_driver() -> None:
    warmth = Quantity("temperature", "degF", QUANTITIES["temperature"].mean)
    with pytest.raises(ValueError, match="temperature in degF"):
        Sampler(1).feed([Reading(warmth, 70.0)], 0.0)


def test_memory_does_not_grow_with_the_readings_of_a_window() -> None:
    sampler = Sampler(1e9)

    def weight() -> int:
        gc.collect()
        return sum(map(sys.getsizeof, gc.get_objects()))

    many = [reading(name, 1.0 + number % 7) for number in range(500) for name in ("pm10", "laeq", "targets")]
    sampler.feed(many, 0.0)
    before = weight()
    for number in range(50):
        sampler.feed(many, float(number))
    assert weight() - before < 10_000


def test_windows_that_nobody_fetches_and_endless_checks_are_bounded() -> None:
    sampler = Sampler(1)
    for second in range(10 * MOST_WAITING):
        sampler.feed([reading("co2", 400, 3, (f"check {second}", f"{second}"))], float(second))
    assert len(sampler.due(1e6)) == MOST_WAITING
    sampler.feed([reading("co2", 400, 3, tuple(map(str, range(1000))))], 1e6)
    assert [len(found.checks) for found in sampler.due(2e6)] == [MOST_CHECKS]

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from outcomes import readings

from edgegw import registry
from edgegw.driver import FrameError
from edgegw_drivers.ld2450 import Ld2450
from edgegw_drivers.ld2450.frame import FRAMING, Target, encode_frame, parse, plausible

# HLK-LD2450 serial protocol manual (csRon/HLK-LD2450), and the same radar with nobody before it.
MANUAL = bytes.fromhex("aaff03000e03b186100040010000000000000000000000000000000055cc")
NOBODY = bytes.fromhex("aaff030000000000000000000000000000000000000000000000000055cc")
SOMEBODY = Target(1, 500, 2000, -30, 320)

number = st.integers(-32767, 32767)
targets = st.builds(Target, st.just(1), number, number, number, st.integers(1, 65535))


def shown(frame: bytes, **options: Any) -> list[dict[str, int]]:
    """The tracks that a reading of `targets` shows."""
    found = readings(Ld2450(**options).decode(frame))[0]
    assert found.meta is not None
    assert found.value == len(found.meta["targets"])
    return list(found.meta["targets"])


def test_the_example_of_the_manual_is_read_as_the_manual_reads_it() -> None:
    assert shown(MANUAL) == [{"slot": 1, "x_mm": -782, "y_mm": 1713, "speed_cm_s": -16, "resolution_mm": 320}]


def test_nobody_is_a_reading_of_none() -> None:
    assert shown(NOBODY) == []


@given(st.lists(targets, max_size=3))
def test_what_a_radar_says_is_what_is_read(said: list[Target]) -> None:
    said = [target._replace(slot=slot) for slot, target in enumerate(said, 1)]
    assert parse(encode_frame(said)) == said


def test_a_slot_keeps_its_number_when_the_ones_before_it_are_empty() -> None:
    assert parse(encode_frame([SOMEBODY._replace(slot=3)])) == [SOMEBODY._replace(slot=3)]


@pytest.mark.parametrize(
    ("change", "there"),
    [
        ({}, True),
        ({"resolution_mm": 0}, False),
        ({"x_mm": 6500}, True),
        ({"x_mm": -6501}, False),
        ({"y_mm": 8000}, True),
        ({"y_mm": 8001}, False),
        ({"y_mm": -1}, False),
        ({"speed_cm_s": -1000}, True),
        ({"speed_cm_s": 1001}, False),
    ],
)
def test_only_where_somebody_can_be_somebody_is(change: Mapping[str, int], there: bool) -> None:
    target = SOMEBODY._replace(**change)
    assert plausible(target) is there
    assert len(shown(encode_frame([target]))) == there
    assert len(shown(encode_frame([target]), shown="none")) == 1


@given(st.binary(max_size=40))
def test_other_bytes_are_refused(data: bytes) -> None:
    if FRAMING.refusal(data):
        with pytest.raises(FrameError):
            parse(data)


def test_without_a_line_nothing_is_counted() -> None:
    assert [found.quantity.name for found in readings(Ld2450().decode(MANUAL))] == ["targets"]
    assert Ld2450().emits() == ("targets",)


def test_with_a_line_each_frame_says_how_many_passed() -> None:
    driver = registry.make("ld2450", {"line": [[-2, 3], [2, 3]], "hysteresis": "30cm"})
    assert isinstance(driver, Ld2450)
    found = [(reading.quantity.name, reading.value) for reading in readings(driver.decode(MANUAL))]
    assert found == [("targets", 1), ("count_in", 0), ("count_out", 0)]
    assert json.dumps(found[1][1]) == "0"
    assert [name for name, _ in found] == list(driver.emits())


@pytest.mark.parametrize(
    ("options", "path", "why"),
    [
        ({"line": [[0, 0], [0, 0.2]]}, ("line",), "less than 0.5 m apart"),
        ({"line": [[0, 0], [0, float("nan")]]}, ("line",), "finite number"),
        ({"line": [[0, 0]]}, ("line", 1), "required"),
        ({"line": [[0, "far"], [1, 1]]}, ("line", 0, 1), "valid number"),
        ({"hysteresis": "3 ft"}, ("hysteresis",), "units mm, cm, m"),
        ({"hysteresis": 2.5}, ("hysteresis",), "more than the radar sees"),
        ({"hysteresis": -1}, ("hysteresis",), "units"),
        ({"filter": "some"}, ("filter",), "'plausibility' or 'none'"),
    ],
)
def test_options_that_cannot_be_are_named_with_their_place(
    options: Mapping[str, Any], path: tuple[str | int, ...], why: str
) -> None:
    with pytest.raises(registry.OptionsError) as raised:
        registry.make("ld2450", options)
    (mistake,) = raised.value.mistakes
    assert mistake.path == path
    assert why in mistake.message


def test_a_bare_number_is_a_hysteresis_in_metres() -> None:
    assert registry.make("ld2450", {"hysteresis": 0.3}) == Ld2450(hysteresis=0.3)


def test_commands_outside_the_table_are_refused() -> None:
    with pytest.raises(ValueError, match="no command 'factory reset'"):
        Ld2450().encode("factory reset", {})

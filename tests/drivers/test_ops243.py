from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegw.driver import FrameError, Notice, Outcome, Reading
from edgegw.framing import Framer
from edgegw_drivers.ops243 import Ops243
from edgegw_drivers.ops243.passage import LEAST_LINES, Passages

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

INBOUND = '{"speed":0.58, "direction":"inbound","time":105, "tick":135}'


def radar(**options: Any) -> Ops243:
    return Ops243(first_line="take", **options)


def heard(text: str, **options: Any) -> Sequence[Outcome]:
    found = radar(**options).decode_layer("ascii-line", text.encode(), {})
    assert found is not None
    return found


def speed(text: str, **options: Any) -> float:
    (found,) = (each for each in heard(text, **options) if isinstance(each, Reading))
    assert found.quantity.name == "speed"
    assert found.meta is not None
    assert found.meta["direction"] == ("inbound" if found.value > 0 else "outbound")
    return found.value


def refused(text: str, **options: Any) -> str:
    with pytest.raises(FrameError) as raised:
        heard(text, **options)
    return raised.value.reason


# Lines


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (INBOUND, 0.58),
        ('{"speed":38.22,"direction":"outbound","magnitude":212.5}', -38.22),
        ('{"speed":-38.22,"direction":"inbound"}', 38.22),
        ('{"speed":"2.5","direction":"outbound"}', -2.5),
        ('{"speed":-3.1}', -3.1),
        ('{"unit":"mps","speed":3}', 3),
        ("-3.61", -3.61),
        ("+.5", 0.5),
        ("  7.30 ", 7.3),
        ("105.135,-3.61", -3.61),
        ("105.135, 212.5, 3.61", 3.61),
        ('"mps",2.1', 2.1),
        ('"mps",105.1,212,-2.1', -2.1),
    ],
)
def test_a_line_gives_the_speed_that_it_says_and_approaching_is_positive(text: str, value: float) -> None:
    assert speed(text) == value


def test_the_magnitude_stands_beside_the_speed() -> None:
    for text in ('{"speed":1,"direction":"inbound","magnitude":212.5}', "105.135,212.5,1.0"):
        (found,) = (each for each in heard(text) if isinstance(each, Reading))
        assert found.meta == {"direction": "inbound", "magnitude": 212.5}


@pytest.mark.parametrize(
    "text",
    [
        '{"Product":"OPS243"}',
        '{"Units":"m-per-sec"}',
        '{"range":7.62}',
        '"m",2.1',
        "{}",
        '{"Version":"1.2.3"}',
    ],
)
def test_what_the_radar_says_of_itself_and_of_distances_is_no_reading(text: str) -> None:
    assert heard(text) == ()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{bad json", "malformed"),
        ("OPS243-C", "malformed"),
        ("", "malformed"),
        ("1,2,3,4", "malformed"),
        ("1e5", "malformed"),
        ("nan", "malformed"),
        ("3.6 1", "malformed"),
        ("1.0\n2.0", "malformed"),
        ("\xff\xfe", "malformed"),
        ('{"speed":NaN}', "malformed"),
        ('{"speed":Infinity}', "malformed"),
        ('{"speed":null}', "malformed"),
        ('{"speed":true}', "malformed"),
        ('{"speed":[1,2]}', "malformed"),
        ('{"speed":"fast"}', "malformed"),
        ('{"speed":1' + 200 * "0" + "}", "implausible"),
        ('{"speed":1,"direction":"sideways"}', "malformed"),
        ('{"speed":1,"direction":["inbound"]}', "malformed"),
        ('{"speed":1,"unit":"parsec"}', "undefined"),
        ('"furlong",1', "undefined"),
        ("0.0", "not_available"),
        ('{"speed":0,"direction":"inbound"}', "not_available"),
        ("100.1", "implausible"),
        ("1" * 300, "malformed"),
    ],
)
def test_what_is_no_speed_is_refused_with_a_reason(text: str, reason: str) -> None:
    assert refused(text) == reason


def test_lines_of_another_layer_are_not_known() -> None:
    assert radar().decode_layer("http-json", b"1.0", {}) is None


@given(st.text(max_size=40) | st.recursive(st.none() | st.floats() | st.text(), st.lists).map(json.dumps))
def test_any_line_gives_readings_or_a_reason(text: str) -> None:
    found: Sequence[Outcome] = ()
    try:
        found = heard('{"speed":' + text + "}")
    except FrameError as error:
        assert error.whole or error.reason == "malformed"  # noqa: PT017 -- either is right
    assert all(abs(each.value) <= 100 for each in found if isinstance(each, Reading))


# The sign, the unit, the angle


def test_what_a_positive_number_means_is_a_setting_and_a_direction_word_wins() -> None:
    assert speed("-35.61", positive="inbound") == -35.61
    assert speed("44.70", positive="outbound") == -44.7
    assert speed("-44.70", positive="outbound") == 44.7
    assert speed(INBOUND, positive="outbound") == 0.58


@pytest.mark.parametrize(
    ("units", "value"), [("m/s", 36.0), ("km/h", 10.0), ("mph", 16.09), ("ft/s", 10.97), ("cm/s", 0.36)]
)
def test_speeds_are_in_metres_a_second_whatever_the_radar_speaks(units: str, value: float) -> None:
    assert speed("36.0", units=units) == value


def test_a_radar_that_names_another_unit_is_believed_and_that_is_told_once() -> None:
    decoder = radar().decoder()
    (notice,) = decoder.decode(b'{"Units":"km-per-hr"}\r\n', 0.0)
    assert isinstance(notice, Notice)
    assert notice.name == "settings"
    assert 'units = "km/h"' in notice.text
    (found,) = decoder.decode(b"36.0\r\n", 1.0)
    assert isinstance(found, Reading)
    assert found.value == 10.0


def test_an_angle_is_corrected_by_its_cosine() -> None:
    assert speed("10.0", angle=60) == 20.0
    assert speed("10.0", angle=30) == 11.55
    assert speed("10.01") == 10.01


# The first line


def test_a_lone_number_that_comes_first_may_be_torn_and_is_not_taken() -> None:
    decoder = Ops243().decoder()
    with pytest.raises(FrameError, match="torn"):
        decoder.decode(b"5.61\r\n", 0.0)
    assert len(decoder.decode(b"-35.61\r\n", 0.1)) == 1


def test_a_whole_object_that_comes_first_is_taken() -> None:
    assert len(Ops243().decoder().decode(INBOUND.encode() + b"\r\n", 0.0)) == 1


def test_noise_of_a_wrong_baud_rate_gives_nothing_and_costs_no_line_behind_it() -> None:
    driver, errors = radar(), list[FrameError]()
    decoder, framer = driver.decoder(), Framer(driver.framing)
    stream = b"\xff\xfe\x00\x7e" * 100 + b"\n" + b"\xff\xfe\x00\x7e\n" + INBOUND.encode() + b"\r\n-3"
    found = framer.feed(stream, lambda line: decoder.decode(line, 0.0), errors.append)
    assert [len(outcomes) for outcomes in found] == [1]
    assert [error.reason for error in errors] == ["malformed"]


# Passages


def passed(passages: Passages, *lines: tuple[bool, float]) -> tuple[int, int]:
    found = [passages.heard(approaching, now) for approaching, now in lines]
    return sum(each[0] for each in found), sum(each[1] for each in found)


def test_a_burst_is_one_passage_with_its_third_line() -> None:
    passages = Passages(1.0)
    assert [passages.heard(True, now / 10) for now in range(5)] == [(0, 0), (0, 0), (1, 0), (0, 0), (0, 0)]


def test_a_gap_makes_a_new_passage_and_less_than_it_does_not() -> None:
    burst = [(True, 0.1 * n) for n in range(LEAST_LINES)]
    after = burst[-1][1]
    for gap, count in ((0.9, 1), (1.0, 2), (5.0, 2)):
        again = [(True, after + gap + 0.1 * n) for n in range(LEAST_LINES)]
        assert passed(Passages(1.0), *burst, *again) == (count, 0)


def test_both_directions_are_counted_apart() -> None:
    lines = [(way, 0.1 * n) for n in range(LEAST_LINES) for way in (True, False)]
    assert passed(Passages(1.0), *lines) == (1, 1)


def test_two_lines_are_a_bird() -> None:
    assert passed(Passages(1.0), (True, 0.0), (True, 0.1), (True, 5.0), (True, 5.1)) == (0, 0)


def test_counts_come_with_each_speed_where_a_gap_is_configured() -> None:
    driver = radar(passage_gap="1.5s")
    assert driver.emits() == ("speed", "count_in", "count_out")
    decoder = driver.decoder()
    for number in range(LEAST_LINES):
        found = decoder.decode(b"-3.0\n", 0.1 * number)
    named = {each.quantity.name: each.value for each in found if isinstance(each, Reading)}
    assert named == {"speed": -3.0, "count_in": 0, "count_out": 1}
    assert radar().emits() == ("speed",)


# Options and commands


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"angle": 61}, "^angle: "),
        ({"angle": float("nan")}, "^angle: "),
        ({"passage_gap": "soon"}, "^passage_gap: "),
        ({"passage_gap": "0.1s"}, "^passage_gap: "),
        ({"passage_gap": 0}, "^passage_gap: "),
    ],
)
def test_options_that_cannot_be_are_named(options: Mapping[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Ops243(**options)


@pytest.mark.parametrize(
    ("units", "sent"),
    [("m/s", [b"OJ", b"UM"]), ("km/h", [b"OJ", b"UK"]), ("mph", [b"OJ", b"US"]), ("ft/s", [b"OJ"])],
)
def test_setting_up_asks_for_directions_and_the_unit(units: Any, sent: list[bytes]) -> None:
    requests = Ops243(units=units).setup()
    assert [each.data for each in requests] == sent
    assert all(each.changes for each in requests)

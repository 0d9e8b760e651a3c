from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from outcomes import readings

from edgegw.driver import FrameError, Notice, Outcome, Quality, Reading
from edgegw.framing import Framer
from edgegw_drivers.sds011 import Sds011
from edgegw_drivers.sds011.frame import encode_frame, parse

# Captured with an SDS198 (avaldebe/PyPMS, captured_data).
PM100_22 = bytes.fromhex("aacf0c001600e90510ab")
# The reply to set_query, in the layout of the command tables (lewapek/sds-dust-sensors-arduino-library).
REPLY = bytes.fromhex("aac502010100a16005ab")
ZEROS = encode_frame(0, 0)

WARM = Sds011(warm_up_time="0s")


def told(outcomes: Sequence[Outcome]) -> list[tuple[str, float, int | None, tuple[str, ...]]]:
    return [(found.quantity.name, found.value, found.flag, found.checks) for found in readings(outcomes)]


def plain(pm2_5: float, pm10: float) -> list[tuple[str, float, int | None, tuple[str, ...]]]:
    return [("pm2_5", pm2_5, None, ()), ("pm10", pm10, None, ())]


@given(st.integers(0, 9998), st.integers(1, 9998))
def test_values_are_the_decimals_that_the_device_states(pm2_5: int, pm10: int) -> None:
    frame = encode_frame(pm2_5 / 10, pm10 / 10)
    assert told(WARM.decode(frame)) == plain(float(f"{pm2_5}e-1"), float(f"{pm10}e-1"))


def test_an_sds198_gives_pm100_alone() -> None:
    assert told(WARM.decode(PM100_22)) == [("pm100", 22, None, ())]


def test_the_end_of_the_range_is_flagged_and_kept() -> None:
    assert told(WARM.decode(encode_frame(12.0, 999.9))) == [
        ("pm2_5", 12.0, None, ()),
        ("pm10", 999.9, Quality.SUSPECT, ("saturated",)),
    ]
    assert told(WARM.decode(encode_frame(12.0, 1000.0)))[1] == ("pm10", 1000.0, Quality.FAIL, ("range",))


def test_each_reading_says_which_device_it_came_from_and_another_one_is_told() -> None:
    decoder = WARM.decoder()
    told_of = []
    for device in ("a160", "a160", "58d9", "58d9"):
        found = decoder.decode(encode_frame(1, 2, device), 0.0)
        assert [each.meta for each in found if isinstance(each, Reading)] == [{"device_id": device}] * 2
        told_of.append([each for each in found if isinstance(each, Notice)])
    assert [len(notices) for notices in told_of] == [0, 0, 1, 0]
    (notice,) = told_of[2]
    assert notice.name == "device"
    assert "58d9" in notice.text
    assert "a160" in notice.text


def test_a_device_that_is_not_the_expected_one_is_told_at_its_first_frame() -> None:
    expected = Sds011(device_id="A160", warm_up_time="0s")
    assert told(expected.decode(encode_frame(1, 2, "a160"))) == plain(1.0, 2.0)
    (notice, *found) = expected.decode(encode_frame(1, 2, "58d9"))
    assert isinstance(notice, Notice)
    assert notice.name == "device"
    assert told(found) == plain(1.0, 2.0)


# Warm-up


def test_values_are_flagged_until_the_fan_has_run_long_enough() -> None:
    decoder = Sds011().decoder()
    frame = encode_frame(5.0, 7.0)
    for now in (1000.0, 1015.0, 1029.9):
        assert {(found.flag, found.checks) for found in readings(decoder.decode(frame, now))} == {
            (3, ("warm_up",))
        }
    assert told(decoder.decode(frame, 1030.0)) == plain(5.0, 7.0)


def test_a_frame_of_zeros_gives_no_reading_whenever_it_comes() -> None:
    decoder = WARM.decoder()
    assert told(decoder.decode(encode_frame(5, 7), 0.0)) == plain(5.0, 7.0)
    with pytest.raises(FrameError) as refused:
        decoder.decode(ZEROS, 100.0)
    assert refused.value.reason == "warming_up"
    assert refused.value.whole
    assert told(decoder.decode(encode_frame(0, 0.1), 101.0)) == plain(0.0, 0.1)
    (notice, missing) = decoder.decode(encode_frame(0, 0, "58d9"), 102.0)
    assert isinstance(notice, Notice)
    assert isinstance(missing, FrameError)


def test_warming_up_can_be_dropped_and_is_then_counted() -> None:
    decoder = Sds011(warm_up="drop", warm_up_time="2s").decoder()
    found = [decoder.decode(encode_frame(5, 7), float(second)) for second in range(4)]
    for (refused,) in found[:2]:
        assert isinstance(refused, FrameError)
        assert refused.reason == "warming_up"
    assert [told(outcomes) for outcomes in found[2:]] == [plain(5.0, 7.0)] * 2


def test_checks_add_up() -> None:
    (first, _) = readings(Sds011().decoder().decode(encode_frame(999.9, 5), 0.0))
    assert (first.flag, first.checks) == (3, ("warm_up", "saturated"))


# Replies and damage


def test_replies_give_no_reading_and_stop_nothing() -> None:
    decoder, framer = WARM.decoder(), Framer(WARM.framing)
    refused: list[FrameError] = []
    stream = REPLY + encode_frame(1, 2) + REPLY + REPLY + encode_frame(3, 4)
    found = framer.feed(stream, lambda frame: decoder.decode(frame, 0.0), refused.append)
    frames = [[each for each in outcomes if not isinstance(each, Notice)] for outcomes in found]
    assert [told(outcomes) for outcomes in frames if outcomes] == [plain(1.0, 2.0), plain(3.0, 4.0)]
    assert refused == []
    assert framer.dropped == 0


@pytest.mark.parametrize("frame", [encode_frame(123.6, 261.8), PM100_22, REPLY])
def test_no_flipped_bit_passes(frame: bytes) -> None:
    for bit in range(8 * len(frame)):
        damaged = bytearray(frame)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FrameError):
            parse(bytes(damaged))


# What is sent


def test_nothing_is_asked_by_a_listener() -> None:
    assert Sds011().request() == b""


def test_ask_mode_queries_the_data() -> None:
    assert Sds011(mode="ask").request().hex() == "aab404000000000000000000000000ffff02ab"


@pytest.mark.parametrize(
    ("options", "changes"),
    [
        ({}, ["wake", "wake", "set_active"]),
        ({"mode": "ask"}, ["wake", "wake", "set_query"]),
        ({"period": 5}, ["wake", "wake", "set_active", "set_period"]),
    ],
)
def test_setting_up_wakes_the_device_twice_sets_what_is_configured_and_then_asks_how_it_is_set(
    options: Mapping[str, Any], changes: list[str]
) -> None:
    driver = Sds011(**options)
    requests = driver.setup()
    commands = [*changes, "get_mode", "get_period"]
    assert [each.data for each in requests] == [driver.encode(name, {"period": 5}) for name in commands]
    assert [each.name for each in requests if each.changes] == changes


# Settings


def reply(command: int, value: int, device: str = "a160") -> bytes:
    content = bytes((command, 0, value, 0)) + bytes.fromhex(device)
    return b"\xaa\xc5" + content + bytes((sum(content) & 0xFF, 0xAB))


@pytest.mark.parametrize(
    ("options", "command", "value", "says"),
    [
        ({}, 2, 0, None),
        ({}, 2, 1, "only when it is asked"),
        ({"mode": "ask"}, 2, 1, None),
        ({"mode": "ask"}, 2, 0, "by itself each second"),
        ({}, 8, 0, None),
        ({}, 8, 30, "once in 30 minutes"),
        ({"period": 5}, 8, 5, None),
        ({"period": 5}, 8, 0, "all the time"),
        ({}, 6, 1, None),
        ({}, 7, 15, None),
    ],
)
def test_a_setting_that_the_device_kept_otherwise_is_told(
    options: Mapping[str, Any], command: int, value: int, says: str | None
) -> None:
    found = Sds011(**options).decode(reply(command, value))
    assert [type(each) for each in found] == ([] if says is None else [Notice])
    for notice in found:
        assert isinstance(notice, Notice)
        assert notice.name == "settings"
        assert says is not None
        assert says in notice.text
        assert "allow_setup" in notice.text


def test_both_settings_are_told_together_and_not_again() -> None:
    decoder = Sds011().decoder()
    (first,) = decoder.decode(reply(2, 1), 0.0)
    (both,) = decoder.decode(reply(8, 5), 0.1)
    assert isinstance(first, Notice)
    assert isinstance(both, Notice)
    assert both.text.startswith(first.text)
    assert "once in 5 minutes" in both.text
    assert decoder.decode(reply(8, 5), 0.2) == ()


@pytest.mark.parametrize(
    ("command", "options", "why"),
    [
        ("set_device_id", {}, "no command 'set_device_id'"),
        ("set_period", {}, "0 to 30 minutes"),
        ("set_period", {"period": 31}, "0 to 30 minutes"),
        ("sleep", {"dev": "a1"}, "four hexadecimal digits"),
    ],
)
def test_commands_that_cannot_be_are_refused(command: str, options: Mapping[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Sds011().encode(command, options)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"period": 31}, "^period: "),
        ({"warm_up_time": "soon"}, "^warm_up_time: "),
        ({"device_id": "a16"}, "^device_id: "),
    ],
)
def test_options_that_cannot_be_are_named(options: Mapping[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Sds011(**options)

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from outcomes import readings

from edgegw.driver import FrameError, Notice, Reading, Request
from edgegw_drivers.hilink import REPLY_START, parse_reply
from edgegw_drivers.hilink.commands import firmware
from edgegw_drivers.ld2410 import Ld2410

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgegw.driver import Outcome

# Captured (morian/aio-ld2410, tests/protocol).
BASIC = bytes.fromhex("f4f3f2f10d0002aa0251000000003b00005500f8f7f6f5")
ENGINEERING = bytes.fromhex(
    "f4f3f2f1230001aa031e003c000039000008083c220503030403060500003910130606080460015500f8f7f6f5"
)
FIRMWARE = bytes.fromhex("fdfcfbfa0c00a0010000000002011624062204030201")


def report(state: int = 3, *numbers: int) -> bytes:
    """A basic report: moving distance and energy, still distance and energy, detection distance."""
    seen = struct.pack("<BHBHBH", state, *(numbers or (100, 50, 120, 25, 300)))
    return b"\xf4\xf3\xf2\xf1\x0d\x00\x02\xaa" + seen + b"\x55\x00\xf8\xf7\xf6\xf5"


def reply(command: int, status: int = 0, payload: bytes = b"") -> bytes:
    content = bytes((command, 1)) + struct.pack("<H", status) + payload
    return REPLY_START + struct.pack("<H", len(content)) + content + b"\x04\x03\x02\x01"


def occupied(outcomes: Sequence[Outcome]) -> float:
    (found,) = readings(outcomes)
    assert found.quantity.name == "occupancy"
    return found.value


def notices(outcomes: Sequence[Outcome]) -> list[tuple[str, str]]:
    return [(each.name, each.text) for each in outcomes if isinstance(each, Notice)]


# Reports


@pytest.mark.parametrize(("state", "somebody"), [(0, 0), (1, 1), (2, 1), (3, 1)])
def test_somebody_who_moves_or_is_still_occupies(state: int, somebody: int) -> None:
    assert occupied(Ld2410().decode(report(state))) == somebody


def test_distances_are_words_and_stand_beside_the_value() -> None:
    (found,) = readings(Ld2410().decode(report(3, 300, 100, 511, 99, 600)))
    assert found.meta == {
        "moving": True,
        "still": True,
        "moving_distance_cm": 300,
        "moving_energy": 100,
        "still_distance_cm": 511,
        "still_energy": 99,
        "detection_distance_cm": 600,
        "values": [True, True, 300, 100, 511, 99, 600],
    }


def test_an_engineering_report_shows_its_gates() -> None:
    (found,) = readings(Ld2410().decode(ENGINEERING))
    assert found.meta is not None
    assert found.meta["moving_gates"] == [60, 34, 5, 3, 3, 4, 3, 6, 5]
    assert found.meta["still_gates"] == [0, 0, 57, 16, 19, 6, 6, 8, 4]
    assert (found.meta["light"], found.meta["out_pin"]) == (96, 1)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (report(4), "state"),
        (report(3, 100, 101, 0, 0, 0), "implausible"),
        (report(3, 1001, 1, 0, 0, 0), "implausible"),
        (BASIC[:6] + b"\x01" + BASIC[7:], "malformed"),
        (BASIC[:7] + b"\xab" + BASIC[8:], "malformed"),
        (BASIC[:-6] + b"\x54" + BASIC[-5:], "malformed"),
        (BASIC[:-5] + b"\x01" + BASIC[-4:], "malformed"),
        (ENGINEERING[:17] + b"\x09" + ENGINEERING[18:], "malformed"),
        (ENGINEERING[:20] + b"\x65" + ENGINEERING[21:], "implausible"),
        (BASIC[:4] + b"\x0e" + BASIC[5:], "header"),
    ],
)
def test_what_no_radar_says_is_refused(frame: bytes, reason: str) -> None:
    with pytest.raises(FrameError) as refused:
        Ld2410().decode(frame)
    assert refused.value.reason == reason


@given(st.binary(min_size=9, max_size=9))
def test_whatever_is_seen_is_an_occupancy_or_refused(seen: bytes) -> None:
    value = None
    try:
        value = occupied(Ld2410().decode(BASIC[:8] + seen + BASIC[-6:]))
    except FrameError as error:
        assert error.reason in {"state", "implausible"}  # noqa: PT017 -- either is right
    assert value in (None, 0, 1)


# Commands and replies


def test_replies_are_no_readings() -> None:
    assert not [each for each in Ld2410().decode(FIRMWARE) if isinstance(each, Reading)]


def test_the_firmware_is_told() -> None:
    assert notices(Ld2410().decode(FIRMWARE)) == [("firmware", "The radar's firmware is 1.02.22062416.")]
    assert firmware(b"short") == ""


def test_a_frame_that_answers_no_command_is_no_reply() -> None:
    with pytest.raises(FrameError, match="malformed"):
        parse_reply(reply(0xA0).replace(b"\xa0\x01", b"\xa0\x00"))
    with pytest.raises(FrameError, match="truncated"):
        parse_reply(reply(0xA0)[:-1])


def asked(name: str) -> Request:
    return next(each for each in Ld2410().setup() if each.name == name)


def test_setting_up_switches_bluetooth_off_and_all_of_it_is_a_change() -> None:
    requests = Ld2410().setup()
    assert [each.name for each in requests] == [
        "enable configuration",
        "read firmware",
        "read MAC address",
        "Bluetooth off",
        "restart",
    ]
    assert all(each.changes for each in requests)
    assert requests[3].data.hex() == "fdfcfbfa0400a400000004030201"


@pytest.mark.parametrize(("mac", "told"), [("080504030201", []), ("8f272eb80f65", ["bluetooth"])])
def test_bluetooth_that_was_on_is_told(mac: str, told: list[str]) -> None:
    found = Ld2410().decode(reply(0xA5, payload=bytes.fromhex(mac)))
    assert [name for name, _ in notices(found)] == told


def test_what_is_acknowledged_is_not_mentioned() -> None:
    decoder = Ld2410().decoder()
    decoder.sent(asked("Bluetooth off"), 0.0)
    assert decoder.decode(reply(0xA4), 0.1) == ()
    assert notices(decoder.decode(BASIC, 100.0)) == []


def test_what_is_refused_or_not_acknowledged_is_told_once() -> None:
    decoder = Ld2410().decoder()
    decoder.sent(asked("Bluetooth off"), 0.0)
    ((name, text),) = notices(decoder.decode(reply(0xA4, status=1), 0.1))
    assert name == "settings"
    assert "refused the command 'Bluetooth off'" in text
    decoder.sent(asked("restart"), 1.0)
    assert notices(decoder.decode(BASIC, 5.9)) == []
    ((name, text),) = notices(decoder.decode(BASIC, 6.1))
    assert name == "settings"
    assert "did not acknowledge 'restart'" in text
    assert notices(decoder.decode(BASIC, 6.2)) == []


@pytest.mark.parametrize(
    ("command", "content"),
    [
        ("enable configuration", "ff000100"),
        ("end configuration", "fe00"),
        ("read firmware", "a000"),
        ("restart", "a300"),
        ("Bluetooth off", "a4000000"),
        ("read MAC address", "a5000100"),
        ("read parameters", "6100"),
        ("engineering mode on", "6200"),
        ("engineering mode off", "6300"),
    ],
)
def test_commands_are_framed_with_their_length(command: str, content: str) -> None:
    length = len(content) // 2
    assert Ld2410().encode(command, {}).hex() == f"fdfcfbfa{length:02x}00{content}04030201"


def test_other_commands_are_refused() -> None:
    options: dict[str, Any] = {}
    with pytest.raises(ValueError, match="no command 'factory reset'"):
        Ld2410().encode("factory reset", options)

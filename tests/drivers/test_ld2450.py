import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from outcomes import readings

from edgegw import registry
from edgegw.driver import FrameError, Notice
from edgegw.framing import Framer
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


# Zones


def inside(*places: tuple[int, int], zones: Any) -> tuple[float, Mapping[str, int]]:
    driver = registry.make("ld2450", {"zones": zones})
    assert isinstance(driver, Ld2450)
    assert driver.emits() == ("targets", "occupancy")
    frame = encode_frame([Target(slot, x, y, 0, 320) for slot, (x, y) in enumerate(places, 1)])
    (_, found) = readings(driver.decode(frame))
    assert found.quantity.name == "occupancy"
    assert found.meta is not None
    return found.value, found.meta["zones"]


BENCH = ["bench", [-1.0, 1.0], [1.0, 2.0]]
DOOR = ["door", [1.5, 3.0], [0.5, 1.5]]  # the corners in any order


def test_people_inside_a_zone_occupy_it_and_its_edges_belong_to_it() -> None:
    assert inside((0, 1500), (-1000, 2000), (0, 2001), zones=[BENCH]) == (2, {"bench": 2})
    assert inside(zones=[BENCH]) == (0, {"bench": 0})


def test_who_is_in_two_zones_is_one_person() -> None:
    assert inside((700, 1700), (1200, 2500), (0, 1500), zones=[BENCH, DOOR]) == (3, {"bench": 2, "door": 2})


def test_old_coordinates_of_an_empty_slot_occupy_nothing() -> None:
    driver = Ld2450(zones=(("bench", (-1.0, 1.0), (1.0, 2.0)),), shown="none")
    (targets, occupancy) = readings(driver.decode(encode_frame([Target(1, 0, 1500, 0, 0)])))
    assert (targets.value, occupancy.value) == (1, 0)


# Set-up


def reply(command: int, payload: str = "", status: int = 0) -> bytes:
    content = bytes((command, 1, status, 0)) + bytes.fromhex(payload)
    return b"\xfd\xfc\xfb\xfa" + bytes((len(content), 0)) + content + b"\x04\x03\x02\x01"


def test_setting_up_switches_bluetooth_off_restarts_and_then_follows_three_people() -> None:
    requests = Ld2450().setup()
    assert [each.name for each in requests] == [
        "enable configuration",
        "read firmware",
        "read MAC address",
        "Bluetooth off",
        "restart",
        "enable configuration",
        "multi target tracking",
        "query tracking mode",
        "end configuration",
    ]
    assert all(each.changes for each in requests)
    # A radar that restarts hears nothing; between two commands it wants a breath.
    assert [each.after_s for each in requests] == [0.0, 0.2, 0.2, 0.2, 0.2, 3.0, 0.2, 0.2, 0.2]
    assert [each.data for each in requests] == [Ld2450().encode(each.name, {}) for each in requests]


@pytest.mark.parametrize(
    ("answer", "name", "says"),
    [
        (reply(0xFF, "01004000"), None, ""),
        (reply(0x90), None, ""),
        (reply(0x91, "0200"), None, ""),
        (reply(0x91, "0100"), "settings", "one person alone"),
        (reply(0x90, status=1), "settings", "refused"),
        (reply(0xA0, "0000010216240622"), "firmware", "2.01.22062416"),
        (reply(0xA5, "080504030201"), None, ""),
        (reply(0xA5, "8f272eb80f65"), "bluetooth", "was on"),
    ],
)
def test_replies_are_checked(answer: bytes, name: str | None, says: str) -> None:
    found = Ld2450().decode(answer)
    assert [each.name for each in found if isinstance(each, Notice)] == ([name] if name else [])
    assert all(isinstance(each, Notice) and says in each.text for each in found)


def test_a_command_that_is_not_acknowledged_is_told_once() -> None:
    decoder = Ld2450().decoder()
    for request in Ld2450().setup()[3:5]:
        decoder.sent(request, 0.0)
    assert decoder.decode(reply(0xA3), 0.1) == ()
    (notice, found) = decoder.decode(NOBODY, 10.0)
    assert isinstance(notice, Notice)
    assert notice.name == "settings"
    assert "'Bluetooth off'" in notice.text
    assert "restart" not in notice.text
    assert readings([found])[0].value == 0
    assert len(readings(decoder.decode(NOBODY, 10.1))) == 1


def test_replies_between_reports_cost_neither() -> None:
    driver = Ld2450()
    decoder, framer = driver.decoder(), Framer(driver.framing)
    stream = NOBODY + reply(0xA0, "0000010216240622") + MANUAL + reply(0x90)[:-1] + MANUAL
    refused: list[FrameError] = []
    found = framer.feed(stream, lambda frame: decoder.decode(frame, 0.0), refused.append)
    assert [len(outcomes) for outcomes in found] == [1, 1, 1, 1]
    assert refused == []


@pytest.mark.parametrize(
    ("options", "path", "why"),
    [
        ({"zones": [["a", [0, 0], [1, 0.2]]]}, ("zones",), "shorter than 0.3 m"),
        ({"zones": [["a", [0, 0], [1, 1]]] * 2}, ("zones",), "two zones are called 'a'"),
        ({"zones": [[" ", [0, 0], [1, 1]]]}, ("zones",), "needs a name"),
        ({"zones": [["a", [0, 0], [1, float("inf")]]]}, ("zones",), "finite"),
        ({"zones": [[f"{n}", [0, 0], [1, 1]] for n in range(17)]}, ("zones",), "at most 16"),
        ({"zones": [["a", [0, 0]]]}, ("zones", 0, 2), "required"),
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

"""The Modbus driver: what its profiles ask, what answers mean, and what the shell can decode and encode."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegw.driver import (
    QUANTITIES,
    Block,
    Discovery,
    FrameError,
    Quality,
    Reading,
    SerialLine,
    Setting,
    Write,
)
from edgegw_drivers.modbus import Modbus, find
from edgegw_drivers.modbus.decoder import Decoder
from edgegw_drivers.modbus.schema import parse
from edgegw_drivers.modbus.settings import settings

if TYPE_CHECKING:
    from pathlib import Path

RENKE = Modbus("renke-noise")
SHIPPED = sorted(find.SHIPPED.glob("*.toml"))

DEVICE = """
[device]
model = "test"
[link]
gap = 2
[[status]]
name = "sensor"
function = 4
register = 0
faults = { 0 = "fatal", 5 = "out of range" }
[[read]]
quantity = "co2"
function = 4
register = 3
status = "sensor"
[[read]]
quantity = "temperature"
function = 4
register = 4
type = "s16"
scale = 0.1
offset = -40
invalid_raw = [0x7FFF, -2]
[[read]]
quantity = "pressure"
function = 3
register = 10
type = "f32"
order = "CDAB"
[[read]]
quantity = "battery"
function = 3
register = 12
bits = [8, 14]
[[read]]
quantity = "count_in"
function = 3
register = 13
max_step = 1000
[[read]]
quantity = "presence_index"
function = 2
register = 7
[[example]]
registers = [[1], [17371, 35886, 0x4B00, 7], [0, 0, 0, 612, 500]]
expect = { co2 = 612 }
"""


def decoded(found: object) -> dict[str, float]:
    assert isinstance(found, list | tuple)
    return {reading.quantity.name: reading.value for reading in found if isinstance(reading, Reading)}


def refused(found: object) -> list[str]:
    assert isinstance(found, list | tuple)
    return [error.reason for error in found if isinstance(error, FrameError)]


@pytest.mark.parametrize("file", SHIPPED, ids=[file.stem for file in SHIPPED])
def test_each_profile_that_ships_decodes_its_own_worked_examples(file: Path) -> None:
    profile = find.load(file.stem)
    assert {name for example in profile.examples for name in example.expect} == {
        read.quantity.name for read in profile.reads
    }, "a quantity that no example shows"
    for example in profile.examples:
        decoder = Decoder(profile)
        if example.before:
            decoder.decode(example.before, 0.0)
        found = decoder.decode(example.words, 0.0)
        values, reasons = decoded(found), refused(found)
        for name, wanted in example.expect.items():
            if isinstance(wanted, str):
                assert name not in values
                assert wanted in reasons
            else:
                assert values[name] == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("file", SHIPPED, ids=[file.stem for file in SHIPPED])
def test_each_profile_that_ships_names_its_sources_and_its_device(file: Path) -> None:
    data = tomllib.loads(file.read_text())
    assert data["device"]["sources"]
    assert data["device"]["description"]
    for alias in data["device"]["aliases"]:
        assert find.load(alias).model == data["device"]["model"]


def test_no_two_profiles_claim_one_name() -> None:
    names = [file.stem for file in SHIPPED]
    for file in SHIPPED:
        names += [
            alias for alias in tomllib.loads(file.read_text())["device"]["aliases"] if alias != file.stem
        ]
    assert sorted(set(names)) == sorted(names)


# What would change a calibration: FRC and temperature offset of the SCD30, the command registers of Senseair.
CALIBRATION = {"scd30": {0x39, 0x3B}, "senseair": {0x00, 0x01}}


@pytest.mark.parametrize("file", SHIPPED, ids=[file.stem for file in SHIPPED])
def test_no_profile_that_ships_can_write_a_calibration_or_switches_a_baseline_by_itself(file: Path) -> None:
    for choice in find.load(file.stem).choices:
        assert choice.write.address not in CALIBRATION[file.stem]
        assert choice.write.function in {5, 6, 16}
        if choice.name in {"asc", "abc_hours"}:
            assert choice.default is None


def test_the_readme_names_every_profile_and_both_samples_are_good() -> None:
    folder = find.SHIPPED.parent
    readme = (folder / "README.md").read_text()
    for file in SHIPPED:
        assert f"`{file.stem}`" in readme
    sensors = tomllib.loads((folder / "sample.toml").read_text())["sensor"]
    given = [Modbus(sensor["profile"], sensor.get("settings", {})).emits() for sensor in sensors.values()]
    assert given == [["la_sampled"], ["la_sampled"], ["co2"]]


def test_the_profile_that_the_readme_explains_is_a_good_one(tmp_path: Path) -> None:
    readme = (find.SHIPPED.parent / "README.md").read_text()
    file = tmp_path / "acme.toml"
    file.write_text(readme.split("```toml\n")[1].split("```")[0])
    assert Modbus(f"file:{file}").blocks() == (Block(4, 0, 3),)


def test_the_renke_driver_asks_what_the_manual_says() -> None:
    assert RENKE.blocks() == (Block(3, 0, 1),)
    assert [line.baudrate for line in RENKE.lines()] == [9600, 4800, 2400]
    assert RENKE.lines()[0] == SerialLine(9600, 8, "N", 1)
    assert (RENKE.min_gap_s, RENKE.timeout_s) == (0.2, 0.5)
    assert RENKE.emits() == ["la_sampled"]
    assert len(RENKE.sha256) == 64


@pytest.mark.parametrize(
    ("word", "level"), [(523, 52.3), (713, 71.3), (300, 30.0), (301, 30.1), (1300, 130.0), (1299, 129.9)]
)
def test_a_decimal_scale_is_a_decimal(word: int, level: float) -> None:
    (reading,) = RENKE.decoder().decode([[word]], 0.0)
    assert reading == Reading(QUANTITIES["la_sampled"], level)


@pytest.mark.parametrize(
    ("word", "reason"), [(0, "not_available"), (0xFFFF, "not_available"), (299, "out_of_range")]
)
def test_what_is_no_level_gives_no_reading(word: int, reason: str) -> None:
    assert refused(RENKE.decoder().decode([[word]], 0.0)) == [reason]


def test_a_poll_without_an_answer_is_refused_once_for_all_its_quantities() -> None:
    profile = parse("test", DEVICE)
    lost = FrameError("no_reply")
    found = Decoder(profile).decode([lost, lost, lost], 0.0)
    assert refused(found) == ["no_reply"]


def test_neighbours_and_small_gaps_are_read_in_one_request_each() -> None:
    assert parse("test", DEVICE).blocks == (Block(2, 7, 1), Block(3, 10, 4), Block(4, 0, 5))


def test_each_type_order_bit_field_and_scale_is_decoded() -> None:
    decoder = Decoder(parse("test", DEVICE))
    found = decoder.decode([[1], [35886, 17371, 0x4B00 | 0x8000, 7], [0, 9, 9, 612, 0xFF9B]], 0.0)
    assert decoded(found) == {
        "co2": 612,
        "temperature": -50.1,
        "pressure": pytest.approx(439.09, abs=0.01),
        "battery": 0x4B,
        "presence_index": 1,
    }
    assert refused(found) == ["first_count"]


def test_a_fault_in_the_status_register_forbids_the_values_tied_to_it_and_no_others() -> None:
    decoder = Decoder(parse("test", DEVICE))
    found = decoder.decode([[0], [0, 0, 0, 0], [0b100011, 9, 9, 612, 500]], 0.0)
    assert "sensor_status_0021" in refused(found)
    assert "co2" not in decoded(found)
    assert decoded(found)["temperature"] == 10.0
    (error,) = [error for error in found if isinstance(error, FrameError) and "status" in error.reason]
    assert error.__notes__ == ["bit 0: fatal", "bit 5: out of range"]


def test_a_status_bit_that_no_fault_names_forbids_nothing() -> None:
    found = Decoder(parse("test", DEVICE)).decode([[0], [0, 0, 0, 0], [0b10, 9, 9, 612, 500]], 0.0)
    assert decoded(found)["co2"] == 612


@pytest.mark.parametrize("word", [0x7FFF, 0xFFFE])
def test_a_code_for_no_value_gives_no_reading(word: int) -> None:
    found = Decoder(parse("test", DEVICE)).decode([[0], [0, 0, 0, 0], [0, 0, 0, 0, word]], 0.0)
    assert "not_available" in refused(found)
    assert "temperature" not in decoded(found)


@pytest.mark.parametrize("words", [[0, 0x7FC0], [0, 0x7F80], [1, 0xFF80]])
def test_a_float_that_is_no_number_gives_no_reading(words: list[int]) -> None:
    found = Decoder(parse("test", DEVICE)).decode([[0], [*words, 0, 0], [0, 0, 0, 0, 0]], 0.0)
    assert "not_available" in refused(found)
    assert "pressure" not in decoded(found)


def test_a_counter_gives_what_was_added_over_its_wrap_but_not_over_a_reset() -> None:
    decoder = Decoder(parse("test", DEVICE))
    counts: list[float | None] = []
    for count in (65530, 3, 3, 18, 54321, 2, 7):
        found = decoder.decode([[0], [0, 0, 0, count], [0, 0, 0, 0, 0]], 0.0)
        counts.append(decoded(found).get("count_in"))
    assert counts == [None, 9, 0, 15, None, None, 5]


def test_a_lost_poll_loses_no_count() -> None:
    decoder = Decoder(parse("test", DEVICE))
    rest = [0, 0, 0, 0, 0]
    decoder.decode([[0], [0, 0, 0, 100], rest], 0.0)
    decoder.decode([[0], FrameError("no_reply"), rest], 1.0)
    assert decoded(decoder.decode([[0], [0, 0, 0, 130], rest], 2.0))["count_in"] == 30


def test_two_devices_with_one_profile_do_not_share_a_counter() -> None:
    driver = parse("test", DEVICE)
    answers = [[0], [0, 0, 0, 100], [0, 0, 0, 0, 0]]
    one, two = Decoder(driver), Decoder(driver)
    one.decode(answers, 0.0)
    assert "first_count" in refused(two.decode(answers, 0.0))


words = st.integers(0, 0xFFFF)


@given(
    st.tuples(
        st.lists(st.integers(0, 1), min_size=1, max_size=1),
        st.lists(words, min_size=4, max_size=4),
        st.lists(words, min_size=5, max_size=5),
    )
)
def test_any_registers_give_finite_readings_or_refusals(answers: tuple[list[int], ...]) -> None:
    decoder = Decoder(parse("test", DEVICE))
    for _ in range(2):
        for found in decoder.decode(answers, 0.0):
            if isinstance(found, Reading):
                assert abs(found.value) < 1e39


# --- what a status, a needed value and a setting do

FLAGGED = """
[device]
model = "test"
[[status]]
name = "state"
function = 3
register = 0
faults = { 1 = "dead" }
flags = { 0 = "Needs service!" }
[[read]]
quantity = "co2"
function = 3
register = 1
invalid_raw = [0]
status = "state"
needed = true
[[read]]
quantity = "temperature"
function = 3
register = 2
[[meta]]
name = "age_h"
function = 3
register = 3
[[example]]
registers = [0, 400, 20, 7]
expect = { co2 = 400, temperature = 20 }
"""


def test_a_flag_makes_the_values_tied_to_it_suspect_and_no_others() -> None:
    found = Decoder(parse("test", FLAGGED)).decode([[1, 400, 20, 7]], 0.0)
    meta = {"state": 1, "age_h": 7}
    assert found == [
        Reading(QUANTITIES["co2"], 400.0, Quality.SUSPECT, ("needs_service",), meta),
        Reading(QUANTITIES["temperature"], 20.0, meta=meta),
    ]


@pytest.mark.parametrize(
    ("words", "reason"), [([0, 0, 20, 7], "not_available"), ([2, 9, 20, 7], "sensor_status_0002")]
)
def test_without_a_needed_value_nothing_is_believed(words: list[int], reason: str) -> None:
    assert refused(found := Decoder(parse("test", FLAGGED)).decode([words], 0.0)) == [reason]
    assert not decoded(found)


def test_a_counter_that_jumps_forward_and_one_that_fell_back_are_told_apart() -> None:
    decoder = Decoder(parse("test", DEVICE))
    found = []
    for count in (100, 5000, 20, 65530):
        found += refused(decoder.decode([[0], [0, 0, 0, count], [0, 0, 0, 0, 0]], 0.0))
    assert found == ["first_count", "implausible", "counter_reset", "implausible"]


def test_a_counter_in_a_bit_field_wraps_with_its_own_width() -> None:
    text = FLAGGED.replace('"temperature"', '"count_in"\nmax_step = 100\nbits = [0, 11]')
    text = text.replace("temperature = 20", 'count_in = "first_count"')
    decoder = Decoder(parse("test", text))
    counts = [
        decoded(decoder.decode([[0, 400, count, 0]], 0.0)).get("count_in") for count in (0x0FFF, 0xF003)
    ]
    assert counts == [None, 4]


def test_what_a_scd30_is_told_once_and_what_only_its_owner_may_say() -> None:
    start = Setting("start", Block(3, 0x27, 1), (1,), Write(6, 0x36, (0,)), 10.0)
    assert Modbus("scd30").settings() == [start]
    asc = Setting("asc", Block(3, 0x3A, 1), (0,), Write(6, 0x3A, (0,)), 0.0)
    assert Modbus("scd30", {"asc": 0}).settings() == [start, asc]
    assert Modbus("senseair").settings() == []
    abc = Setting("abc_hours", Block(3, 31, 1), (180,), Write(6, 31, (180,)), 0.0)
    assert Modbus("senseair", {"abc_hours": 180}).settings() == [abc]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"abc_hour": 0}, 'there is no setting "abc_hour"; did you mean "abc_hours"?'),
        ({"abc_hours": 4801}, "abc_hours is 4801, not a whole number from 0 to 4800"),
        ({"abc_hours": True}, "abc_hours is True"),
    ],
)
def test_a_setting_that_cannot_be_is_named(settings: dict[str, int], said: str) -> None:
    with pytest.raises(ValueError, match=f"^settings: .*{re.escape(said)}"):
        Modbus("senseair", settings)


def test_longer_settings_are_written_in_the_devices_word_order() -> None:
    text = FLAGGED.replace("[[example]]", SETTINGS + "[[example]]")
    found = settings(parse("test", text), {"long": 0x01020304, "coil": 1, "below": -2})
    assert [(each.values, each.write) for each in found] == [
        ((0x0304, 0x0102), Write(16, 50, (0x0304, 0x0102))),
        ((1,), Write(5, 60, (0xFF00,))),
        ((0xFFFE,), Write(6, 61, (0xFFFE,))),
    ]


SETTINGS = """
[[setting]]
name = "long"
function = 16
register = 50
type = "u32"
order = "CDAB"
allowed = [0, 99999999]
[[setting]]
name = "coil"
function = 5
register = 60
allowed = [0, 1]
[[setting]]
name = "below"
register = 61
type = "s16"
allowed = [-5, 5]
"""


def test_a_device_says_who_it_is_as_far_as_it_can() -> None:
    driver = Modbus("senseair")
    assert driver.identity_blocks() == [Block(4, 0x1D, 2), Block(4, 0x1C, 1)]
    assert driver.identity([[0x0012, 0xABCD], [0x0105]]) == "serial 0012abcd, firmware 1.5"
    assert driver.identity([FrameError("modbus_exception_2"), [0x0105]]) == "firmware 1.5"
    assert driver.identity([FrameError("no_reply"), FrameError("no_reply")]) == ""


def test_a_renke_transmitter_tells_its_address_when_it_is_alone() -> None:
    assert RENKE.discovery() == Discovery(255, Block(3, 0x07D0, 2), 0)
    assert Modbus("scd30").discovery() is None
    assert Modbus("scd30").units == (0x61,)

"""The Modbus driver: what its profiles ask, what answers mean, and what the shell can decode and encode."""

from __future__ import annotations

import contextlib
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegw.driver import QUANTITIES, Block, FrameError, Reading, SerialLine
from edgegw_drivers.modbus import Modbus, find
from edgegw_drivers.modbus.decoder import Decoder
from edgegw_drivers.modbus.schema import parse

VECTORS = Path(__file__).parents[3] / "shared" / "vectors"
RENKE = Modbus("renke-noise")
BARE = Modbus("")
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


def vectors(name: str) -> list[Any]:
    file = VECTORS / f"{name}.json"
    if not file.exists():
        return [pytest.param({}, marks=pytest.mark.skip(reason="the published vectors do not lie beside"))]
    return [pytest.param(vector, id=vector["name"]) for vector in json.loads(file.read_text())]


def run(driver: Modbus, vector: dict[str, Any]) -> None:
    """Whether the driver does with a vector what the vector says."""
    if "encode" in vector:
        assert driver.encode("request", vector["encode"]).hex() == vector["hex"]
        return
    data = bytes.fromhex(vector.get("hex", ""))
    data = data or b"".join(word.to_bytes(2, "big") for word in vector["registers"])
    context, expect = vector.get("context", {}), vector.get("expect", {})
    if "error" in vector or expect.get("values") == [None]:
        with pytest.raises(FrameError) as caught:
            driver.decode_layer(vector["layer"], data, context)
        assert caught.value.reason == vector.get("error", "not_available")
        return
    readings = driver.decode_layer(vector["layer"], data, context)
    assert readings
    tolerance = vector.get("tolerance", 0)
    if "meta" in expect:
        assert readings[0].meta == expect["meta"]
    elif "values" in expect:
        assert [reading.value for reading in readings] == pytest.approx(expect["values"], abs=tolerance)
    else:
        wanted = {{"noise": "la_sampled"}[name]: value["value"] for name, value in expect.items()}
        assert decoded(readings) == pytest.approx(wanted, abs=tolerance)


@pytest.mark.parametrize("vector", vectors("renke-noise"))
def test_the_renke_vectors(vector: dict[str, Any]) -> None:
    run(RENKE, vector)


@pytest.mark.parametrize("vector", vectors("modbus-generic"))
def test_the_generic_vectors(vector: dict[str, Any]) -> None:
    run(BARE, vector)


@pytest.mark.parametrize("file", SHIPPED, ids=[file.stem for file in SHIPPED])
def test_each_profile_that_ships_decodes_its_own_worked_examples(file: Path) -> None:
    profile = find.load(file.stem)
    for example in profile.examples:
        found = Decoder(profile).decode(example.words, 0.0)
        values = iter(found)
        for read in profile.reads:
            result = next(values)
            wanted = example.expect.get(read.quantity.name)
            if isinstance(result, FrameError):
                assert result.reason == wanted
            else:
                assert result == Reading(read.quantity, wanted)  # type: ignore[arg-type]  # a number here


@pytest.mark.parametrize("file", SHIPPED, ids=[file.stem for file in SHIPPED])
def test_each_profile_that_ships_names_its_sources(file: Path) -> None:
    data = tomllib.loads(file.read_text())
    assert data["device"]["sources"]


def test_the_readme_names_every_profile_and_both_samples_are_good() -> None:
    folder = find.SHIPPED.parent
    readme = (folder / "README.md").read_text()
    for file in SHIPPED:
        assert f"`{file.stem}`" in readme
    sensors = tomllib.loads((folder / "sample.toml").read_text())["sensor"]
    assert [Modbus(sensor["profile"]).emits() for sensor in sensors.values()] == [["la_sampled"]] * 2


def test_the_profile_that_the_readme_explains_is_a_good_one(tmp_path: Path) -> None:
    readme = (find.SHIPPED.parent / "README.md").read_text()
    file = tmp_path / "acme.toml"
    file.write_text(readme.split("```toml\n")[1].split("```")[0])
    assert Modbus(f"file:{file}").blocks() == (Block(4, 0, 2),)


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


def test_the_answer_to_a_broadcast_tells_address_and_baud_rate() -> None:
    for options in ({}, {"unit": "255"}):
        found = RENKE.decode_layer("modbus-rtu", bytes.fromhex("010304000100016a33"), options)
        assert found
        assert found[0].meta == {"address": 1, "baud_code": 1}


@pytest.mark.parametrize(
    ("layer", "options"),
    [
        ("modbus-rtu", {"typ": "u16"}),
        ("modbus-rtu", {"unit": "x"}),
        ("modbus-registers", {"type": "u17"}),
        ("modbus-registers", {"order": "ACBD"}),
        ("modbus-registers", {"scale": "0,1"}),
        ("modbus-registers", {"invalid": "70000"}),
    ],
)
def test_a_wrong_option_of_the_shell_is_named(layer: str, options: dict[str, str]) -> None:
    with pytest.raises(
        ValueError, match=rf"\b{next(iter(options.values()))}\b|{next(iter(options))}"
    ) as caught:
        BARE.decode_layer(
            layer, bytes.fromhex("0103020103f9d5"[: 14 if layer == "modbus-rtu" else 4]), options
        )
    assert not isinstance(caught.value, FrameError)


def test_options_may_be_the_texts_that_somebody_typed() -> None:
    found = BARE.decode_layer("modbus-registers", b"\xff\x9b", {"type": "int16", "scale": "0.1"})
    assert found
    assert found[0].value == -10.1


def test_another_layer_is_not_this_drivers() -> None:
    assert RENKE.decode_layer("uart", b"", {}) is None


@pytest.mark.parametrize("position", range(7))
@pytest.mark.parametrize("bit", range(8))
def test_a_flipped_bit_gives_no_reading(position: int, bit: int) -> None:
    message = bytearray.fromhex("01030202c97972")
    message[position] ^= 1 << bit
    with pytest.raises(FrameError):
        RENKE.decode_layer("modbus-rtu", bytes(message), {})


@pytest.mark.parametrize("length", range(7))
def test_a_truncated_message_gives_no_reading(length: int) -> None:
    with pytest.raises(FrameError):
        RENKE.decode_layer("modbus-rtu", bytes.fromhex("01030202c97972")[:length], {})


@given(st.binary(max_size=300), st.sampled_from(["modbus-rtu", "modbus-registers"]))
def test_hostile_bytes_give_readings_or_a_frame_error_and_nothing_else(data: bytes, layer: str) -> None:
    for driver in (RENKE, BARE):
        with contextlib.suppress(FrameError):
            for reading in driver.decode_layer(layer, data, {}) or ():
                assert isinstance(reading, Reading)


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


def test_a_request_may_be_made_for_the_shell_with_numbers_in_any_notation() -> None:
    options = {"address": "0xFF", "function": "6", "register": "0x07D0", "value_or_count": 2}
    assert RENKE.encode("write", options).hex() == "ff0607d000021d58"


@pytest.mark.parametrize(
    ("command", "options", "sentence"),
    [
        ("calibrate", {}, "no command 'calibrate'"),
        ("request", {"register": 0, "function": 16}, "function is 16"),
        ("request", {"register": 0, "function": 5}, "function is 5"),
        ("request", {}, "register is missing"),
        ("write", {"register": 0}, "value_or_count is missing"),
        ("request", {"register": 70000}, "register is 70000"),
        ("request", {"register": "zero"}, "register is 'zero'"),
        ("request", {"register": True}, "register is True"),
        ("request", {"register": 1.5}, "register is 1.5"),
    ],
)
def test_a_request_that_cannot_be_is_refused_in_words(
    command: str, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        RENKE.encode(command, options)


def test_without_a_profile_there_is_nothing_to_poll_and_it_says_so() -> None:
    with pytest.raises(ValueError, match="profile: name one: renke-noise"):
        BARE.blocks()

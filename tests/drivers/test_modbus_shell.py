"""What the shell can decode and encode with the Modbus driver: one answer, bare registers, a row of numbers."""

from __future__ import annotations

import contextlib
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegw.driver import FrameError, Reading
from edgegw_drivers.modbus import Modbus
from edgegw_drivers.modbus.adu import crc

RENKE = Modbus("renke-noise")
BARE = Modbus("")


def test_the_answer_to_a_broadcast_tells_address_and_baud_rate() -> None:
    for options in ({}, {"unit": "255"}):
        found = RENKE.decode_layer("modbus-rtu", bytes.fromhex("010304000100016a33"), options)
        assert found
        assert isinstance(found[0], Reading)
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
    assert isinstance(found[0], Reading)
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


def test_a_request_may_be_made_for_the_shell_with_numbers_in_any_notation() -> None:
    options = {"address": "0xFF", "function": "6", "register": "0x07D0", "value_or_count": 2}
    assert RENKE.encode("write", options).hex() == "ff0607d000021d58"


@pytest.mark.parametrize(
    ("command", "options", "sentence"),
    [
        ("calibrate", {}, "no command 'calibrate'"),
        ("request", {"register": 0, "function": 7}, "function is 7"),
        ("request", {"register": 0, "function": 16}, "values are None, not 1 to 123 numbers"),
        ("request", {"register": 0, "function": 15}, "function is 15"),
        ("request", {"register": 0, "function": 5, "value_or_count": 2}, "a coil is 0 or 1"),
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
    with pytest.raises(ValueError, match=r"profile: name one: .*renke-noise"):
        BARE.blocks()


def adu(text: str) -> bytes:
    data = bytes.fromhex(text)
    return data + crc(data)


def found(driver: Modbus, layer: str, data: bytes, **options: Any) -> list[object]:
    """Values by quantity, reasons of refusals, in order."""
    outcomes = driver.decode_layer(layer, data, options) or ()
    return [
        each.reason
        if isinstance(each, FrameError)
        else (each.quantity.name, each.value)
        if isinstance(each, Reading)
        else each
        for each in outcomes
    ]


def words(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}H", *numbers)


@pytest.mark.parametrize(
    ("kind", "data", "value"),
    [
        ("uint16", words(0xFFFE), 65534),
        ("int16", words(0xFFFE), -2),
        ("u32", words(0xFFFF, 0xFFFE), 0xFFFFFFFE),
        ("int32", words(0xFFFF, 0xFFFE), -2),
        ("u64", words(0xFFFF, 0xFFFF, 0xFFFF, 0xFFFE), float(0xFFFFFFFFFFFFFFFE)),
        ("s64", words(0xFFFF, 0xFFFF, 0xFFFF, 0xFFFE), -2),
        ("float32", struct.pack(">f", -1.5), -1.5),
        ("float64", struct.pack(">d", -1.1), -1.1),
    ],
)
def test_every_type_is_decoded_in_every_word_order(kind: str, data: bytes, value: float) -> None:
    pairs = [data[at : at + 2] for at in range(0, len(data), 2)]
    orders = {
        "ABCD": data,
        "CDAB": b"".join(pairs[::-1]),
        "BADC": b"".join(pair[::-1] for pair in pairs),
        "DCBA": data[::-1],
    }
    for order, ordered in orders.items():
        assert found(BARE, "modbus-registers", ordered, type=kind, order=order) == [("value", value)]


@pytest.mark.parametrize("data", [struct.pack(">f", float("nan")), struct.pack(">f", float("-inf"))])
def test_a_float_that_is_no_number_is_not_available(data: bytes) -> None:
    assert found(BARE, "modbus-registers", data, type="float32") == ["not_available"]


def test_codes_for_no_value_stand_in_their_place_among_values() -> None:
    data = words(1, 0x7FFF, 3, 0xFFFF)
    for codes in ([0x7FFF, 0xFFFF], "[32767, 65535]", "32767,65535"):
        assert found(BARE, "modbus-registers", data, invalid=codes) == [
            ("value", 1.0),
            "not_available",
            ("value", 3.0),
            "not_available",
        ]


def test_a_bit_field_and_a_range_may_be_given() -> None:
    assert found(BARE, "modbus-registers", words(0x1234), bits=[4, 7]) == [("value", 3.0)]
    assert found(BARE, "modbus-registers", words(500), scale="0.1", valid=[0, 40]) == ["out_of_range"]


def test_part_of_a_value_is_truncated() -> None:
    for data, kind in ((words(1, 2, 3), "u32"), (words(1), "f64"), (b"\x01", "u16"), (b"", "u16")):
        with pytest.raises(FrameError, match="truncated"):
            found(BARE, "modbus-registers", data, type=kind)


def test_an_answer_from_another_address_is_taken_only_where_nobody_was_asked_by_name() -> None:
    seven = adu("07030202c9")
    for options in ({"address": 7}, {"unit": "7"}, {"slave": "0x07"}, {"asked": 255}):
        assert found(RENKE, "modbus-rtu", seven, **options) == [("la_sampled", 71.3)]
    for wrong in ({}, {"address": 1}, {"address": 254}):
        with pytest.raises(FrameError, match="wrong_address"):
            found(RENKE, "modbus-rtu", seven, **wrong)
    told = adu("07030400070002")  # who it is, said from that very address
    assert found(RENKE, "modbus-rtu", told) == [("address", 7.0), ("baud_code", 2.0)]
    with pytest.raises(FrameError, match="wrong_address"):
        found(RENKE, "modbus-rtu", adu("08030400070002"))


def test_an_answer_is_held_against_the_question_as_far_as_it_is_known() -> None:
    good = adu("01030202c9")
    for options, reason in (({"function": 4}, "wrong_function"), ({"count": 2}, "byte_count")):
        with pytest.raises(FrameError, match=reason):
            found(BARE, "modbus-rtu", good, **options)
    with pytest.raises(FrameError, match="byte_count"):
        found(RENKE, "modbus-rtu", good, register=5)
    with pytest.raises(FrameError, match="wrong_function"):
        found(BARE, "modbus-rtu", adu("010600000001"))
    for miscounted in ("010300", "01030402c9", "01030202c90000", "0103030102c9"):
        with pytest.raises(FrameError, match="byte_count"):
            found(BARE, "modbus-rtu", adu(miscounted))
    assert found(BARE, "modbus-rtu", adu("01010105")) == [
        ("value", float(bit)) for bit in (1, 0, 1, *[0] * 5)
    ]


def test_a_part_of_what_a_profile_reads_is_decoded_by_its_register_or_its_length() -> None:
    station = Modbus("weather-station")
    assert found(station, "modbus-registers", words(65489), start=0x1F9) == [("temperature", -4.7)]
    assert found(station, "modbus-registers", words(655, 65489), start="0x1F8") == [
        ("humidity", 65.5),
        ("temperature", -4.7),
    ]
    assert found(BARE, "modbus-rtu", adu("fe04020190"), model="S8", address=254) == [("co2", 400.0)]


def test_an_address_that_only_one_device_has_tells_which_it_is() -> None:
    assert found(BARE, "modbus-rtu", adu("fe04020190")) == [("co2", 400.0)]
    assert found(BARE, "modbus-rtu", adu("6804020301")) == [("co2", 769.0)]
    assert found(BARE, "modbus-rtu", adu("fe04020190"), address=254) == [("value", 400.0)]
    for nobody in ("0203020103", "0803020103"):  # two anemometers have 2 alike, and nothing that ships has 8
        with pytest.raises(FrameError, match="wrong_address"):
            found(BARE, "modbus-rtu", adu(nobody))
    with pytest.raises(FrameError, match="modbus_exception_2"):
        found(BARE, "modbus-rtu", adu("fe8402"))


def test_a_register_that_only_one_device_has_tells_which_it_is() -> None:
    assert found(BARE, "modbus-registers", words(65489), start="0x1F9", function=3) == [("temperature", -4.7)]
    assert found(BARE, "modbus-registers", words(65489), start=0x1F9) == [("temperature", -4.7)]
    assert found(BARE, "modbus-registers", words(65489), start=0x1F9, type="s16") == [("value", -47.0)]
    assert found(BARE, "modbus-registers", words(5), start=0x1F9, function=4) == [("value", 5.0)]
    assert found(BARE, "modbus-registers", words(5), start=0) == [("value", 5.0)]


def test_a_counter_in_one_answer_shows_where_it_stands_and_not_what_it_counted() -> None:
    beam = Modbus("people-beam")
    assert found(beam, "modbus-registers", words(1000, 7)) == [
        ("count_in", 1000.0),
        ("count_out", 7.0),
    ]


@pytest.mark.parametrize(
    ("text", "options", "expect"),
    [
        ("1000 1004 1004 1019", {}, [("value", 4.0), ("value", 0.0), ("value", 15.0)]),
        ("03e803ec03ec03fb", {}, [("value", 4.0), ("value", 0.0), ("value", 15.0)]),
        ("fffffffa00000003", {}, [("value", 9.0)]),
        ("[4294967290, 3]", {}, [("value", 9.0)]),
        ("65530 3 10", {"width_bits": 16}, [("value", 9.0), ("value", 7.0)]),
        ("250 3", {"width": "8"}, [("value", 9.0)]),
        ("54321 2 7", {"max_step": "1000"}, ["counter_reset", ("value", 5.0)]),
        ("5 2000 2001", {}, ["implausible", ("value", 1.0)]),
        ("5", {}, ["first_count"]),
        ("350 10", {"aggregate": "vector_mean"}, [("value", 0.0)]),
        ("3500 100", {"mean": "vector", "scale": "0.1"}, [("value", 0.0)]),
        ("60 60", {"aggregate": "energy"}, [("value", 60.0)]),
        ("1 2 6", {"aggregate": "mean"}, [("value", 3.0)]),
    ],
)
def test_a_row_of_numbers_gives_what_was_counted_or_its_mean(
    text: str, options: dict[str, Any], expect: list[object]
) -> None:
    limit = {} if "max_step" in options else {"max_plausible_step": 1000}
    assert found(BARE, "numeric", text.encode(), **limit, **options) == expect


@pytest.mark.parametrize(
    ("text", "options", "reason"),
    [
        ("70000 3", {"width_bits": 16}, "out_of_range"),
        ("1.5 2", {}, "out_of_range"),
        ("", {}, "no_data"),
        ("0 180", {"aggregate": "vector"}, "no_data"),
    ],
)
def test_a_row_that_is_none_is_refused(text: str, options: dict[str, Any], reason: str) -> None:
    with pytest.raises(FrameError, match=reason):
        found(BARE, "numeric", text.encode(), **options)


@given(st.text(max_size=80), st.sampled_from([{}, {"aggregate": "vector"}, {"width_bits": 16}]))
def test_any_row_gives_outcomes_or_a_frame_error(text: str, options: dict[str, Any]) -> None:
    with contextlib.suppress(FrameError):
        found(BARE, "numeric", text.encode(), **options)


def test_writes_may_be_made_for_the_shell() -> None:
    coil = {"address": 1, "function": 5, "register": 2, "value_or_count": 1}
    assert BARE.encode("request", coil) == adu("01050002ff00")
    several = {"address": 1, "function": 16, "register": 1, "values": [10, 258]}
    assert BARE.encode("request", several) == adu("01100001000204000a0102")
    assert BARE.encode("write", {**several, "values": "0x0a,0x0102"}) == BARE.encode("request", several)

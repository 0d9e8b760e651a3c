from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from outcomes import readings

from edgegw.driver import FrameError, Notice, Outcome, Quality, Reading
from edgegw.framing import Framer
from edgegw_drivers.plantower import Plantower
from edgegw_drivers.plantower.frame import encode_frame, parse, signed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Captured with a PMSx003 (avaldebe/PyPMS, tests).
GOOD = bytes.fromhex("424d001c0005000d00160005000d001602fd00fc001d000f00060006970003c5")
# The layout of an acknowledgement: length 4, command, value (esphome components/pmsx003).
ACK = bytes.fromhex("424d0004e1000174")

MASSES = (5, 13, 22, 4, 12, 21)
COUNTS = (765, 252, 29, 15, 6, 5)
MASS_NAMES = ["pm1_std", "pm2_5_std", "pm10_std", "pm1", "pm2_5", "pm10"]
COUNT_NAMES = ["pn0_3", "pn0_5", "pn1", "pn2_5", "pn5", "pn10"]
VERSION = 0x9700
USUAL = (*MASSES, *COUNTS, VERSION)
SHORT = (*MASSES, 0, 0, 0)
LONG = (*MASSES, *COUNTS, 17, 0xFF9C, 551, 0, 0x9100)
CLIMATE = (*MASSES, *COUNTS[:4], 212, 224, 0x9A00)
FORMALDEHYDE = (*MASSES, *COUNTS, 12)


def warm(variant: Any = "auto", **options: Any) -> Plantower:
    return Plantower(variant=variant, warm_up_time="0s", **options)


def told(outcomes: Sequence[Outcome]) -> dict[str, float]:
    return {each.quantity.name: each.value for each in readings(outcomes)}


def checks(outcomes: Sequence[Outcome]) -> set[tuple[int | None, tuple[str, ...]]]:
    return {(each.flag, each.checks) for each in readings(outcomes)}


def refused(driver: Plantower, words: Sequence[int]) -> str:
    with pytest.raises(FrameError) as raised:
        driver.decode(encode_frame(words))
    assert raised.value.whole
    return raised.value.reason


# Models


@pytest.mark.parametrize("variant", ["auto", "pmsx003", "pms5003", "pms7003", "pmsa003"])
def test_the_usual_frame_gives_two_mass_scales_and_six_numbers_in_a_cubic_centimetre(variant: str) -> None:
    found = told(warm(variant).decode(encode_frame(USUAL)))
    numbers = [7.65, 2.52, 0.29, 0.15, 0.06, 0.05]
    assert found == dict(zip(MASS_NAMES + COUNT_NAMES, [*MASSES, *numbers], strict=True))


@pytest.mark.parametrize("variant", ["auto", "pms3003"])
def test_a_pms3003_gives_masses_alone(variant: str) -> None:
    found = told(warm(variant).decode(encode_frame((*MASSES, 0x33D2, 0x0F28, 0x003F))))
    assert found == dict(zip(MASS_NAMES, MASSES, strict=True))


@pytest.mark.parametrize("variant", ["auto", "pms5003st"])
def test_a_5003st_gives_its_climate_too_and_shows_formaldehyde_without_emitting_it(variant: str) -> None:
    outcomes = warm(variant).decode(encode_frame(LONG))
    assert told(outcomes) == {
        **told(warm().decode(encode_frame(USUAL))),
        "temperature": -10.0,
        "humidity": 55.1,
    }
    assert {tuple((each.meta or {}).items()) for each in readings(outcomes)} == {
        (("formaldehyde_ug_m3", 17), ("version", 0x91), ("error", 0))
    }


def test_a_5003t_that_is_named_gives_four_numbers_and_its_climate() -> None:
    found = told(warm("pms5003t").decode(encode_frame(CLIMATE)))
    assert list(found) == [*MASS_NAMES, *COUNT_NAMES[:4], "temperature", "humidity"]
    assert (found["temperature"], found["humidity"]) == (21.2, 22.4)


def test_a_5003t_that_is_not_named_is_refused_instead_of_being_read_wrongly() -> None:
    assert refused(warm(), CLIMATE) == "inconsistent"


def test_the_formaldehyde_of_a_5003s_is_no_error_byte() -> None:
    found = warm("pms5003s").decode(encode_frame(FORMALDEHYDE))
    assert checks(found) == {(None, ())}
    assert {each.meta["formaldehyde_ug_m3"] for each in readings(found) if each.meta} == {12}


@pytest.mark.parametrize(("variant", "words"), [("pms3003", USUAL), ("pmsx003", LONG), ("pms5003st", SHORT)])
def test_a_frame_of_another_models_length_is_refused(variant: str, words: Sequence[int]) -> None:
    assert refused(warm(variant), words) == "unsupported_length"


def test_a_model_that_was_exchanged_is_told_once() -> None:
    decoder = warm().decoder()
    assert told(decoder.decode(encode_frame(USUAL), 0.0))
    (notice, *found) = decoder.decode(encode_frame(SHORT), 1.0)
    assert isinstance(notice, Notice)
    assert notice.name == "device"
    assert len(told(found)) == 6
    assert told(decoder.decode(encode_frame(SHORT), 2.0))


@pytest.mark.parametrize(("variant", "quantities"), [("auto", 14), ("pms3003", 6), ("pms5003t", 12)])
def test_it_says_what_its_model_gives(variant: str, quantities: int) -> None:
    assert len(warm(variant).emits()) == quantities


@given(st.integers(-32768, 32767))
def test_temperatures_have_a_sign(number: int) -> None:
    assert signed(number & 0xFFFF) == number


# What is no value


@pytest.mark.parametrize("words", [(0,) * 12 + (VERSION,), (0,) * 9, (0,) * 17])
def test_zeros_come_first_and_are_no_value(words: Sequence[int]) -> None:
    assert refused(warm(), words) == "warming_up"


def test_zeros_of_a_model_that_counts_are_never_a_value_but_those_of_one_that_weighs_are() -> None:
    decoder = warm().decoder()
    decoder.decode(encode_frame(USUAL), 0.0)
    with pytest.raises(FrameError, match="warming_up"):
        decoder.decode(encode_frame((0,) * 13), 1.0)
    weighs = warm("pms3003").decoder()
    weighs.decode(encode_frame(SHORT), 0.0)
    assert set(told(weighs.decode(encode_frame((0,) * 9), 1.0)).values()) == {0}


@pytest.mark.parametrize(
    "words",
    [
        (0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, VERSION),
        (*MASSES, 765, 252, 29, 15, 6, 7, VERSION),
        (*MASSES, 251, 252, 29, 15, 6, 6, VERSION),
    ],
)
def test_contradictions_are_refused(words: Sequence[int]) -> None:
    assert refused(warm(), words) == "inconsistent"


def test_counts_that_contradict_each_other_are_doubtful_where_the_model_is_named() -> None:
    found = readings(warm("pms7003").decode(encode_frame((*MASSES, 765, 252, 29, 15, 6, 7, VERSION))))
    doubted = {each.quantity.name: each.checks for each in found if each.flag == Quality.SUSPECT}
    assert doubted == dict.fromkeys(COUNT_NAMES, ("inconsistent",))
    assert len(found) == len(MASS_NAMES) + len(COUNT_NAMES)
    assert refused(warm("pms7003"), (0, 0, 1, 0, 0, 1, *(0,) * 6, VERSION)) == "inconsistent"


def test_clean_air_with_a_few_particles_weighs_nothing() -> None:
    assert told(warm().decode(encode_frame((0,) * 6 + (12, 3, 0, 0, 0, 0, VERSION))))["pm2_5"] == 0


def test_what_the_device_says_of_itself_flags_its_values() -> None:
    assert checks(warm().decode(encode_frame((*MASSES, *COUNTS, VERSION + 2)))) == {
        (Quality.SUSPECT, ("device_flag",))
    }


def test_more_than_the_range_is_flagged_and_kept() -> None:
    found = {
        each.quantity.name: each
        for each in readings(warm().decode(encode_frame((900, 1000, 1001, 5, 5, 5, *COUNTS, VERSION))))
    }
    assert (found["pm2_5_std"].flag, found["pm2_5_std"].checks) == (None, ())
    assert (found["pm10_std"].value, found["pm10_std"].flag, found["pm10_std"].checks) == (
        1001,
        3,
        ("range",),
    )


# Warm-up


def test_values_are_flagged_until_the_fan_has_run_long_enough() -> None:
    decoder = Plantower().decoder()
    for now in (50.0, 79.9):
        assert checks(decoder.decode(GOOD, now)) == {(3, ("warm_up",))}
    assert checks(decoder.decode(GOOD, 80.0)) == {(None, ())}


def test_warming_up_can_be_dropped() -> None:
    decoder = Plantower(warm_up="drop").decoder()
    with pytest.raises(FrameError, match="warming_up"):
        decoder.decode(GOOD, 0.0)
    assert len(told(decoder.decode(GOOD, 30.0))) == 12


# The stream


def test_acknowledgements_give_nothing_and_cost_no_frame_and_no_byte() -> None:
    driver, errors = warm(), list[FrameError]()
    decoder, framer = driver.decoder(), Framer(driver.framing)
    found = framer.feed(
        ACK + GOOD + ACK + ACK + GOOD, lambda frame: decoder.decode(frame, 0.0), errors.append
    )
    assert [len(outcomes) for outcomes in found] == [0, 12, 0, 0, 12]
    assert (errors, framer.dropped) == ([], 0)


def test_a_header_inside_the_payload_and_one_of_a_torn_frame_cost_no_frame() -> None:
    driver, errors = warm(), list[FrameError]()
    decoder, framer = driver.decoder(), Framer(driver.framing)
    inner = encode_frame((*MASSES, 0x424D, 0x001C, 20, 15, 6, 5, VERSION))
    stream = GOOD[:17] + inner + b"BM\x00" + GOOD + b"BM\x00\x1c" + GOOD
    found = framer.feed(stream, lambda frame: decoder.decode(frame, 0.0), errors.append)
    assert len([each for outcomes in found for each in outcomes if isinstance(each, Reading)]) == 36
    assert {error.reason for error in errors} == {"checksum"}


@pytest.mark.parametrize("words", [USUAL, SHORT, LONG])
def test_no_flipped_bit_passes(words: Sequence[int]) -> None:
    frame = encode_frame(words)
    for bit in range(8 * len(frame)):
        damaged = bytearray(frame)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FrameError):
            parse(bytes(damaged))


@given(st.lists(st.integers(0, 65535), min_size=13, max_size=13), st.sampled_from(["auto", "pms5003t"]))
def test_any_words_give_readings_or_a_reason(words: list[int], variant: str) -> None:
    driver = warm(variant)
    reason = ""
    found: dict[str, float] = {}
    try:
        found = told(driver.decode(encode_frame(words)))
    except FrameError as error:
        reason = error.reason
    assert reason in ({"inconsistent", "warming_up"} if not found else {""})
    assert set(found) <= set(driver.emits())


# What is sent


@pytest.mark.parametrize(
    ("mode", "request_hex", "set_up"),
    [
        ("listen", "", ["wake", "active_mode"]),
        ("ask", "424de200000171", ["wake", "passive_mode"]),
    ],
)
def test_only_ask_mode_asks_and_setting_up_is_a_change(
    mode: Any, request_hex: str, set_up: list[str]
) -> None:
    driver = warm(mode=mode)
    assert driver.request().hex() == request_hex
    assert [each.name for each in driver.setup() if each.changes] == set_up
    assert all(each.changes for each in driver.setup())
    assert [each.data for each in driver.setup()] == [driver.encode(name, {}) for name in set_up]


@pytest.mark.parametrize(("options", "why"), [({"warm_up_time": "soon"}, "^warm_up_time: ")])
def test_options_that_cannot_be_are_named(options: Mapping[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Plantower(**options)

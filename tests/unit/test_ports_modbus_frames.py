"""What is an answer to a Modbus question, and what is not, byte by byte."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegw.driver import Block, FrameError
from edgegw.ports.modbus.patience import FAILURES, LONGEST_S, SHARE, Patience
from edgegw.ports.modbus.pdu import Question, question, with_crc
from edgegw.ports.modbus.rtu_frames import Heard, find_answer

RENKE = question(1, Block(3, 0, 1))
ANSWER = bytes.fromhex("01030202c97972")  # 71.3 dB, RT-ZS-BZ manual V2.2
OTHER = bytes.fromhex("0203020103bdd5")  # the same question's answer from unit 2
BITS = question(1, Block(1, 19, 19))  # Application Protocol V1.1b3, section 6.1: coils 20 to 38


def refusal(asked: Question, line: bytes) -> str:
    try:
        heard = find_answer(line, asked)
        if heard.pdu is None:
            return heard.reason
        asked.answered(heard.pdu)
    except FrameError as error:
        return error.reason
    return ""


def test_a_question_is_encoded_as_the_makers_manual_prints_it() -> None:
    assert with_crc(1, RENKE.pdu).hex() == "010300000001840a"


def test_an_answer_gives_its_registers() -> None:
    heard = find_answer(ANSWER, RENKE)
    assert heard == Heard(bytes.fromhex("030202c9"), end=7, unit=1)
    assert RENKE.answered(bytes.fromhex("030202c9")) == [713]


def test_bits_come_as_exactly_as_many_zeros_and_ones_as_were_asked_for() -> None:
    answer = BITS.answered(bytes.fromhex("0103cd6b05"))
    assert answer == [1, 0, 1, 1, 0, 0, 1, 1, 1, 1, 0, 1, 0, 1, 1, 0, 1, 0, 1]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("", "no_reply"),
        ("01", "truncated"),
        ("010302", "truncated"),
        ("01030202c979", "truncated"),
        ("01030202c97973", "crc"),
        ("01030202c87972", "crc"),
        ("0203020103bdd5", "wrong_address"),
        ("0104020103f8a1", "wrong_function"),
        ("010304000100016a33", "byte_count"),
        ("01830180f0", "modbus_exception_1"),
        ("0183030131", "modbus_exception_3"),
        ("018306c132", "modbus_exception_6"),
        ("000000", "noise"),
        ("01060000000a09cd", "wrong_function"),
    ],
)
def test_what_is_no_answer_has_a_reason(line: str, reason: str) -> None:
    assert refusal(RENKE, bytes.fromhex(line)) == reason


@pytest.mark.parametrize(
    "before",
    [
        with_crc(1, RENKE.pdu),  # an adapter that hears itself
        b"\x00",
        b"\xff",  # glitches of a line driver
        b"\x00\xff\x00",
        OTHER,  # somebody else's answer
        bytes.fromhex("028303f131"),
        OTHER + b"\x00" + OTHER,
    ],
)
def test_echo_noise_and_other_units_before_an_answer_are_skipped(before: bytes) -> None:
    assert refusal(RENKE, before + ANSWER) == ""


def test_what_looks_like_an_answer_inside_another_units_message_is_not_taken_for_one() -> None:
    wrapped = with_crc(2, bytes([3, len(ANSWER) + 1]) + ANSWER + b"\x00")
    assert refusal(RENKE, wrapped) == "wrong_address"
    for length in range(4, len(wrapped)):
        assert refusal(RENKE, wrapped[:length]) == "truncated"


@given(st.binary(max_size=600))
def test_hostile_bytes_give_a_reason_or_a_message_of_this_unit_with_a_good_crc(line: bytes) -> None:
    reason = refusal(RENKE, line)
    assert reason or ANSWER[:3] in line
    with contextlib.suppress(FrameError):
        heard = find_answer(line, RENKE)
        if heard.pdu is not None:
            assert with_crc(1, heard.pdu) == line[heard.end - len(heard.pdu) - 3 : heard.end]


@given(st.binary(max_size=300))
def test_hostile_answers_give_exactly_the_registers_asked_for_or_a_reason(pdu: bytes) -> None:
    asked = question(7, Block(4, 100, 3))
    reason = ""
    try:
        registers = asked.answered(pdu)
    except FrameError as error:
        reason = error.reason
    if reason:
        assert reason.startswith("modbus_exception_") or reason in {"wrong_function", "byte_count"}
    else:
        assert len(registers) == 3
        assert all(0 <= register <= 0xFFFF for register in registers)


@given(
    st.integers(-10, 300),
    st.builds(Block, st.integers(-5, 300), st.integers(-5, 70000), st.integers(-5, 3000)),
)
def test_only_the_four_reads_are_ever_encoded(unit: int, block: Block) -> None:
    try:
        asked = question(unit, block)
    except ValueError:
        return
    assert asked.pdu[0] in {1, 2, 3, 4}
    assert len(asked.pdu) == 5
    assert asked.pdu[0] == block.function
    assert int.from_bytes(asked.pdu[1:3], "big") == block.address
    assert int.from_bytes(asked.pdu[3:5], "big") == block.count


@pytest.mark.parametrize(
    ("block", "sentence"),
    [
        (Block(6, 0, 1), "function 6 is not a read: only 1 to 4"),
        (Block(16, 0, 1), "function 16 is not a read"),
        (Block(3, 0, 126), "126 in one Modbus question: 1 to 125"),
        (Block(3, 0, 0), "0 in one Modbus question"),
        (Block(1, 0, 2001), "2001 in one Modbus question: 1 to 2000"),
        (Block(3, 65535, 2), "address 65535 with 2 values"),
        (Block(3, -1, 1), "address -1"),
    ],
)
def test_a_question_that_modbus_does_not_have_is_refused_in_words(block: Block, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        question(1, block)


def test_one_lost_answer_costs_a_unit_nothing() -> None:
    patience = Patience()
    patience.answered(1)
    patience.failed(2, 100.0, 0.5, "no_reply")
    assert not patience.rests(2, 100.0)


def test_a_silent_unit_gets_one_twentieth_of_the_bus() -> None:
    patience = Patience()
    patience.answered(1)
    for _ in range(FAILURES):
        patience.failed(2, 100.0, 0.5, "no_reply")
    assert patience.rests(2, 100.0 + (SHARE - 1) * 0.5 - 0.01) == "no_reply"
    assert not patience.rests(2, 100.0 + (SHARE - 1) * 0.5)
    assert not patience.rests(1, 100.0)


def test_several_silent_units_share_that_twentieth() -> None:
    patience = Patience()
    patience.answered(1)
    for unit in (2, 3):
        for _ in range(FAILURES):
            patience.failed(unit, 100.0, 0.5, "no_reply")
    assert patience.rests(3, 100.0 + 2 * (SHARE - 1) * 0.5 - 0.01)


def test_a_rest_is_bounded_so_that_a_repaired_sensor_is_back_soon() -> None:
    patience = Patience()
    patience.answered(1)
    for _ in range(FAILURES):
        patience.failed(2, 100.0, 60.0, "no_reply")
    assert not patience.rests(2, 100.0 + LONGEST_S)


def test_on_a_bus_that_is_silent_altogether_nobody_rests() -> None:
    patience = Patience()
    for _ in range(FAILURES + 1):
        for unit in range(1, 11):
            patience.failed(unit, 100.0, 0.5, "no_reply")
            assert not patience.rests(unit, 100.0)


def test_an_answer_ends_the_rest() -> None:
    patience = Patience()
    patience.answered(1)
    for _ in range(FAILURES):
        patience.failed(2, 100.0, 0.5, "no_reply")
    patience.answered(2)
    assert not patience.rests(2, 100.0)

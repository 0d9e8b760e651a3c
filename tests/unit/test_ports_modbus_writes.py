"""What may be written to a Modbus device, what is its answer, and which line settings a bus is asked with."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegw.driver import FrameError, SerialLine, Write
from edgegw.ports.modbus.lines import LOST_S, Lines
from edgegw.ports.modbus.pdu import with_crc, writing
from edgegw.ports.modbus.rtu_frames import find_answer

ASC_OFF = writing(0x61, Write(6, 0x3A, (0,)))
SLOW, USUAL, FAST = SerialLine(2400), SerialLine(9600), SerialLine(19200)


def test_writes_are_encoded_as_the_makers_print_them() -> None:
    # SCD30 interface description, start of continuous measurement; Senseair AN: ABC period 180 h.
    assert with_crc(0x61, writing(0x61, Write(6, 0x36, (0,))).pdu).hex() == "6106003600006064"
    assert with_crc(0xFE, writing(0xFE, Write(6, 0x1F, (180,))).pdu).hex() == "fe06001f00b4ac74"
    # Application Protocol V1.1b3, sections 6.5 and 6.12: the examples there.
    assert writing(1, Write(5, 0xAC, (0xFF00,))).pdu.hex() == "0500acff00"
    assert writing(1, Write(16, 1, (0x000A, 0x0102))).pdu.hex() == "100001000204000a0102"


def test_only_the_very_echo_of_a_write_is_its_answer() -> None:
    assert ASC_OFF.answered(ASC_OFF.pdu) == ()
    several = writing(1, Write(16, 1, (10, 258)))
    assert several.answered(bytes.fromhex("1000010002")) == ()
    for asked, pdu, reason in (
        (ASC_OFF, "06003a0001", "inconsistent"),
        (ASC_OFF, "06003b0000", "inconsistent"),
        (ASC_OFF, "8604", "modbus_exception_4"),
        (ASC_OFF, "03020000", "wrong_function"),
        (several, "1000010001", "inconsistent"),
        (several, "9002", "modbus_exception_2"),
    ):
        with pytest.raises(FrameError, match=reason):
            asked.answered(bytes.fromhex(pdu))


def test_the_answer_to_a_write_is_found_with_or_without_an_echo() -> None:
    message = with_crc(0x61, ASC_OFF.pdu)
    assert find_answer(message, ASC_OFF).pdu == ASC_OFF.pdu
    assert find_answer(message + message, ASC_OFF).pdu == ASC_OFF.pdu
    several = writing(1, Write(16, 1, (10, 258)))
    echo, answer = with_crc(1, several.pdu), with_crc(1, several.echo)
    assert find_answer(echo + answer, several).pdu == several.echo
    assert find_answer(echo, several).pdu is None
    refusal = with_crc(1, b"\x90\x02")
    assert find_answer(refusal, several).pdu == b"\x90\x02"
    with pytest.raises(FrameError, match="crc"):
        find_answer(answer[:-1] + b"\0", several)


@pytest.mark.parametrize(
    ("unit", "write", "sentence"),
    [
        (0, Write(6, 1, (1,)), "a write goes to one device"),
        (255, Write(6, 1, (1,)), "a write goes to one device"),
        (1, Write(3, 1, (1,)), "function 3 is not a write: only 5, 6 and 16"),
        (1, Write(15, 1, (1,)), "function 15 is not a write"),
        (1, Write(22, 1, (1,)), "function 22 is not a write"),
        (1, Write(6, 1, (1, 2)), "1 to 1 registers"),
        (1, Write(6, 1, ()), "1 to 1 registers"),
        (1, Write(16, 1, (0,) * 124), "1 to 123 registers"),
        (1, Write(6, 1, (65536,)), "registers of 16 bits"),
        (1, Write(5, 1, (1,)), "a coil is set to 0 or 0xFF00"),
        (1, Write(16, 65535, (1, 2)), "address 65535 with 2 values"),
    ],
)
def test_a_write_that_modbus_does_not_have_is_refused_in_words(
    unit: int, write: Write, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        writing(unit, write)


# --- line settings


def test_a_device_is_tried_with_one_setting_after_the_other_until_somebody_answers() -> None:
    lines = Lines(USUAL)
    tried = []
    for _ in range(4):
        tried.append(lines.line(1, (USUAL, SLOW, FAST), 0.0))
        lines.failed(1)
    assert tried == [USUAL, SLOW, FAST, USUAL]
    lines.answered(SLOW, 0.0)
    assert lines.line(1, (USUAL, SLOW), 1.0) == lines.line(2, (USUAL, FAST), 1.0) == SLOW


def test_each_unit_is_at_its_own_place_in_the_search() -> None:
    lines = Lines(USUAL)
    lines.failed(1)
    assert lines.line(1, (USUAL, SLOW), 0.0) == SLOW
    assert lines.line(2, (USUAL, SLOW), 0.0) == USUAL
    assert lines.line(3, (), 0.0) == USUAL


def test_a_line_on_which_nobody_answers_for_long_is_searched_again_with_every_second_try() -> None:
    lines = Lines(USUAL)
    lines.answered(SLOW, 0.0)
    tried = []
    for _ in range(6):
        tried.append(lines.line(1, (USUAL, FAST), LOST_S))
        lines.failed(1)
    assert tried == [SLOW, USUAL, SLOW, FAST, SLOW, USUAL]
    assert lines.line(1, (USUAL, FAST), LOST_S - 1) == SLOW
    assert lines.found == SLOW


steps = st.lists(
    st.tuples(st.integers(1, 4), st.booleans(), st.floats(0, LOST_S / 50)), min_size=1, max_size=60
)


@given(steps)
def test_while_anybody_answers_now_and_then_the_settings_never_change(
    asked: list[tuple[int, bool, float]],
) -> None:
    lines, now, settled = Lines(USUAL), 0.0, None
    for unit, answers, pause in asked:
        now += pause
        line = lines.line(unit, (USUAL, SLOW, FAST), now)
        if settled is not None:
            assert line == settled
        if answers and (settled is None or line == settled):
            lines.answered(line, now)
            settled = line
        else:
            lines.failed(unit)
            if settled is not None and unit == 1:
                lines.answered(settled, now)  # its neighbour is well

"""The bytes of virtual sensors equal published captures, and a virtual Modbus slave is strict."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edgegw.simulate.frames import Target, damaged, ld2450_frame, sds011_frame
from edgegw.simulate.modbus_slave import (
    RTU_REQUEST,
    RtuRequests,
    answer_pdu,
    crc,
    tcp_answer,
    tcp_request,
)

LEVEL = {0x0000: 713, 0x07D0: 1, 0x07D1: 1}


def test_an_air_frame_equals_the_capture_of_a_real_sensor() -> None:
    # avaldebe/PyPMS tests/captured_data/data.csv and tests/sensors/test_sensor.py
    assert sds011_frame(6, 6, b"\x58\xd9").hex() == "aac00600060058d93dab"
    assert sds011_frame(1236, 2618).hex() == "aac0d4043a0aa1601dab"


def test_a_radar_frame_equals_the_example_of_the_manual() -> None:
    # HLK-LD2450 serial protocol manual: x -782 mm, y 1713 mm, -16 cm/s, 320 mm
    assert (
        ld2450_frame([Target(-782, 1713, -16, 320)]).hex()
        == "aaff03000e03b186100040010000000000000000000000000000000055cc"
    )


def test_a_radar_frame_with_two_targets_equals_the_one_of_esphome() -> None:
    # esphome tests/integration/fixtures/uart_mock_ld2450.yaml
    frame = ld2450_frame([Target(-500, 1000, -5, 320), Target(200, 500, 0, 100)])
    assert frame.hex() == "aaff0300f401e88305004001c880f48100006400000000000000000055cc"


def test_nobody_is_thirty_bytes_too() -> None:
    assert ld2450_frame([]).hex() == "aaff0300" + "00" * 24 + "55cc"


@pytest.mark.parametrize("tenths", [-1, 10_000])
def test_an_air_sensor_says_nothing_beyond_its_range(tenths: int) -> None:
    with pytest.raises(ValueError, match=r"0\.0 to 999\.9"):
        sds011_frame(tenths, 0)


def test_a_radar_has_three_slots_and_fifteen_bits() -> None:
    with pytest.raises(ValueError, match="3 slots"):
        ld2450_frame([Target(0, 1, 0, 1)] * 4)
    with pytest.raises(ValueError, match="15 bits"):
        ld2450_frame([Target(0x8000, 1, 0, 1)])


def test_damage_is_one_bit_of_the_check() -> None:
    assert damaged(bytes.fromhex("aac00600060058d93dab")).hex() == "aac00600060058d92dab"


def test_the_slave_answers_as_the_manual_prints_it() -> None:
    # Renke RT-ZS-BZ on-board noise module manual V2.2: 71.3 dBA
    slave = RtuRequests(1)
    [request] = slave.feed(bytes.fromhex("010300000001840a"))
    assert slave.answer(answer_pdu(request, LEVEL.get)).hex() == "01030202c97972"


def test_the_slave_answers_the_search_with_its_true_address() -> None:
    slave = RtuRequests(1)
    [request] = slave.feed(bytes.fromhex("ff0307d00002d158"))
    assert slave.answer(answer_pdu(request, LEVEL.get)).hex() == "010304000100016a33"


@pytest.mark.parametrize(
    ("request_hex", "answer_hex"),
    [
        ("0600000001", "8601"),  # it takes no write
        ("0300010001", "8302"),  # no such register
        ("03ffff0002", "8302"),  # beyond the last register
        ("0300000000", "8303"),  # no register at all
        ("030000007e", "8303"),  # 126 registers do not fit in one answer
        ("03000000", "8303"),  # half a request
    ],
)
def test_the_slave_refuses_with_the_exception_of_the_specification(request_hex: str, answer_hex: str) -> None:
    assert answer_pdu(bytes.fromhex(request_hex), LEVEL.get).hex() == answer_hex


def test_a_question_to_another_slave_is_skipped() -> None:
    other = bytes.fromhex("020300000001")
    assert RtuRequests(1).feed(other + crc(other)) == []


@given(noise=st.binary(max_size=40), cut=st.integers(0, RTU_REQUEST))
def test_a_request_is_found_behind_any_noise_in_any_two_pieces(noise: bytes, cut: int) -> None:
    slave = RtuRequests(1)
    request = bytes.fromhex("010300000001840a")
    line = noise + request
    # One noise in 65536 fits its own CRC, and then it is a message.
    assume(not any(crc(line[at : at + 6]) == line[at + 6 : at + 8] for at in range(len(noise))))
    found = slave.feed(noise + request[:cut]) + slave.feed(request[cut:])
    assert found == [request[1:-2]]


def test_silence_ends_a_message() -> None:
    slave = RtuRequests(1)
    slave.feed(bytes.fromhex("01030000"))
    slave.silence()
    assert slave.feed(bytes.fromhex("0001840a")) == []


def test_a_tcp_answer_repeats_the_transaction_and_the_unit() -> None:
    header = bytes.fromhex("0007000000060b")
    assert tcp_request(header) == 5
    assert tcp_answer(header, bytes.fromhex("030202c9")).hex() == "0007000000050b030202c9"


@pytest.mark.parametrize("header", ["00070001000601", "00070000000101", "0007000000ff01"])
def test_what_is_no_modbus_message_is_refused(header: str) -> None:
    with pytest.raises(ValueError, match="not a Modbus TCP message"):
        tcp_request(bytes.fromhex(header))

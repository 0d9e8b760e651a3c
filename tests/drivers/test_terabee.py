from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegw.driver import FrameError, Notice, Outcome, Reading
from edgegw_drivers.terabee import Terabee
from edgegw_drivers.terabee.frame import Totals, crc8, encode_totals, parse

if TYPE_CHECKING:
    from collections.abc import Sequence

# From the user manual, section 5.5 and table 10.
MANUAL = bytes.fromhex("504300a1b2c3000000050011000cc6")
DISTANCES = bytes.fromhex("444404ba07f21b")
ONE, OTHER = b"\x00\xa1\xb2\xc3", b"\x00\xa1\xb2\xc4"


def said(passed_in: int, passed_out: int, inside: int = 0, device: bytes = ONE) -> bytes:
    return encode_totals(Totals(device, inside, passed_in, passed_out))


def told(outcomes: Sequence[Outcome]) -> dict[str, float]:
    return {each.quantity.name: each.value for each in outcomes if isinstance(each, Reading)}


def others(outcomes: Sequence[Outcome]) -> list[str]:
    """Reasons and names of notices."""
    found = [each.reason for each in outcomes if isinstance(each, FrameError)]
    return found + [each.name for each in outcomes if isinstance(each, Notice)]


class Door:
    """One opened counter, a second between two frames."""

    def __init__(self) -> None:
        self._decoder = Terabee().decoder()
        self._now = 0.0

    def say(
        self, passed_in: int, passed_out: int, inside: int = 0, *, device: bytes = ONE, after: float = 1.0
    ) -> Sequence[Outcome]:
        self._now += after
        return self._decoder.decode(said(passed_in, passed_out, inside, device), self._now)


def test_the_manuals_frame_is_read_as_the_manual_reads_it() -> None:
    assert parse(MANUAL) == Totals(ONE, 5, 17, 12)
    assert encode_totals(Totals(ONE, 5, 17, 12)) == MANUAL
    shown = Terabee(counts="totals").decode(MANUAL)
    assert told(shown) == {"count_in": 17, "count_out": 12, "occupancy": 5}


def test_distances_are_no_reading() -> None:
    assert Terabee().decode(DISTANCES) == ()


def test_the_check_value_of_the_crc_is_right() -> None:
    assert crc8(b"123456789") == 0xF4  # CRC-8/SMBUS in the catalogue of parametrised CRC algorithms


@given(
    st.builds(
        Totals,
        st.binary(min_size=4, max_size=4),
        st.integers(-(2**31), 2**31 - 1),
        st.integers(0, 65535),
        st.integers(0, 65535),
    )
)
def test_what_a_counter_says_is_what_is_read(totals: Totals) -> None:
    assert parse(encode_totals(totals)) == totals


@pytest.mark.parametrize("frame", [MANUAL, DISTANCES])
def test_no_flipped_bit_passes(frame: bytes) -> None:
    for bit in range(8 * len(frame)):
        damaged = bytearray(frame)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FrameError):
            parse(bytes(damaged))


# Passages


def test_the_first_totals_are_no_passages_and_the_next_ones_are_those_between() -> None:
    door = Door()
    assert told(door.say(100, 50, 50)) == {"occupancy": 50}
    assert told(door.say(103, 51, 52)) == {"count_in": 3, "count_out": 1, "occupancy": 52}
    assert told(door.say(103, 51, 52)) == {"count_in": 0, "count_out": 0, "occupancy": 52}


def test_a_total_that_runs_over_goes_on() -> None:
    door = Door()
    door.say(65534, 65535)
    assert told(door.say(1, 65535)) == {"count_in": 3, "count_out": 0, "occupancy": 0}


def test_a_total_that_goes_back_is_a_restart_and_gives_no_passages() -> None:
    door = Door()
    door.say(500, 400)
    again = door.say(2, 1, 1)
    assert told(again) == {"occupancy": 1}
    assert others(again) == ["counter_reset", "restart"]
    assert told(door.say(4, 1)) == {"count_in": 2, "count_out": 0, "occupancy": 0}


def test_one_total_that_goes_back_is_enough() -> None:
    door = Door()
    door.say(10, 400)
    assert others(door.say(11, 0)) == ["counter_reset", "restart"]


def test_more_than_can_pass_are_not_believed_and_more_time_lets_more_pass() -> None:
    door = Door()
    door.say(0, 0)
    assert told(door.say(25, 0)) == {"count_in": 25, "count_out": 0, "occupancy": 0}
    assert others(door.say(51, 0)) == ["implausible"]
    assert told(door.say(52, 0)) == {"count_in": 1, "count_out": 0, "occupancy": 0}
    assert told(door.say(172, 0, after=20.0)) == {"count_in": 120, "count_out": 0, "occupancy": 0}


def test_another_counter_is_told_and_its_totals_are_first_ones() -> None:
    door = Door()
    door.say(10, 10)
    exchanged = door.say(11, 11, device=OTHER)
    assert told(exchanged) == {"occupancy": 0}
    assert others(exchanged) == ["device"]


def test_fewer_than_nobody_inside_is_no_occupancy() -> None:
    door = Door()
    door.say(1, 5, 0)
    found = door.say(1, 6, -5)
    assert told(found) == {"count_in": 0, "count_out": 1}
    assert others(found) == ["implausible"]


@given(st.lists(st.tuples(st.integers(0, 65535), st.integers(0, 65535)), max_size=30))
def test_no_count_is_ever_negative_or_more_than_can_be(totals: list[tuple[int, int]]) -> None:
    door = Door()
    for each in totals:
        found = told(door.say(*each))
        assert all(0 <= found.get(name, 0) <= 25 for name in ("count_in", "count_out"))


# What is sent


@pytest.mark.parametrize(
    ("command", "data"),
    [
        ("binary output", "006101e7"),
        ("text output", "006102ee"),
        ("reset counters", "005508000000007c"),
    ],
)
def test_commands_are_those_of_the_manual(command: str, data: str) -> None:
    assert Terabee().encode(command, {}).hex() == data


def test_setting_up_asks_for_frames_and_never_resets() -> None:
    assert [(each.name, each.changes) for each in Terabee().setup()] == [("binary output", True)]
    assert Terabee().request() == b""

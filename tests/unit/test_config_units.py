from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegw.config import units


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("10s", 10.0),
        ("500ms", 0.5),
        ("5m", 300.0),
        ("5min", 300.0),
        ("2h", 7200.0),
        ("7d", 604_800.0),
        ("1w", 604_800.0),
        ("1h30m", 5400.0),
        (" 0.1 s ", 0.1),
        ("0s", 0.0),
    ],
)
def test_a_duration_is_seconds(text: str, value: float) -> None:
    assert units.seconds(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [("64KiB", 65_536), ("2GiB", 2**31), ("1.5MiB", 1_572_864), ("1kB", 1000), ("7B", 7), ("1TiB", 2**40)],
)
def test_a_size_is_bytes(text: str, value: int) -> None:
    assert units.size(text) == value


@pytest.mark.parametrize(("text", "value"), [("0.3m", 0.3), ("30cm", 0.3), ("5mm", 0.005), ("1km", 1000.0)])
def test_a_length_is_metres(text: str, value: float) -> None:
    assert units.metres(text) == value


def test_a_rate_is_bytes_per_second() -> None:
    assert units.rate("64KiB/s") == 65_536
    with pytest.raises(ValueError, match='write "64KiB/s"'):
        units.rate("64KiB")


def test_a_number_without_a_unit_is_refused_with_an_example() -> None:
    with pytest.raises(ValueError, match='has no unit; write "10s"'):
        units.seconds("10")


@pytest.mark.parametrize(
    "text", ["", "s", "10 parsecs", "-1s", "1e3s", "\u0661s", "1s" * 60, "9" * 13 + "s", "nan s"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not understood|unknown unit"):
        units.seconds(text)


def test_a_fraction_of_a_byte_is_refused() -> None:
    with pytest.raises(ValueError, match="whole number of bytes"):
        units.size("0.3B")


@given(st.text(max_size=60))
def test_any_text_is_a_number_or_a_value_error(text: str) -> None:
    for read in (units.seconds, units.size, units.rate, units.metres):
        with contextlib.suppress(ValueError):
            assert read(text) >= 0


@given(st.integers(0, 10**10).map(lambda ms: ms / 1000))
def test_a_duration_that_is_shown_reads_back_the_same(value: float) -> None:
    assert units.seconds(units.show_seconds(value)) == value


@given(st.integers(0, 2**39))
def test_a_size_that_is_shown_reads_back_the_same(value: int) -> None:
    assert units.size(units.show_size(value)) == value


@pytest.mark.parametrize(
    ("value", "shown"),
    [(10.0, "10s"), (0.5, "500ms"), (90.0, "90s"), (60.0, "1m"), (172_800.0, "2d"), (0.0, "0s")],
)
def test_a_duration_is_shown_in_its_largest_whole_unit(value: float, shown: str) -> None:
    assert units.show_seconds(value) == shown

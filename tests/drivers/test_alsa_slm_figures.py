"""What the shell shows of the meter: figures out of lists of numbers."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from outcomes import readings

from edgegw.decode import decode
from edgegw.driver import FrameError
from edgegw.problems import GatewayError
from edgegw_drivers.alsa_slm import AlsaSlm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgegw.driver import Reading


def figures(text: str, **options: Any) -> Sequence[Reading]:
    found = AlsaSlm().decode_layer("numeric", text.encode(), options)
    assert found is not None
    return readings(found)


def values(text: str, **options: Any) -> list[float]:
    return [each.value for each in figures(text, **options)]


# IEC 61672-1:2013, table of design goals: nominal frequency, A, C.
TABLE = """
10 -70.4 -14.3  12.5 -63.4 -11.2  16 -56.7 -8.5  20 -50.5 -6.2  25 -44.7 -4.4  31.5 -39.4 -3.0  40 -34.6 -2.0
50 -30.2 -1.3  63 -26.2 -0.8  80 -22.5 -0.5  100 -19.1 -0.3  125 -16.1 -0.2  160 -13.4 -0.1  200 -10.9 0  250 -8.6 0
315 -6.6 0  400 -4.8 0  500 -3.2 0  630 -1.9 0  800 -0.8 0  1000 0 0  1250 0.6 0  1600 1.0 -0.1  2000 1.2 -0.2
2500 1.3 -0.3  3150 1.2 -0.5  4000 1.0 -0.8  5000 0.5 -1.3  6300 -0.1 -2.0  8000 -1.1 -3.0  10000 -2.5 -4.4
12500 -4.3 -6.2  16000 -6.6 -8.5  20000 -9.3 -11.2
"""
GOALS = TABLE.split()


@pytest.mark.parametrize(("nominal", "a", "c"), list(zip(GOALS[::3], GOALS[1::3], GOALS[2::3], strict=True)))
def test_every_row_of_the_standards_table_is_kept_to(nominal: str, a: str, c: str) -> None:
    assert values(nominal) == pytest.approx([float(a), float(c)], abs=0.06)


def test_a_frequency_between_the_bands_is_taken_as_it_is() -> None:
    below, at, above = (values(text)[0] for text in ("990", "1000", "1010"))
    assert below < at < above


@pytest.mark.parametrize(
    ("pascal", "decibels"),
    [("1.0", 93.979), ("4.0", 106.021), ("0.00002", 0.0), ("10.02", 113.997), ("1", 93.979)],
)
def test_a_pressure_is_shown_as_the_level_of_a_tone_of_1_khz(pascal: str, decibels: float) -> None:
    (found,) = figures(pascal)
    assert (found.quantity.name, found.quantity.unit) == ("laeq", "dB")
    assert found.value == pytest.approx(decibels, abs=0.002)


@pytest.mark.parametrize("seconds", [1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.00025])
@pytest.mark.parametrize("constant", [0.125, 1.0])
def test_a_tone_burst_reaches_what_the_exponential_mean_says(seconds: float, constant: float) -> None:
    expected = 10 * math.log10(1 - math.exp(-seconds / constant))
    assert values(f"{seconds} {constant}") == pytest.approx([expected], abs=0.01)


def test_levels_are_averaged_by_energy_and_their_weights() -> None:
    assert values("60 80 80 80 80") == pytest.approx([79.042], abs=0.002)
    assert values("45 95", weights_s="[59, 1]") == values("45 95", weights_s=[59.0, 1.0])
    assert values("45 95", weights_s="59,1") == values("45 95", weights_s=[59.0, 1.0])
    assert values("60 55 50", weights_s=[1, 1, 1]) == pytest.approx([56.740], abs=0.002)


def test_what_is_asked_can_be_said() -> None:
    assert values("1000", calculate="pressure") == pytest.approx([153.979], abs=0.002)
    assert values("60 55 50", calculate="levels") == pytest.approx([56.740], abs=0.002)
    assert values("0.125", calculate="decay") == pytest.approx([34.744], abs=0.001)
    assert values("0.125 1.0", calculate="burst") == pytest.approx([-9.301], abs=0.002)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0.0", "out_of_range"),
        ("30000", "out_of_range"),
        ("-3.0", "out_of_range"),
        ("0 0.125", "out_of_range"),
        ("9000 80", "out_of_range"),
        ("0.2 0.1 0.125 0.5", "unsupported_length"),
        ("quiet", "not_a_number"),
    ],
)
def test_numbers_that_cannot_be_are_refused(text: str, reason: str) -> None:
    with pytest.raises(FrameError) as refused:
        figures(text)
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    "options",
    [
        {"weights_s": "59"},
        {"weights_s": "[1]"},
        {"weights_s": "[0, 0]"},
        {"weights_s": "many"},
        {"weights_s": None},
        {"calculate": "noise"},
        {"width_bits": "16"},
    ],
)
def test_options_that_cannot_be_are_a_usage_error(options: dict[str, object]) -> None:
    with pytest.raises(GatewayError) as error:
        list(decode("alsa_slm", ["60 80"], layer="numeric", options=options))
    assert error.value.code == "EG-USAGE"


def test_another_layer_is_not_the_drivers() -> None:
    assert AlsaSlm().decode_layer("uart", b"", {}) is None


@given(
    st.lists(
        st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**6), 10**6),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from(["", "weighting", "pressure", "levels", "lden", "burst", "decay"]),
)
def test_any_numbers_give_finite_figures_or_a_refusal(numbers: list[float], calculate: str) -> None:
    options = {"calculate": calculate} if calculate else {}
    if calculate != "levels":
        numbers = [number if abs(number) < 30_000 or number > 1e9 else number / 1000 for number in numbers]
    with contextlib.suppress(FrameError):
        assert all(math.isfinite(value) for value in values(str(numbers), **options))

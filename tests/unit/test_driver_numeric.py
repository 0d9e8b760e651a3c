from __future__ import annotations

import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegw.driver import FrameError, numbers
from edgegw.driver.numeric import MOST_NUMBERS


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("63", [63]),
        ("60 80", [60, 80]),
        ("[60, 80.5]", [60, 80.5]),
        ("60,80;\n-3", [60, 80, -3]),
        ("1.0 1e-3 .5 +2", [1.0, 0.001, 0.5, 2]),
        # Registers as they are written elsewhere.
        ("003f", [63]),
        ("003C0050", [60, 80]),
        ("fffa 0003", [65530, 3]),
        ("ffff 1000 03e8", [65535, 4096, 1000]),
        ("0x3f 0XFFFA,0x10000", [63, 65530, 65536]),
        # Four digits that no register needs are a number.
        ("1000 2000", [1000, 2000]),
    ],
)
def test_numbers_are_read_as_people_and_json_write_them(text: str, found: list[float]) -> None:
    assert numbers(text.encode()) == found
    assert [type(each) for each in numbers(text.encode())] == [type(each) for each in found]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no_data"),
        (" [] ", "no_data"),
        ("loud", "not_a_number"),
        ("nan", "not_a_number"),
        ("1 inf", "not_a_number"),
        ("0x", "not_a_number"),
        ("0x11111111111111111", "not_a_number"),
        ("\xff\xfe", "not_a_number"),
        ("1 " * (MOST_NUMBERS + 1), "unsupported_length"),
        ("0001" * (MOST_NUMBERS + 1), "unsupported_length"),
    ],
)
def test_what_is_no_list_of_numbers_is_refused(text: str, reason: str) -> None:
    with pytest.raises(FrameError) as refused:
        numbers(text.encode("latin-1"))
    assert refused.value.reason == reason


@given(st.binary(max_size=200))
def test_any_bytes_are_finite_numbers_or_refused(data: bytes) -> None:
    try:
        found = numbers(data)
    except FrameError:
        return
    assert found
    assert all(math.isfinite(each) for each in found)


@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**17), 10**17), min_size=1)
)
def test_what_python_writes_is_read_back(given: list[float]) -> None:
    assert numbers(str(given).encode()) == given


def test_the_shell_takes_each_argument_for_a_number_of_one_list() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "edgegw.cli",
            "drivers",
            "decode",
            "alsa_slm",
            "60",
            "80",
            "--layer",
            "numeric",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == '{"quantity": "laeq", "value": 77.033, "unit": "dB", "meta": {}}\n'

"""What the sound level meter makes of signals whose levels are known."""

from __future__ import annotations

import math
import subprocess
import sys
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgegw import registry
from edgegw.driver import FrameError, Reading
from edgegw_drivers.alsa_slm import AlsaSlm
from edgegw_drivers.alsa_slm.curves import gain_db as wanted_db
from edgegw_drivers.alsa_slm.curves import midband
from edgegw_drivers.alsa_slm.levels import Exceeded
from edgegw_drivers.alsa_slm.weighting import gain_db

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from edgegw.driver import AudioDecoder, Outcome

    Signal = NDArray[np.float64]

RATE = 48_000
# The first second is not measured.
SETTLING = 48_000
PASCAL_DB = 93.9794
# Whoever looks at one thing wants no other flag.
CALIBRATED: dict[str, Any] = {"calibration_db": 0.0, "floor_db": 0.0}


def pascals(decibels: float) -> float:
    return float(10 ** ((decibels - PASCAL_DB) / 20))


def tone(hertz: float, decibels: float, seconds: float) -> Signal:
    """A sine in Pa whose rms has that level."""
    time = np.arange(round(seconds * RATE)) / RATE
    return pascals(decibels) * math.sqrt(2) * np.sin(2 * np.pi * hertz * time)


def hiss(decibels: float, seconds: float) -> Signal:
    """Something that a living microphone always says; its level is the unweighted one."""
    return pascals(decibels) * np.random.default_rng(7).standard_normal(round(seconds * RATE))


def heard(signal: Signal, sensitivity: float = -26.0) -> bytes:
    """The samples of a microphone: at 1 Pa (rms) a sine is `sensitivity` dB below one of full scale."""
    scaled = signal * 10 ** (sensitivity / 20) / math.sqrt(2) * 2**31
    return np.clip(np.round(scaled), -(2**31), 2**31 - 1).astype("<i4").tobytes()


def meter(interval: float = 1.0, **options: Any) -> AudioDecoder:
    return AlsaSlm(**{**CALIBRATED, **options}).decoder(interval)


def measured(signal: Signal, interval: float = 1.0, **options: Any) -> list[Outcome]:
    """What a settled meter says of a signal, which begins suddenly."""
    decoder = meter(interval, **options)
    assert not decoder.decode(heard(signal)[: 4 * SETTLING], 0, 0.0)
    return list(decoder.decode(heard(signal)[4 * SETTLING :], 0, 0.0))


def levels(outcomes: Iterable[Outcome], name: str) -> list[float]:
    return [each.value for each in outcomes if isinstance(each, Reading) and each.quantity.name == name]


def reasons(outcomes: Iterable[Outcome]) -> list[str]:
    return [each.reason for each in outcomes if isinstance(each, FrameError)]


def checks(outcomes: Iterable[Outcome]) -> set[str]:
    return {check for each in outcomes if isinstance(each, Reading) for check in each.checks}


# Weightings and levels


@pytest.mark.parametrize("weighting", ["A", "C"])
def test_the_filters_are_the_curves_of_the_standard_from_10_hz_to_20_khz(weighting: str) -> None:
    for tenth in range(-200, 131):
        hertz = 1000 * 10 ** (tenth / 100)
        assert gain_db(weighting, hertz) == pytest.approx(wanted_db(weighting, hertz), abs=0.001)


@pytest.mark.parametrize(
    ("hertz", "a", "c"),
    [
        # The corners of the table of design goals in IEC 61672-1:2013, which is rounded to tenths.
        (10, -70.4, -14.3),
        (31.5, -39.4, -3.0),
        (125, -16.1, -0.2),
        (1000, 0.0, 0.0),
        (8000, -1.1, -3.0),
        (12500, -4.3, -6.2),
        (20000, -9.3, -11.2),
    ],
)
def test_the_filters_keep_to_the_table_of_the_standard(hertz: float, a: float, c: float) -> None:
    assert gain_db("A", midband(hertz)) == pytest.approx(a, abs=0.06)
    assert gain_db("C", midband(hertz)) == pytest.approx(c, abs=0.06)


def test_one_pascal_at_1_khz_is_93_98_db_in_every_quantity_and_its_peak_3_db_more() -> None:
    found = measured(tone(1000, PASCAL_DB, 3))
    for name in ("laeq", "lafmax", "lafmin"):
        assert levels(found, name) == pytest.approx([93.98, 93.98], abs=0.015)
    for name in ("la10", "la50", "la90"):
        assert levels(found, name) == [94.0, 94.0]
    assert levels(found, "lcpeak") == pytest.approx([96.99, 96.99], abs=0.02)
    assert not checks(found)
    assert all(each.flag is None and each.meta == {"coverage": 1.0} for each in found)  # type: ignore[union-attr]


@pytest.mark.parametrize("decibels", [20, 40, 60, 94, 114])
def test_it_is_linear_over_the_range_of_a_microphone(decibels: float) -> None:
    assert levels(measured(tone(1000, decibels, 2)), "laeq") == pytest.approx([decibels], abs=0.02)


@pytest.mark.parametrize("hertz", [31.5, 63, 250, 2000, 8000, 12500, 16000])
def test_a_tone_is_weighted_by_a_in_the_mean_and_by_c_in_the_peak(hertz: float) -> None:
    # A little off, so that samples meet the tone at all its points.
    tuned = midband(hertz) * 1.0003
    found = measured(tone(tuned, 80, 3))
    assert levels(found, "laeq") == pytest.approx([80 + wanted_db("A", tuned)] * 2, abs=0.05)
    assert levels(found, "lcpeak") == pytest.approx([83.01 + wanted_db("C", tuned)] * 2, abs=0.1)


def test_the_mean_is_the_mean_of_energies() -> None:
    found = measured(np.concatenate((tone(1000, 60, 2), tone(1000, 80, 1))), 2.0)
    assert levels(found, "laeq") == pytest.approx([77.03], abs=0.02)


# IEC 61672-1:2013, table 4: reference responses to bursts of 4 kHz; class 1 may deviate by 0.5 dB and more.
@pytest.mark.parametrize(("seconds", "below"), [(1.0, 0.0), (0.2, -1.0), (0.05, -4.8), (0.01, -11.1)])
def test_a_tone_burst_reaches_the_reference_with_fast(seconds: float, below: float) -> None:
    signal = hiss(10, 4)
    burst = tone(4000, 90, seconds)
    signal[2 * RATE + 1234 :][: len(burst)] += burst
    steady = 90 + wanted_db("A", 4000)
    found = measured(signal, 3.0)
    assert levels(found, "lafmax") == pytest.approx([steady + below], abs=0.1)


# IEC 61672-1:2013, table 5: C-weighted peak less the C-level of the steady tone; class 1 may deviate by 1 or 2 dB.
@pytest.mark.parametrize(
    ("hertz", "cycles", "sign", "above"),
    [
        (31.5, 1.0, 1, 2.5),
        (500, 1.0, 1, 3.5),
        (8000, 1.0, 1, 3.4),
        (500, 0.5, 1, 2.4),
        (500, 0.5, -1, 2.4),
    ],
)
def test_the_peak_of_single_cycles_is_that_of_the_standard(
    hertz: float, cycles: float, sign: int, above: float
) -> None:
    signal = hiss(20, 3)
    part = sign * tone(hertz, 100, cycles / hertz)
    signal[int(1.4 * RATE) :][: len(part)] += part
    (peak,) = levels(measured(signal, 2.0), "lcpeak")
    assert peak - 100 - wanted_db("C", hertz) == pytest.approx(above, abs=0.5)


def test_when_the_sound_stops_the_level_falls_by_34_7_db_a_second() -> None:
    found = measured(np.concatenate((tone(1000, 90, 2), hiss(5, 1))), 0.1)
    lowest = levels(found, "lafmin")[11:18]
    falls = [before - after for before, after in pairwise(lowest)]
    assert falls == pytest.approx([3.474] * len(falls), abs=0.02)


def test_levels_that_are_exceeded_tell_the_loud_tenth_from_the_quiet_rest() -> None:
    found = measured(np.concatenate((tone(1000, 60, 9), tone(1000, 80, 2))), 10.0)
    assert (levels(found, "la10"), levels(found, "la90")) == ([80.0], [60.0])
    assert levels(found, "la50") == [60.0]


def test_a_level_is_exceeded_in_the_share_of_time_that_it_is_named_for() -> None:
    exceeded = Exceeded()
    for tenths in range(1, 101):
        exceeded.add(50 + tenths / 10)
    assert [exceeded.level(percent) for percent in (10, 50, 90, 100)] == [59.1, 55.1, 51.1, 50.1]
    # Beyond all classes stands in the last one.
    exceeded.add(1e6)
    exceeded.add(-1e6)
    assert (exceeded.level(0), exceeded.level(100)) == (249.9, -50.0)


def test_statistics_may_be_taken_over_a_longer_time_than_the_other_levels() -> None:
    found = measured(hiss(60, 7), 1.0, statistics="3s")
    assert len(levels(found, "laeq")) == 6
    assert len(levels(found, "la10")) == len(levels(found, "la90")) == 2


def test_what_the_microphone_deviates_by_is_taken_back() -> None:
    response = ((20.0, -6.0), (100.0, 0.0), (5000.0, 0.0), (10000.0, 4.0))
    plain, flat = (
        levels(measured(tone(hertz, 80, 2), response=response), "laeq")[0] - 80 - wanted_db("A", hertz)
        for hertz in (1000.0, 10000.0)
    )
    assert (plain, flat) == pytest.approx((0.0, -4.0), abs=0.05)
    (low,) = levels(measured(tone(20, 90, 3), 2.0, response=response), "laeq")
    assert low == pytest.approx(90 + wanted_db("A", 20) + 6, abs=0.1)


def test_sensitivity_and_calibration_move_every_level() -> None:
    signal = tone(1000, 80, 2)
    decoder = meter(sensitivity=-37.0)
    assert levels(decoder.decode(heard(signal, -37.0), 0, 0.0), "laeq") == pytest.approx([80], abs=0.02)
    found = measured(signal, calibration_db=-1.5)
    assert levels(found, "laeq") == pytest.approx([78.5], abs=0.02)
    assert levels(found, "lcpeak") == pytest.approx([81.51], abs=0.02)
    assert levels(found, "la50") == [78.5]


# Flags


def test_without_a_calibration_every_reading_says_so() -> None:
    found = measured(tone(1000, 80, 2), calibration_db=None)
    assert all(each.checks == ("uncalibrated",) and each.flag == 3 for each in found)  # type: ignore[union-attr]


def test_below_the_self_noise_a_level_is_flagged_and_stands() -> None:
    found = measured(tone(1000, 25, 2), floor_db=30.0)
    flagged = {
        each.quantity.name for each in found if isinstance(each, Reading) and each.checks == ("under_range",)
    }
    assert flagged == {"laeq", "lafmax", "lafmin", "la10", "la50", "la90"}
    assert levels(found, "laeq") == pytest.approx([25], abs=0.05)


@pytest.mark.parametrize("full", [0x7FFFFFFF, 0x7FFF0000, -0x80000000, -0x7FFF0000])
def test_one_sample_at_full_scale_of_16_24_or_32_bits_flags_its_window_and_no_other(full: int) -> None:
    samples = np.frombuffer(heard(hiss(60, 4)), "<i4").copy()
    samples[2 * RATE + 20000] = full
    found = meter().decode(samples.tobytes(), 0, 0.0)
    flagged = [each.checks for each in found if isinstance(each, Reading) and each.quantity.name == "laeq"]
    assert flagged == [(), ("overload",), ()]
    # 16 bits reach 32766 without clipping.
    samples[2 * RATE + 20000] = 0x7FFE0000
    assert not checks(meter().decode(samples.tobytes(), 0, 0.0))


def test_a_blast_beyond_full_scale_keeps_its_level() -> None:
    found = measured(np.concatenate((hiss(50, 1.5), tone(100, 140, 0.2), hiss(50, 1.3))), 2.0)
    assert checks(found) == {"overload"}
    (peak,) = levels(found, "lcpeak")
    assert 120 < peak < 135


# What is not there


def test_dropped_samples_lower_the_coverage_and_not_the_level() -> None:
    samples = heard(tone(997, 80, 4) + 0.5)  # with the offset of a real card
    decoder = meter()
    found = list(decoder.decode(samples[: 4 * (RATE + 10_000)], 0, 0.0))
    found += decoder.decode(samples[4 * (RATE + 30_000) :], 20_000, 0.0)
    first, second, third = (
        each for each in found if isinstance(each, Reading) and each.quantity.name == "laeq"
    )
    # Blocks of 4800 samples: the second to the sixth are torn or missing, after them the filters forget for two.
    assert first.meta == {"coverage": 0.3}
    assert (first.checks, first.flag) == (("coverage",), 3)
    assert second.checks == third.checks == ()
    for name, level in (("laeq", 80), ("lafmax", 80), ("lafmin", 80), ("lcpeak", 83.01)):
        assert levels(found, name) == pytest.approx([level] * 3, abs=0.05)


def test_a_short_gap_in_a_long_window_is_no_reason_for_a_flag() -> None:
    samples = heard(tone(1000, 80, 11))
    decoder = meter(10.0)
    found = list(decoder.decode(samples[: 4 * 100_000], 0, 0.0))
    found += decoder.decode(samples[4 * 100_100 :], 100, 0.0)
    assert found
    assert all(each.meta == {"coverage": 0.97} and not each.checks for each in found)  # type: ignore[union-attr]


def test_sound_returns_on_the_same_grid_after_a_gap_of_any_length() -> None:
    samples = heard(hiss(60, 1.6))
    decoder = meter(0.5)
    found = list(decoder.decode(samples, 0, 0.0))
    assert len(levels(found, "laeq")) == 1
    # Of the second window one block of five came, 7.5 blocks are lost; the third has nothing but a torn block and one
    # that the filters still remember the gap in; the fourth begins with another such one.
    found = list(decoder.decode(samples, 36_000, 0.0))
    assert reasons(found) == ["no_samples"] * 2  # levels and statistics
    coverages = [each.meta for each in found if isinstance(each, Reading) and each.quantity.name == "laeq"]
    assert coverages == [{"coverage": 0.2}, {"coverage": 0.8}, {"coverage": 1.0}]


def test_a_level_from_before_a_gap_is_none_of_what_comes_after_it() -> None:
    decoder = meter()
    assert not decoder.decode(heard(tone(1000, 100, 1.2)), 0, 0.0)
    # The loud sound ended within the gap, which is as long as what is left of the window and one block.
    found = decoder.decode(heard(tone(1000, 60, 2.3)), round(0.9 * RATE), 0.0)
    loud, quiet = levels(found, "lafmax")[:2]
    assert (loud, quiet) == pytest.approx((100, 60), abs=0.05)


def test_windows_that_a_gap_swallowed_whole_are_told_of_beside_the_one_that_it_tore() -> None:
    decoder = meter()
    assert not decoder.decode(heard(tone(1000, 60, 1.5)), 0, 0.0)
    found = decoder.decode(b"", 5 * RATE, 0.0)
    assert levels(found, "laeq") == pytest.approx([60], abs=0.05)
    assert reasons(found) == ["no_samples"] * 2  # levels and statistics


def test_windows_of_which_nothing_came_give_no_value_and_are_told_of_once() -> None:
    samples = heard(hiss(60, 1))
    decoder = meter()
    assert not decoder.decode(samples, 0, 0.0)
    # A day, and more than any clock will count: two windows end (levels, statistics), and whole ones lie within.
    for lost in (86_400 * RATE, 2**62):
        assert set(reasons(decoder.decode(samples, lost, 0.0))) == {"no_samples"}
        assert len(reasons(decoder.decode(samples, lost, 0.0))) <= 6
    assert levels(decoder.decode(heard(hiss(60, 2)), 0, 0.0), "laeq") != []


@pytest.mark.parametrize("value", [0, 12345, -(2**31), 2**31 - 1])
def test_a_microphone_that_does_not_move_is_dead_and_gives_no_level(value: int) -> None:
    found = meter().decode(np.full(4 * RATE, value, "<i4").tobytes(), 0, 0.0)
    assert reasons(found) == ["flatline"] * 6  # levels and statistics of three windows
    assert len(found) == 6


def test_silence_that_a_noise_gate_made_is_not_measured() -> None:
    signal = tone(1000, 70, 3)
    signal[RATE + RATE // 2 : 2 * RATE] = 0
    found = measured(signal)
    first, second = (each for each in found if isinstance(each, Reading) and each.quantity.name == "laeq")
    assert first.checks == ("coverage",)
    assert first.value == pytest.approx(70, abs=0.1)
    # The filters forget the gate within two blocks.
    assert (second.checks, second.meta) == (("coverage",), {"coverage": 0.8})
    assert second.value == pytest.approx(70, abs=0.02)


def test_the_charging_of_a_sound_card_after_opening_is_not_measured() -> None:
    settles = np.exp(-np.arange(3 * RATE) / (0.1 * RATE))
    found = measured(tone(1000, 60, 3) + settles)
    assert levels(found, "lcpeak") == pytest.approx([63.01, 63.01], abs=0.05)


def test_bytes_that_are_no_whole_sample_are_counted_and_the_others_measured() -> None:
    decoder = meter()
    found = decoder.decode(heard(hiss(60, 2)) + b"\1", 0, 0.0)
    assert reasons(found) == ["truncated"]
    assert len(levels(found, "laeq")) == 1


# Options


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"sensitivity": 12.0}, "sensitivity: 12.0 is not from -120 to 0"),
        ({"calibration_db": 94.0}, "calibration_db: 94.0 is not from -60 to 60"),
        ({"floor_db": -1.0}, "floor_db: -1.0 is not from 0 to 100"),
        ({"statistics": "10ms"}, "statistics: 0.01 is not from 0.1 to 86400"),
        ({"statistics": "soon"}, "statistics: 'soon' is no number with one of the units ms, s, m, h"),
        ({"response": ((100.0, 1.0), (50.0, 0.0))}, "response: frequencies above 0 Hz, each higher than"),
        ({"response": ((0.0, 1.0),)}, "response: frequencies above 0 Hz"),
        ({"response": ((100.0, 60.0),)}, "response: 60.0 is not from -40 to 40"),
        ({"sensitivity": math.nan}, "sensitivity: nan is not"),
    ],
)
def test_an_option_that_cannot_be_is_refused_in_words(options: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        AlsaSlm(**options)


def test_options_are_taken_as_a_configuration_writes_them() -> None:
    driver = registry.make("alsa_slm", {"calibration_db": -1, "response": [[20, -4], [100.0, 0]]})
    assert driver == AlsaSlm(calibration_db=-1.0, response=((20.0, -4.0), (100.0, 0.0)))


# What is loaded


def run(program: str) -> Sequence[str]:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")


def test_numpy_is_loaded_with_the_first_meter_and_not_before() -> None:
    out = run(
        "import sys, edgegw.daemon; from edgegw import registry\n"
        "driver = registry.make('alsa_slm', {}); print('numpy' in sys.modules)\n"
        "driver.decoder(1.0); print('numpy' in sys.modules, 'scipy' in sys.modules)"
    )
    assert out[:2] == ["False", "True False"]


def test_without_numpy_the_sensor_fails_with_what_to_install() -> None:
    out = run(
        "import sys; sys.modules['numpy'] = None\n"
        "from edgegw import registry\n"
        "try: registry.make('alsa_slm', {}).decoder(1.0)\n"
        "except RuntimeError as error: print(error)"
    )
    assert out[0] == "numpy is not installed; pip install 'edgegw[audio]' brings it"

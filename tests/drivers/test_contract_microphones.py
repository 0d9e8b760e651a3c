"""What every microphone keeps to besides the rules of the contract: time is time, and memory does not grow."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgegw import contract, registry
from edgegw.contract.subject import comparable
from edgegw.driver import AudioDriver, Reading

if TYPE_CHECKING:
    from edgegw.driver import Outcome

NAMES = [each.name for each in registry.installed() if each.kind == "audio"]

each_driver = pytest.mark.parametrize("name", NAMES)


def test_a_driver_of_microphones_is_among_them() -> None:
    assert "alsa_slm" in NAMES


def microphone(name: str) -> AudioDriver:
    driver = contract.subject(name).made()
    assert isinstance(driver, AudioDriver)
    return driver


def sound(seed: int, seconds: float, rate: int) -> bytes:
    """Noise, so that no part of it is like another."""
    return Random(seed).randbytes(4 * round(seconds * rate))


def in_samples(data: st.DataObject, stream: bytes) -> list[bytes]:
    """A stream cut between samples."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream) // 4), max_size=6)))
    bounds = [0, *(4 * cut for cut in cuts), len(stream)]
    return [stream[begin:end] for begin, end in pairwise(bounds)]


@each_driver
@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=30)
def test_levels_do_not_depend_on_how_the_samples_are_cut(name: str, data: st.DataObject) -> None:
    driver = microphone(name)
    # The same sound with the same gap in it, whole and in pieces.
    before, after = sound(1, 1.7, driver.rate), sound(2, 1.3, driver.rate)
    lost = data.draw(st.sampled_from([0, 1, 4_799, 4_800, 100_000]))
    whole, cut = driver.decoder(0.3), driver.decoder(0.3)
    expected = [*whole.decode(before, 0, 0.0), *whole.decode(after, lost, 0.0)]
    found: list[Outcome] = []
    for samples, gap in ((before, 0), (after, lost)):
        missing = gap
        for piece in in_samples(data, samples):
            found += cut.decode(piece, missing, 0.0)
            missing = 0
    assert comparable(found) == comparable(expected)
    assert any(isinstance(each, Reading) for each in expected)


@each_driver
def test_an_hour_of_sound_needs_no_more_memory_than_its_first_seconds(name: str) -> None:
    driver = microphone(name)
    # An hour of time: mostly lost, so that the test does not take one.
    decoder = driver.decoder(3600.0)
    second = sound(3, 1.0, driver.rate)
    for _ in range(5):
        decoder.decode(second, 0, 0.0)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(60):
            decoder.decode(second, 60 * driver.rate, 0.0)
        assert tracemalloc.get_traced_memory()[0] - before < 1 << 16
    finally:
        tracemalloc.stop()


@each_driver
def test_a_window_holds_as_many_levels_of_each_quantity_as_time_has_passed(name: str) -> None:
    driver = microphone(name)
    decoder = driver.decoder(0.5)
    found = [each for _ in range(6) for each in decoder.decode(sound(4, 1.0, driver.rate), 0, 0.0)]
    assert {each.quantity.name for each in found if isinstance(each, Reading)} == set(driver.emits())
    for quantity in driver.emits():
        count = sum(isinstance(each, Reading) and each.quantity.name == quantity for each in found)
        # It may settle at first; from then on a window is a window.
        assert 6 <= count <= 12

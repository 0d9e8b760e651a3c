"""The drivers read what virtual sensors send, though neither knows the other's code."""

from __future__ import annotations

from collections import Counter

import pytest
from outcomes import readings

from edgegw import registry
from edgegw.driver import FrameError, StreamDriver
from edgegw.simulate import numbers
from edgegw.simulate.frames import damaged, ld2450_frame, sds011_frame
from edgegw.simulate.people import LINE
from edgegw.simulate.radar import CrowdRadar, ParadeRadar

FRAME_S = 0.1


def stream(name: str, **options: object) -> StreamDriver:
    driver = registry.make(name, options)
    assert isinstance(driver, StreamDriver)
    return driver


@pytest.mark.parametrize("number", [0, 1, 4_999, 5_000, 123_456, numbers.AIR_PERIOD - 1])
def test_the_air_driver_reads_the_number_that_the_virtual_sensor_wrote(number: int) -> None:
    fine, coarse = numbers.air(number)
    found = readings(stream("sds011").decoder().decode(sds011_frame(fine, coarse), 100.0))
    values = {reading.quantity.name: reading.value for reading in found}
    assert values == {"pm2_5": fine / 10, "pm10": coarse / 10}


@pytest.mark.parametrize(
    ("driver", "frame"),
    [("sds011", sds011_frame(6, 6)), ("ld2450", ld2450_frame([]))],
    ids=["sds011", "ld2450"],
)
def test_a_damaged_frame_is_refused_by_its_driver(driver: str, frame: bytes) -> None:
    with pytest.raises(FrameError):
        stream(driver).decoder().decode(damaged(frame), 0.0)


def test_each_way_of_the_parade_is_counted_once_and_in_its_time() -> None:
    radar, decoder = ParadeRadar(), stream("ld2450", line=LINE).decoder()
    counted: Counter[object] = Counter()
    frames = int(60 * radar.leg_s / FRAME_S)
    for number in range(frames):
        t = number * FRAME_S
        targets = radar.targets(number, t)
        found = {r.quantity.name: r.value for r in readings(decoder.decode(ld2450_frame(targets), t))}
        assert found["targets"] == len(targets)
        for quantity in ("count_in", "count_out"):
            counted[radar.leg(t)._replace(quantity=quantity)] += int(found[quantity])
    expected = {radar.leg((leg + 0.5) * radar.leg_s) for leg in range(60)}
    assert {leg for leg, times in counted.items() if times == 1} == expected
    assert counted.total() == 60


@pytest.mark.parametrize("seed", range(8))
def test_a_crowds_passages_are_counted_as_they_were(seed: int) -> None:
    radar, decoder = CrowdRadar(seed, 25.0), stream("ld2450", line=LINE).decoder()
    counted: Counter[str] = Counter()
    for number in range(3000):
        t = number * FRAME_S
        for reading in readings(decoder.decode(ld2450_frame(radar.targets(number, t)), t)):
            counted[reading.quantity.name] += int(reading.value)
    truth = radar.crowd.passed(300.0)
    # Somebody may be between the line and the far side of its band when the scene ends.
    assert abs(counted["count_in"] - truth.into) <= 1
    assert abs(counted["count_out"] - truth.out) <= 1
    assert truth.into > 20

"""A microphone as a sensor, with a port and a meter that do what the test says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from fakes_clock import FakeClock

from edgegw.config import Sensor
from edgegw.driver import QUANTITIES, AudioDriver, FrameError, Notice, Reading
from edgegw.ports.errors import PortError
from edgegw.sensing import audio
from edgegw.sensing.sensing import Sensing
from edgegw.views import View

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgegw.driver import Outcome

LAEQ = QUANTITIES["laeq"]
told_intervals: list[float] = []


@dataclass(frozen=True)
class Ear(AudioDriver):
    """The level is the number of samples and of lost ones; b"x" is a refusal, b"!" a defect."""

    quantities = ("laeq",)

    def decoder(self, interval: float) -> Ear:
        told_intervals.append(interval)
        return self

    def decode(self, samples: bytes, lost: int, now: float) -> Sequence[Outcome]:
        if samples == b"x":
            raise FrameError("malformed")
        if samples == b"!":
            raise ZeroDivisionError("a defect")
        return [FrameError("no_samples"), Notice("device", "new"), Reading(LAEQ, len(samples) + lost + now)]


@dataclass
class Played:
    """A microphone that hears what the test wrote down, and then is gone."""

    device: str
    rate: int
    on_samples: Callable[[bytes, int, float], None]
    on_open: Callable[[Sequence[str]], None]
    script: list[Any]

    async def run(self) -> None:
        for each in self.script:
            if isinstance(each[0], bytes):
                self.on_samples(*each)
            else:
                self.on_open(*each)
        raise PortError("unplugged", "It was pulled out.", "Plug it in.")


@dataclass
class Scene:
    script: list[Any]
    emitted: list[tuple[float, float]] = field(default_factory=list)
    opened: list[tuple[str, int]] = field(default_factory=list)

    def microphone(self, device: str, rate: int, on_samples: Any, on_open: Any) -> Played:
        self.opened.append((device, rate))
        return Played(device, rate, on_samples, on_open, self.script)

    async def play(self, interval: float | None = 60.0) -> View:
        view = View("sound-1", "ear", 60, 0, simulated=False)
        wires: Any = self

        def emit(readings: Sequence[Reading], now: float) -> None:
            self.emitted.extend((reading.value, now) for reading in readings)

        sensing = Sensing(
            name="sound-1",
            sensor=Sensor(driver="ear", interval=interval),
            view=view,
            wires=wires,
            buses=wires,
            clock=FakeClock(),
            log=structlog.get_logger(),
            emit=emit,
        )
        with pytest.raises(PortError, match="pulled out"):
            await audio.run(sensing, Ear(device="hw:7"))
        return view


async def test_levels_go_out_with_the_second_of_the_last_sample_and_refusals_are_counted() -> None:
    scene = Scene([(b"abcd", 3, 10.0), (b"x", 0, 11.0), (b"", 0, 12.0)])
    view = await scene.play()
    assert scene.emitted == [(17.0, 10.0), (12.0, 12.0)]
    assert view.errors == {"no_samples": 2, "malformed": 1}
    assert view.notices == {"device": "new"}
    assert scene.opened == [("hw:7", 48_000)]


async def test_a_defect_of_the_driver_is_not_swallowed() -> None:
    with pytest.raises(ZeroDivisionError):
        await Scene([(b"!", 0, 0.0)]).play()


@pytest.mark.parametrize(("interval", "window"), [(60.0, 60.0), (None, 1.0)])
async def test_the_meter_is_told_the_interval_and_a_second_for_all(
    interval: float | None, window: float
) -> None:
    told_intervals.clear()
    await Scene([]).play(interval)
    assert told_intervals == [window]


async def test_automatic_gain_that_is_on_is_told_until_it_is_off() -> None:
    view = await Scene([(["Auto Gain Control", "AGC"],)]).play()
    assert view.notices["gain"].startswith("Auto Gain Control, AGC: on, and changes the level")
    view = await Scene([(["AGC"],), ([],)]).play()
    assert view.notices == {}

"""Scenarios: what happens in a street, as TOML scripts, and the levels and dust that follow from them."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path
from random import Random
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgegw.simulate.faults import LONGEST_S, Fault, Second
from edgegw.simulate.frames import SDS011_MOST

FOLDER: Final = Path(__file__).parent / "scenarios"
# A script is written by hand; more than this is another file given by mistake.
MOST_BYTES: Final = 65_536
# The Renke transmitter's scale: 30 dB(A) at the quiet end; beyond 130 it says what its converter can.
QUIETEST_TENTHS: Final = 300
LOUDEST_TENTHS: Final = 1_400
# A car is heard for about this long (half of it on each side of the moment it passes).
CAR_S: Final = 8.0


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Sound(_Part):
    """Levels in dB(A)."""

    level: Annotated[float, Field(ge=20, le=120)]
    wander: Annotated[float, Field(ge=0, le=20)] = 0.0
    cars_per_minute: Annotated[float, Field(ge=0, le=60)] = 0.0
    car_level: Annotated[float, Field(ge=20, le=120)] = 65.0


class Air(_Part):
    """Dust in ug/m3; `wander` is a share of the value."""

    pm2_5: Annotated[float, Field(ge=0, le=999)]
    pm10: Annotated[float, Field(ge=0, le=999)]
    wander: Annotated[float, Field(ge=0, le=1)] = 0.0


class People(_Part):
    """How many people walk over the line."""

    per_minute: Annotated[float, Field(gt=0, le=120)]


class Blast(_Part):
    """A blast at second `at`: the level falls by 20 dB each `decay`, the dust to a third each `settle`."""

    at: Second
    level: Annotated[float, Field(ge=80, le=200)]
    decay: Annotated[float, Field(gt=0, le=60)]
    dust: Annotated[float, Field(ge=1, le=100)]
    settle: Annotated[float, Field(gt=0, le=3600)]


class Scenario(_Part):
    """One script."""

    about: str
    sound: Sound
    air: Air
    people: People
    repeat: Annotated[float, Field(ge=0, le=LONGEST_S)] = 0.0
    blast: tuple[Blast, ...] = ()
    fault: tuple[Fault, ...] = ()


def names() -> list[str]:
    """The scenarios that ship, by name."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load(name: str) -> Scenario:
    """The scenario that ships under `name`, or the one in the file `name`.

    Raises:
        ValueError: there is none, or the file is not a scenario; the sentence says where and what.
    """
    path = FOLDER / f"{name}.toml" if name in names() else Path(name)
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ValueError(
            f"no scenario {name!r} ({error.strerror}); there are {', '.join(names())}, or name a TOML file"
        ) from error
    if len(text) > MOST_BYTES:
        raise ValueError(f"{path}: a scenario is at most {MOST_BYTES // 1024} KiB")
    try:
        return Scenario.model_validate(tomllib.loads(text.decode()))
    except ValidationError as error:
        mistakes = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ValueError(f"{path}: {mistakes}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: {error}") from error


class Street:
    """What the sensors of one scenario feel, as a pure function of the second and the frame's number."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self._scenario = scenario
        self._seed = seed
        random = Random(f"{seed} street")  # noqa: S311  a street that can be repeated, no secret
        # Three slow waves without a common period: the street never does the same twice.
        self._waves = [(period, random.uniform(0, math.tau)) for period in (37.0, 91.0, 243.0)]

    def level(self, number: int, t: float) -> int:
        """The level in tenths of dB(A) that the transmitter says in answer `number` at second `t`."""
        sound = self._scenario.sound
        powers = [sound.level + sound.wander * self._wander(t), self._cars(t)]
        powers += [blast.level - 20 * age / blast.decay for blast, age in self._blasts(t)]
        level = 10 * math.log10(sum(10 ** (power / 10) for power in powers))
        tenths = round(10 * (level + self._noise("level", number, 0.4)))
        return min(max(tenths, QUIETEST_TENTHS), LOUDEST_TENTHS)

    def dust(self, number: int, t: float) -> tuple[int, int]:
        """PM2.5 and PM10 in tenths of ug/m3 that the air sensor says in frame `number` at second `t`."""
        air = self._scenario.air
        factor = 1 + air.wander * self._wander(t + 1000)
        for blast, age in self._blasts(t):
            # The cloud needs a few seconds to arrive and then settles.
            factor *= 1 + (blast.dust - 1) * min(1.0, age / 3) * 3 ** (-age / blast.settle)
        fine = air.pm2_5 * factor * (1 + self._noise("fine", number, 0.03))
        coarse = air.pm10 * factor * (1 + self._noise("coarse", number, 0.03))
        tenths = [min(max(round(10 * value), 1), SDS011_MOST) for value in (fine, coarse)]
        # PM10 counts what PM2.5 counts, and more.
        return tenths[0], max(tenths)

    def slow(self, what: str, middle: float, swing: float, t: float) -> float:
        """Something that changes slowly, such as a temperature: `middle` give or take `swing`, at second `t`."""
        shift = Random(f"{self._seed} {what}").uniform(0, 1000)  # noqa: S311  can be repeated
        return middle + swing * self._wander(t + shift)

    def _blasts(self, t: float) -> list[tuple[Blast, float]]:
        """The blasts that happened, with their age in seconds."""
        repeat = self._scenario.repeat
        now = t % repeat if repeat else t
        return [(blast, now - blast.at) for blast in self._scenario.blast if now >= blast.at]

    def _wander(self, t: float) -> float:
        """A slow number between -1 and 1."""
        waves = [math.sin(math.tau * t / period + phase) for period, phase in self._waves]
        return sum(waves) / len(waves)

    def _cars(self, t: float) -> float:
        """The level of the car that is passing now; far below everything when none is."""
        sound = self._scenario.sound
        if not sound.cars_per_minute:
            return 0.0
        slot_s = 60 / sound.cars_per_minute
        slot = int(t / slot_s)
        passing = (slot + Random(f"{self._seed} car {slot}").random()) * slot_s  # noqa: S311  can be repeated
        return sound.car_level - 6 * (t - passing) ** 2 / (CAR_S / 4) ** 2

    def _noise(self, what: str, number: int, deviation: float) -> float:
        return Random(f"{self._seed} {what} {number}").gauss(0, deviation)  # noqa: S311  can be repeated

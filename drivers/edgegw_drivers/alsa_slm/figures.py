"""What the meter is made of, for a look from the shell: its weightings, time constants and means as numbers.

The list of numbers says what is asked, unless `calculate` does:

* `weighting`: one frequency in Hz; what the filters A and C do to it (exact mid-band for a nominal frequency).
* `pressure`: one sound pressure of a 1 kHz tone in Pa (rms); its level.
* `levels`: levels in dB, each for an equal time or for its `weights_s`; their energy mean.
* `lden`: levels of day, evening and night.
* `burst`: length of a tone burst and time constant, in s; its highest level beneath that of the steady tone.
* `decay`: time constants in s; how fast the level falls when the sound stops, in dB/s.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edgegw.driver import QUANTITIES, FrameError, Reading
from edgegw_drivers.alsa_slm.curves import is_nominal, midband
from edgegw_drivers.alsa_slm.levels import (
    FAST,
    SLOW,
    TimeWeighting,
    day_evening_night,
    energy_mean,
    level,
)
from edgegw_drivers.alsa_slm.weighting import BLOCK, RATE, gain_db

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Given = Sequence[int | float]

#: Level of a sound pressure of 1 Pa: 20 lg(1 Pa / 20 uPa).
PASCAL_DB: Final = 20 * math.log10(1 / 20e-6)
KINDS: Final = ("weighting", "pressure", "levels", "lden", "burst", "decay")
# Frequencies that can be heard; below are pressures, where nothing else is said.
LOWEST_HZ: Final = 10
# One hour at least, and time constants that have hundreds of samples.
LONGEST_S: Final = 3600.0
SHORTEST_S: Final = 0.005
# Such figures have no quantity: only the shell ever sees them.
BARE: Final = QUANTITIES["laeq"]._replace(name="value")
LDEN: Final = BARE._replace(name="lday_evening_night")


def figures(given: Given, options: Mapping[str, Any]) -> Sequence[Reading]:
    """What is asked about the numbers; FrameError when they cannot be, ValueError for options that cannot."""
    unknown = [key for key in options if key not in {"weights_s", "calculate"}]
    if unknown:
        raise ValueError(f"no option {', '.join(unknown)} of numeric; there are calculate and weights_s")
    weights = _weights(options["weights_s"]) if "weights_s" in options else None
    kind = str(options.get("calculate", "")) or _kind(given, weights)
    if kind not in KINDS:
        raise ValueError(f"calculate: one of {', '.join(KINDS)}, not {kind!r}")
    if kind == "weighting":
        return _bare([_weighted(weighting, *_some(given, 1, LOWEST_HZ, RATE / 2.4)) for weighting in "AC"])
    if kind == "pressure":
        (pascal,) = _some(given, 1, 1e-6, 1e5)
        return [_leq(level(pascal**2, PASCAL_DB + gain_db("A", 1000)))]
    if kind == "levels":
        levels = _some(given, len(given), -200, 300)
        return [_leq(energy_mean(levels, _fitting(weights, levels)))]
    if kind == "lden":
        return [Reading(LDEN, round(day_evening_night(*_some(given, 3, -200, 300)), 3))]
    if kind == "burst":
        return _bare([_burst(*_some(given, 2, 1 / RATE, LONGEST_S))])
    return [
        Reading(BARE._replace(unit="dB/s"), round(_decay(each), 3))
        for each in _some(given, len(given), SHORTEST_S, LONGEST_S)
    ]


def _kind(given: Given, weights: object) -> str:
    """What these numbers are, by how many and how large they are."""
    if len(given) == 1:
        (number,) = given
        # Frequencies are written as whole numbers (or are nominal, such as 31.5), pressures are not.
        heard = number >= LOWEST_HZ and (isinstance(number, int) or (is_nominal(number) and number % 1 > 0))
        return "weighting" if heard else "pressure"
    if weights is None and len(given) == 3:  # day, evening, night
        return "lden"
    if weights is None and max(given) < LOWEST_HZ:
        return "decay" if all(each in (FAST, SLOW) for each in given) and given[0] == FAST else "burst"
    return "levels"


def _some(given: Given, count: int, lowest: float, highest: float) -> list[float]:
    """So many numbers within limits."""
    if len(given) != count:
        raise FrameError("unsupported_length")
    if not all(lowest <= each <= highest for each in given):
        raise FrameError("out_of_range")
    return [float(each) for each in given]


def _weights(given: Any) -> list[float]:
    """Seconds, as a list or as one was typed."""
    try:
        listed = json.loads(f"[{given.strip().strip('[]')}]") if isinstance(given, str) else given
        found = [float(each) for each in listed]
    except (TypeError, ValueError):
        found = []
    if not found or not all(0 <= each < math.inf for each in found) or not sum(found):
        raise ValueError("weights_s: a list of seconds such as [59, 1]")
    return found


def _fitting(weights: list[float] | None, levels: list[float]) -> list[float]:
    if weights is None:
        return [1.0] * len(levels)
    if len(weights) != len(levels):
        raise ValueError(f"weights_s: {len(weights)} weights of {len(levels)} levels")
    return weights


def _weighted(weighting: str, nominal: float) -> float:
    return gain_db(weighting, midband(nominal))


def _burst(length: float, constant: float) -> float:
    """Highest level of a burst of power 1, through the meter's own time weighting."""
    if constant < SHORTEST_S:
        raise FrameError("out_of_range")
    power = 0.0
    whole, rest = divmod(round(length * RATE), BLOCK)
    for samples in (*[BLOCK] * whole, rest):
        if samples:
            mean = TimeWeighting(constant, samples)
            mean.forget(power)
            power = float(mean.feed(np.ones(samples))[-1])
    return level(power, 0.0)


def _decay(constant: float) -> float:
    """Fall of the level in dB within the second after the sound stopped, from what 100 ms show."""
    mean = TimeWeighting(constant, BLOCK)
    mean.forget(1.0)
    return -level(float(mean.feed(np.zeros(BLOCK))[-1]), 0.0) * RATE / BLOCK


def _leq(decibels: float) -> Reading:
    return Reading(QUANTITIES["laeq"], round(decibels, 3))


def _bare(values: list[float]) -> list[Reading]:
    return [Reading(BARE, round(value, 3)) for value in values]

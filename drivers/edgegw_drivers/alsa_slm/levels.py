"""Levels over a window, out of the powers of its blocks: means, extremes, and what is exceeded how often.

Powers are mean squares of sound pressure relative to full scale; `reference` is the level in dB of power 1.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from edgegw_drivers.alsa_slm.weighting import RATE

if TYPE_CHECKING:
    from edgegw_drivers.alsa_slm.weighting import Numbers

#: Time constants in seconds (IEC 61672-1:2013, 5.8).
FAST: Final = 0.125
SLOW: Final = 1.0
# Classes of the statistics, as in sound level meters: a tenth of a decibel.
CLASSES_PER_DB: Final = 10
# Lowest level that has a class of its own, and how many there are: -50 dB to 250 dB, far beyond any microphone.
LOWEST_DB: Final = -50
CLASSES: Final = 300 * CLASSES_PER_DB
# Quieter than the last bit of 32 could be: keeps the logarithm finite.
LEAST_POWER: Final = 1e-30


def level(power: float, reference: float) -> float:
    """The level in dB of a power."""
    return 10 * math.log10(max(power, LEAST_POWER)) + reference


class TimeWeighting:
    """An exponential mean of power (Fast, Slow), block after block of equal length."""

    def __init__(self, seconds: float, length: int, rate: int = RATE) -> None:
        step = math.exp(-1 / (rate * seconds))
        self._decay = step ** np.arange(1, length + 1)
        self._taken = (1 - step) / self._decay
        self._now: float | None = None

    def forget(self, power: float | None = None) -> None:
        """Begin again: with `power`, or with the mean of the next block."""
        self._now = power

    def feed(self, powers: Numbers) -> Numbers:
        """The mean after each of these powers."""
        if self._now is None:
            self._now = float(powers.mean())
        means: Numbers = self._decay * (self._now + np.cumsum(powers * self._taken))
        self._now = float(means[-1])
        return means


class Exceeded:
    """Levels that are exceeded in so many percent of the time, by counting in classes of 0.1 dB."""

    def __init__(self) -> None:
        self._counts = np.zeros(CLASSES, np.uint32)
        self.count = 0

    def add(self, decibels: float) -> None:
        """Take in a level."""
        place = round((decibels - LOWEST_DB) * CLASSES_PER_DB)
        self._counts[min(max(place, 0), CLASSES - 1)] += 1
        self.count += 1

    def level(self, percent: float) -> float:
        """The highest level that was reached or exceeded in at least `percent` of the time, in tenths of dB.

        At least one level must have been taken in.
        """
        above = np.cumsum(self._counts[::-1])
        needed = max(1, math.ceil(self.count * percent / 100))
        place = CLASSES - 1 - int(np.searchsorted(above, needed))
        return (place + LOWEST_DB * CLASSES_PER_DB) / CLASSES_PER_DB


def energy_mean(levels: list[float], weights: list[float]) -> float:
    """10 lg of the weighted mean of 10^(L/10)."""
    highest = max(levels)
    mean = sum(
        weight * 10 ** ((each - highest) / 10) for each, weight in zip(levels, weights, strict=True)
    ) / sum(weights)
    return highest + 10 * math.log10(mean)


def day_evening_night(day: float, evening: float, night: float) -> float:
    """Lden: 12 h of the day, 4 h of the evening + 5 dB, 8 h of the night + 10 dB (2002/49/EC, annex I)."""
    return energy_mean([day, evening + 5, night + 10], [12, 4, 8])

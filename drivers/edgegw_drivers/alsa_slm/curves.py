"""The frequency weightings A and C as IEC 61672-1 defines them, for any frequency. Pure numbers, no signal."""

from __future__ import annotations

import math
from typing import Final

# Pole frequencies in Hz and normalisations in dB (IEC 61672-1:2013, annex E: f1 to f4, A1000 and C1000).
F1: Final = 20.598997
F2: Final = 107.65265
F3: Final = 737.86223
F4: Final = 12194.217
A1000_DB: Final = 2.000
C1000_DB: Final = 0.062

# Nominal frequencies of one decade, a hundred times.
_NOMINAL: Final = (100, 125, 160, 200, 250, 315, 400, 500, 630, 800)

#: Low poles in Hz of each weighting; both have F4 twice besides. Each low pole comes with a zero at 0 Hz.
LOW_POLES: Final = {"A": (F1, F1, F2, F3), "C": (F1, F1)}
#: What each is raised by, so that it is 0 dB at 1 kHz.
RAISED_DB: Final = {"A": A1000_DB, "C": C1000_DB}


def high(hertz: float) -> float:
    """Gain of the two high poles that both weightings share; 1 at 0 Hz."""
    return 1 / (1 + (hertz / F4) ** 2)


def gain_db(weighting: str, hertz: float) -> float:
    """The weighting `A` or `C` in dB at a frequency above 0 Hz."""
    low = math.prod(hertz / math.hypot(hertz, pole) for pole in LOW_POLES[weighting])
    return 20 * math.log10(low * high(hertz)) + RAISED_DB[weighting]


def is_nominal(hertz: float) -> bool:
    """Whether it is the nominal frequency of a one-third octave, 1 Hz to 80 kHz (IEC 61260-1, annex E)."""
    return any(hertz == digits * 10**power / 100 for digits in _NOMINAL for power in range(5))


def midband(nominal: float) -> float:
    """The exact mid-band frequency behind a nominal one, 1000 Hz x 10^(n/10); any other frequency as it is."""
    if not is_nominal(nominal):
        return nominal
    return float(1000 * 10 ** (round(10 * math.log10(nominal / 1000)) / 10))

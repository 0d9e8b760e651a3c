"""Durations and lengths in the options of drivers."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Units of durations and lengths in options, for `amount`.
SECONDS: Final[Mapping[str, float]] = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
METRES: Final[Mapping[str, float]] = {"mm": 0.001, "cm": 0.01, "m": 1}


def amount(text: str | float, units: Mapping[str, float]) -> float:
    """The number in an option such as `"30s"` or `"0.3m"`, in the unit whose factor is 1.

    A bare number is taken to be in that unit. ValueError, with a sentence, for anything but a finite number
    from 0 up.
    """
    words = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-z]+)\s*", text) if isinstance(text, str) else None
    value = math.nan
    if words and words[2] in units:
        value = float(words[1]) * units[words[2]]
    elif not isinstance(text, str):
        value = float(text)
    if not 0 <= value < math.inf:
        raise ValueError(f"{text!r} is no number with one of the units {', '.join(units)}")
    return value

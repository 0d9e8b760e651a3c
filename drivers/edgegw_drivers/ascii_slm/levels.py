"""Levels as meters state them, and what they are called here.

A meter says `Leq`; whether that is LAeq or LCeq follows from how it is set. A level that none of the gateway's
quantities fits (a maximum with Slow, an exposure level) has no name, and does not go out.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from edgegw.driver import QUANTITIES, FrameError, Quantity, Reading

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgegw.driver import Outcome

#: What these meters can give.
QUANTITY_NAMES: Final = (
    "laeq",
    "lafmax",
    "lafmin",
    "la10",
    "la50",
    "la90",
    "lceq",
    "lcpeak",
    "lzeq",
    "la_sampled",
    "battery",
)
# Sound pressure levels re 20 uPa that a microphone can meet at all: below the threshold of hearing by far, and above
# 194 dB, where the trough of a sine is a vacuum; exposure levels of days lie higher. Outside, the line is damaged.
LOWEST_DB: Final = -60.0
HIGHEST_DB: Final = 250.0
#: What stands for "no value" in numbers (XL2 Remote Measurement manual; Rion fills the field with dashes).
UNDEFINED: Final = -999.0

_NUMBER: Final = re.compile(r"[+-]?\d{1,6}(?:\.\d{1,6})?")


class Level(NamedTuple):
    """One result as the meter calls it (`leq`, `lmax`, `l10` ...): `value` in dB, or None and the `reason`."""

    statistic: str
    value: float | None
    reason: str = ""


class Weightings(NamedTuple):
    """How a meter is set: frequency weighting `A`, `C`, `Z`, time weighting `F`, `S`, `I`, and that of the peak.

    Empty: the meter has not said it.
    """

    frequency: str = ""
    time: str = ""
    peak: str = ""


#: What a lone line is taken for in the shell, where nobody says how the meter is set: the usual settings in a street.
USUAL: Final = Weightings("A", "F", "C")


def number(text: str) -> float:
    """A plain decimal number; FrameError `malformed` for anything else."""
    if not _NUMBER.fullmatch(text):
        raise FrameError("malformed")
    return float(text)


def level(statistic: str, text: str) -> Level:
    """The level that `text` states; without value and `undefined` for -999, `implausible` for what cannot be."""
    value = number(text)
    if value == UNDEFINED:
        return Level(statistic, None, "undefined")
    if not LOWEST_DB <= value <= HIGHEST_DB:
        return Level(statistic, None, "implausible")
    return Level(statistic, value)


def name(statistic: str, weightings: Weightings) -> str:
    """The quantity that a result is under these weightings; empty where there is none."""
    frequency, time, peak = weightings
    if statistic == "leq":
        return {"A": "laeq", "C": "lceq", "Z": "lzeq"}.get(frequency, "")
    if statistic == "lpeak":
        return "lcpeak" if peak == "C" else ""
    if frequency != "A":
        return ""
    if statistic in {"lmax", "lmin"}:
        return f"laf{statistic[1:]}" if time == "F" else ""
    return {"lp": "la_sampled", "l10": "la10", "l50": "la50", "l90": "la90"}.get(statistic, "")


def wanted(
    levels: Sequence[Level], weightings: Weightings, quantities: Sequence[str], meta: Mapping[str, object]
) -> list[Outcome]:
    """For each of the quantities, in that order: a reading, or the reason why there is none.

    `settings` is the reason when the meter is set so that nothing in its answer is that quantity.
    """
    by_name = {name(each.statistic, weightings): each for each in levels}
    return [
        outcome(quantity, by_name.get(quantity, Level("", None, "settings")), meta) for quantity in quantities
    ]


def shown(levels: Sequence[Level], weightings: Weightings, meta: Mapping[str, object]) -> list[Outcome]:
    """What the shell shows of an answer: what has a name here, with the rest under the meter's names in `meta`.

    Where nothing has a name, all of it goes by the meter's own.
    """
    names = {each: name(each.statistic, weightings) for each in levels}
    if not any(names.values()):
        return [outcome(each.statistic, each, meta) for each in levels]
    others = {each.statistic: each.value for each in levels if not names[each] and each.value is not None}
    return [outcome(names[each], each, {**others, **meta}) for each in levels if names[each]]


def outcome(quantity: str, stated: Level, meta: Mapping[str, object]) -> Outcome:
    """The reading of a level, or its reason; a `quantity` that is none is shown in dB (by the shell alone)."""
    if stated.value is None:
        return FrameError(stated.reason, whole=True)
    return Reading(bare(quantity), stated.value, meta=meta)


def battery(text: str, meta: Mapping[str, object]) -> Reading:
    """The meter's battery in percent; FrameError `implausible` for what is none."""
    percent = number(text.removesuffix("%").strip())
    if not 0 <= percent <= 100:
        raise FrameError("implausible", whole=True)
    return Reading(QUANTITIES["battery"], percent, meta=meta)


def bare(quantity: str, unit: str = "dB") -> Quantity:
    """The quantity of that name, or one that only the shell shows."""
    return QUANTITIES.get(quantity) or QUANTITIES["laeq"]._replace(name=quantity, unit=unit)


def first_reason(found: Sequence[Outcome]) -> Sequence[Outcome]:
    """The outcomes, or FrameError with the first reason when none of them is a reading."""
    refusals = [each for each in found if isinstance(each, FrameError)]
    if refusals and not any(isinstance(each, Reading) for each in found):
        raise refusals[0]
    return found

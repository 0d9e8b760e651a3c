"""Svantek 9xx: questions begin with `#` and the number of a function, and end with `;`, as the answers do.

Functions and codes: user manuals of SVAN 971, SV 971A, SV 973 and SVAN 979, appendix on remote control (functions
#1, #2 and #7, table of control setting codes).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

from edgegw.driver import FrameError, Lines, Notice, Reading, Request
from edgegw_drivers.ascii_slm.conversation import STANDING, START, Conversation
from edgegw_drivers.ascii_slm.levels import (
    Level,
    Weightings,
    bare,
    battery,
    first_reason,
    level,
    name,
    number,
    shown,
    wanted,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgegw.driver import Framing, Outcome

# All settings of an SV 971A take 400 bytes in its manual; results of three profiles with 30 percentiles, 1500.
LONGEST: Final = 4096
#: Profiles of a 9xx.
PROFILES: Final = range(1, 4)

_STATISTICS: Final = {"P": "lpeak", "M": "lmax", "N": "lmin", "S": "lp", "R": "leq", "U": "le"}
_RESULT: Final = re.compile(r"([A-Za-z])(?:\((\d{2})\))?(.*)")
# The type of the results (a averaged, i instantaneous, c of one second) and, asked for, their status (SVAN 979).
_TYPE: Final = re.compile(r"[aic][a-z]{0,2}")
_FILTERS: Final = {"1": "Z", "2": "A", "3": "C"}
_DETECTORS: Final = {"0": "I", "1": "F", "2": "S"}


class Settings(NamedTuple):
    """What function #1 says: who the meter is, whether it measures, and how a profile is weighted."""

    model: str
    serial: str
    state: str
    weightings: Weightings

    @property
    def running(self) -> bool:
        """Whether it measures."""
        return self.state == "1"


class Results(NamedTuple):
    """What function #2 says about one profile."""

    profile: int
    time_s: float | None
    levels: tuple[Level, ...]

    @property
    def percentiles(self) -> dict[str, float]:
        """The statistical levels in dB by percentage, two digits."""
        return {
            each.statistic[1:]: each.value
            for each in self.levels
            if each.statistic[1:].isdigit() and each.value is not None
        }


def settings(text: str, profile: int) -> Settings:
    """The answer to `#1;`, without its `;`. FrameError when it is another one."""
    fields = _fields(text, "1")
    found: dict[str, str] = {}
    for field in fields:
        if field[:1] in {"U", "N", "S"}:
            found.setdefault(field[0], field[1:])
    if not {"U", "N", "S"} <= found.keys():
        raise FrameError("malformed")

    def of_profile(code: str, words: Mapping[str, str]) -> str:
        return next((words[key] for key in words if f"{code}{key}:{profile}" in fields), "")

    weightings = Weightings(of_profile("F", _FILTERS), of_profile("C", _DETECTORS), of_profile("J", _FILTERS))
    return Settings(found["U"], found["N"], found["S"], weightings)


def results(text: str, profile: int | None = None) -> Results:
    """The answer to a question of function #2, without its `;`, for a profile (the first one where None).

    FrameError `not_available` when there are none, `overload` and `under_range` as the meter flags them,
    `layout` when the profile is not among them.
    """
    fields = _fields(text, "2")
    if fields and _TYPE.fullmatch(fields[0]):
        fields = fields[1:]
    sections: dict[int, list[str]] = {}
    for field in fields:
        if field in {"1", "2", "3"}:
            sections[int(field)] = []
        elif not sections:
            raise FrameError("malformed")
        else:
            sections[next(reversed(sections))].append(field)
    if not sections:
        raise FrameError("truncated")
    chosen = profile or next(iter(sections))
    if chosen not in sections:
        raise FrameError("layout")
    return _section(chosen, sections[chosen])


def _section(profile: int, fields: Sequence[str]) -> Results:
    levels, flags, time_s = [], {"V": 0.0, "v": 0.0}, None
    for field in fields:
        parts = _RESULT.fullmatch(field)
        if parts is None:
            raise FrameError("malformed")
        letter, percent, value = parts.groups()
        statistic = f"l{percent}" if letter == "L" and percent else _STATISTICS.get(letter, "")
        if statistic:
            known = value != "?"
            levels.append(level(statistic, value) if known else Level(statistic, None, "not_available"))
        elif letter in flags and value != "?":
            flags[letter] = number(value)
        elif letter == "T" and value != "?":
            time_s = number(value)
    if flags["V"]:
        raise FrameError("overload", whole=True)
    if flags["v"]:  # 0, 2 or 3, as the instruments count the ways of being too low
        raise FrameError("under_range", whole=True)
    return Results(profile, time_s, tuple(levels))


def _fields(text: str, function: str) -> list[str]:
    """The fields behind `#N`; FrameError for another function, or when the meter only answers `?`."""
    head, *fields = [field.strip() for field in text.strip().split(",")]
    if head != f"#{function}":
        raise FrameError("late" if re.fullmatch(r"#\w", head) else "malformed")
    if fields in (["?"], ["BS", "?"]):
        raise FrameError("not_available" if function == "2" else "unknown_parameter", whole=True)
    return fields


def show(text: str, weightings: Weightings, profile: int | None) -> Sequence[Outcome]:
    """What one whole answer says, for the shell."""
    if not text.endswith(";"):
        raise FrameError("truncated")
    text = text.removesuffix(";")
    if ";" in text:
        raise FrameError("framing")
    if text.startswith("#1"):
        said = settings(text, profile or 1)
        meta = {
            "model": said.model,
            "serial": said.serial,
            "running": said.running,
            "frequency_weighting": said.weightings.frequency,
            "time_weighting": said.weightings.time,
            "peak_weighting": said.weightings.peak,
        }
        return (Reading(bare("running", "/"), float(said.running), meta=meta),)
    if text.startswith("#7"):
        return (_battery(text, {}),)
    if text.startswith("#3"):
        raise FrameError("unsupported_format")
    found = results(text, profile)
    # Percentiles stand in `meta` together.
    levels = [each for each in found.levels if each.statistic[1:] not in found.percentiles]
    levels += [each for each in found.levels if each not in levels and name(each.statistic, weightings)]
    return first_reason(shown(levels or found.levels, weightings, _meta(found)))


def _meta(found: Results) -> dict[str, object]:
    meta: dict[str, object] = {"profile": found.profile}
    if found.time_s is not None:
        meta["time_s"] = int(found.time_s) if found.time_s.is_integer() else found.time_s
    if found.percentiles:
        meta["percentiles"] = found.percentiles
    return meta


def _battery(text: str, meta: Mapping[str, object]) -> Reading:
    code, *values = _fields(text, "7") or [""]
    if code != "BS" or not values:
        raise FrameError("late")
    return battery(values[0], meta)


class Svantek(Conversation):
    """A Svantek 9xx; results of one profile."""

    framing: ClassVar[Framing] = Lines(LONGEST, b";")

    def __init__(self, quantities: Sequence[str], fallback: Weightings, profile: int | None) -> None:
        super().__init__(quantities, fallback)
        self._profile = profile or 1
        self._weightings = fallback

    def opening(self) -> Sequence[Request]:
        """Nothing: each cycle begins with all settings."""
        return ()

    def standing(self) -> Request:
        """All settings: identity, state and weightings."""
        return Request(b"#1;", STANDING, timeout_s=2.0)

    def start(self) -> Request:
        """State 1; the meter repeats the command."""
        return Request(b"#1,S1;", START, timeout_s=2.0, changes=True)

    def questions(self) -> Sequence[Request]:
        """The results of the profile, the flags among them; the battery where it is wanted."""
        levels = [each for each in self.quantities if each != "battery"]
        asked = (
            [Request(f"#2,{self._profile},V?,v?,T?,P?,M?,N?,S?,R?,L?;".encode(), "results")] if levels else []
        )
        return (*asked, *([Request(b"#7,BS;", "battery")] if "battery" in self.quantities else ()))

    def answer(self, request: Request, text: str) -> Sequence[Outcome]:
        """See `Conversation.answer`."""
        text = text.removesuffix(";")
        if request.name == START:
            _fields(text, "1")
            return ()
        if request.name == STANDING:
            return self._settings(settings(text, self._profile))
        if request.name == "battery":
            return (_battery(text, self.meta),)
        if not text.startswith("#2"):
            raise FrameError("late")
        self.measures()
        found = results(text, self._profile)
        levels = [each for each in self.quantities if each != "battery"]
        meta = {**self.meta, **_meta(found)}
        return wanted(found.levels, self._weightings, levels, meta)

    def _settings(self, said: Settings) -> Sequence[Outcome]:
        fallback, stated = self.fallback, said.weightings
        self._weightings = Weightings(
            stated.frequency or fallback.frequency, stated.time or fallback.time, stated.peak or fallback.peak
        )
        told: list[Outcome] = [self.introduce("Svantek", said.model, said.serial)]
        possible = {
            name(statistic, self._weightings) for statistic in (*_STATISTICS.values(), "l10", "l50", "l90")
        }
        missing = [each for each in self.quantities if each not in possible and each != "battery"]
        if missing:
            frequency, time, peak = self._weightings
            text = (
                f"profile {self._profile} measures with filter {frequency or 'unknown'}, detector "
                f"{time or 'unknown'} and peak filter {peak or 'unknown'}, which gives no {', '.join(missing)}: "
                "change the profile in the meter, or `profile` and `quantities` of this sensor"
            )
            told.append(Notice("settings", text))
        return (*told, *self.stands(f"S{said.state}", running=said.running))

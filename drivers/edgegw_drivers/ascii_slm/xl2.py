"""NTi XL2: questions in the manner of SCPI, one line of answer for each parameter asked for.

Commands, status words and examples: NTi Audio, XL2 Remote Measurement reference manual (printed in part in
qwe900/XL2NoiseScout). `L10%` and `LCPKMAX` are how public programs ask for percentiles and peaks.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar, Final

from edgegw.driver import FrameError, Lines, Reading, Request
from edgegw_drivers.ascii_slm.conversation import STANDING, START, Conversation
from edgegw_drivers.ascii_slm.levels import Level, bare, first_reason, level, outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgegw.driver import Framing, Outcome
    from edgegw_drivers.ascii_slm.levels import Weightings

# The longest answer is a line of a spectrum: 36 bands of up to 7 characters, unit and status.
LONGEST: Final = 512

#: The parameter that is each quantity. Percentiles have the weighting that the meter is set to: LAF unless changed.
PARAMETERS: Final = {
    "laeq": "LAEQ",
    "lafmax": "LAFMAX",
    "lafmin": "LAFMIN",
    "la10": "L10%",
    "la50": "L50%",
    "la90": "L90%",
    "lceq": "LCEQ",
    "lcpeak": "LCPKMAX",
    "lzeq": "LZEQ",
    "la_sampled": "LAF",
}
#: Those that the meter also states for the time between two MEAS:INIT.
OF_INTERVAL: Final = frozenset(("laeq", "lafmax", "lafmin", "lceq", "lcpeak", "lzeq"))
_NAMES: Final = {parameter: quantity for quantity, parameter in PARAMETERS.items()} | {
    "LAS": "la_sampled",
    "LAI": "la_sampled",
    "LCPK": "lcpeak",
}

_REASONS: Final = {
    "UNDEF": "undefined",
    "UNDEFINED": "undefined",
    "LOW": "under_range",
    "OVLD": "overload",
    "OPTION_REQUIRED": "option_required",
    "NO_DT_VALUE": "no_dt_value",
}
_STATE: Final = re.compile(r"[A-Z]{4,16}")
_UNKNOWN: Final = ";"
# 53.8 dB, OK -- the numbers, their unit, the status.
_VALUES: Final = re.compile(r"(?P<values>[-+\d.,;\s]+?)\s*dB\w*\s*,\s*(?P<status>\w+)")
_ONE_DECIMAL: Final = re.compile(r"[-+]?\d+,\d")


def values(text: str) -> tuple[list[str], str]:
    """The numbers of one line, with points as decimal separators, and why they are none (empty: they are).

    FrameError `truncated` for the beginning of a line, `malformed` for what is none.
    """
    if text.upper() in _REASONS:
        return [], _REASONS[text.upper()]
    parts = _VALUES.fullmatch(text)
    if parts is None:
        raise FrameError(
            "truncated" if re.fullmatch(r"[-+\d][-+\d.,;\s]*(d|dB\w*\s*,?)?", text) else "malformed"
        )
    status = parts["status"].upper()
    if status != "OK" and status not in _REASONS:
        raise FrameError("malformed")
    return _numbers(parts["values"]), _REASONS.get(status, "")


def _numbers(text: str) -> list[str]:
    """The decimal separator is the one that the meter's system settings say: with commas, each number has one."""
    if "." in text:
        return [part.strip() for part in re.split("[,;]", text)]
    if "," not in text:
        return [text]
    # 55,5,34,4: the XL2 states one decimal, which tells the two kinds of commas apart.
    fields = re.findall(_ONE_DECIMAL, text)
    if re.sub(r"[\s;]", ",", text) != ",".join(fields):
        raise FrameError("malformed")
    return [field.replace(",", ".") for field in fields]


def stated(statistic: str, text: str) -> list[Level]:
    """The levels of one line, all under the same name."""
    numbers, reason = values(text)
    if reason:
        return [Level(statistic, None, reason)]
    return [level(statistic, each) for each in numbers]


def show(text: str, query: str) -> Sequence[Outcome]:
    """What one answer says, line by line, for the shell; `query` is what it is the answer to, where that is known."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    names = [each.upper() for each in query.rpartition("?")[2].split()]
    found: list[Outcome] = []
    for number, line in enumerate(lines):
        if line == _UNKNOWN:
            found.append(FrameError("unknown_parameter", whole=True))
        elif "XL" in line.upper() and line.count(",") >= 2:
            model, serial = _identity(line)
            found.append(Reading(bare("identity", "/"), 1, meta={"model": model, "serial": serial}))
        elif _STATE.fullmatch(line) and line not in _REASONS:
            found.append(Reading(bare("running", "/"), float(line == "RUNNING"), meta={"state": line}))
        else:
            asked = names[number] if number < len(names) else "LEVEL"
            quantity = _NAMES.get(asked, asked.lower())
            meta = {"parameter": asked} if number < len(names) else {}
            found += [outcome(quantity, each, meta) for each in stated(quantity, line)]
    return first_reason(found)


def _identity(text: str) -> tuple[str, str]:
    """Model and serial number; FrameError `late` for another answer."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) < 3 or not parts[1].upper().startswith("XL"):
        raise FrameError("late")
    return parts[1], parts[2]


class Xl2(Conversation):
    """An XL2 with the option Remote Measurement."""

    framing: ClassVar[Framing] = Lines(LONGEST)

    def __init__(self, quantities: Sequence[str], fallback: Weightings, *, of_interval: bool) -> None:
        super().__init__(quantities, fallback)
        self._of_interval = of_interval

    def opening(self) -> Sequence[Request]:
        """Who is there."""
        return (Request(b"*IDN?\n", "identity"),)

    def standing(self) -> Request:
        """Whether it measures."""
        return Request(b"INIT:STATE?\n", STANDING)

    def start(self) -> Request:
        """Start a measurement; the meter says nothing to that."""
        return Request(b"INIT START\n", START, replies=0, changes=True)

    def questions(self) -> Sequence[Request]:
        """MEAS:INIT holds all results of one instant; they are then read one by one, in 8 to 35 ms each."""
        found: list[Request] = []
        for quantity in self.quantities:
            span = ":DT" if self._of_interval and quantity in OF_INTERVAL else ""
            latch = b"" if found else b"MEAS:INIT\n"
            question = f"MEAS:SLM:123{span}? {PARAMETERS[quantity]}\n"
            found.append(Request(latch + question.encode(), quantity))
        return found

    def answer(self, request: Request, text: str) -> Sequence[Outcome]:
        """See `Conversation.answer`."""
        if request.name == "identity":
            return (self.introduce("NTi Audio", *_identity(text)),)
        if request.name == STANDING:
            if text.upper() == "OPTION_REQUIRED":
                raise FrameError("option_required", whole=True)
            if not _STATE.fullmatch(text):
                raise FrameError("late")
            return self.stands(text, running=text == "RUNNING", settles=text == "SETTLING")
        if _STATE.fullmatch(text) and text not in _REASONS:
            raise FrameError("late")
        self.measures()
        if text == _UNKNOWN:
            raise FrameError("unknown_parameter", whole=True)
        found = stated(request.name, text)
        if len(found) != 1:
            raise FrameError("late")
        return (outcome(request.name, found[0], self.meta),)

"""Rion NL-43 and NL-53: commands in words, answers with a result code and a line of data.

Commands, result codes and the order of the DOD fields: serversdwn/slmm (the code where its documents differ), which
follows Rion's NL-43/NL-53 Communication Guide 66132.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from edgegw.driver import FrameError, Notice, Reading, Request
from edgegw_drivers.ascii_slm.conversation import STANDING, START, Conversation
from edgegw_drivers.ascii_slm.levels import (
    Level,
    Weightings,
    bare,
    battery,
    first_reason,
    level,
    shown,
    wanted,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgegw.driver import Framing, Outcome

# Four channels of 16 fields of up to 7 characters with their separators are 576; the code's line is 9.
LONGEST: Final = 1024
# "Wait at least 1 s after `$` before the next command"; it answers within 3 s (Communication Guide).
PAUSE_S: Final = 1.0
TIMEOUT_S: Final = 3.5

_DOD: Final = (
    *("lp", "leq", "le", "lmax", "lmin", "l5", "l10", "l50", "l90", "l95"),
    *("lpeak", "lieq", "leqmov", "ltm5", "over", "under"),
)
#: The fields of the 100 ms stream: a counter comes first, the statistics are not there.
_DRD: Final = ("counter", "lp", "leq", "lmax", "lmin", "lpeak", "lieq")
_CODES: Final = {"0001": "command", "0002": "unknown_parameter", "0003": "command", "0004": "state"}
_CODE: Final = re.compile(rb"(?:\A|(?<=\n))[ \t]*\$?[ \t]*R\+\d{4}[ \t]*\r?\n")
_HEAD: Final = re.compile(r"\$?\s*R\+(\d{4})\s*")
#: What the meter says for a value that it does not have.
_NOTHING: Final = re.compile(r"-+\.?-*")
_RUNNING: Final = frozenset(("START", "RUN", "MEASURE"))
_STANDING: Final = _RUNNING | {"STOP"}


@dataclass(frozen=True)
class Answers:
    """Answers as frames: the line of the result code, and where that is 0000 the line of data behind it.

    Echoes and prompts in between belong to no frame.
    """

    longest: int = LONGEST

    def find(self, buffer: bytes, start: int) -> tuple[int, int]:
        """See `Framing.find`."""
        code = _CODE.search(buffer, start)
        if code is None:
            # An unfinished line may become the one with the code.
            keep = max(start, buffer.rfind(b"\n") + 1, len(buffer) - self.longest + 1)
            return keep, keep
        begin, end = code.span()
        if b"R+0000" in code[0] and not _CODE.match(buffer, end):
            end = buffer.find(b"\n", end) + 1
            if not end:
                begin = max(begin, len(buffer) - self.longest + 1)
                return begin, begin
        return begin, end

    def refusal(self, data: bytes) -> str | None:
        """`truncated` or `framing`; None for one answer."""
        begin, end = self.find(data, 0)
        if begin == end:
            return "truncated"
        return None if (begin, end) == (0, len(data)) else "framing"


def data(text: str) -> str:
    """The line of data of an answer. FrameError with what the result code means, `truncated` when it is not there."""
    head = _HEAD.match(text)
    if head is None:
        raise FrameError("malformed")
    if head[1] != "0000":
        raise FrameError(_CODES.get(head[1], "malformed"), whole=head[1] in _CODES)
    found = text[head.end() :].strip().lstrip("$").strip()
    if not found:
        raise FrameError("truncated")
    return found


def displayed(line: str, channel: int = 1) -> list[Level]:
    """The levels of one channel (1 is the main one) in the answer to `DOD?`.

    FrameError `layout` when the fields are not 16 a channel, `overload` and `under_range` as the meter flags them.
    """
    fields = [field.strip() for field in line.split(",")]
    if len(fields) % len(_DOD) or not 1 <= channel <= len(fields) // len(_DOD):
        raise FrameError("layout")
    mine = dict(zip(_DOD, fields[(channel - 1) * len(_DOD) :], strict=False))
    for flag, reason in (("over", "overload"), ("under", "under_range")):
        said = mine.pop(flag)
        if said not in {"0", "1"}:
            raise FrameError("layout")
        if said == "1":
            raise FrameError(reason, whole=True)
    return [_level(statistic, field) for statistic, field in mine.items()]


def _level(statistic: str, field: str) -> Level:
    if not field or _NOTHING.fullmatch(field):
        return Level(statistic, None, "not_available")
    return level(statistic, field)


def streamed(line: str) -> list[Level]:
    """The levels of one line of the stream that `DRD?` starts; FrameError `layout` when it is too short."""
    fields = [field.strip() for field in line.split(",")]
    if len(fields) < len(_DRD) - 1 or not fields[0].isdigit():
        raise FrameError("layout")
    return [_level(*pair) for pair in zip(_DRD[1:], fields[1:], strict=False)]


def show(text: str, weightings: Weightings, channel: int, query: str) -> Sequence[Outcome]:
    """What one answer says, with its result code or without, for the shell."""
    line = data(text) if _HEAD.match(text) else text.strip()
    if line.upper() in _STANDING:
        return (Reading(bare("running", "/"), float(line.upper() in _RUNNING), meta={"state": line}),)
    if query.upper().startswith("DRD"):
        return first_reason(shown(streamed(line), weightings, {}))
    meta = {"channel": channel}
    return first_reason(shown(displayed(line, channel), weightings, meta))


def _question(command: str, name: str) -> Request:
    return Request(f"{command}?\r\n".encode(), name, timeout_s=TIMEOUT_S, after_s=PAUSE_S)


class Rion(Conversation):
    """An NL-43 or NL-53; its main channel."""

    framing: ClassVar[Framing] = Answers()

    def __init__(self, quantities: Sequence[str], fallback: Weightings) -> None:
        super().__init__(quantities, fallback)
        self._model, self._frequency, self._time = "NL-43/53", "", ""
        self._known = False

    def opening(self) -> Sequence[Request]:
        """Who is there, and how it is set: it can be set only while it does not measure."""
        self._known = True
        self._frequency = self._time = ""
        return (
            _question("Type", "type"),
            _question("Serial Number", "serial"),
            _question("Frequency Weighting (Main)", "frequency"),
            _question("Time Weighting (Main)", "time"),
        )

    def standing(self) -> Request:
        """Whether it measures."""
        return _question("Measure", STANDING)

    def start(self) -> Request:
        """Start a measurement. Its answer has no data, which `Answers` would wait for: nobody waits."""
        return Request(b"Measure,Start\r\n", START, replies=0, after_s=PAUSE_S, changes=True)

    def questions(self) -> Sequence[Request]:
        """What the display shows; before it who is there, after whatever may have changed that."""
        opening = () if self._known else self.opening()
        battery_too = [_question("Battery Level", "battery")] if "battery" in self.quantities else []
        return (*opening, _question("DOD", "results"), *battery_too)

    def silent(self, request: Request, now: float) -> Sequence[Outcome]:
        """It may have been another meter's turn since: ask again who is there."""
        self._known = False
        return super().silent(request, now)

    def answer(self, request: Request, text: str) -> Sequence[Outcome]:
        """See `Conversation.answer`."""
        line = data(text)
        word = line.strip('"').upper()
        if request.name == STANDING:
            if word not in _STANDING:
                raise FrameError("late")
            self._known = self._known and word in _RUNNING
            return self.stands(line, running=word in _RUNNING)
        if request.name in {"type", "serial", "frequency", "time"}:
            return self._introduced(request.name, line.strip('"'))
        if request.name == "battery":
            return (battery(line, self.meta),)
        if "," not in line:
            raise FrameError("late")
        self.measures()
        levels = [each for each in self.quantities if each != "battery"]
        return wanted(displayed(line), self._weightings(), levels, self.meta)

    def _introduced(self, about: str, said: str) -> Sequence[Outcome]:
        word = said.upper()
        if about == "type":
            if not re.fullmatch(r"[A-Z]{2}-\w+", word):
                raise FrameError("late")
            self._model = said
            return ()
        if about == "serial":
            if not re.fullmatch(r"\d{4,10}", said):
                raise FrameError("late")
            return (self.introduce("Rion", self._model, said),)
        if word not in ({"A", "C", "Z"} if about == "frequency" else {"F", "S", "I"}):
            raise FrameError("late")
        if about == "frequency":
            self._frequency = word
            return ()
        self._time = word
        return self._told()

    def _weightings(self) -> Weightings:
        frequency, time, peak = self.fallback
        return Weightings(self._frequency or frequency, self._time or time, peak)

    def _told(self) -> Sequence[Outcome]:
        frequency, time, _ = self._weightings()
        missing = [each for each in self.quantities if each.startswith("la") and frequency != "A"]
        missing += [
            each for each in self.quantities if each.startswith("laf") and time != "F" and frequency == "A"
        ]
        if not missing:
            return ()
        text = (
            f"the main channel measures with weighting {frequency or 'unknown'} and {time or 'unknown'}, which gives "
            f"no {', '.join(missing)}: stop the meter and set it, or change `quantities` of this sensor"
        )
        return (Notice("settings", text),)

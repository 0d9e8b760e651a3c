"""What goes wrong with which sensor, and when: a script as data, asked by time."""

from __future__ import annotations

import re
from enum import StrEnum
from random import Random
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator

if TYPE_CHECKING:
    from collections.abc import Iterable

# One day: no script waits longer, and a slip of the keyboard is found.
LONGEST_S: Final = 86_400.0
Second = Annotated[float, Field(ge=0, le=LONGEST_S)]


class FaultKind(StrEnum):
    """What can be made to happen."""

    SILENT = "silent"  # the sensor says nothing for a while
    UNPLUGGED = "unplugged"  # its line hangs up and its name is gone; it comes back under the same name
    CHECKSUM = "checksum"  # frames or answers arrive damaged
    LATE = "late"  # answers come after `delay`
    WARM_UP = "warm-up"  # it was just switched on, and says what it says before it has a value
    SENTINEL = "sentinel"  # it says by its own code that it has no value: a broken cable, a dead element
    LINK_DOWN = "link-down"  # the broker is gone for a while


class Fault(BaseModel):
    """One fault: `kind` happens to `sensor` from second `at` for `for` seconds of the script."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    kind: FaultKind
    sensor: str = ""
    at: Second
    lasts: Annotated[float, Field(alias="for", gt=0, le=LONGEST_S)]
    #: Of the frames, how many are damaged.
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    #: Seconds that an answer is late: more than the half second that the transmitter's driver waits.
    delay: Annotated[float, Field(gt=0, le=30)] = 1.2

    @model_validator(mode="after")
    def _has_its_sensor(self) -> Fault:
        if (self.kind is FaultKind.LINK_DOWN) == bool(self.sensor):
            raise ValueError("link-down names no sensor, and every other fault names one")
        return self

    def active(self, t: float) -> bool:
        """Whether it happens at second `t`."""
        return self.at <= t < self.at + self.lasts


class Condition(NamedTuple):
    """How a sensor is at one moment."""

    silent: bool = False
    unplugged: bool = False
    damaged: bool = False
    late_s: float = 0.0
    #: It has no value to say, and says so in its own way.
    blank: bool = False


class Faults:
    """The script of one run; every answer depends on its arguments alone.

    `repeat_s` plays the script again and again with that period (0: once). Faults given on top of the script
    in `extra` happen once.
    """

    def __init__(
        self,
        script: Iterable[Fault] = (),
        *,
        extra: Iterable[Fault] = (),
        repeat_s: float = 0.0,
        seed: int = 0,
    ) -> None:
        self._script = tuple(script)
        self._extra = tuple(extra)
        self._repeat_s = repeat_s
        self._seed = seed

    def condition(self, sensor: str, number: int, t: float) -> Condition:
        """How `sensor` is at second `t`, for its frame or answer `number`."""
        active = [fault for fault in self._active(t) if fault.sensor == sensor]
        kinds = {fault.kind for fault in active}
        luck = Random(f"{self._seed} {sensor} {number}").random()  # noqa: S311  can be repeated
        return Condition(
            silent=FaultKind.SILENT in kinds,
            unplugged=FaultKind.UNPLUGGED in kinds,
            damaged=any(fault.kind is FaultKind.CHECKSUM and luck < fault.share for fault in active),
            blank=bool(kinds & {FaultKind.WARM_UP, FaultKind.SENTINEL}),
            late_s=max((fault.delay for fault in active if fault.kind is FaultKind.LATE), default=0.0),
        )

    def link_down(self, t: float) -> bool:
        """Whether the broker is gone at second `t`."""
        return any(fault.kind is FaultKind.LINK_DOWN for fault in self._active(t))

    def _active(self, t: float) -> list[Fault]:
        scripted = t % self._repeat_s if self._repeat_s else t
        return [f for f in self._script if f.active(scripted)] + [f for f in self._extra if f.active(t)]


_SPOKEN: Final = re.compile(
    r"(?P<kind>[a-z-]+)(?::(?P<sensor>[a-z0-9-]+))?@(?P<at>\d+(?:\.\d+)?)s?\+(?P<lasts>\d+(?:\.\d+)?)s?"
)


def spoken(text: str) -> Fault:
    """The fault that `KIND[:SENSOR]@AT+FOR` says, such as `silent:air-1@10s+5s`; ValueError with a hint."""
    match = _SPOKEN.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no fault; write KIND[:SENSOR]@AT+FOR, such as silent:air-1@10s+5s")
    kinds = [kind.value for kind in FaultKind]
    if match["kind"] not in kinds:
        raise ValueError(f"{match['kind']!r} is no fault; there are {', '.join(kinds)}")
    kind = FaultKind(match["kind"])
    if (kind is FaultKind.LINK_DOWN) == bool(match["sensor"]):
        raise ValueError(f"{text!r}: link-down names no sensor, and every other fault names one")
    at, lasts = float(match["at"]), float(match["lasts"])
    if not 0 < lasts <= LONGEST_S or at > LONGEST_S:
        raise ValueError(f"{text!r}: a fault begins within a day and lasts more than 0 s, at most a day")
    return Fault(kind=kind, sensor=match["sensor"] or "", at=at, lasts=lasts)

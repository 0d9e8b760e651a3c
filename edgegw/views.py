"""What is known of each sensor: its state in one word, its newest values, and what went wrong how often."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edgegw.driver import Reading

# Different reasons that are counted for one sensor; a driver has about ten, more would be an attack on memory.
MAX_REASONS: Final = 64
# Answers whose times make the median: enough that one late answer does not hide what is usual.
ANSWER_TIMES: Final = 32


# Checks that say where a reading came from: nothing is wrong with such a sensor, and nobody has to go there.
ORIGIN: Final = frozenset(("unauthenticated", "unauthenticated_time", "unidentified"))

# What to do about a device that says nothing, or nothing that can be read.
CHECK_DEVICE: Final = (
    "Check its power and its wires, or its range and battery; what was refused of it is counted under errors."
)


class State(StrEnum):
    """What a sensor is doing; the same words in status, metrics and messages."""

    STARTING = "starting"
    WARM_UP = "warm_up"
    OK = "ok"
    FLAGGED = "flagged"
    STALE = "stale"
    UNPLUGGED = "unplugged"
    NO_ANSWER = "no_answer"
    DRIVER_FAILED = "driver_failed"
    PAUSED = "paused"
    DISABLED = "disabled"
    SIMULATED = "simulated"


@dataclass
class View:
    """What is known of one sensor, for `status`. `at` is the monotonic second of its last reading."""

    id: str
    driver: str
    stale_after: float
    since: float
    simulated: bool
    enabled: bool = True
    last: dict[str, float] = field(default_factory=dict)
    at: float | None = None
    readings: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    trouble: State | None = None
    why: str = ""
    todo: str = ""
    checks: frozenset[str] = frozenset()
    #: The newest notice of the device by what it is about.
    notices: dict[str, str] = field(default_factory=dict)
    #: Names of notices that only say who or how the device is: nobody has to look at them.
    facts: set[str] = field(default_factory=set)
    #: What is known of the radio of a Bluetooth sensor (`ports.ble.Scanner.facts`).
    bluetooth: Callable[[], Mapping[str, Any]] | None = None
    #: How long the newest answers of a device that is asked took, in seconds.
    answer_times: deque[float] = field(default_factory=lambda: deque(maxlen=ANSWER_TIMES))

    def error(self, reason: str) -> None:
        """Count a frame or poll that gave no reading."""
        if reason not in self.errors and len(self.errors) >= MAX_REASONS:
            reason = "other"
        self.errors[reason] = self.errors.get(reason, 0) + 1

    def answered(self, seconds: float) -> None:
        """Remember how long an answer took."""
        self.answer_times.append(seconds)

    def took(self, readings: Sequence[Reading], now: float) -> None:
        """Remember the newest readings."""
        self.at = now
        self.readings += len(readings)
        self.trouble, self.why, self.todo = None, "", ""
        found: set[str] = set()
        for reading in readings:
            self.last[reading.quantity.name] = reading.value
            if reading.checks:
                found.update(reading.checks)
            elif reading.flag is not None and reading.flag >= 3:
                found.add("flag")
        self.checks = frozenset(found - ORIGIN)

    def state(self, now: float) -> State:
        """The sensor's state at a monotonic second."""
        if not self.enabled:
            return State.DISABLED
        if self.trouble is not None:
            return self.trouble
        if self.at is None:
            return State.STARTING if now - self.since <= self.stale_after else State.NO_ANSWER
        if now - self.at > self.stale_after:
            return State.STALE
        if "warm_up" in self.checks:
            return State.WARM_UP
        if self.checks:
            return State.FLAGGED
        return State.SIMULATED if self.simulated else State.OK

    def as_dict(self, now: float) -> dict[str, Any]:
        """The element of `sensors` in `status --json`."""
        state = self.state(now)
        found: dict[str, Any] = {
            "id": self.id,
            "driver": self.driver,
            "state": str(state),
            "last": dict(self.last),
            "age_s": round(now - self.at, 3) if self.at is not None else -1,
            "readings": self.readings,
            "errors": dict(self.errors),
        }
        # Only where there is something to say: every status message carries all of it.
        why, todo = self._said(state, now)
        said = {"why": why, "todo": todo, "checks": sorted(self.checks)}
        found |= {key: value for key, value in said.items() if value}
        if self.notices:
            found["notices"] = dict(self.notices)
            found["facts"] = sorted(self.facts & self.notices.keys())
        if self.bluetooth is not None:
            found["bluetooth"] = dict(self.bluetooth())
        if self.answer_times:
            middle = sorted(self.answer_times)[len(self.answer_times) // 2]
            times = {"last": self.answer_times[-1], "median": middle}
            found["answer_ms"] = {key: round(1000 * seconds, 1) for key, seconds in times.items()}
        return found

    def _said(self, state: State, now: float) -> tuple[str, str]:
        """Why it is as it is and what to do, in words; empty where nothing has to be done."""
        if self.why or self.trouble is not None or state not in {State.STALE, State.NO_ANSWER}:
            return self.why, self.todo
        if self.at is None:
            return f"No reading has come since its start {now - self.since:.0f} s ago.", CHECK_DEVICE
        return f"No reading has come for {now - self.at:.0f} s.", CHECK_DEVICE

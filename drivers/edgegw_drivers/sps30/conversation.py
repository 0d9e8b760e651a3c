"""One opened SPS30: what it is asked, and what is known of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from edgegw.driver import FrameError, Notice, Quality, Request
from edgegw_drivers.sps30 import commands
from edgegw_drivers.sps30.commands import encode, measurement, refusal, status_of, text_of
from edgegw_drivers.sps30.shdlc import parse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgegw.driver import Outcome
    from edgegw_drivers.sps30.shdlc import Reply

# A new value comes once a second; the first one a second after the start.
FIRST_VALUE_S: Final = 1.2
# Identity and status are asked again after so long: a swapped or failing device is seen within minutes.
LOOK_AGAIN_S: Final = 600.0
# Cleaning takes 10 s, in which the values stand still; then the air inside is the street's again.
CLEANING_S: Final = 15.0
# A cleaning that the device refused is tried again after so long.
CLEAN_AGAIN_S: Final = 3600.0
# The data sheet's longest answer time is below 100 ms; a USB adapter and a serial server add theirs.
TIMEOUT_S: Final = 0.5
#: What an SPS30 says of its type.
PRODUCT_TYPE: Final = "00080000"


def _request(command: str, *, after_s: float = 0.0, changes: bool = False) -> Request:
    return Request(encode(command, {}), command, timeout_s=TIMEOUT_S, after_s=after_s, changes=changes)


# One byte wakes the line, the command behind it (within 100 ms) the device.
_WAKE: Final = Request(b"\xff" + encode("wake_up", {}), "wake_up", timeout_s=TIMEOUT_S, changes=True)
_START: Final = _request("start_measurement", changes=True)
_STOP: Final = _request("stop_measurement", changes=True)
_SLEEP: Final = _request("sleep", changes=True)
_CLEAN: Final = _request("fan_clean", changes=True)
_LOOK: Final = tuple(map(_request, ("get_product_type", "get_serial_number", "get_status")))


class Conversation:
    """What is asked of one opened device, and its state as far as answers tell.

    `warm_up_s` is how long the fan has to run, `clean_s` the time between two cleanings (None: never).
    """

    def __init__(
        self, *, warm_up_s: float, drop: bool, duty_cycle: bool, clean_s: float | None, serial: str
    ) -> None:
        self._warm_up_s = warm_up_s
        self._drop = drop
        self._duty_cycle = duty_cycle
        self._clean_s = clean_s
        self._serial = self._expected = serial
        self._now = 0.0
        self._measures = True
        self._just_started = False
        self._told = False
        self._warm_at: float | None = None
        self._status = 0
        self._look_at = 0.0
        self._clean_at: float | None = None
        self._cleaned_at = -math.inf

    def opening(self) -> Sequence[Request]:
        """Wake it, ask who it is and how it is, and let it measure."""
        return (_WAKE, *_LOOK) if self._duty_cycle else (_WAKE, *_LOOK, _START)

    def cycle(self) -> Sequence[Request]:
        """One reading; around it, what it takes for the device to measure, and what is due."""
        asked: list[Request] = []
        wait_s = 0.0
        if self._duty_cycle:
            asked, wait_s = [_WAKE, _START], self._warm_up_s + FIRST_VALUE_S
        elif not self._measures:
            asked, wait_s = [_WAKE, _START], FIRST_VALUE_S
        elif self._just_started:
            wait_s = FIRST_VALUE_S
        self._just_started = False
        asked.append(_request("read_values", after_s=wait_s))
        if self._now >= self._look_at:
            asked += _LOOK
        pause_s = 0.0
        if self._clean_at is not None and self._now >= self._clean_at:
            asked.append(_CLEAN)
            pause_s = CLEANING_S
        if self._duty_cycle:
            asked += (_request("stop_measurement", after_s=pause_s, changes=True), _SLEEP)
        return asked

    def decode(self, request: Request, frame: bytes, now: float) -> Sequence[Outcome]:
        """Readings of an answer to `read_values`; of the others, notices of what is wrong."""
        reply = parse(frame)
        if reply.command != commands.COMMANDS[request.name][0]:
            raise FrameError("command")
        self._tell_time(now)
        if request.name == "read_values":
            return self._values(reply)
        if commands.has_error(reply) and request.name != "get_status":
            self._look_at = self._now
        refused = refusal(reply)
        if request.name in {"wake_up", "start_measurement", "stop_measurement", "sleep"}:
            # A device that is in that state already refuses, and so does firmware 1 the sleep that it lacks.
            if request.name == "start_measurement":
                self._started(anew=refused is None)
            return ()
        if request.name == "fan_clean":
            self._clean_at = self._now + (CLEAN_AGAIN_S if refused else self._clean_s or CLEAN_AGAIN_S)
            self._cleaned_at = -math.inf if refused else self._now
            return (refused,) if refused else ()
        if refused:
            raise refused
        if request.name == "get_status":
            self._look_at = self._now + LOOK_AGAIN_S
            return self._state(status_of(reply))
        text = text_of(reply)
        if request.name == "get_serial_number" and text == PRODUCT_TYPE:
            raise FrameError("command")  # the other question's answer, late: the command is the same
        return self._identity(request.name, text)

    def silent(self, request: Request, now: float) -> Sequence[Outcome]:
        """A device that does not answer may have lost its power: it has to be started and looked at again."""
        self._tell_time(now)
        if request.name == "read_values":
            self._measures = False
            self._look_at = self._now
        return ()

    def _tell_time(self, now: float) -> None:
        self._now = now
        if self._clean_s is not None and self._clean_at is None:
            self._clean_at = now + self._clean_s

    def _started(self, *, anew: bool) -> None:
        self._measures = self._just_started = True
        if anew:
            self._warm_at = self._now + self._warm_up_s

    def _values(self, reply: Reply) -> Sequence[Outcome]:
        refused = refusal(reply)
        if refused is not None:
            if reply.state & 0x7F != commands.NOT_NOW:
                raise refused
            self._measures = False
            text = "it does not measure; with allow_setup = true the gateway starts it"
            self._told = True
            return (refused, Notice("settings", text))
        self._measures = True
        if self._warm_at is None:
            # It measured before it was asked to; since when, nobody knows.
            self._warm_at = self._now + self._warm_up_s
        if self._now < self._cleaned_at + CLEANING_S:
            raise FrameError("cleaning", whole=True)
        warming = self._now < self._warm_at
        if warming and self._drop:
            raise FrameError("warming_up", whole=True)
        flag: int | None = Quality.SUSPECT if warming else None
        checks: tuple[str, ...] = ("warm_up",) if warming else ()
        meta: dict[str, Any] = {"serial": self._serial} if self._serial else {}
        if commands.has_error(reply):
            meta["device_error_flag"] = True
            self._look_at = self._now
        if commands.has_error(reply) or self._status & commands.FAN_SPEED:
            flag, checks = Quality.SUSPECT, (*checks, "device_flag")
        if self._status & (commands.FAN | commands.LASER):
            # Without a fan no air passes, without the laser nothing is seen of it.
            flag, checks = Quality.FAIL, (*checks, "sensor_fault")
        cured = (Notice("settings", "it measures", cured=True),) if self._told else ()
        self._told = False
        return (*measurement(reply, flag, checks, meta), *cured)

    def _state(self, register: int) -> Sequence[Outcome]:
        """A notice where the faults are others than before."""
        faults = {
            commands.FAN: "the fan stands still",
            commands.LASER: "the laser's current is out of range",
            commands.FAN_SPEED: "the fan turns too fast or too slowly",
        }
        known = sum(faults)
        before, self._status = self._status & known, register
        if register & known == before:
            return ()
        found = [text for bit, text in faults.items() if register & bit]
        return (Notice("fault", ", ".join(found) or "none any more", cured=not found),)

    def _identity(self, asked: str, text: str) -> Sequence[Outcome]:
        if asked == "get_product_type":
            if text == PRODUCT_TYPE:
                return ()
            return (Notice("device", f"product type {text!r} is no SPS30, which is {PRODUCT_TYPE}"),)
        before, self._serial = self._serial, text
        if before in {"", text}:
            return ()
        was = "expected" if before == self._expected else "before"
        return (Notice("device", f"serial number {text}; {was}: {before}"),)

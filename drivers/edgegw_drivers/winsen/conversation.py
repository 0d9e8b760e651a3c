"""One opened device of the family: what it is asked, when it is warm, what it measures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgegw.driver import FrameError, Notice, Quality, Reading, Request
from edgegw_drivers.winsen import frame as frames
from edgegw_drivers.winsen.models import MODELS, read

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgegw.driver import Outcome

# Nine bytes at 9600 baud take 9 ms, the device takes some more; 1 s is a serial server on a slow radio link.
TIMEOUT_S: Final = 1.0
# A single answer gets lost on a good line too; so many in a row are a device that was off.
AWAY_TIMES: Final = 3


class Conversation:
    """One opened device: when it is warm, and what it measures."""

    def __init__(self, model: str, *, gas: str, warm_up_s: float, drop: bool) -> None:
        self._model = model
        self._gas = gas
        self._warm_up_s = warm_up_s
        self._drop = drop
        self._warm_at: float | None = None
        self._silent = 0
        self._measured = gas

    def opening(self) -> Sequence[Request]:
        """Let a device that talks wait for requests, where that may be changed."""
        mode = MODELS[self._model].mode
        if not mode:
            return ()
        return (Request(frames.encode(mode), "mode", timeout_s=TIMEOUT_S, changes=True),)

    def cycle(self) -> Sequence[Request]:
        """One reading. Never READ_ALL: an MH-Z19 takes the same byte for a calibration of its span."""
        return (Request(frames.encode("read"), timeout_s=TIMEOUT_S),)

    def decode(self, request: Request, frame: bytes, now: float) -> Sequence[Outcome]:
        """Readings of an answer, or a notice about its mode."""
        command, content = frames.parse(frame)
        if command != (frames.MODE if request.name == "mode" else frames.READ):
            # A board that still talks by itself, or an answer that comes late.
            raise FrameError("command")
        if request.name == "mode":
            return () if content[0] == 1 else (Notice("settings", "it refused to wait for requests"),)
        self._silent = 0
        if self._warm_at is None:
            self._warm_at = now + self._warm_up_s
        found = read(self._model, command, content)
        told: tuple[Outcome, ...] = ()
        if self._model == "dfrobot":
            name = found.values[0].quantity.name
            if self._gas and name != self._gas:
                notice = Notice("device", f"the board measures {name}, not {self._gas}")
                return (FrameError("wrong_gas", whole=True), notice)
            if self._measured not in {"", name}:
                told = (Notice("device", f"the board measures {name}; before: {self._measured}"),)
            self._measured = name
        # Dust sensors say zero before they have a value, whenever that is; no gas at all is a good day.
        nothing = self._model == "zh03" and not any(each.value for each in found.values)
        warming = now < self._warm_at or nothing
        if warming and self._drop:
            raise FrameError("warming_up", whole=True)
        checks = (("warm_up",) if warming else ()) + (("unidentified",) if self._model == "any" else ())
        flag = Quality.SUSPECT if checks else None
        return (
            *told,
            *(Reading(each.quantity, each.value, flag, checks, found.meta) for each in found.values),
        )

    def silent(self, request: Request, now: float) -> Sequence[Outcome]:
        """A device that was away has lost its power and warms up again; its answers do not say it."""
        del now
        self._silent += request.name == "read"
        if self._silent >= AWAY_TIMES:
            self._warm_at = None
        return ()

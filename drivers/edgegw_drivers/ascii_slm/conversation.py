"""The engine that all meters share: first ask how the meter stands, then for its results.

An answer does not say what question it is for. That is why each cycle begins with a question whose answer cannot be
taken for a result: until it has come, a line with a result is a late one, and refused. A meter answers in order.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Final

from edgegw.driver import FrameError, Notice, Request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgegw.driver import Framing, Outcome
    from edgegw_drivers.ascii_slm.levels import Weightings

#: Name of the request that opens each cycle, and of the one that starts a measurement.
STANDING: Final = "state"
START: Final = "start"


class Conversation(ABC):
    """One opened meter. `quantities` are what is asked for, `fallback` counts where the meter does not say."""

    #: Where one of its answers begins and ends.
    framing: ClassVar[Framing]

    def __init__(self, quantities: Sequence[str], fallback: Weightings) -> None:
        self.quantities = tuple(quantities)
        self.fallback = fallback
        self.meta: dict[str, object] = {}
        # None until the meter has said in this cycle whether it measures.
        self._running: bool | None = None
        self._stopped = self._settles = False

    @abstractmethod
    def opening(self) -> Sequence[Request]:
        """Who is there, and how it is set."""

    @abstractmethod
    def standing(self) -> Request:
        """The question whether it measures; named STANDING."""

    @abstractmethod
    def start(self) -> Request:
        """The command that starts a measurement; it changes the meter."""

    @abstractmethod
    def questions(self) -> Sequence[Request]:
        """The questions for results."""

    @abstractmethod
    def answer(self, request: Request, text: str) -> Sequence[Outcome]:
        """Outcomes of an answer, without the blanks around it; errors as `AskDecoder.decode` says."""

    def cycle(self) -> Sequence[Request]:
        """Start it where it stood still, ask whether it measures, then for the results."""
        self._running = None
        start = (self.start(),) if self._stopped else ()
        return (*start, self.standing(), *self.questions())

    def decode(self, request: Request, frame: bytes, now: float) -> Sequence[Outcome]:
        """See `AskDecoder.decode`."""
        del now
        try:
            text = frame.decode("ascii")
        except UnicodeDecodeError:
            raise FrameError("malformed") from None
        return self.answer(request, text.strip())

    def silent(self, request: Request, now: float) -> Sequence[Outcome]:
        """Whatever comes now may be late: results are refused until the meter has said how it stands."""
        del request, now
        self._running = None
        return ()

    def stands(self, state: str, *, running: bool, settles: bool = False) -> Sequence[Outcome]:
        """Note what the meter said about itself; a notice that it stands still, or does so no longer.

        `settles` says that it was started and has no result yet.
        """
        was_stopped = self._stopped
        self._running, self._settles, self._stopped = running, settles, not (running or settles)
        if not self._stopped:
            return (Notice("state", "the meter measures again", cured=True),) if was_stopped else ()
        text = (
            f"the meter does not measure (it says {state}), so it has no result: press its START key, or set "
            "allow_setup = true for this sensor, and the gateway starts it"
        )
        return (Notice("state", text),)

    def measures(self) -> None:
        """FrameError unless the meter has said in this cycle that it measures.

        `late` until it has said how it stands, `warming_up` while it settles, `state` when it stands still.
        """
        if self._running is None:
            raise FrameError("late")
        if not self._running:
            raise FrameError("warming_up" if self._settles else "state", whole=True)

    def introduce(self, maker: str, model: str, serial: str) -> Notice:
        """Who the meter is: told once, and again when it is another one."""
        self.meta = {"model": model, "serial": serial}
        return Notice("device", f"{maker} {model}, serial number {serial}")

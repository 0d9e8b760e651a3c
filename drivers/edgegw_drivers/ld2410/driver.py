"""The driver of the Hi-Link LD2410 radar (also B and C)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from edgegw.driver import QUANTITIES, EitherOf, Outcome, Reading, Request, SerialLine, StreamDriver
from edgegw_drivers.hilink import (
    BLUETOOTH_OFF,
    REPLY_START,
    Conversation,
    conversation,
    encode,
    parse_reply,
    shown,
)
from edgegw_drivers.ld2410.frame import COMMANDS, FRAMING, parse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

OCCUPANCY: Final = QUANTITIES["occupancy"]


@dataclass(frozen=True)
class Ld2410(StreamDriver):
    """Somebody is there (1) or nobody (0): never how many."""

    line: ClassVar[SerialLine] = SerialLine(baudrate=256000)
    framing: ClassVar[EitherOf] = FRAMING
    quantities: ClassVar[Sequence[str]] = ("occupancy",)
    period_s: ClassVar[float] = 0.1

    def decoder(self) -> _Decoder:
        """A decoder that follows the set-up."""
        return _Decoder()

    def setup(self) -> Sequence[Request]:
        """Switch Bluetooth off, which is on by default and lets anybody nearby change the radar."""
        return conversation(COMMANDS, BLUETOOTH_OFF)

    def remark(self, frame: bytes) -> Sequence[Outcome]:
        """The reply to a command, as it stands."""
        return (shown(frame),) if frame.startswith(REPLY_START) else ()

    def encode(self, command: str, options: Mapping[str, Any]) -> bytes:
        """The bytes of a command that needs no value."""
        del options
        return encode(COMMANDS, command)


class _Decoder:
    """One opened radar."""

    def __init__(self) -> None:
        self._conversation = Conversation()

    def sent(self, request: Request, now: float) -> None:
        self._conversation.sent(request, now)

    def decode(self, frame: bytes, now: float) -> Sequence[Outcome]:
        if frame.startswith(REPLY_START):
            return self._conversation.heard(parse_reply(frame))
        report = parse(frame)
        meta = report._asdict()
        meta |= meta.pop("details")
        # The same as one list, as the published vectors have it.
        meta["values"] = list(report[:-1])
        somebody = report.moving or report.still
        return (*self._conversation.overdue(now), Reading(OCCUPANCY, int(somebody), meta=meta))

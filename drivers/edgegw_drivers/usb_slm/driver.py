"""The driver of cheap sound level meters; on a wire, of the CEM DT-8852 and its clones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from edgegw.driver import QUANTITIES, FrameError, Notice, Outcome, Reading, SerialLine, StreamDriver
from edgegw_drivers.usb_slm.reports import Shown, gm1356, ut353bt
from edgegw_drivers.usb_slm.tokens import Display, Tokens

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SAMPLED: Final = QUANTITIES["la_sampled"]
# What has no quantity of the gateway is shown as this, and nothing but the shell ever sees it.
_LEVEL: Final = _SAMPLED._replace(name="level")
_REASONS: Final = {"over": "overload", "under": "under_range"}


@dataclass(frozen=True)
class UsbSlm(StreamDriver):
    """The level on the meter's display, twice a second or so."""

    quantities: ClassVar[Sequence[str]] = ("la_sampled",)
    line: ClassVar[SerialLine] = SerialLine(baudrate=9600)
    framing: ClassVar[Tokens] = Tokens()
    #: The shell shows levels that have no quantity: those with C weighting, and held ones.
    shows: ClassVar[frozenset[str]] = frozenset(("uart-stream", "hid-report", "ble-notification"))
    period_s: ClassVar[float] = 0.05

    def decoder(self) -> _Decoder:
        """A decoder that knows what the display showed before."""
        return _Decoder()

    def decode_layer(self, layer: str, data: bytes, options: Mapping[str, Any]) -> Sequence[Outcome] | None:
        """What a stream, a HID report of a GM1356 or a notification of a UT353BT shows."""
        del options
        if layer == "uart-stream":
            return _stream(self.framing, data)
        if layer == "hid-report":
            return (_reading(gm1356(data)),)
        if layer == "ble-notification":
            return (_reading(ut353bt(data)),)
        return None


def _reading(shown: Shown) -> Reading:
    """A level with A weighting that is of this moment is `la_sampled`; any other is only shown."""
    named = shown.frequency == "A" and not shown.held
    return Reading(_SAMPLED if named else _LEVEL, shown.level, meta=shown.meta)


def _stream(framing: Tokens, data: bytes) -> Sequence[Outcome]:
    """Everything that a stream with noise in it shows."""
    display, found = Display(), list[Outcome]()
    position = 0
    while True:
        begin, end = framing.find(data, position)
        if begin == end:
            return found
        position = end
        try:
            level = display.take(data[begin:end])
            if level is not None:
                found.append(_reading(_shown(display, level)))
        except FrameError as error:
            found.append(error)
            if not error.whole:
                position = begin + 1


def _shown(display: Display, level: float) -> Shown:
    """The display with a new level. FrameError when there is no value in it, or nobody knows which."""
    reason = _REASONS.get(display.range_state, "" if display.frequency else "undefined")
    if reason:
        raise FrameError(reason, whole=True)
    return Shown(level, display.frequency, display.hold in {"max", "min"}, display.meta)


class _Decoder:
    """One opened meter."""

    def __init__(self) -> None:
        self._display = Display()
        self._wrong = False

    def decode(self, frame: bytes, now: float) -> Sequence[Outcome]:
        """One reading for a level with A weighting; nothing for what only says how the meter is set."""
        del now
        level = self._display.take(frame)
        if level is None:
            return ()
        shown = _shown(self._display, level)
        if shown.frequency != "A" or shown.held:
            self._wrong = True
            held = f"and holds the {self._display.hold}imum " if shown.held else ""
            text = (
                f"the meter weights with {shown.frequency} {held}: set it to A and to its live display (keys A/C and "
                "MAX/MIN), or its level has no name here and does not go out"
            )
            return (Notice("settings", text), FrameError("settings", whole=True))
        told = (
            (Notice("settings", "the meter weights with A and shows the live level", cured=True),)
            if self._wrong
            else ()
        )
        self._wrong = False
        return (*told, Reading(_SAMPLED, shown.level, meta=shown.meta))

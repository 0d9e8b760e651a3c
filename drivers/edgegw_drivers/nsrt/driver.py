"""The driver of the NSRT_mk3 and mk4."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final

from edgegw.driver import (
    QUANTITIES,
    AskDriver,
    FrameError,
    Notice,
    Outcome,
    Quantity,
    Reading,
    Request,
    SerialLine,
)
from edgegw_drivers.nsrt.words import WEIGHTINGS, WORDS, Octets, called, content, request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LEQ: Final = {"A": "laeq", "C": "lceq", "Z": "lzeq"}
_SAMPLED: Final = {"A": "la_sampled"}
# How the context of an answer may name what was asked.
_ASKED: Final = ("command", "query", "request", "reply", "read")
# Units of what only the shell shows.
_UNITS: Final = {"sample_rate": "Hz", "tau": "s", "level": "dB"}


@dataclass(frozen=True)
class Nsrt(AskDriver):
    """Levels as the instrument states them. It is only read; no setting of it is ever changed."""

    quantities: ClassVar[Sequence[str]] = ("laeq", "lceq", "lzeq", "la_sampled", "temperature")
    layer: ClassVar[str] = "usb-cdc"
    # USB ignores the rate.
    line: ClassVar[SerialLine] = SerialLine(baudrate=115_200)
    framing: ClassVar[Octets] = Octets()

    results: tuple[str, ...] = field(
        default=("laeq", "la_sampled"), metadata={"option": "quantities", "doc": "what to ask for"}
    )

    def __post_init__(self) -> None:
        """ValueError for quantities that it cannot give, or none."""
        unknown = [each for each in self.results if each not in self.quantities]
        if unknown or not self.results:
            said = f"no {', '.join(unknown)}" if unknown else "none are named"
            raise ValueError(f"quantities: {said}; there are {', '.join(self.quantities)}")

    def emits(self) -> Sequence[str]:
        """What it is asked for."""
        return self.results

    def decoder(self) -> _Conversation:
        """A conversation that first learns who answers."""
        return _Conversation(self.results)

    def encode(self, command: str, options: Mapping[str, Any]) -> bytes:
        """The request of a command in words; see `words.called`."""
        del options
        return request(called(command))

    def decode_layer(self, layer: str, data: bytes, options: Mapping[str, Any]) -> Sequence[Outcome] | None:
        """One answer. `command` says what was asked (else: the level), `weighting` how the instrument is set (A)."""
        if layer != self.layer:
            return None
        name = called(next((str(options[key]) for key in _ASKED if key in options), "level"))
        weighting = str(options.get("frequency_weighting", options.get("weighting", "A"))).upper()[-1:]
        if weighting not in WEIGHTINGS:
            raise ValueError(f"weighting is {options.get('weighting')!r}, not one of {', '.join(WEIGHTINGS)}")
        said = content(name, data)
        if isinstance(said, str):
            return (Reading(_quantity(name), 1, meta={name: said}),)
        if name == "weighting":
            return (Reading(_quantity(name), said, meta={"frequency_weighting": WEIGHTINGS[int(said)]}),)
        meta = {"frequency_weighting": weighting} if name in {"level", "leq"} else {}
        return (Reading(_quantity(_named(name, weighting) or name), said, meta=meta),)


def _named(name: str, weighting: str) -> str:
    """The quantity that a word is under a weighting; empty where there is none."""
    if name == "temperature":
        return name
    return {"leq": _LEQ, "level": _SAMPLED}.get(name, {}).get(weighting, "")


def _quantity(name: str) -> Quantity:
    """The quantity of that name, or one that only the shell shows."""
    return QUANTITIES.get(name) or QUANTITIES["laeq"]._replace(name=name, unit=_UNITS.get(name, "/"))


class _Conversation:
    """One opened instrument.

    Its answers are bytes that look like any others. That is why each cycle begins with the serial number: until its
    32 bytes have come, whatever comes is late and refused, byte for byte.
    """

    def __init__(self, quantities: Sequence[str]) -> None:
        self._quantities = tuple(quantities)
        self._got = b""
        self._serial = b""
        self._model = "NSRT"
        self._synced = False
        self._weighting = ""
        self._meta: dict[str, object] = {}

    def opening(self) -> Sequence[Request]:
        """Who it is, and its time constant."""
        return tuple(_request(name) for name in ("model", "serial", "tau"))

    def cycle(self) -> Sequence[Request]:
        """The same instrument still? How does it weight? Then the results; reading Leq begins the next one."""
        self._got, self._synced, self._weighting = b"", False, ""
        names = ["serial", "weighting"]
        if "la_sampled" in self._quantities:
            names.append("level")
        if not {*_LEQ.values()}.isdisjoint(self._quantities):
            names.append("leq")
        if "temperature" in self._quantities:
            names.append("temperature")
        return tuple(_request(name) for name in names)

    def decode(self, request: Request, frame: bytes, now: float) -> Sequence[Outcome]:
        """One more byte; outcomes with the last one."""
        del now
        name = request.name
        if name == "serial":
            self._refuse_what_is_not_the_serial(frame)
        elif name not in {"model", "tau"} and not self._synced:
            raise FrameError("late")
        self._got += frame
        if len(self._got) < request.replies:
            return ()
        answer, self._got = self._got, b""
        return self._take(name, answer)

    def silent(self, request: Request, now: float) -> Sequence[Outcome]:
        """The rest may come late: nothing counts until the serial number has come again."""
        del now
        if request.name == "serial":
            self._serial = b""
        self._got, self._synced = b"", False
        return ()

    def _refuse_what_is_not_the_serial(self, frame: bytes) -> None:
        """FrameError `late` for a byte that cannot be the next one of the serial number."""
        if self._serial and not self._serial.startswith(self._got + frame):
            # The byte may be the first one of the true answer behind late ones that began like it.
            got, self._got = self._got + frame, b""
            for begin in range(1, len(got)):
                if self._serial.startswith(got[begin:]):
                    self._got = got[begin:-1]
                    return
            raise FrameError("late")
        if not self._serial and not self._got and not 0x20 < frame[0] < 0x7F:
            raise FrameError("late")

    def _take(self, name: str, answer: bytes) -> Sequence[Outcome]:
        said = content(name, answer)
        if name == "serial":
            self._synced, self._serial = True, answer
            self._meta["serial"] = said
            return (Notice("device", f"Convergence Instruments {self._model}, serial number {said}"),)
        if name == "model":
            self._model = str(said)
            return ()
        if name == "tau":
            self._meta["time_constant_s"] = said
            return ()
        if name == "weighting":
            self._weighting = WEIGHTINGS[int(said)]
            return self._settings()
        quantity = _named(name, self._weighting)
        if quantity not in self._quantities or isinstance(said, str):
            raise FrameError("settings", whole=True)
        return (Reading(QUANTITIES[quantity], said, meta=dict(self._meta)),)

    def _settings(self) -> Sequence[Outcome]:
        possible = {"temperature", _LEQ[self._weighting], _SAMPLED.get(self._weighting, "")}
        missing = [each for each in self._quantities if each not in possible]
        if not missing:
            return ()
        text = (
            f"the instrument weights with {self._weighting}, which gives no {', '.join(missing)}: set it to another "
            "weighting with its maker's program, or change `quantities` of this sensor"
        )
        return (Notice("settings", text),)


def _request(name: str) -> Request:
    return Request(request(name), name, replies=WORDS[name].length)

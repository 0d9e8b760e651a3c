"""The driver of class 1 sound level meters that answer in lines of text: one parser for each maker."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from edgegw.driver import AskDriver, FrameError, SerialLine
from edgegw_drivers.ascii_slm import rion, svantek, xl2
from edgegw_drivers.ascii_slm.levels import QUANTITY_NAMES, USUAL, Weightings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgegw.driver import AskDecoder, Framing, Outcome

SVANTEK: Final = "svantek"
XL2: Final = "nti-xl2"
RION: Final = "rion-nl43"
# What each is called on its type plate and in other documents; letters and digits only.
_MODELS: Final = (
    (re.compile(r"(svantek|svan|sv)\d*\w*"), SVANTEK),
    (re.compile(r"(nti)?(audio)?xl[23]\w*|nti"), XL2),
    (re.compile(r"(rion)?nl[45]3\w*|rion"), RION),
)
# USB ignores the rate; a Rion's RS-232C leaves the factory with 38400 (NL-43/NL-53 Communication Guide).
_BAUD: Final = {SVANTEK: 115_200, XL2: 115_200, RION: 38_400}
#: Asked for unless the sensor says otherwise.
_USUAL: Final = ("laeq", "lafmax", "lafmin")
_FRAMINGS: Final[Mapping[str, Framing]] = {
    SVANTEK: svantek.Svantek.framing,
    XL2: xl2.Xl2.framing,
    RION: rion.Rion.framing,
}
_BARE_RION: Final = re.compile(r"\s*-?[\d.-]+(\s*,\s*-?[\d.-]*){5,}\s*")


def maker(model: str) -> str:
    """Which of the parsers a model's name means; ValueError for a meter that none of them is for."""
    plain = re.sub(r"[^a-z0-9]", "", model.lower())
    for names, found in _MODELS:
        if names.fullmatch(plain):
            return found
    raise ValueError(f"{model!r} is none of {SVANTEK!r}, {XL2!r} and {RION!r}")


def said_by(text: str) -> str:
    """Whose answer this must be, by its form; empty where that is not certain."""
    if text.lstrip().startswith("#"):
        return SVANTEK
    if re.match(r"\s*\$?\s*R\+\d{4}", text) or (_BARE_RION.fullmatch(text) and "." in text):
        return RION
    return XL2 if re.search(r"\d\s*dB", text) or text.strip() == ";" or "XL2" in text else ""


@dataclass(frozen=True)
class AsciiSlm(AskDriver):
    """A sound level meter that states its own results: nothing is computed here."""

    quantities: ClassVar[Sequence[str]] = QUANTITY_NAMES
    layer: ClassVar[str] = "ascii-line"
    # A lone answer tells by its form whose it is; the model decides where it does not.
    decode_options: ClassVar[Mapping[str, Any]] = {"model": XL2}

    @classmethod
    def candidates(cls) -> Sequence[Mapping[str, Any]]:
        """Each maker."""
        return [{"model": model} for model in (SVANTEK, XL2, RION)]

    model: str = field(metadata={"doc": f"which meter it is: {SVANTEK!r}, {XL2!r} or {RION!r}"})
    results: tuple[str, ...] = field(
        default=(),
        metadata={"option": "quantities", "doc": "what to ask for; none named: laeq, lafmax and lafmin"},
    )
    over: Literal["measurement", "interval"] = field(
        default="measurement",
        metadata={
            "doc": "what an XL2's means and extremes are of: since it was started, or since it was last read"
        },
    )
    profile: int | None = field(
        default=None, metadata={"doc": "the profile of a Svantek that is read, 1 to 3; none: 1"}
    )
    weighting: Literal["", "A", "C", "Z"] = field(
        default="",
        metadata={
            "doc": "the frequency weighting, for a meter that does not say it; what the meter says counts"
        },
    )
    baudrate: int | None = field(
        default=None, metadata={"doc": "rate of the serial line; none: the usual one of the model"}
    )

    def __post_init__(self) -> None:
        """ValueError for a model, quantities, a profile or a rate that cannot be."""
        try:
            made_by = maker(self.model)
        except ValueError as error:
            raise ValueError(f"model: {error}") from error
        unknown = [each for each in self.results if each not in QUANTITY_NAMES]
        if unknown:
            raise ValueError(f"quantities: no {', '.join(unknown)}; there are {', '.join(QUANTITY_NAMES)}")
        if made_by == XL2 and "battery" in self.results:
            raise ValueError("quantities: an XL2 does not say its battery")
        if self.profile is not None and self.profile not in svantek.PROFILES:
            raise ValueError(f"profile: 1 to 3, not {self.profile}")
        if self.baudrate is not None and self.baudrate < 300:
            raise ValueError(f"baudrate: a rate such as 38400, not {self.baudrate}")

    @property
    def line(self) -> SerialLine:
        """8N1 at the usual rate, or the one of the sensor."""
        return SerialLine(self.baudrate or _BAUD[maker(self.model)])

    @property
    def framing(self) -> Framing:
        """How this model ends what it says."""
        return _FRAMINGS[maker(self.model)]

    def emits(self) -> Sequence[str]:
        """What this meter is asked for."""
        return self.results or _USUAL

    def decoder(self) -> AskDecoder:
        """A conversation in this model's language."""
        made_by, quantities = maker(self.model), self.emits()
        if made_by == XL2:
            return xl2.Xl2(quantities, Weightings(), of_interval=self.over == "interval")
        fallback = Weightings(self.weighting, "F" if self.weighting else "")
        if made_by == RION:
            # Who asks for lcpeak says with it that the meter's peak is C-weighted: it cannot be asked.
            return rion.Rion(quantities, fallback._replace(peak="C"))
        return svantek.Svantek(quantities, fallback, self.profile)

    def decode_layer(self, layer: str, data: bytes, options: Mapping[str, Any]) -> Sequence[Outcome] | None:
        """Everything that one whole answer says. `options` may name what is known of it.

        `query` (or `command`) is what was asked, `channel` that of a Rion, `frequency_weighting`,
        `time_weighting` and `peak_weighting` how the meter is set; else it is taken for A, Fast and C.
        """
        if layer != self.layer:
            return None
        try:
            text = data.decode("ascii")
        except UnicodeDecodeError:
            raise FrameError("malformed") from None
        if not text.strip():
            raise FrameError("no_data")
        weightings = Weightings(
            _word(
                options, "frequency_weighting", _word(options, "weighting", self.weighting or USUAL.frequency)
            ),
            _word(options, "time_weighting", USUAL.time),
            _word(options, "peak_weighting", USUAL.peak),
        )
        query = next((str(options[key]) for key in ("query", "command", "request") if key in options), "")
        made_by = said_by(text) or maker(self.model)
        if made_by == SVANTEK:
            return svantek.show(text.strip(), weightings, self.profile)
        if made_by == RION:
            return rion.show(text, weightings, _channel(options), query)
        return xl2.show(text, query)


def _word(options: Mapping[str, Any], key: str, default: str) -> str:
    """The letter of a weighting: `A` of "A" and "a", `F` of "fast"."""
    return str(options.get(key, default))[:1].upper()


def _channel(options: Mapping[str, Any]) -> int:
    said = str(options.get("channel", 1)).lower()
    names = {"main": 1, "sub1": 2, "sub2": 3, "sub3": 4}
    if said in names:
        return names[said]
    if not said.isdecimal():
        raise ValueError(f"channel is {said!r}, not a number from 1 to 4 or one of {', '.join(names)}")
    return int(said)

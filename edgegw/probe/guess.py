"""What a guess is, and how sure it can be. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from edgegw.driver import FrameError, Notice, Reading
from edgegw.framing import Framer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from edgegw.driver import Outcome, SerialLine, StreamDriver

# A checksum of one byte is right by chance once in 256: three frames in a row are no chance.
SURE_FRAMES: Final = 3
# A stream is joined in the middle of a frame, and an adapter may lose bytes: the rest must be the driver's.
SURE_SHARE: Final = 0.8
# Readings and reasons that one guess shows.
MOST_SHOWN: Final = 32


#: Options that say where a device is, not what it is.
PLACES: Final = frozenset(("address", "device", "server", "topic", "url"))


class Sureness(StrEnum):
    """How sure a guess is, from most to least."""

    SURE = "sure"
    LIKELY = "likely"
    POSSIBLE = "possible"


@dataclass(frozen=True)
class Guess:
    """A driver under which the device makes sense.

    `options` are the driver's, `line` the serial settings (None on a network), `unit` the Modbus address (None
    elsewhere). `sample` holds readings by quantity; `about` says what it rests on. `notices` is what the device made
    known, `secret` the option that has to be given (a key) before it says more.
    """

    driver: str
    options: Mapping[str, Any]
    sureness: Sureness
    about: str
    line: SerialLine | None = None
    unit: int | None = None
    sample: Mapping[str, Reading] = field(default_factory=dict)
    notices: Sequence[str] = ()
    secret: str = ""

    @property
    def shown(self) -> str:
        """Driver and options in one line, without what says where it is."""
        named = (f"{key} = {value}" for key, value in self.options.items() if key not in PLACES)
        return ", ".join((self.driver, *named))

    @property
    def wants_setup(self) -> bool:
        """Whether the device says that it has to be started or set first."""
        return any("allow_setup" in text for text in self.notices)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        line = self.line
        return {
            "driver": self.driver,
            "options": dict(self.options),
            "sure": str(self.sureness),
            "about": self.about,
            "line": spelt(line) if line else None,
            "unit": self.unit,
            "readings": [
                {"quantity": name, "value": each.value, "unit": each.quantity.unit}
                for name, each in self.sample.items()
            ],
            "notices": list(self.notices),
        }


def spelt(line: SerialLine) -> str:
    """Line settings as people write them: `9600 8N1`."""
    return f"{line.baudrate} {line.bytesize}{line.parity}{line.stopbits}"


def devices(guesses: Sequence[Guess]) -> list[Guess]:
    """The best guess for each device among guesses that stand best first: a line of Modbus has several."""
    found: dict[int | None, Guess] = {}
    for each in guesses:
        found.setdefault(each.unit, each)
    best = next(iter(found.values()), None)
    if best is None or best.unit is None:
        return [best] if best is not None else []
    return sorted((each for unit, each in found.items() if unit is not None), key=lambda each: each.unit or 0)


def ambiguous(best: Guess, found: Iterable[Guess]) -> bool:
    """Whether another Modbus profile fits a device as well as the best one does."""
    return (
        best.unit is not None
        and best.sureness is not Sureness.SURE
        and any(each.unit == best.unit and each is not best for each in found)
    )


def best_first(guesses: Iterable[Guess]) -> list[Guess]:
    """The guesses, the surest and the one with most readings first."""
    order = list(Sureness)
    return sorted(guesses, key=lambda guess: (order.index(guess.sureness), -len(guess.sample), guess.driver))


def sampled(outcomes: Iterable[Outcome]) -> dict[str, Reading]:
    """The newest reading of each quantity."""
    found: dict[str, Reading] = {}
    for each in outcomes:
        if isinstance(each, Reading) and (each.quantity.name in found or len(found) < MOST_SHOWN):
            found[each.quantity.name] = each
    return found


def heard(
    name: str,
    options: Mapping[str, Any],
    driver: StreamDriver,
    chunks: Sequence[tuple[bytes, float]],
) -> Guess | None:
    """What a driver makes of bytes that came at monotonic seconds; None when nothing in them is its own."""
    framer, decoder = Framer(driver.framing), driver.decoder()
    outcomes: list[Outcome] = []
    warming = 0
    now = 0.0

    def decode(frame: bytes) -> None:
        outcomes.extend(decoder.decode(frame, now))
        del outcomes[: -4 * MOST_SHOWN]

    def refuse(error: FrameError) -> None:
        nonlocal warming
        warming += error.whole

    for data, now in chunks:  # noqa: B007  `decode` reads it
        framer.feed(data, decode, refuse)
    frames = framer.accepted + warming
    total = sum(len(data) for data, _ in chunks)
    if not frames:
        return None
    sample = sampled(outcomes)
    share = 1 - framer.dropped / total
    if not sample and not warming and not any(isinstance(each, Notice) for each in outcomes):
        return None  # frames that mean nothing to it are no sign that they are its own
    if frames >= SURE_FRAMES and share >= SURE_SHARE:
        sureness = Sureness.SURE
    else:
        sureness = Sureness.LIKELY if share >= SURE_SHARE / 2 else Sureness.POSSIBLE
    about = f"{frames} good frames, {share:.0%} of {total} bytes"
    notices = {each.name: each.text for each in outcomes if isinstance(each, Notice)}
    return Guess(name, options, sureness, about, driver.line, None, sample, tuple(notices.values()))

"""The sound cards of this machine, and whether one gives sound."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from edgegw.config import Sensor
from edgegw.driver import AudioDriver
from edgegw.once import read_once
from edgegw.ports.errors import PortError
from edgegw.probe.candidates import ANYTHING, candidates
from edgegw.probe.guess import Guess, Sureness
from edgegw.probe.progress import timed
from edgegw.reading import QUANTITIES, Reading

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgegw.clock import Clock
    from edgegw.probe.candidates import Wish
    from edgegw.probe.progress import Said

#: Where the kernel lists its sound cards, and what each can do.
CARDS: Final = Path("/proc/asound/cards")
STREAMS: Final = Path("/proc/asound/pcm")
#: A second of sound is measured; a card may need a few to start.
LISTEN_S: Final = 6.0
# ` 1 [Device         ]: USB-Audio - USB PnP Sound Device` and `01-00: USB Audio : USB Audio : capture 1`
_CARD: Final = re.compile(r"^\s*(\d+) \[(\S+)\s*\]: \S+ - (.+)$", re.MULTILINE)
_CAPTURE: Final = re.compile(r"^(\d+)-\d+:.*\bcapture \d+", re.MULTILINE)


class SoundCard(NamedTuple):
    """A card with a microphone's input: the name to configure, what it is, the sensors on it."""

    name: str
    what: str
    sensors: tuple[str, ...]


def sound_cards(
    sensors: Mapping[str, Sensor], cards: Path = CARDS, streams: Path = STREAMS
) -> list[SoundCard]:
    """Every sound card that can record, by its number; nothing is opened."""
    try:
        listed, able = cards.read_text(encoding="utf-8"), streams.read_text(encoding="utf-8")
    except OSError:
        return []  # a machine without sound
    recording = {int(number) for number in _CAPTURE.findall(able)}
    return [
        SoundCard(
            f"plughw:CARD={name}",
            what.strip(),
            tuple(
                each
                for each, sensor in sensors.items()
                if f"CARD={name}" in str(sensor.options.get("device", "")).split(":")[-1].split(",")
            ),
        )
        for number, name, what in _CARD.findall(listed)
        if int(number) in recording
    ]


async def listen(device: str, clock: Clock, said: Said, wish: Wish = ANYTHING) -> list[Guess]:
    """The drivers that get levels from a card; PortError when it cannot be used."""
    found: list[Guess] = []
    for name, options, _ in candidates(AudioDriver, wish):
        given: dict[str, Any] = {**options, "device": device}
        sensor = Sensor(driver=name, interval=1.0, stale_after=LISTEN_S, options=given)
        async with timed(said, f"listening to {device}", LISTEN_S):
            (answer,) = await read_once({name: sensor}, clock, LISTEN_S)
        readings = {
            each["quantity"]: Reading(QUANTITIES[each["quantity"]], each["value"])
            for each in answer["readings"]
        }
        if readings:
            notices = tuple(answer.get("notices", {}).values())
            about = "it gives sound; its levels are right after a calibration only"
            found.append(Guess(name, given, Sureness.SURE, about, sample=readings, notices=notices))
        elif answer["why"]:
            raise PortError("missing", answer["why"].removeprefix("RuntimeError: "), answer["todo"])
    return found

"""Microphones: samples in, sound levels out. No sound leaves a driver, only levels of 100 ms and more."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Protocol

from edgegw.driver.about import Driver

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgegw.driver.about import Outcome


class AudioDecoder(Protocol):
    """Makes levels of the samples of one opened microphone, in order.

    The levels do not depend on how the samples are cut into calls.
    """

    def decode(self, samples: bytes, lost: int, now: float) -> Sequence[Outcome]:
        """Outcomes of the newest samples: signed 32-bit little-endian, one channel, the last at second `now`.

        `lost` is how many samples the sound card dropped just before them: their time has passed, and nobody
        knows how loud it was.
        """
        ...


@dataclass(frozen=True)
class AudioDriver(Driver, ABC):
    """A microphone on a sound card."""

    kind: ClassVar[str] = "audio"
    layer: ClassVar[str] = "numeric"
    #: Samples per second.
    rate: ClassVar[int] = 48_000

    device: str = field(
        default="default",
        metadata={"doc": "ALSA name of the sound card, such as hw:CARD=Device; `arecord -L` lists them"},
    )

    @abstractmethod
    def decoder(self, interval: float) -> AudioDecoder:
        """A fresh meter for one opened microphone; its levels are those of windows of `interval` seconds."""

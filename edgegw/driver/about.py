"""What every kind of driver says about itself, and what decoding gives."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeAlias

from edgegw.framing import FrameError
from edgegw.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


class Notice(NamedTuple):
    """Something about the device that a person wants to know, such as another serial number or a wrong setting.

    `name` is one word for what it is about (`device`, `settings`, `restart`, `replay`); `text` is a sentence.
    It is shown until another one of its name comes; one that is `cured` says that all is well again, is told once
    and shown no longer.
    """

    name: str
    text: str
    cured: bool = False


#: What decoding gives, in the device's order: a reading; the counted reason why a value is missing; a notice.
Outcome: TypeAlias = Reading | FrameError | Notice


def spelt(command: str, commands: Iterable[str]) -> str:
    """The one of these commands that `command` is, however its words are joined and in whatever case.

    ValueError, which names them all, where it is none of them.
    """
    known = {re.sub(r"[\s_-]+", " ", name.lower()): name for name in commands}
    found = known.get(re.sub(r"[\s_-]+", " ", command.strip().lower()))
    if found is None:
        raise ValueError(f"no command {command!r}; there are {', '.join(known.values())}")
    return found


@dataclass(frozen=True)
class Driver:
    """What every kind of driver says about itself."""

    #: `stream`, `ask`, `poll`, `advert`, `message` or `audio`; set by the class of the kind.
    kind: ClassVar[str]
    #: What `edgegw drivers decode` takes its input for when no layer is named.
    layer: ClassVar[str]
    #: Names in QUANTITIES that this driver, so configured, can give.
    quantities: ClassVar[Sequence[str]] = ()
    #: Version of the decoding; it is signed with the sensor's configuration.
    version: ClassVar[str] = "1"
    #: Options that `edgegw drivers decode` uses unless told otherwise: it shows what a frame says, unfiltered.
    decode_options: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    def candidates(cls) -> Sequence[Mapping[str, Any]]:
        """Options under which this driver is tried on an unknown device, one set for each variant of it.

        None at all for a driver that cannot tell its device from others by trying.
        """
        return ({},)

    def emits(self) -> Sequence[str]:
        """Quantities that this instance gives; by default `quantities`."""
        return self.quantities

    def encode(self, command: str, options: Mapping[str, Any]) -> bytes:
        """Bytes of a named command of the device; ValueError when it has no such command."""
        del options
        raise ValueError(f"no command {command!r}")

    def decode_layer(self, layer: str, data: bytes, options: Mapping[str, Any]) -> Sequence[Outcome] | None:
        """Decode one input of a named layer other than this kind's own; None when the layer is unknown.

        FrameError when the input gives no reading.
        """
        del layer, data, options
        return None

"""The driver of the Sensirion SPS30."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from edgegw.driver import SECONDS, AskDriver, SerialLine, amount
from edgegw_drivers.sps30 import commands
from edgegw_drivers.sps30.conversation import Conversation
from edgegw_drivers.sps30.shdlc import Shdlc, parse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgegw.driver import Outcome

_LONG_TIMES: Final = {**SECONDS, "d": 86_400.0}
# The fan is loud and the values stand still while it cleans: more than once a day helps nobody.
SHORTEST_CLEAN_S: Final = 86_400.0
# The data sheet says 8 to 30 s; more than ten minutes is a mistake of units.
LONGEST_WARM_UP_S: Final = 600.0


@dataclass(frozen=True)
class Sps30(AskDriver):
    """Particulate matter by mass and number, read once an interval."""

    line: ClassVar[SerialLine] = SerialLine(baudrate=115200)
    framing: ClassVar[Shdlc] = Shdlc()
    quantities: ClassVar[Sequence[str]] = tuple(quantity.name for quantity in commands.MEASURED)
    # A lone frame says nothing about how long the fan has run.
    decode_options: ClassVar[Mapping[str, Any]] = {"warm_up_time": "0s"}

    duty_cycle: bool = field(
        default=False,
        metadata={"doc": "sleep between two readings; with allow_setup = true, for intervals of minutes"},
    )
    clean: str = field(
        default="",
        metadata={"doc": 'clean the fan after so much time, such as "7d"; with allow_setup = true'},
    )
    serial: str = field(
        default="", metadata={"doc": "the serial number that is expected; another one is told as a notice"}
    )
    warm_up: Literal["flag", "drop"] = field(
        default="flag", metadata={"doc": "what becomes of values while the sensor warms up"}
    )
    warm_up_time: str = field(default="30s", metadata={"doc": "how long the fan has to run"})

    def __post_init__(self) -> None:
        """ValueError for a time that cannot be."""
        for name, longest_s in (("clean", math.inf), ("warm_up_time", LONGEST_WARM_UP_S)):
            try:
                seconds = self._seconds(name)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
            if seconds > longest_s:
                raise ValueError(f"{name}: {getattr(self, name)} is more than {longest_s:.0f} seconds")
        if self.clean and self._seconds("clean") < SHORTEST_CLEAN_S:
            raise ValueError(f"clean: at most once a day, not each {self.clean}")

    def decoder(self) -> Conversation:
        """A fresh conversation that knows nothing of the device yet."""
        return Conversation(
            warm_up_s=self._seconds("warm_up_time"),
            drop=self.warm_up == "drop",
            duty_cycle=self.duty_cycle,
            clean_s=self._seconds("clean") if self.clean else None,
            serial=self.serial,
        )

    def encode(self, command: str, options: Mapping[str, Any]) -> bytes:
        """See `commands.encode`."""
        return commands.encode(command, options)

    def show(self, frame: bytes, options: Mapping[str, Any]) -> Sequence[Outcome]:
        """Outcomes of any answer: each says which command it is for. `options` are not needed."""
        del options
        return commands.shown(parse(frame))

    def _seconds(self, option: str) -> float:
        """A time among the options, 0 where none is given."""
        return amount(getattr(self, option) or 0.0, _LONG_TIMES)

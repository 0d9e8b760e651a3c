"""The driver of Winsen's nine-byte family."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from edgegw.driver import SECONDS, AskDriver, Reading, SerialLine, amount
from edgegw_drivers.winsen import frame as frames
from edgegw_drivers.winsen.conversation import Conversation
from edgegw_drivers.winsen.models import GASES, MODELS, model_of, read

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgegw.driver import FixedLength, Outcome
    from edgegw_drivers.winsen.models import Model

# Long enough for cells that need a day after storage, and no longer: more is a mistake of units.
LONGEST_WARM_UP_S: Final = 172_800.0


@dataclass(frozen=True)
class Winsen(AskDriver):
    """CO2, one gas, or dust, asked once an interval. Nothing ever changes a device's calibration."""

    line: ClassVar[SerialLine] = SerialLine(baudrate=9600)
    quantities: ClassVar[Sequence[str]] = MODELS["any"].quantities
    # A lone frame says neither which device sent it nor how long that has been warm.
    decode_options: ClassVar[Mapping[str, Any]] = {"model": "any", "warm_up_time": "0s"}

    model: str = field(
        metadata={
            "doc": "mhz19, dfrobot (gas boards) or zh03: no frame says which it is; any: for looking only"
        }
    )
    gas: str = field(
        default="",
        metadata={"doc": "of a gas board: the gas that is expected, such as no2; another one is refused"},
    )
    warm_up: Literal["flag", "drop"] = field(
        default="flag", metadata={"doc": "what becomes of values while the sensor warms up"}
    )
    warm_up_time: str = field(
        default="", metadata={"doc": "how long after the first answer; by default 3m, 5m or 30s by model"}
    )

    @classmethod
    def candidates(cls) -> Sequence[Mapping[str, Any]]:
        """The models, those first whose answers say most about themselves."""
        return [{"model": model} for model in ("dfrobot", "mhz19", "zh03")]

    def __post_init__(self) -> None:
        """ValueError for a model, a gas or a time that cannot be."""
        if model_of(self.model) not in MODELS:
            raise ValueError(f"model: {self.model!r} is none of {', '.join(MODELS)}")
        if self.gas and (model_of(self.model) != "dfrobot" or self.gas not in GASES):
            raise ValueError(f"gas: of model dfrobot one of {', '.join(GASES)}, not {self.gas!r}")
        try:
            seconds = self._warm_up_s
        except ValueError as error:
            raise ValueError(f"warm_up_time: {error}") from error
        if seconds > LONGEST_WARM_UP_S:
            raise ValueError(f"warm_up_time: {self.warm_up_time} is more than two days")

    @property
    def framing(self) -> FixedLength:
        """The answers of this model."""
        return self._kind.framing

    def emits(self) -> Sequence[str]:
        """What this model measures."""
        return (self.gas,) if self.gas else self._kind.quantities

    def decoder(self) -> Conversation:
        """A fresh conversation."""
        return Conversation(
            model_of(self.model),
            gas=self.gas,
            warm_up_s=self._warm_up_s,
            drop=self.warm_up == "drop",
        )

    def encode(self, command: str, options: Mapping[str, Any]) -> bytes:
        """See `frame.encode`; the modes are those of the model."""
        del options
        ours = command.startswith("mode_") and model_of(self.model) == "zh03"
        return frames.encode(f"zh03_{command}" if ours else command)

    def show(self, frame: bytes, options: Mapping[str, Any]) -> Sequence[Outcome]:
        """Outcomes of any answer; the `profile` or `variant` among the options names the model."""
        named = str(options.get("profile") or options.get("variant") or self.model)
        model = model_of(named)
        if model not in MODELS:
            raise ValueError(f"{named!r} is none of {', '.join(MODELS)}")
        command, content = frames.parse(frame)
        if command == frames.MODE:
            # No quantity of the gateway: nothing but the shell ever sees it.
            bare = frames.GASES[frames.PH3].quantity._replace(name="reply", unit="/")
            return [Reading(bare, command, meta={"ack_mode": content[0] == 1})]
        found = read(model, command, content)
        return [Reading(value.quantity, value.value, meta=found.meta) for value in found.values]

    @property
    def _kind(self) -> Model:
        return MODELS[model_of(self.model)]

    @property
    def _warm_up_s(self) -> float:
        return amount(self.warm_up_time, SECONDS) if self.warm_up_time else self._kind.warm_up_s

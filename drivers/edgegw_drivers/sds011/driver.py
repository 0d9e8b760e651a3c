"""The driver of the Nova SDS011 family (SDS011, SDS018, SDS021, SDS198)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from edgegw.driver import (
    QUANTITIES,
    SECONDS,
    FixedLength,
    FrameError,
    Quality,
    Quantity,
    Reading,
    SerialLine,
    StreamDriver,
    amount,
)
from edgegw_drivers.sds011.frame import (
    FRAMING,
    LONGEST_PERIOD,
    MEASUREMENT,
    REPLY,
    encode_command,
    parse,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PM2_5: Final = QUANTITIES["pm2_5"]
PM10: Final = QUANTITIES["pm10"]
PM100: Final = QUANTITIES["pm100"]

# The data sheet's range is 0.0 to 999.9 ug/m3; the device says its end for everything above.
SATURATED: Final = 9999


@dataclass(frozen=True)
class Sds011(StreamDriver):
    """Particulate matter as the device states it, once a second or when asked."""

    line: ClassVar[SerialLine] = SerialLine(baudrate=9600)
    framing: ClassVar[FixedLength] = FRAMING
    quantities: ClassVar[Sequence[str]] = ("pm2_5", "pm10", "pm100")
    # A lone frame says nothing about how long the fan has run.
    decode_options: ClassVar[Mapping[str, Any]] = {"warm_up_time": "0s"}

    mode: Literal["listen", "ask"] = field(
        default="listen",
        metadata={"doc": "listen: take what the device says by itself; ask: query it once an interval"},
    )
    period: int | None = field(
        default=None,
        metadata={"doc": "work period in minutes, 0 to 30 (0: always on), set with allow_setup = true"},
    )
    warm_up: Literal["flag", "drop"] = field(
        default="flag", metadata={"doc": "what becomes of values while the sensor warms up"}
    )
    warm_up_time: str = field(
        default="30s", metadata={"doc": "how long after the first frame the fan has to run"}
    )

    def __post_init__(self) -> None:
        """ValueError for a period or a time that cannot be."""
        if self.period is not None and not 0 <= self.period <= LONGEST_PERIOD:
            raise ValueError(f"period: 0 to {LONGEST_PERIOD} minutes, not {self.period}")
        try:
            amount(self.warm_up_time, SECONDS)
        except ValueError as error:
            raise ValueError(f"warm_up_time: {error}") from error

    def decoder(self) -> _Decoder:
        """A decoder that knows when the first frame came."""
        return _Decoder(amount(self.warm_up_time, SECONDS), drop=self.warm_up == "drop")

    def setup(self) -> Sequence[bytes]:
        """Wake the device and set its mode, and its work period where one is configured.

        Mode and period survive a power cut in the device (ESPHome documentation, sds011). The first bytes
        after waking are lost now and then: the command goes out twice (lewapek library).
        """
        frames = [self.encode("wake", {})] * 2
        frames.append(self.encode("set_query" if self.mode == "ask" else "set_active", {}))
        if self.period is not None:
            frames.append(self.encode("set_period", {"period": self.period}))
        return frames

    def request(self) -> bytes:
        """`query_data` in ask mode."""
        return self.encode("query_data", {}) if self.mode == "ask" else b""

    def encode(self, command: str, options: Mapping[str, Any]) -> bytes:
        """See `frame.encode_command`."""
        return encode_command(command, options)


class _Decoder:
    """One opened device: when its fan is warm, and who it is."""

    def __init__(self, warm_up_s: float, *, drop: bool) -> None:
        self._warm_up_s = warm_up_s
        self._drop = drop
        self._warm_at: float | None = None
        self._device = b""
        self._meta: dict[str, str] = {}

    def decode(self, frame: bytes, now: float) -> Sequence[Reading]:
        """Two readings (one of an SDS198), none for a reply to a command."""
        kind, first, second, device = parse(frame)
        if kind == REPLY:
            return ()
        if self._warm_at is None:
            self._warm_at = now + self._warm_up_s
        # A frame of zeros is what the device says before it has a value, whenever that is (PyPMS).
        warming = now < self._warm_at or not (first or second)
        if warming and self._drop:
            raise FrameError("warming_up", whole=True)
        if device != self._device:
            self._device, self._meta = device, {"device_id": device.hex()}
        checks = ("warm_up",) if warming else ()
        if kind == MEASUREMENT:
            return (self._reading(PM2_5, first, checks), self._reading(PM10, second, checks))
        flag = Quality.SUSPECT if checks else None
        return (Reading(PM100, second, flag, checks, self._meta),)

    def _reading(self, quantity: Quantity, tenths: int, checks: tuple[str, ...]) -> Reading:
        flag = Quality.SUSPECT if checks else None
        if tenths >= SATURATED:
            # More than the end of the range is nothing that this device can say: damaged, but not our call.
            flag = Quality.SUSPECT if tenths == SATURATED else Quality.FAIL
            checks = (*checks, "saturated" if tenths == SATURATED else "range")
        return Reading(quantity, tenths / 10, flag, checks, self._meta)

"""The driver of the Nova SDS011 family (SDS011, SDS018, SDS021, SDS198)."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from edgegw.driver import (
    QUANTITIES,
    SECONDS,
    FixedLength,
    FrameError,
    Notice,
    Outcome,
    Quality,
    Quantity,
    Reading,
    Request,
    SerialLine,
    StreamDriver,
    amount,
)
from edgegw_drivers.sds011.frame import (
    FRAMING,
    LONGEST_PERIOD,
    MEASUREMENT,
    MODE,
    PERIOD,
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
# Pause in seconds between two commands. A reply has ten bytes, 11 ms at 9600 baud; the device takes its time.
COMMAND_GAP_S: Final = 0.3
_WRONG_MODE: Final = {
    "listen": "The device speaks only when it is asked, and this sensor listens: there will be no readings. Set "
    'mode = "ask", or allow_setup = true to have the device changed.',
    "ask": "The device speaks by itself each second, and this sensor asks it: every frame counts. Set "
    'mode = "listen", or allow_setup = true to have the device changed.',
}


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
    device_id: str = field(
        default="",
        metadata={"doc": "four hexadecimal digits: the id that the sensor is expected to have"},
    )
    warm_up: Literal["flag", "drop"] = field(
        default="flag", metadata={"doc": "what becomes of values while the sensor warms up"}
    )
    warm_up_time: str = field(
        default="30s", metadata={"doc": "how long after the first frame the fan has to run"}
    )

    def __post_init__(self) -> None:
        """ValueError for a period, an id or a time that cannot be."""
        if self.period is not None and not 0 <= self.period <= LONGEST_PERIOD:
            raise ValueError(f"period: 0 to {LONGEST_PERIOD} minutes, not {self.period}")
        if self.device_id and not re.fullmatch("[0-9a-fA-F]{4}", self.device_id):
            raise ValueError(f"device_id: four hexadecimal digits such as a160, not {self.device_id!r}")
        try:
            amount(self.warm_up_time, SECONDS)
        except ValueError as error:
            raise ValueError(f"warm_up_time: {error}") from error

    def decoder(self) -> _Decoder:
        """A decoder that knows when the first frame came, and how the device is wanted."""
        return _Decoder(self)

    def setup(self) -> Sequence[Request]:
        """Wake the device and set its mode and work period, where that is allowed; then ask how both are set.

        Mode and period survive a power cut in the device (ESPHome documentation, sds011). The first bytes
        after waking are lost now and then: the command goes out twice (lewapek library).
        """
        commands = ["wake", "wake", "set_query" if self.mode == "ask" else "set_active"]
        commands += ["set_period"] if self.period is not None else []
        options = {"period": self.period}
        return [
            Request(
                self.encode(name, options), name, after_s=COMMAND_GAP_S, changes=not name.startswith("get")
            )
            for name in (*commands, "get_mode", "get_period")
        ]

    def request(self) -> bytes:
        """`query_data` in ask mode."""
        return self.encode("query_data", {}) if self.mode == "ask" else b""

    def encode(self, command: str, options: Mapping[str, Any]) -> bytes:
        """See `frame.encode_command`."""
        return encode_command(command, options)


class _Decoder:
    """One opened device: when its fan is warm, who it is, and how it is set."""

    def __init__(self, driver: Sds011) -> None:
        self._driver = driver
        self._warm_up_s = amount(driver.warm_up_time, SECONDS)
        self._drop = driver.warm_up == "drop"
        self._warm_at: float | None = None
        # There are two settings, so that this holds two sentences unless somebody else changes them meanwhile.
        self._wrong: deque[str] = deque(maxlen=2)
        self._device = bytes.fromhex(driver.device_id)
        self._meta = {"device_id": driver.device_id.lower()}

    def decode(self, frame: bytes, now: float) -> Sequence[Outcome]:
        """Two readings (one of an SDS198); of a reply to a command nothing, or what is set otherwise."""
        kind, first, second, device = parse(frame)
        notices = self._known(device)
        if kind == REPLY:
            return (*notices, *self._settings(first, second))
        if self._warm_at is None:
            self._warm_at = now + self._warm_up_s
        if not (first or second):
            # A frame of zeros is what the device says before it has a value, whenever that is (PyPMS): no value.
            missing = FrameError("warming_up", whole=True)
            if not notices:
                raise missing
            return (*notices, missing)
        warming = now < self._warm_at
        if warming and self._drop:
            return (*notices, FrameError("warming_up", whole=True))
        checks = ("warm_up",) if warming else ()
        if kind == MEASUREMENT:
            return (*notices, self._reading(PM2_5, first, checks), self._reading(PM10, second, checks))
        flag = Quality.SUSPECT if checks else None
        return (*notices, Reading(PM100, second, flag, checks, self._meta))

    def _known(self, device: bytes) -> Sequence[Notice]:
        """A notice when a frame came from another device than the ones before it, or than expected."""
        if device == self._device:
            return ()
        before, self._device, self._meta = self._device, device, {"device_id": device.hex()}
        if not before:
            return ()
        return (
            Notice(
                "device",
                f"Device {device.hex()} answers where {before.hex()} was: the sensor was exchanged, or two share "
                f'the line. If it was exchanged, say so: device_id = "{device.hex()}".',
            ),
        )

    def _settings(self, first: int, second: int) -> Sequence[Notice]:
        """What the replies so far say that the device is set to, where it is wanted otherwise.

        Its bytes are the command, 1 for set and 0 for asked, and the value (lewapek library).
        """
        driver, command, value = self._driver, first & 0xFF, second & 0xFF
        wrong = ""
        if command == MODE and value != (driver.mode == "ask"):
            wrong = _WRONG_MODE[driver.mode]
        elif command == PERIOD and value != (driver.period or 0):
            every = f"once in {value} minutes (period = {value})" if value else "all the time (period = 0)"
            wanted = "none is configured" if driver.period is None else f"{driver.period} is configured"
            wrong = (
                f"The device measures {every}, and {wanted}: set period to what is meant, and "
                "allow_setup = true to have it set."
            )
        if not wrong or wrong in self._wrong:
            return ()
        self._wrong.append(wrong)
        return (Notice("settings", " ".join(self._wrong)),)

    def _reading(self, quantity: Quantity, tenths: int, checks: tuple[str, ...]) -> Reading:
        flag = Quality.SUSPECT if checks else None
        if tenths >= SATURATED:
            # More than the end of the range is nothing that this device can say: damaged, but not our call.
            flag = Quality.SUSPECT if tenths == SATURATED else Quality.FAIL
            checks = (*checks, "saturated" if tenths == SATURATED else "range")
        return Reading(quantity, tenths / 10, flag, checks, self._meta)

"""What an SPS30 can be told and asked, and what its answers hold.

Commands, states and the status register: SPS30 data sheet (in paulvha/sps30); Sensirion/embedded-uart-sps.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Any, Final

from edgegw.driver import QUANTITIES, FrameError, Quality, Reading, spelt
from edgegw_drivers.sps30.shdlc import Reply, request

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Number and data of each command.
COMMANDS: Final[Mapping[str, tuple[int, bytes]]] = {
    "start_measurement": (0x00, b"\x01\x03"),  # big-endian floats
    "stop_measurement": (0x01, b""),
    "read_values": (0x03, b""),
    "sleep": (0x10, b""),
    "wake_up": (0x11, b""),
    "fan_clean": (0x56, b""),
    "get_auto_clean_interval": (0x80, b"\x00"),
    "disable_auto_clean": (0x80, b"\x00\x00\x00\x00\x00"),
    "get_product_type": (0xD0, b"\x00"),
    "get_serial_number": (0xD0, b"\x03"),
    "get_version": (0xD1, b""),
    "get_status": (0xD2, b"\x00"),
    "reset": (0xD3, b""),
}
_SET_INTERVAL: Final = "set_auto_clean_interval"
_ALSO: Final[Mapping[str, str]] = {
    "wake": "wake_up",
    "read": "read_values",
    "read_auto_clean_interval": "get_auto_clean_interval",
    **{
        f"{verb}{what}": f"get_{what}"
        for what in ("product_type", "serial_number", "version", "status")
        for verb in ("", "read_")
    },
}
_READ, _AUTO_CLEAN, _INFORMATION, _STATUS = 0x03, 0x80, 0xD0, 0xD2

#: What the device says where it is asked for something that its present mode does not allow.
NOT_NOW: Final = 0x43
_ERROR_FLAG: Final = 0x80

#: Bits of the status register.
FAN_SPEED: Final = 1 << 21
LASER: Final = 1 << 5
FAN: Final = 1 << 4

#: The quantities of a measurement, in the order of its floats; the tenth is the typical size in um.
MEASURED: Final = tuple(
    QUANTITIES[name] for name in ("pm1", "pm2_5", "pm4", "pm10", "pn0_5", "pn1", "pn2_5", "pn4", "pn10")
)
_FLOATS: Final = struct.Struct(">10f")
# The data sheet's range of mass concentration ends here; the device goes on.
HIGHEST_MASS: Final = 1000.0


def encode(command: str, options: Mapping[str, Any]) -> bytes:
    """The frame of a command; `set_auto_clean_interval` has the option `seconds` (0 to 2^32 - 1; 0: never).

    ValueError for a command that the device does not have.
    """
    # What others call them: the words of the data sheet, with another verb or none.
    name = spelt(_ALSO.get(command, command), (*COMMANDS, _SET_INTERVAL))
    if name != _SET_INTERVAL:
        return request(*COMMANDS[name])
    seconds = options.get("seconds")
    if not isinstance(seconds, int) or not 0 <= seconds < 1 << 32:
        raise ValueError(f"seconds: 0 to {(1 << 32) - 1}, not {seconds!r}")
    return request(_AUTO_CLEAN, b"\0" + seconds.to_bytes(4, "big"))


def refusal(reply: Reply) -> FrameError | None:
    """`device_state_NN` (hexadecimal) where the device refused the command."""
    state = reply.state & ~_ERROR_FLAG
    return FrameError(f"device_state_{state:02x}", whole=True) if state else None


def has_error(reply: Reply) -> bool:
    """Whether the device says that its status register holds an error."""
    return bool(reply.state & _ERROR_FLAG)


def status_of(reply: Reply) -> int:
    """The status register; FrameError when the answer holds none."""
    if len(reply.data) < 4:
        raise FrameError("unsupported_length", whole=True)
    return int.from_bytes(reply.data[:4], "big")


def text_of(reply: Reply) -> str:
    """The text of device information, up to its zero byte; what nobody could print stands as `?`."""
    text = reply.data.partition(b"\0")[0].decode("ascii", "replace")
    return "".join(each if each.isascii() and each.isprintable() else "?" for each in text)


def measurement(
    reply: Reply, flag: int | None, checks: tuple[str, ...], meta: Mapping[str, Any]
) -> list[Any]:
    """Readings of an answer to `read_values`, and a refusal for each value that is none.

    FrameError where it holds no measurement: `no_data` (no new one yet), `warming_up` (all zero),
    `unsupported_length` (somebody started it with integers).
    """
    if not reply.data:
        raise FrameError("no_data", whole=True)
    if len(reply.data) != _FLOATS.size:
        raise FrameError("unsupported_length", whole=True)
    if not any(reply.data):
        raise FrameError("warming_up", whole=True)
    *values, size = _FLOATS.unpack(reply.data)
    if math.isfinite(size):
        meta = {**meta, "typical_size": size}
    found: list[Reading | FrameError] = []
    for quantity, value in zip(MEASURED, values, strict=True):
        if not math.isfinite(value):
            found.append(FrameError("not_a_number", whole=True))
        elif value < 0:
            found.append(FrameError("implausible", whole=True))
        elif quantity.unit == "ug/m3" and value > HIGHEST_MASS:
            worse = max(flag or 0, Quality.SUSPECT)
            found.append(Reading(quantity, value, worse, (*checks, "range"), meta))
        else:
            found.append(Reading(quantity, value, flag, checks, meta))
    return found


def shown(reply: Reply) -> list[Any]:
    """Any answer as the shell shows it: what is no measurement stands in `meta`."""
    refused = refusal(reply)
    if refused is not None:
        raise refused
    if reply.command == _READ:
        flag, checks = (Quality.SUSPECT, ("device_flag",)) if has_error(reply) else (None, ())
        return measurement(reply, flag, checks, {"device_error_flag": True} if has_error(reply) else {})
    meta: dict[str, Any]
    if reply.command == _STATUS:
        register = status_of(reply)
        meta = {
            "status_register": register,
            "fan_failure": bool(register & FAN),
            "laser_failure": bool(register & LASER),
            "fan_speed_warning": bool(register & FAN_SPEED),
        }
    elif reply.command == _AUTO_CLEAN and len(reply.data) == 4:
        meta = {"auto_clean_interval_s": int.from_bytes(reply.data, "big")}
    elif reply.command == _INFORMATION:
        meta = {"text": text_of(reply)}
    else:
        meta = {"reply": reply.command, "data": reply.data.hex()}
    # No quantity of the gateway: nothing but the shell ever sees it.
    bare = QUANTITIES["targets"]._replace(name="reply", unit="/")
    return [Reading(bare, reply.command, meta=meta)]

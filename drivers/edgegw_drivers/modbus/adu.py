"""Whole RTU messages, for the shell and for captures: bytes in and out, no port.

Source: MODBUS over Serial Line V1.02, sections 2.5.1 and 6.2.2 (CRC); Application Protocol V1.1b3, section 6.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

from edgegw.driver import FrameError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Unit, function, byte count or exception code, CRC.
SHORTEST: Final = 5
EXCEPTION: Final = 0x80
READS: Final = range(1, 5)
# Sets one register; only ever made for the shell: no port of the gateway sends it.
WRITE: Final = 6
COMMANDS: Final = ("request", "read", "write")


def crc(message: bytes) -> bytes:
    """The CRC of a message, low byte first, as it follows it on the wire."""
    register = 0xFFFF
    for byte in message:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0xA001 if register & 1 else 0)
    return register.to_bytes(2, "little")


def answer(message: bytes, address: int | None) -> tuple[int, Sequence[int]]:
    """Function and registers (or bits, all of the last byte) of one whole answer.

    `address` is the unit that was asked; None lets any answer. FrameError with the reason when the message is
    no such answer.
    """
    if len(message) < SHORTEST:
        raise FrameError("truncated")
    function = message[1]
    data = b""
    if function in READS:
        size = message[2]
        if len(message) < SHORTEST + size:
            raise FrameError("truncated")
        if len(message) > SHORTEST + size:
            raise FrameError("byte_count")
        data = message[3 : 3 + size]
    if crc(message[:-2]) != message[-2:]:
        raise FrameError("crc")
    if address is not None and message[0] != address:
        raise FrameError("wrong_address")
    if function & EXCEPTION and len(message) == SHORTEST:
        raise FrameError(f"modbus_exception_{message[2]}")
    if function not in READS:
        raise FrameError("wrong_function")
    if function in {1, 2}:
        return function, [byte >> bit & 1 for byte in data for bit in range(8)]
    if len(data) % 2:
        raise FrameError("byte_count")
    return function, struct.unpack(f">{len(data) // 2}H", data)


def request(command: str, options: Mapping[str, Any]) -> bytes:
    """A whole request: `address`, `function` (1 to 4, or 6), `register` and `value_or_count`.

    Numbers may be strings, also hexadecimal ones. ValueError, with a sentence, for anything else.
    """
    if command not in COMMANDS:
        raise ValueError(f"a Modbus device has no command {command!r}: {', '.join(COMMANDS)}")
    function = whole(options, "function", range(1, 7), WRITE if command == "write" else 3)
    if function not in {*READS, WRITE}:
        raise ValueError(f"function is {function}: 1 to 4 read, 6 sets one register, others are not made")
    address = whole(options, "address", range(256), 1)
    register = whole(options, "register", range(0x10000))
    value = whole(options, "value_or_count", range(0x10000), None if function == WRITE else 1)
    message = struct.pack(">BBHH", address, function, register, value)
    return message + crc(message)


def whole(options: Mapping[str, Any], key: str, within: range, default: int | None = None) -> int:
    """A whole number among options, from a number or its text; ValueError when it is missing or none."""
    value = options.get(key, default)
    if value is None:
        raise ValueError(f"{key} is missing: {within[0]} to {within[-1]}")
    try:
        number = int(value, 0) if isinstance(value, str) else int(value)
    except (ValueError, TypeError, OverflowError):
        number = within[0] - 1
    if number not in within or isinstance(value, bool) or (isinstance(value, float) and number != value):
        raise ValueError(f"{key} is {value!r}, not a whole number from {within[0]} to {within[-1]}")
    return number

"""Whole RTU messages, for the shell and for captures: bytes in and out, no port.

Source: MODBUS over Serial Line V1.02, sections 2.5.1 and 6.2.2 (CRC); Application Protocol V1.1b3, section 6.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

from edgegw.driver import FrameError
from edgegw_drivers.modbus.asked import whole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Unit, function, byte count or exception code, CRC.
SHORTEST: Final = 5
EXCEPTION: Final = 0x80
READS: Final = range(1, 5)
# Set a coil, a register, several; made here for the shell alone.
COIL: Final = 5
WRITE: Final = 6
SEVERAL: Final = 16
WRITES: Final = (COIL, WRITE, SEVERAL)
# The most registers of one function 16 (section 6.12).
MOST_WRITTEN: Final = 123
COMMANDS: Final = ("request", "read", "write")


def crc(message: bytes) -> bytes:
    """The CRC of a message, low byte first, as it follows it on the wire."""
    register = 0xFFFF
    for byte in message:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0xA001 if register & 1 else 0)
    return register.to_bytes(2, "little")


def answer(message: bytes) -> tuple[int, int, Sequence[int] | FrameError]:
    """Unit, function and registers (or bits, all of the last byte) of one whole answer.

    In place of the registers stands the FrameError of an exception, or of a function that does not read.
    Raises FrameError with the reason when the message is no whole answer.
    """
    if len(message) < SHORTEST:
        raise FrameError("truncated")
    unit, function = message[0], message[1]
    data = b""
    if function in READS:
        size = message[2]
        if len(message) < SHORTEST + size:
            # With a good CRC it is whole, and states more than it has.
            raise FrameError("byte_count" if crc(message[:-2]) == message[-2:] else "truncated")
        if len(message) > SHORTEST + size:
            raise FrameError("byte_count")
        data = message[3 : 3 + size]
    if crc(message[:-2]) != message[-2:]:
        raise FrameError("crc")
    if function & EXCEPTION and len(message) == SHORTEST:
        return unit, function & ~EXCEPTION, FrameError(f"modbus_exception_{message[2]}")
    if function not in READS:
        return unit, function, FrameError("wrong_function")
    if function in {1, 2}:
        return unit, function, [byte >> bit & 1 for byte in data for bit in range(8)]
    if len(data) % 2 or not data:
        raise FrameError("byte_count")
    return unit, function, struct.unpack(f">{len(data) // 2}H", data)


def request(command: str, options: Mapping[str, Any]) -> bytes:
    """A whole request: `address`, `function` (1 to 6, or 16), `register`, and `value_or_count` or `values`.

    Numbers may be strings, also hexadecimal ones. ValueError, with a sentence, for anything else.
    """
    if command not in COMMANDS:
        raise ValueError(f"a Modbus device has no command {command!r}: {', '.join(COMMANDS)}")
    function = whole(options, "function", range(1, 17), WRITE if command == "write" else 3)
    if function not in {*READS, *WRITES}:
        raise ValueError(f"function is {function}: 1 to 4 read, 5, 6 and 16 write, others are not made")
    address = whole(options, "address", range(256), 1)
    register = whole(options, "register", range(0x10000))
    if function == SEVERAL:
        message = struct.pack(">BBH", address, function, register) + _several(options)
    else:
        value = whole(options, "value_or_count", range(0x10000), 1 if function in READS else None)
        if function == COIL:
            value = 0xFF00 if value == 1 else value
            if value not in {0, 0xFF00}:
                raise ValueError(f"value_or_count is {value}: a coil is 0 or 1 (0xFF00 on the wire)")
        message = struct.pack(">BBHH", address, function, register, value)
    return message + crc(message)


def _several(options: Mapping[str, Any]) -> bytes:
    """Count, byte count and words of function 16."""
    given = options.get("values", options.get("value_or_count"))
    words = given.replace(",", " ").split() if isinstance(given, str) else given
    if not isinstance(words, list | tuple):
        words = [] if words is None else [words]
    if not 1 <= len(words) <= MOST_WRITTEN:
        raise ValueError(f"values are {given!r}, not 1 to {MOST_WRITTEN} numbers")
    numbers = [whole({"values": word}, "values", range(0x10000)) for word in words]
    return struct.pack(f">HB{len(numbers)}H", len(numbers), 2 * len(numbers), *numbers)

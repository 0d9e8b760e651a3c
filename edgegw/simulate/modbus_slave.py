"""A Modbus slave as a pure function: request bytes in, answer bytes out, for RTU and for TCP.

Sources: MODBUS Application Protocol Specification V1.1b3; MODBUS over Serial Line V1.02 §2.5.1.2 (CRC);
MODBUS Messaging on TCP/IP V1.0b §3.1.3 (MBAP header). It reads holding and input registers and refuses
everything else with the exception that the specification names; like the device it stands for it never
takes a write from the gateway.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

# Reads one register: its value (0 to 65535), or None where the device has none.
Read = Callable[[int], int | None]

ILLEGAL_FUNCTION: Final = 1
ILLEGAL_ADDRESS: Final = 2
ILLEGAL_VALUE: Final = 3
# The longest ADU: 253 bytes of PDU after the MBAP header of 7 (Messaging on TCP/IP §4.1).
LONGEST_ADU: Final = 260
# The most registers in one request (Application Protocol §6.3).
MOST_REGISTERS: Final = 125
# A request of functions 1 to 6 on a serial line: address, function, two words, CRC.
RTU_REQUEST: Final = 8
# The Renke transmitter answers a question to this address with its true one (RT-ZS-BZ manual V2.2).
ANYBODY: Final = 0xFF


def crc(data: bytes) -> bytes:
    """The two CRC bytes of an RTU message, low byte first."""
    register = 0xFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = (register >> 1) ^ 0xA001 if register & 1 else register >> 1
    return register.to_bytes(2, "little")


def answer_pdu(request: bytes, read: Read) -> bytes:
    """The answer to one PDU (function and data, no address): registers, or an exception."""
    function = request[0]
    if function not in {3, 4}:
        return bytes([function | 0x80, ILLEGAL_FUNCTION])
    if len(request) != 5:
        return bytes([function | 0x80, ILLEGAL_VALUE])
    first, count = int.from_bytes(request[1:3]), int.from_bytes(request[3:5])
    if not 1 <= count <= MOST_REGISTERS:
        return bytes([function | 0x80, ILLEGAL_VALUE])
    words = [read(register) for register in range(first, first + count)]
    if None in words or first + count > 0x10000:
        return bytes([function | 0x80, ILLEGAL_ADDRESS])
    data = b"".join(word.to_bytes(2) for word in words if word is not None)
    return bytes([function, len(data)]) + data


class RtuRequests:
    """Cuts the bytes of a serial line into requests to one slave.

    Questions to other addresses are skipped in silence. Never more than one request's length minus one byte
    stays pending: all read requests have the same length.
    """

    def __init__(self, unit: int) -> None:
        self._unit = unit
        self._pending = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The PDUs that were asked of this slave, in order."""
        self._pending += data
        found: list[bytes] = []
        while len(self._pending) >= RTU_REQUEST:
            adu = self._pending[:RTU_REQUEST]
            if crc(adu[:-2]) != adu[-2:]:
                self._pending = self._pending[1:]
                continue
            self._pending = self._pending[RTU_REQUEST:]
            if adu[0] in {self._unit, ANYBODY}:
                found.append(adu[1:-2])
        return found

    def silence(self) -> None:
        """The line was silent: a message ends there, and half of one is worth nothing."""
        self._pending = b""

    def answer(self, pdu: bytes) -> bytes:
        """The bytes that carry `pdu` back over the serial line, from the slave's true address."""
        adu = bytes([self._unit]) + pdu
        return adu + crc(adu)


def tcp_request(header: bytes) -> int:
    """How many bytes follow the seven of an MBAP header; ValueError when no Modbus message starts so."""
    protocol, length = int.from_bytes(header[2:4]), int.from_bytes(header[4:6])
    if protocol or not 2 <= length <= LONGEST_ADU - 6:
        raise ValueError("not a Modbus TCP message")
    return length - 1


def tcp_answer(header: bytes, pdu: bytes) -> bytes:
    """The bytes that carry `pdu` back: the same transaction and unit, and the new length."""
    return header[:4] + (len(pdu) + 1).to_bytes(2) + header[6:7] + pdu

"""Questions and their answers as PDUs (function and data); the only module that imports pymodbus.

Source: MODBUS Application Protocol Specification V1.1b3, sections 4.1, 6.1 to 6.6, 6.12 and 7.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from pymodbus.framer.rtu import FramerRTU
from pymodbus.pdu.bit_message import (
    ReadCoilsRequest,
    ReadCoilsResponse,
    ReadDiscreteInputsRequest,
    ReadDiscreteInputsResponse,
)
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    ReadHoldingRegistersResponse,
    ReadInputRegistersRequest,
    ReadInputRegistersResponse,
)

from edgegw.driver import FrameError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgegw.driver import Block, Write

# The functions that only read: a poll sends nothing else.
READS: Final = {
    1: (ReadCoilsRequest, ReadCoilsResponse),
    2: (ReadDiscreteInputsRequest, ReadDiscreteInputsResponse),
    3: (ReadHoldingRegistersRequest, ReadHoldingRegistersResponse),
    4: (ReadInputRegistersRequest, ReadInputRegistersResponse),
}
REGISTERS: Final = frozenset({3, 4})
# The functions that set something: only ever sent for a setting that a sensor's owner allowed.
COIL: Final = 5
REGISTER: Final = 6
SEVERAL: Final = 16
# Addresses that a write is never sent to: everybody (0), and whoever is there (255).
EVERYBODY: Final = frozenset({0, 255})
# The most of one question: what fits an answer of 253 bytes (sections 6.1 and 6.3).
MOST_BITS: Final = 2000
MOST_REGISTERS: Final = 125
# The most registers of one write (section 6.12).
MOST_WRITTEN: Final = 123
EXCEPTION: Final = 0x80
# A gateway or bridge says with these that the unit behind it does not answer (section 7).
NOBODY: Final = frozenset({"modbus_exception_10", "modbus_exception_11"})


@dataclass(frozen=True, slots=True)
class Question:
    """One question to one unit: its PDU, and what the data of its answer must look like."""

    unit: int
    function: int
    count: int
    #: Function, address and count, as they are sent.
    pdu: bytes
    #: Bytes between function (with the byte count, where there is one) and CRC of the answer.
    size: int
    #: The whole PDU of the only good answer to a write; empty for a read.
    echo: bytes = b""
    #: Whoever answers may have another address: a question to find out who is there.
    anybody: bool = False

    @property
    def begins(self) -> bytes:
        """What the PDU of a good answer begins with."""
        return self.echo[:2] or bytes([self.function, self.size])

    def answered(self, pdu: bytes) -> Sequence[int]:
        """Registers (0 to 65535) or bits (0 and 1), exactly as many as were asked for.

        Raises:
            FrameError: `modbus_exception_N`, `wrong_function`, `byte_count` or (of a write) `inconsistent`: the PDU
                is no such answer.
        """
        if len(pdu) == 2 and pdu[0] == self.function | EXCEPTION:
            raise FrameError(f"modbus_exception_{pdu[1]}")
        if not pdu or pdu[0] != self.function:
            raise FrameError("wrong_function")
        if self.echo:
            if pdu != self.echo:
                raise FrameError("inconsistent")
            return ()
        if len(pdu) != 2 + self.size or pdu[1] != self.size:
            raise FrameError("byte_count")
        answer = READS[self.function][1]()
        answer.decode(pdu[1:])
        if self.function in REGISTERS:
            return answer.registers
        return [int(bit) for bit in answer.bits[: self.count]]


def writing(unit: int, write: Write) -> Question:
    """The request for one write to one unit, which the unit answers with its beginning.

    Raises:
        ValueError: It is none that Modbus has, or to an address that is not one device's.
    """
    if unit in EVERYBODY or not 0 <= unit <= 255:
        raise ValueError(f"Modbus unit {unit}: a write goes to one device, 1 to 254")
    function, address, values = write.function, write.address, write.values
    most = MOST_WRITTEN if function == SEVERAL else 1
    if function not in {COIL, REGISTER, SEVERAL}:
        raise ValueError(f"Modbus function {function} is not a write: only 5, 6 and 16 are ever sent")
    if not 1 <= len(values) <= most or not all(0 <= value <= 0xFFFF for value in values):
        raise ValueError(f"{values} in one Modbus write: 1 to {most} registers of 16 bits are possible")
    if function == COIL and values[0] not in {0, 0xFF00}:
        raise ValueError(f"a coil is set to 0 or 0xFF00, not {values[0]}")
    if not 0 <= address <= 0x10000 - len(values):
        raise ValueError(f"Modbus address {address} with {len(values)} values: 0 to 65535 exist")
    if function == SEVERAL:
        echo = struct.pack(">BHH", function, address, len(values))
        pdu = echo + struct.pack(f">B{len(values)}H", 2 * len(values), *values)
    else:
        echo = pdu = struct.pack(">BHH", function, address, values[0])
    # Unit, PDU and CRC are eight bytes: three more than the five that every answer has at least.
    return Question(unit, function, len(values), pdu, 3, echo)


@lru_cache(maxsize=1024)  # a sensor asks the same few questions for years; 1024 are 200 KB
def question(unit: int, block: Block) -> Question:
    """The question for a block of one unit.

    Raises:
        ValueError: It would not be a read, or not one that Modbus has.
    """
    if block.function not in READS:
        raise ValueError(f"Modbus function {block.function} is not a read: only 1 to 4 are ever sent")
    registers = block.function in REGISTERS
    most = MOST_REGISTERS if registers else MOST_BITS
    if not 1 <= block.count <= most:
        raise ValueError(f"{block.count} in one Modbus question: 1 to {most} are possible")
    if not 0 <= block.address <= 0x10000 - block.count:
        raise ValueError(f"Modbus address {block.address} with {block.count} values: 0 to 65535 exist")
    if not 0 <= unit <= 255:
        raise ValueError(f"Modbus unit {unit}: 0 to 255 exist")
    request = READS[block.function][0](address=block.address, count=block.count, dev_id=unit)
    size = 2 * block.count if registers else (block.count + 7) // 8
    return Question(unit, block.function, block.count, bytes([block.function]) + request.encode(), size)


def with_crc(unit: int, pdu: bytes) -> bytes:
    """The PDU as a whole RTU message: unit before it, CRC after it."""
    message = bytes([unit]) + pdu
    return message + FramerRTU.compute_CRC(message).to_bytes(2, "big")


def crc_fits(message: bytes) -> bool:
    """Whether a whole RTU message ends with its CRC."""
    return FramerRTU.compute_CRC(message[:-2]) == int.from_bytes(message[-2:], "big")

"""Find the answer to one question among the bytes of an RTU line. Pure.

The length of a message comes from its function and byte count, never from silence, which nobody can see
through a USB adapter. Whole messages of other units are skipped as such, so that nothing inside them is taken
for an answer. Source: MODBUS over Serial Line V1.02, section 2.5.1; Application Protocol V1.1b3, section 6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from edgegw.driver import FrameError
from edgegw.ports.modbus.pdu import EXCEPTION, READS, REGISTERS, crc_fits, with_crc

if TYPE_CHECKING:
    from edgegw.ports.modbus.pdu import Question

# Unit, function, byte count or exception code, CRC.
SHORTEST: Final = 5
# Answers to the writes of another gateway on the same line: unit, function, two words, CRC.
WRITES: Final = frozenset({5, 6, 15, 16})
WRITE_BYTES: Final = 8
# 248 to 255 are reserved (Serial Line, section 2.2), and 255 is what a line driver's glitch looks like.
LAST_UNIT: Final = 247


class Heard(NamedTuple):
    """What the bytes say so far: the answer's PDU and where it ends, or the reason why there is none yet."""

    pdu: bytes | None
    reason: str = ""
    end: int = 0
    unit: int = 0


def find_answer(line: bytes, question: Question) -> Heard:
    """The answer to `question` in what came after it, noise, echo and messages of other units apart.

    Raises:
        FrameError: `crc`: the answer came and is damaged, so that nothing more is to be expected.
    """
    asked = with_crc(question.unit, question.pdu)
    # Half-duplex adapters hear what they send. An answer never begins with a whole question, save that to a write,
    # which may be nothing else: what such an adapter then hears is proven by reading back.
    begin = len(asked) if line.startswith(asked) and question.pdu != question.echo else 0
    reason = "no_reply"
    while begin < len(line):
        length = _length(line, begin, question.unit)
        if length is None or begin + length > len(line):
            return Heard(None, "truncated")
        if length == 0:
            reason, begin = "noise", begin + 1
            continue
        message = line[begin : begin + length]
        if not crc_fits(message):
            if message[:3] == bytes([question.unit]) + question.begins:
                raise FrameError("crc")
            reason, begin = "crc", begin + 1
            continue
        if message[0] == question.unit or question.anybody:
            return Heard(message[1:-2], end=begin + length, unit=message[0])
        reason, begin = "wrong_address", begin + length
    return Heard(None, reason)


def _length(line: bytes, begin: int, unit: int) -> int | None:
    """Length of the message that begins there; 0 when none can, None when more bytes must tell."""
    address = line[begin]
    if address != unit and not 1 <= address <= LAST_UNIT:
        return 0
    if begin + 2 >= len(line):
        return None
    function, size = line[begin + 1], line[begin + 2]
    if function in WRITES:
        return WRITE_BYTES
    if function & EXCEPTION and (function & ~EXCEPTION in READS or function & ~EXCEPTION in WRITES):
        return SHORTEST
    if function not in READS or size == 0 or (function in REGISTERS and size % 2):
        return 0
    return SHORTEST + size

"""One Modbus TCP connection: questions out, numbered answers in.

Each answer carries the number of its question, so a late one is known and dropped. Messages are cut by their
stated length alone, so the connection stays in step; bytes that are no message end it.
Source: MODBUS Messaging on TCP/IP Implementation Guide V1.0b, sections 3.1.3 and 4.1.
"""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING, Final

from edgegw.driver import FrameError

if TYPE_CHECKING:
    from edgegw.ports.modbus.pdu import Question

# Transaction, protocol (0), length of what follows, unit.
HEADER: Final = struct.Struct(">HHHB")
# Bytes before those that the length counts.
BEFORE_LENGTH: Final = 6
# Stated length: unit, function and at least one byte; at most 254 (section 4.1: 260 bytes with the header).
SHORTEST: Final = 3
LONGEST: Final = 254
# Two of the longest messages: an answer and the one before it that came late.
BUFFER_BYTES: Final = 520
# Answers to nobody's question since the last good one: a device doubles or is late, it does not talk on.
STRAYS: Final = 64


class TcpLink(asyncio.BufferedProtocol):
    """One connection, with one question at a time."""

    def __init__(self) -> None:
        """Made by asyncio when it connects."""
        self.lost = False
        self._buffer = bytearray(BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._filled = 0
        self._transport: asyncio.Transport | None = None
        self._number = 0
        self._unit = 0
        self._strays = 0
        self._answer: asyncio.Future[bytes] | None = None

    async def ask(self, asked: Question, timeout_s: float) -> bytes:
        """The PDU of the answer, from the right unit to this very question.

        Raises:
            FrameError: `no_reply`, `truncated`, `wrong_address`.
            ConnectionError: The connection ended before an answer came.
        """
        if self._transport is None or self.lost:
            raise ConnectionResetError
        loop = asyncio.get_running_loop()
        self._number = self._number % 0xFFFF + 1  # never 0, which some devices answer to anything
        self._unit = asked.unit
        answer: asyncio.Future[bytes] = loop.create_future()
        self._answer = answer
        self._transport.write(HEADER.pack(self._number, 0, len(asked.pdu) + 1, asked.unit) + asked.pdu)
        timer = loop.call_later(timeout_s, self._expired, answer)
        try:
            return await answer
        finally:
            timer.cancel()
            self._answer = None

    def abort(self) -> None:
        """End the connection now."""
        self.lost = True
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        if isinstance(transport, asyncio.Transport):
            self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio: whoever waits for an answer is told."""
        self.lost = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionResetError(str(exc or "closed by the device")))

    def get_buffer(self, sizehint: int) -> memoryview:
        """See asyncio."""
        del sizehint
        return self._view[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        """See asyncio: cut out every whole message and keep the rest, which is shorter than one."""
        self._filled += nbytes
        begin = 0
        while self._filled - begin > BEFORE_LENGTH:
            number, protocol, length, unit = HEADER.unpack_from(self._buffer, begin)
            if protocol != 0 or not SHORTEST <= length <= LONGEST:
                self.abort()
                return
            end = begin + BEFORE_LENGTH + length
            if end > self._filled:
                break
            self._heard(number, unit, bytes(self._buffer[begin + HEADER.size : end]))
            begin = end
        if begin:
            rest = self._filled - begin
            self._buffer[:rest] = self._buffer[begin : self._filled]
            self._filled = rest

    def _heard(self, number: int, unit: int, pdu: bytes) -> None:
        answer = self._answer
        if answer is None or answer.done() or number != self._number:
            self._strays += 1
            if self._strays > STRAYS:
                self.abort()
        elif unit != self._unit:
            answer.set_exception(FrameError("wrong_address"))
        else:
            self._strays = 0
            answer.set_result(pdu)

    def _expired(self, answer: asyncio.Future[bytes]) -> None:
        if not answer.done():
            answer.set_exception(FrameError("truncated" if self._filled else "no_reply"))

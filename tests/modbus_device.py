"""Modbus devices for tests: pymodbus's slave, whose registers say which question they answer; and devices on a pty."""

from __future__ import annotations

import os
import pty
import select
import struct
import termios
import threading
import time
import tty
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pymodbus.simulator import DataType, SimData, SimDevice

from edgegw.ports.modbus.pdu import with_crc

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgegw.driver import Block


class Slave:
    """Registers that say who and where they are, and which question of all they answer."""

    def __init__(self, *units: int) -> None:
        self.questions = 0
        self.devices = [self._device(unit) for unit in units]

    def _device(self, unit: int) -> SimDevice:
        words = [SimData(0, values=[0] * 200, datatype=DataType.REGISTERS)]
        bits = [SimData(0, values=[n % 3 == 0 for n in range(64)], datatype=DataType.BITS)]

        async def number(
            function: int, start: int, address: int, count: int, registers: list[int], _: object
        ) -> None:
            if function in {3, 4}:
                self.questions += 1
                for register in range(address, address + count):
                    registers[register - start] = (unit * 10 + function) * 200 + register
                registers[address + count - 1 - start] = self.questions

        return SimDevice(unit, (bits, bits, words, words), action=number)

    def expect(self, unit: int, block: Block) -> list[int]:
        first = (unit * 10 + block.function) * 200 + block.address
        return [*range(first, first + block.count - 1), self.questions]


#: Registers of one device by function and address.
Registers = dict[tuple[int, int], int]


@dataclass
class Device:
    """A device on a serial line: what its registers say, and with which baud rate it listens."""

    registers: Registers
    baud: int = 9600
    #: Functions and addresses that it refuses to have written, with the exception.
    refuses: dict[tuple[int, int], int] = field(default_factory=dict)
    #: What a write leads to besides the written register.
    wrote: Callable[[int, int], None] = lambda _register, _value: None
    #: It swallows writes without keeping them.
    forgetful: bool = False

    def answer(self, pdu: bytes, writes: list[tuple[int, ...]]) -> bytes:
        """The PDU of its answer."""
        function, address, value = struct.unpack(">BHH", pdu[:5])
        if function in {5, 6, 16}:
            words = [value] if function != 16 else list(struct.unpack(f">{value}H", pdu[6:]))
            writes.append((function, address, *words))
            if (function, address) in self.refuses:
                return bytes([function | 0x80, self.refuses[function, address]])
            for register, word in enumerate(words, address):
                if not self.forgetful:
                    self.registers[1 if function == 5 else 3, register] = word
                self.wrote(register, word)
            return pdu[:5]
        found = [self.registers.get((function, register)) for register in range(address, address + value)]
        if None in found:
            return bytes([function | 0x80, 2])
        if function in {1, 2}:
            bits = sum(bool(bit) << n for n, bit in enumerate(found))
            data = bits.to_bytes(-(-len(found) // 8), "little")
        else:
            data = struct.pack(f">{len(found)}H", *found)
        return bytes([function, len(data)]) + data


class SerialDevices:
    """A pty with devices on it, which hear only what is said with their own baud rate."""

    def __init__(self, devices: dict[int, Device]) -> None:
        self.devices = devices
        self.writes: list[tuple[int, ...]] = []
        #: Unit and baud rate of every question.
        self.asked: list[tuple[int, int]] = []
        self.echoes = False
        self._ours, self._theirs = pty.openpty()
        tty.setraw(self._ours)
        self.path = os.ttyname(self._theirs)
        self._stop_r, self._stop_w = os.pipe()
        self._thread = threading.Thread(target=self._serve, name="devices")
        self._thread.start()

    def stop(self) -> None:
        os.write(self._stop_w, b".")
        self._thread.join()
        for end in (self._ours, self._theirs, self._stop_r, self._stop_w):
            os.close(end)

    def _serve(self) -> None:
        line, heard_at = b"", 0.0
        while True:
            ready, _, _ = select.select([self._ours, self._stop_r], [], [])
            if self._stop_r in ready:
                return
            if time.monotonic() - heard_at > SILENCE_S:
                line = b""  # a message ends with silence; half of one is worth nothing
            heard_at = time.monotonic()
            line += os.read(self._ours, 4096)
            while len(line) >= 8:
                length = 9 + line[6] if line[1] == 16 else 8
                if len(line) < length:
                    break
                question, line = line[:length], line[length:]
                self._hear(question)

    def _hear(self, question: bytes) -> None:
        speed = BAUDS.get(termios.tcgetattr(self._ours)[5], 0)
        self.asked.append((question[0], speed))
        if self.echoes:
            os.write(self._ours, question)
        for unit, device in list(self.devices.items()):
            if device.baud == speed and question[0] in {unit, 255}:
                os.write(self._ours, with_crc(unit, device.answer(question[1:-2], self.writes)))


# Requests are written at once: what comes so much later belongs to another one.
SILENCE_S = 0.05
BAUDS = {getattr(termios, f"B{baud}"): baud for baud in (2400, 4800, 9600, 19200)}


def holding(*words: int, start: int = 0, function: int = 3) -> Registers:
    """Registers in a row."""
    return {(function, start + n): word for n, word in enumerate(words)}

"""A Modbus slave of pymodbus whose registers say who and where they are, and which question they answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymodbus.simulator import DataType, SimData, SimDevice

if TYPE_CHECKING:
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

"""How many polls of four registers a second one process can do, and what CPU each costs: ours, or pymodbus's client.

`python -m scripts.benchmarks.polls WHO tcp PORT,PORT… SECONDS` and `… WHO rtu PATH SECONDS`, WHO `ours` or `bare`; JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from pymodbus import FramerType
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient

from edgegw.driver import Block, FrameError, SerialLine
from edgegw.ports.modbus import RtuBus, TcpBus

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

BLOCK: Final = Block(3, 0, 4)
#: Units on the serial line: enough that no unit is asked again before its line and the rules for it allow.
UNITS: Final = 100
BAUD: Final = 115_200


def main(who: str, wire: str, address: str, seconds: str) -> dict[str, float]:
    """Polls, CPU seconds and seconds of one run."""
    run = {
        ("ours", "tcp"): _tcp,
        ("bare", "tcp"): _bare_tcp,
        ("ours", "rtu"): _rtu,
        ("bare", "rtu"): _bare_rtu,
    }
    return asyncio.run(run[who, wire](address, float(seconds)))


async def _counted(polls: list[Callable[[int], Awaitable[bool]]], seconds: float) -> dict[str, float]:
    """Run the polls side by side, each again and again; what was done between two moments while all were busy."""
    done = lost = 0
    busy = True

    async def again(poll: Callable[[int], Awaitable[bool]]) -> None:
        nonlocal done, lost
        number = 0
        while busy:
            number += 1
            if await poll(number):
                done += 1
            else:
                lost += 1

    tasks = [asyncio.create_task(again(poll)) for poll in polls]
    await asyncio.sleep(min(1.0, seconds / 4))  # connecting is not polling
    began, cpu, before = time.monotonic(), time.process_time(), done
    await asyncio.sleep(seconds)
    found = {
        "polls": done - before,
        "lost": lost,
        "seconds": time.monotonic() - began,
        "cpu_s": time.process_time() - cpu,
    }
    busy = False  # and not cancelled: a cancelled pymodbus client asks on
    await asyncio.wait(tasks, timeout=10)
    return found


async def _tcp(ports: str, seconds: float) -> dict[str, float]:
    def poller(port: str) -> Callable[[int], Awaitable[bool]]:
        bus = TcpBus("127.0.0.1", int(port))

        async def poll(_: int) -> bool:
            (answer,) = await bus.poll(1, [BLOCK], timeout_s=5.0, min_gap_s=0.0)
            return not isinstance(answer, FrameError)

        return poll

    return await _counted([poller(port) for port in ports.split(",")], seconds)


async def _bare_tcp(ports: str, seconds: float) -> dict[str, float]:
    async def poller(port: str) -> Callable[[int], Awaitable[bool]]:
        client = AsyncModbusTcpClient("127.0.0.1", port=int(port))
        await client.connect()
        return lambda _: _bare_poll(client, 1)

    return await _counted([await poller(port) for port in ports.split(",")], seconds)


async def _bare_poll(client: Any, unit: int) -> bool:
    answer = await client.read_holding_registers(BLOCK.address, count=BLOCK.count, device_id=unit)
    return len(answer.registers) == BLOCK.count


async def _rtu(path: str, seconds: float) -> dict[str, float]:
    bus = RtuBus(path, SerialLine(BAUD))

    async def poll(number: int) -> bool:
        (answer,) = await bus.poll(1 + number % UNITS, [BLOCK], timeout_s=5.0, min_gap_s=0.0)
        return not isinstance(answer, FrameError)

    found = await _counted([poll], seconds)
    await bus.close()
    return found


async def _bare_rtu(path: str, seconds: float) -> dict[str, float]:
    client = AsyncModbusSerialClient(path, framer=FramerType.RTU, baudrate=BAUD)
    await client.connect()
    return await _counted([lambda number: _bare_poll(client, 1 + number % UNITS)], seconds)


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))

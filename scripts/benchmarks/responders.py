"""Modbus TCP devices in a process of their own, so that their work is not the gateway's.

`python -m scripts.benchmarks.responders COUNT` prints the ports as JSON and serves until it is stopped. The
answers come from the simulation's slave, which shares no code with the gateway's Modbus.
"""

from __future__ import annotations

import asyncio
import json
import sys

from edgegw.simulate.modbus_slave import answer_pdu, tcp_answer, tcp_request

#: Four registers in tenths: 21.5 Cel, 48.0 %RH, 1002.1 hPa, 451.2 ppm; every read finds them a little higher.
VALUES = (215, 480, 10021, 4512)


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    asked = 0
    try:
        while True:
            header = await reader.readexactly(7)
            pdu = await reader.readexactly(tcp_request(header))
            asked += 1
            step = asked % 50
            answer = answer_pdu(pdu, lambda register, step=step: VALUES[register % 4] + step)  # type: ignore[misc]
            writer.write(tcp_answer(header, answer))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def _main(count: int) -> None:
    servers = [await asyncio.start_server(_serve, "127.0.0.1", 0) for _ in range(count)]
    print(json.dumps([server.sockets[0].getsockname()[1] for server in servers]), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1])))

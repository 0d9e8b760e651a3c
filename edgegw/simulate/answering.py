"""Virtual devices that answer on a serial line or a TCP socket: what is asked goes in, what is said comes out."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from edgegw.simulate import frames
from edgegw.simulate.devices import WATCH_S
from edgegw.simulate.ledger import Fate, moment
from edgegw.simulate.wires import PtyLine, TcpLine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from edgegw.simulate.devices import Surroundings

# What is read from a socket at once; a request of these devices is below 300 bytes.
CHUNK: Final = 4096


class Answer(NamedTuple):
    """The bytes of one answer, and the values that its readings must carry (empty for one without values)."""

    data: bytes
    values: Mapping[str, float]


class Behaviour(Protocol):
    """What a device does with the bytes that it gets; it keeps its own state (asleep, measuring, half a request)."""

    def asked(self, data: bytes, number: int, t: float) -> Sequence[Answer]:
        """Answers to what was sent at second `t`; `number` is that of the next answer with values."""
        ...


class _Answering:
    """What serial and TCP devices share: faults, numbers and the ledger."""

    def __init__(self, behaviour: Behaviour, surroundings: Surroundings) -> None:
        self._behaviour = behaviour
        self._around = surroundings
        self._number = 0

    async def _answer(self, data: bytes, send: Callable[[bytes], bool]) -> None:
        t = self._around.second()
        condition = self._around.condition(self._number, t)
        answers = self._behaviour.asked(data, self._number, t)
        if condition.silent or condition.unplugged:
            return
        if condition.late_s and answers:
            await asyncio.sleep(condition.late_s)
        for answer in answers:
            when = moment()
            heard = send(frames.damaged(answer.data) if condition.damaged else answer.data)
            if answer.values:
                fate = Fate.DAMAGED if condition.damaged else Fate.LATE if condition.late_s else Fate.SENT
                self._around.ledger.write(self._number, when, fate if heard else Fate.UNHEARD, answer.values)
                self._number += 1

    @property
    def _unplugged(self) -> bool:
        return self._around.condition(self._number, self._around.second()).unplugged


class SerialAnswerer(_Answering):
    """A device on a serial line that answers."""

    def __init__(self, link: Path, behaviour: Behaviour, surroundings: Surroundings) -> None:
        super().__init__(behaviour, surroundings)
        self._line = PtyLine(link)

    @property
    def address(self) -> str:
        """See `Device.address`."""
        return str(self._line.link)

    async def plug(self) -> None:
        """See `Device.plug`."""
        self._line.plug()

    async def run(self) -> None:
        """See `Device.run`."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._serve())
                group.create_task(self._watch())
        finally:
            self._line.unplug()
            self._around.ledger.close()

    async def _serve(self) -> None:
        while True:
            data = await self._line.receive()
            await self._answer(data, lambda answer: self._line.write(answer) == len(answer))

    async def _watch(self) -> None:
        while True:
            if self._unplugged:
                self._line.unplug()
            else:
                self._line.plug()
            await asyncio.sleep(WATCH_S)


class TcpAnswerer(_Answering):
    """A device that answers on a TCP port, such as a meter with a network socket."""

    def __init__(self, behaviour: Behaviour, surroundings: Surroundings) -> None:
        super().__init__(behaviour, surroundings)
        self._line = TcpLine(self._serve)

    @property
    def address(self) -> str:
        """See `Device.address`."""
        return f"127.0.0.1:{self._line.port}"

    async def plug(self) -> None:
        """See `Device.plug`."""
        await self._line.plug()

    async def run(self) -> None:
        """See `Device.run`."""
        try:
            while True:
                if self._unplugged:
                    await self._line.unplug()
                else:
                    await self._line.plug()
                await asyncio.sleep(WATCH_S)
        finally:
            await self._line.unplug()
            self._around.ledger.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def send(answer: bytes) -> bool:
            heard = not writer.is_closing()
            if heard:
                writer.write(answer)
            return heard

        while data := await reader.read(CHUNK):
            await self._answer(data, send)
            await writer.drain()

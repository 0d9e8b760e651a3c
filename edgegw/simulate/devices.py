"""The virtual sensors: what they say, put on a wire at the right moment, with their faults."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from edgegw.simulate import frames, modbus_slave
from edgegw.simulate.ledger import Fate, moment
from edgegw.simulate.wires import PtyLine, TcpLine

if TYPE_CHECKING:
    from pathlib import Path

    from edgegw.simulate.faults import Condition
    from edgegw.simulate.ledger import Ledger
    from edgegw.simulate.radar import Leg

# How often a sensor looks whether it was unplugged.
WATCH_S: Final = 0.05
# A pause on a serial line that ends a Modbus message: long against 3.5 characters, short against a master.
RTU_SILENCE_S: Final = 0.1
# Questions that one TCP master may have open; more wait in the socket.
MOST_QUESTIONS: Final = 8


class Said(NamedTuple):
    """One frame, and the values that its readings must carry.

    `damaged` is the frame as a noisy line leaves it, for a device whose frames have no check; else a bit is flipped.
    """

    frame: bytes
    values: Mapping[str, float]
    leg: Leg | None = None
    damaged: bytes = b""


#: What a talker says as frame `number` at second `t`.
Say = Callable[[int, float], Said]


class Measured(NamedTuple):
    """One value in the registers of a Modbus device: its words by register, and what its reading must say.

    Without a `quantity` the registers hold what is no value, and no reading may come of them.
    """

    quantity: str
    value: float
    words: Mapping[int, int]


#: What a Modbus device has measured for answer `number` at second `t`.
Measure = Callable[[int, float], Sequence[Measured]]


class Surroundings(NamedTuple):
    """What a virtual sensor is given: its clock, its faults and its book.

    `second` is the scenario's second; `condition` tells how the sensor is for frame `number` at a second.
    """

    second: Callable[[], float]
    condition: Callable[[int, float], Condition]
    ledger: Ledger


class Device(Protocol):
    """One virtual sensor."""

    async def plug(self) -> None:
        """Bring the wire up."""
        ...

    async def run(self) -> None:
        """Behave until cancelled; the wire is gone afterwards."""
        ...

    @property
    def address(self) -> str:
        """Where the gateway finds it: the path of a port, or `host:port`; valid once plugged."""
        ...


class Talker:
    """A sensor that talks by itself: one frame each `period_s`.

    `received` counts the bytes that somebody sent to it: a gateway that only listens sends none.
    """

    def __init__(self, link: Path, period_s: float, say: Say, surroundings: Surroundings) -> None:
        self._line = PtyLine(link)
        self._period_s = period_s
        self._say = say
        self._around = surroundings
        self.received = 0

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
                group.create_task(self._listen())
                group.create_task(self._talk())
        finally:
            self._line.unplug()
            self._around.ledger.close()

    async def _listen(self) -> None:
        while True:
            self.received += len(await self._line.receive())

    async def _talk(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        number = 0
        while True:
            t = self._around.second()
            condition = self._around.condition(number, t)
            if condition.unplugged:
                self._line.unplug()
            else:
                self._line.plug()
            if not (condition.silent or condition.unplugged):
                self._send(number, t, damaged=condition.damaged)
                number += 1
            # A machine that slept goes on from now: the device's missed frames are gone.
            due = max(due + self._period_s, loop.time())
            await asyncio.sleep(due - loop.time())

    def _send(self, number: int, t: float, *, damaged: bool) -> None:
        said = self._say(number, t)
        frame = (said.damaged or frames.damaged(said.frame)) if damaged else said.frame
        when = moment()
        written = self._line.write(frame)
        if written == len(frame):
            fate = Fate.DAMAGED if damaged else Fate.SENT
        else:
            fate = Fate.DAMAGED if written else Fate.UNHEARD
        self._around.ledger.write(number, when, fate, said.values, said.leg)


class Slave:
    """A Modbus device: what it answers, whatever wire it hangs on.

    Each answer that holds a measured value gets the next number. `fixed` are registers that never change.
    """

    def __init__(
        self, unit: int, measure: Measure, surroundings: Surroundings, fixed: Mapping[int, int] | None = None
    ) -> None:
        self.unit = unit
        self.around = surroundings
        self._measure = measure
        self._fixed = fixed or {}
        self._number = 0

    @property
    def condition(self) -> Condition:
        """How it is now."""
        return self.around.condition(self._number, self.around.second())

    async def answer(self, request: bytes, send: Callable[[bytes, bool], bool]) -> None:
        """Answer one PDU through `send(pdu, damaged)`, which says whether somebody listened."""
        condition = self.condition
        if condition.silent or condition.unplugged:
            return
        number = self._number
        measured = self._measure(number, self.around.second())
        words = {register: word for each in measured for register, word in each.words.items()}
        asked: set[int] = set()

        def read(register: int) -> int | None:
            asked.add(register)
            return words.get(register, self._fixed.get(register))

        pdu = modbus_slave.answer_pdu(request, read)
        values = {
            each.quantity: each.value for each in measured if each.quantity and asked.issuperset(each.words)
        }
        self._number += bool(asked & words.keys())
        if condition.late_s:
            await asyncio.sleep(condition.late_s)
        when = moment()
        heard = send(pdu, condition.damaged)
        if values:
            fate = Fate.DAMAGED if condition.damaged else Fate.LATE if condition.late_s else Fate.SENT
            self.around.ledger.write(number, when, fate if heard else Fate.UNHEARD, values)


class RtuDevice:
    """A Modbus device on a serial line."""

    def __init__(self, link: Path, slave: Slave) -> None:
        self._line = PtyLine(link)
        self._slave = slave

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
            self._slave.around.ledger.close()

    async def _watch(self) -> None:
        while True:
            if self._slave.condition.unplugged:
                self._line.unplug()
            else:
                self._line.plug()
            await asyncio.sleep(WATCH_S)

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        requests = modbus_slave.RtuRequests(self._slave.unit)
        heard = loop.time()

        def send(pdu: bytes, damaged: bool) -> bool:
            adu = requests.answer(pdu)
            return self._line.write(frames.damaged(adu) if damaged else adu) == len(adu)

        while True:
            data = await self._line.receive()
            heard, before = loop.time(), heard
            if heard - before > RTU_SILENCE_S:
                requests.silence()
            for pdu in requests.feed(data)[:1]:
                await self._slave.answer(pdu, send)
            if loop.time() - heard > RTU_SILENCE_S:
                # Busy with an answer, a slave does not hear: what was asked meanwhile is lost.
                self._line.discard()


class TcpDevice:
    """A Modbus device behind a TCP server."""

    def __init__(self, slave: Slave) -> None:
        self._line = TcpLine(self._serve)
        self._slave = slave

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
                if self._slave.condition.unplugged:
                    await self._line.unplug()
                else:
                    await self._line.plug()
                await asyncio.sleep(WATCH_S)
        finally:
            await self._line.unplug()
            self._slave.around.ledger.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        free = asyncio.Semaphore(MOST_QUESTIONS)
        async with asyncio.TaskGroup() as answering:
            while True:
                header = await reader.readexactly(7)
                request = await reader.readexactly(modbus_slave.tcp_request(header))
                if header[6] != self._slave.unit:
                    # Another unit behind this address would answer; there is none, so nobody does.
                    continue
                await free.acquire()
                answering.create_task(self._answer(header, request, writer)).add_done_callback(
                    lambda _: free.release()
                )

    async def _answer(self, header: bytes, request: bytes, writer: asyncio.StreamWriter) -> None:
        def send(pdu: bytes, damaged: bool) -> bool:
            # TCP has no CRC of Modbus: a damaged answer is one whose byte count does not fit.
            answer = pdu[:1] + bytes([pdu[1] ^ 1]) + pdu[2:] if damaged else pdu
            heard = not writer.is_closing()
            if heard:
                writer.write(modbus_slave.tcp_answer(header, answer))
            return heard

        await self._slave.answer(request, send)
        await writer.drain()

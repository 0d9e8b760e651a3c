"""Sound level meters that answer as their manuals say, on a pseudo-terminal or a TCP socket.

A test sets what a meter measures and how it behaves. What it holds back (`late`) comes before its next answer, which
is how a slow device does it: in order, and too late.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import struct
import tty
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from edgegw.clock import SystemClock
from edgegw.config import Address, Sensor
from edgegw.sensors import Sensors
from edgegw.wires import RealWires

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence
    from pathlib import Path
    from typing import Any

    from edgegw.driver import Reading
    from edgegw.views import View

# Machines are slow and busy; what is waited for comes much sooner.
PATIENCE_S = 90.0


class Meter(ABC):
    """One meter. `heard` are the questions it got; `replies` replaces what it would say to a question."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.replies: dict[str, list[bytes]] = {}
        #: Answers to these questions are held back once, until the next answer.
        self.late: list[str] = []
        #: Cut each answer into pieces of so many bytes, which arrive one after the other.
        self.torn = 0
        self._pending = b""
        self._held = b""

    def take(self, data: bytes) -> Iterator[bytes]:
        """What it says to these bytes, piece by piece."""
        self._pending += data
        for question in self._questions():
            self.heard.append(question)
            answer = self._reply(question)
            if question in self.late:
                self.late.remove(question)
                self._held += answer
                continue
            whole, self._held = self._held + answer, b""
            size = self.torn or len(whole) or 1
            yield from (whole[at : at + size] for at in range(0, len(whole), size))

    def _reply(self, question: str) -> bytes:
        scripted = self.replies.get(question)
        return scripted.pop(0) if scripted else self.answer(question)

    @abstractmethod
    def _questions(self) -> Iterator[str]:
        """Whole questions in what has come, which they are taken off."""

    @abstractmethod
    def answer(self, question: str) -> bytes:
        """What it says to a question; empty for nothing."""

    def _split(self, end: bytes) -> Iterator[str]:
        while end in self._pending:
            question, _, self._pending = self._pending.partition(end)
            yield question.decode().strip()


class SvantekMeter(Meter):
    """An SV 971A: profile 1 with A and Fast, its peak with C."""

    def __init__(self) -> None:
        super().__init__()
        self.serial = "1234"
        self.running = True
        self.filters = "F2:1,F3:2,F1:3,J3:1,J3:2,J1:3,C1:1,C0:2,C2:3"
        self.results = "V0,v0,T60,P101.20,M78.30,N41.10,S55.50,R61.25,L(10)66.00,L(50)58.10,L(90)45.20"

    def _questions(self) -> Iterator[str]:
        return self._split(b";")

    def answer(self, question: str) -> bytes:
        function = question.partition(",")[0]
        if question in {"#1,S1", "#1,S0"}:
            self.running = question == "#1,S1"
            return question.encode() + b";"
        if question == "#1":
            return f"#1,U971,N{self.serial},W1.05.1,Q0.01,M1,{self.filters},S{self.running:d},T1;".encode()
        if function == "#2":
            return f"#2,1,{self.results};".encode() if self.running else b"#2,?;"
        return b"#7,BS,87;" if question == "#7,BS" else f"{function},?;".encode()


class Xl2Meter(Meter):
    """An XL2 with its option."""

    def __init__(self) -> None:
        super().__init__()
        self.state = "RUNNING"
        self.comma = False
        self.latched = False
        self.values = {"LAEQ": "61.3", "LAFMAX": "78.4", "LAFMIN": "41.0", "LCPKMAX": "101.2", "L10%": "66.1"}
        self.statuses: dict[str, str] = {}

    def _questions(self) -> Iterator[str]:
        return self._split(b"\n")

    def answer(self, question: str) -> bytes:
        if question == "*IDN?":
            return b"NTiAudio,XL2,A2A-02943-D1,FW4.71\r\n"
        if question == "INIT:STATE?":
            return f"{self.state}\r\n".encode()
        if question == "INIT START":
            self.state = "RUNNING"
        if question == "MEAS:INIT":
            self.latched = True
        command, _, parameters = question.partition("? ")
        if command not in {"MEAS:SLM:123", "MEAS:SLM:123:DT"}:
            return b""
        return b"".join(self._value(each) for each in parameters.split())

    def _value(self, parameter: str) -> bytes:
        if parameter not in self.values:
            return b";\r\n"
        if self.state != "RUNNING" or not self.latched:
            return b"-999 dB, UNDEF\r\n"
        value = self.values[parameter]
        status = self.statuses.get(parameter, "OK")
        return f"{value.replace('.', ',') if self.comma else value} dB, {status}\r\n".encode()


class RionMeter(Meter):
    """An NL-43."""

    def __init__(self) -> None:
        super().__init__()
        self.serial = "00123456"
        self.running = True
        self.weightings = ("A", "F")
        self.display = (
            "62.4, 60.1, 88.9, 71.3, 48.2, 66.0, 64.2, 58.8, 50.3, 49.1, 85.5, --.-, 60.0, 63.0, 0, 0"
        )

    def _questions(self) -> Iterator[str]:
        return self._split(b"\r\n")

    def answer(self, question: str) -> bytes:
        frequency, time = self.weightings
        said = {
            "Type?": "NL-43",
            "Serial Number?": self.serial,
            "Frequency Weighting (Main)?": frequency,
            "Time Weighting (Main)?": time,
            "Measure?": "Start" if self.running else "Stop",
            "DOD?": self.display,
            "Battery Level?": "64",
        }
        if question == "Measure,Start":
            self.running = True
            return b"$R+0000\r\n"
        return f"$R+0000\r\n{said[question]}\r\n".encode() if question in said else b"$R+0001\r\n"


class NsrtMeter(Meter):
    """An NSRT_mk3. Reading Leq gives the next of `leqs`."""

    def __init__(self) -> None:
        super().__init__()
        self.serial = "A1B2C3"
        self.weighting = 1
        self.level = 54.5
        self.leqs = [51.0]
        self.temperature = 21.5

    def _questions(self) -> Iterator[str]:
        while len(self._pending) >= 12:
            command, address, count = struct.unpack("<III", self._pending[:12])
            self._pending = self._pending[12:]
            assert address == 0
            yield f"{command:08x}/{count}"

    def answer(self, question: str) -> bytes:
        def text(words: str) -> bytes:
            return words.encode().ljust(32, b"\0")

        said: dict[str, Callable[[], bytes]] = {
            "80000010/4": lambda: struct.pack("<f", self.level),
            "80000011/4": lambda: struct.pack("<f", self.leqs.pop(0) if len(self.leqs) > 1 else self.leqs[0]),
            "80000012/4": lambda: struct.pack("<f", self.temperature),
            "80000020/1": lambda: bytes((self.weighting,)),
            "80000022/4": lambda: struct.pack("<f", 0.125),
            "80000031/32": lambda: text("NSRT_mk3"),
            "80000032/32": lambda: text(self.serial),
        }
        return said[question]()


@dataclass
class Desk:
    """Where readings go: `taken` in order; `views` as `status` shows them."""

    sensors: Sensors | None = None
    taken: list[Reading] = field(default_factory=list)

    def readings(self, sensor: str, readings: Sequence[Reading], monotonic: float) -> int:
        del sensor, monotonic
        self.taken += readings
        return len(readings)

    @property
    def view(self) -> View:
        assert self.sensors is not None
        return self.sensors.views["noise-1"]

    def values(self, quantity: str) -> list[float]:
        return [each.value for each in self.taken if each.quantity.name == quantity]

    @property
    def reasons(self) -> set[str]:
        """Why values are missing, but for what a machine that stood still for a second does to any device."""
        return set(self.view.errors) - {"no_reply", "late", "unasked"}

    async def until(self, happened: Callable[[], object]) -> None:
        """Wait until it has; AssertionError with all that is known when it does not."""
        for _ in range(round(PATIENCE_S / 0.02)):
            if happened():
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"{self.taken} {self.view}")


@contextlib.asynccontextmanager
async def on_a_terminal(meter: Meter) -> AsyncIterator[Path]:
    """The meter behind a pseudo-terminal; gives the path of its port."""
    from pathlib import Path

    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    os.set_blocking(ours, False)
    loop = asyncio.get_running_loop()
    arrived: asyncio.Queue[bytes] = asyncio.Queue()

    def hear() -> None:
        with contextlib.suppress(OSError):
            arrived.put_nowait(os.read(ours, 4096))

    async def speak() -> None:
        while True:
            for piece in meter.take(await arrived.get()):
                os.write(ours, piece)
                if meter.torn:
                    await asyncio.sleep(0.02)  # so that the pieces arrive as pieces; nothing depends on it

    loop.add_reader(ours, hear)
    speaking = asyncio.create_task(speak())
    try:
        yield Path(os.ttyname(theirs))
    finally:
        loop.remove_reader(ours)
        speaking.cancel()
        await asyncio.gather(speaking, return_exceptions=True)
        os.close(ours)
        os.close(theirs)


@contextlib.asynccontextmanager
async def on_the_network(meter: Meter) -> AsyncIterator[Address]:
    """The meter behind a TCP port; one client at a time, as such meters are."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(4096):
                for piece in meter.take(data):
                    writer.write(piece)
                    await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield Address("127.0.0.1", server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for writer in writers:
            writer.close()
        await server.wait_closed()


@contextlib.asynccontextmanager
async def reading(
    driver: str,
    options: dict[str, Any],
    *,
    port: Path | None = None,
    host: Address | None = None,
    allow_setup: bool = False,
) -> AsyncIterator[Desk]:
    """The real gateway's part that reads one sensor, every tenth of a second or as often as the meter can."""
    desk = Desk()
    log = structlog.wrap_logger(structlog.testing.CapturingLogger())
    desk.sensors = Sensors(RealWires(), desk, SystemClock(), log, simulated=False, listen=lambda *_: None)
    wanted = Sensor(
        driver=driver,
        port=port,
        host=host,
        interval=0.1,
        stale_after=60.0,
        allow_setup=allow_setup,
        options=options,
    )
    await desk.sensors.apply({"noise-1": wanted})
    try:
        yield desk
    finally:
        await desk.sensors.stop()

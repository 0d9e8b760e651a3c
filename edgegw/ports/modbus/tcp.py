"""Modbus TCP: the units behind one host and port, asked one after the other over one connection."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from edgegw.driver import FrameError
from edgegw.ports.modbus.connect import Connector
from edgegw.ports.modbus.patience import Patience
from edgegw.ports.modbus.pdu import NOBODY, Question, question, writing
from edgegw.ports.modbus.tcp_link import TcpLink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgegw.driver import Block, SerialLine, Write

# Timeouts in a row after which the connection is taken for dead: a device that lost its power in the
# meantime knows nothing of it, and the kernel would wait for minutes.
SILENT: Final = 2


class TcpBus:
    """One Modbus TCP server, a device or a gateway with several units, connected when it is first asked."""

    def __init__(self, host: str, port: int) -> None:
        """Take a host name or IP address and a TCP port (502 by custom); connects nothing yet."""
        self._connector = Connector(host, port)
        self._turn = asyncio.Lock()
        self._link: TcpLink | None = None
        self._patience = Patience()
        self._closing = asyncio.Event()
        self._silent = 0
        self._heard_at = 0.0
        self._asked_gap_s = 0.0

    @property
    def line(self) -> SerialLine | None:
        """None: what a device behind a network has for a line is not seen from here."""
        return None

    async def poll(
        self,
        unit: int,
        blocks: Sequence[Block],
        *,
        timeout_s: float,
        min_gap_s: float,
        lines: Sequence[SerialLine] = (),
    ) -> list[Sequence[int] | FrameError]:
        """Registers or bits of each block of unit 0 to 255, or the FrameError that says why there are none.

        Questions of all sensors take their turns in the order of asking. `timeout_s` is the longest time that
        the device takes to answer, `min_gap_s` the pause that it wants before and after a question. A silent
        unit gets a twentieth of the connection's time where others answer; between its turns it fails at once.

        Raises:
            PortError: No connection (`refused`, `unreachable`, `unknown_host`, `disconnected`, ...).
            ValueError: A block that is not a read (functions 1 to 4) or that Modbus cannot ask for.
        """
        del lines
        questions = [question(unit, block) for block in blocks]
        answers: list[Sequence[int] | FrameError] = []
        for asked in questions:
            async with self._turn:
                answers.append(await self._exchange(asked, timeout_s, min_gap_s))
        return answers

    async def write(
        self, unit: int, write: Write, *, timeout_s: float, min_gap_s: float
    ) -> FrameError | None:
        """Set one register, coil or some registers of one unit; the FrameError that says why it did not.

        Raises:
            PortError: As `poll`.
            ValueError: A write that is none (functions 5, 6 and 16), or to everybody.
        """
        asked = writing(unit, write)
        async with self._turn:
            answer = await self._exchange(asked, timeout_s, min_gap_s)
        return answer if isinstance(answer, FrameError) else None

    async def close(self) -> None:
        """Close the connection; later polls raise PortError `closed`."""
        self._closing.set()
        self._drop()

    async def _exchange(
        self, asked: Question, timeout_s: float, min_gap_s: float
    ) -> Sequence[int] | FrameError:
        begin = time.monotonic()
        if reason := self._patience.rests(asked.unit, begin):
            return FrameError(reason)
        pause_s = self._heard_at + max(min_gap_s, self._asked_gap_s) - begin
        self._asked_gap_s = min_gap_s
        if pause_s > 0:
            await asyncio.sleep(pause_s)
        try:
            answer = asked.answered(await self._answer(asked, timeout_s))
        except FrameError as error:
            self._failed(asked.unit, error.reason, begin)
            return error
        finally:
            self._heard_at = time.monotonic()
        self._worked(asked.unit)
        return answer

    async def _answer(self, asked: Question, timeout_s: float) -> bytes:
        """Ask over the connection that is there, or once more over a new one.

        Many devices close an idle connection, and that shows only when they are asked.
        """
        if self._link is not None and not self._link.lost:
            try:
                return await self._link.ask(asked, timeout_s)
            except ConnectionError:
                self._drop()
        try:
            return await (await self._connected()).ask(asked, timeout_s)
        except ConnectionError as error:
            self._drop()
            raise self._connector.failed("disconnected") from error

    async def _connected(self) -> TcpLink:
        if self._closing.is_set():
            raise self._connector.error("closed")
        link = await self._connector.connect(TcpLink)
        if self._closing.is_set():  # while it connected
            link.abort()
            raise self._connector.error("closed")
        self._link, self._silent = link, 0
        return link

    def _worked(self, unit: int) -> None:
        self._silent = 0
        self._connector.worked()
        self._patience.answered(unit)

    def _failed(self, unit: int, reason: str, begin: float) -> None:
        if reason.startswith("modbus_exception"):
            self._silent = 0
            self._connector.worked()
            if reason not in NOBODY:
                self._patience.answered(unit)
                return
        else:
            self._silent += 1
            if self._silent >= SILENT:
                self._drop()
        now = time.monotonic()
        self._patience.failed(unit, now, now - begin, reason)

    def _drop(self) -> None:
        if self._link is not None:
            self._link.abort()
        self._link = None

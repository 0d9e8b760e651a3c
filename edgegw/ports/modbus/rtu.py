"""Modbus RTU: the sensors of one serial line, asked one after the other in the line's own thread.

RTU messages carry no number, so an answer that comes late looks like the answer to the next question. Three
rules keep it from being taken for one: a unit whose answer did not come, or came damaged, is not asked again
for as long as that answer can still come; the line must be silent before each question; and unit, function,
byte count and CRC of an answer must fit its question.
"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from edgegw.driver import FrameError
from edgegw.ports.errors import PortError
from edgegw.ports.modbus.lines import Lines
from edgegw.ports.modbus.patience import Patience
from edgegw.ports.modbus.pdu import NOBODY, Question, question, with_crc, writing
from edgegw.ports.modbus.rtu_frames import find_answer
from edgegw.ports.thread import PortThread
from edgegw.ports.tty import Tty, described

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgegw.driver import Block, SerialLine, Write

# An answer can still come this long after its question: four times the longest time that the device is said
# to take, and never less than what a radio or Ethernet bridge on the way adds.
LATE_TIMES: Final = 4
LATE_S: Final = 2.0
# Silence before the same unit is asked again: a USB adapter keeps bytes back for up to 16 ms (FTDI's latency
# timer), so that a doubled answer is heard before the next question and not after it.
AGAIN_S: Final = 0.02
# Time before the same unit is asked for as many registers again, when a copy of its last answer, held up by
# a repeater or bridge, would look like the next one. Other units are asked in the meantime.
ALIKE_S: Final = 0.1
# Silence between messages: 3.5 characters, at least 1.75 ms (Serial Line V1.02, section 2.5.1.1).
SILENCE_CHARACTERS: Final = 3.5
SILENCE_S: Final = 0.00175
# A line that is never silent for this long gives no reading; it is the time of 240 characters at 2400 baud.
BABBLE_S: Final = 1.0
# Bytes heard for one question: four times the longest message, for noise and other units.
HEARD_BYTES: Final = 1024
# A device that cannot be opened is not tried more often than this, however many sensors hang on it.
REOPEN_S: Final = 1.0
# How long `close` waits for the device to be closed; its thread goes on if that takes longer.
CLOSE_S: Final = 1.0


class RtuBus:
    """One serial line with Modbus sensors, opened when it is first asked and again after it went away."""

    def __init__(self, path: str, line: SerialLine) -> None:
        """Take the device at `path` (a stable name) with its line settings; opens nothing yet."""
        self._line = _Line(path, line)
        self._thread = PortThread(f"modbus {os.path.basename(path)}")  # noqa: PTH119 - a name, not a file

    @property
    def line(self) -> SerialLine | None:
        """The settings with which somebody on this line answered; None until then."""
        return self._line.lines.found

    async def poll(
        self,
        unit: int,
        blocks: Sequence[Block],
        *,
        timeout_s: float,
        min_gap_s: float,
        lines: Sequence[SerialLine] = (),
    ) -> list[Sequence[int] | FrameError]:
        """Registers or bits of each block of unit 1 to 255, or the FrameError that says why there are none.

        Questions of all sensors take their turns in the order of asking. `timeout_s` is the longest time that
        the device takes before it answers, `min_gap_s` the silence that it wants before and after a question.
        Once a unit owes an answer its other blocks get the same error, and its next poll waits until that
        answer can no longer come. A silent unit gets a twentieth of the line's time; between its turns it
        fails at once. While nobody on the line ever answered, each poll that fails is followed by one with the
        next of the `lines` that the unit may have.

        Raises:
            PortError: The line cannot be used (`missing`, `permission`, `busy`, `unplugged`, ...).
            ValueError: A block that is not a read (functions 1 to 4) or that Modbus cannot ask for.
        """
        if unit == 0:
            raise ValueError("Modbus unit 0 is everybody and never answers on a serial line: 1 to 255")
        questions = [question(unit, block) for block in blocks]
        answers: list[Sequence[int] | FrameError] = []
        for asked in questions:
            answer = await self._ask(asked, timeout_s, min_gap_s, lines)
            answers.append(answer)
            if isinstance(answer, FrameError) and not answer.reason.startswith("modbus_exception"):
                answers += [answer] * (len(questions) - len(answers))
                break
        return answers

    async def write(
        self, unit: int, write: Write, *, timeout_s: float, min_gap_s: float
    ) -> FrameError | None:
        """Set one register, coil or some registers of one unit; the FrameError that says why it did not.

        On an adapter that hears itself the answer cannot be told from the request: only reading back proves it.

        Raises:
            PortError: As `poll`.
            ValueError: A write that is none (functions 5, 6 and 16), or to everybody.
        """
        answer = await self._ask(writing(unit, write), timeout_s, min_gap_s, ())
        return answer if isinstance(answer, FrameError) else None

    async def who(
        self, unit: int, block: Block, *, timeout_s: float, min_gap_s: float
    ) -> tuple[int, Sequence[int]] | FrameError:
        """Ask an address that whoever is there answers to: who answered, and what; only with one device on the line.

        Raises:
            PortError: As `poll`.
        """
        asked = replace(question(unit, block), anybody=True)
        answer = await self._ask(asked, timeout_s, min_gap_s, ())
        return answer if isinstance(answer, FrameError) else (self._line.answered_by, answer)

    async def close(self) -> None:
        """Close the device in its thread; returns within CLOSE_S. Later polls raise PortError `closed`."""
        if self._line.stopping:
            return
        self._line.stop()
        ended = self._thread.call(self._line.close)
        self._thread.stop()
        await asyncio.wait({ended}, timeout=CLOSE_S)

    async def _ask(
        self, asked: Question, timeout_s: float, min_gap_s: float, lines: Sequence[SerialLine]
    ) -> Sequence[int] | FrameError:
        if reason := self._line.patience.rests(asked.unit, time.monotonic()):
            return FrameError(reason)
        if (wait_s := self._line.wait_s(asked)) > 0:
            await asyncio.sleep(wait_s)
        if self._line.stopping:
            raise described(self._line.path, "closed")
        return await self._thread.call(self._line.exchange, asked, timeout_s, min_gap_s, lines)


class _Line:
    """The line as its thread sees it; the loop only looks at `patience`, `wait_s` and `stopping`."""

    def __init__(self, path: str, line: SerialLine) -> None:
        self.path = path
        self.patience = Patience()
        self.lines = Lines(line)
        #: Who gave the newest answer.
        self.answered_by = 0
        # Monotonic seconds until which an answer of a unit can still come late, and a copy of its last answer
        # by unit, function and byte count.
        self._late: dict[int, float] = {}
        self._alike: dict[tuple[int, int, int], float] = {}
        self.stopping = False
        self._settings = line
        self._character_s = _character_s(line)
        self._tty: Tty | None = None
        self._refused: tuple[float, PortError] | None = None
        self._heard_at = 0.0
        self._asked_unit = 0
        self._asked_gap_s = 0.0

    def wait_s(self, asked: Question) -> float:
        """How long the unit is not to be asked this, in seconds; from any thread."""
        alike = self._alike.get((asked.unit, asked.function, asked.size), 0.0)
        return max(self._late.get(asked.unit, 0.0), alike) - time.monotonic()

    def stop(self) -> None:
        """End the exchange that is under way; from any thread."""
        self.stopping = True
        if (tty := self._tty) is not None:
            tty.wake()

    def close(self) -> None:
        """Give the device back."""
        if self._tty is not None:
            tty, self._tty = self._tty, None
            tty.close()

    def exchange(
        self, asked: Question, timeout_s: float, min_gap_s: float, lines: Sequence[SerialLine] = ()
    ) -> Sequence[int] | FrameError:
        """Ask one question; PortError when the line fails."""
        if time.monotonic() < self._late.get(asked.unit, 0.0):
            return FrameError("no_reply")  # somebody else asked this unit in the meantime, in vain
        self._set(self.lines.line(asked.unit, lines, time.monotonic()))
        tty = self._opened()
        try:
            begin = time.monotonic()
            try:
                self._wait_for_silence(tty, asked, min_gap_s)
            except FrameError as error:
                return error
            late = time.monotonic() + max(LATE_S, LATE_TIMES * timeout_s)
            try:
                answer = asked.answered(self._ask(tty, asked, timeout_s))
            except FrameError as error:
                self._failed(asked, error.reason, begin, late)
                return error
            except PortError:
                self._late[asked.unit] = late
                raise
            self._answered(asked)
            if asked.echo:
                # A copy of it, or the answer itself where an adapter heard the request first, must not meet the
                # next question.
                self._late[asked.unit] = time.monotonic() + timeout_s
            return answer
        except PortError:
            self.close()
            raise

    def _set(self, line: SerialLine) -> None:
        """Use these settings from the next question on."""
        if line != self._settings:
            self.close()
            self._settings, self._character_s = line, _character_s(line)

    def _opened(self) -> Tty:
        if self.stopping:
            raise described(self.path, "closed")
        if self._tty is None:
            if self._refused is not None and time.monotonic() < self._refused[0]:
                raise self._refused[1]
            try:
                self._tty = Tty(self.path, self._settings)
            except PortError as error:
                self._refused = (time.monotonic() + REOPEN_S, error)
                raise
            # What is still on its way belongs to whoever used the line before.
            self._heard_at = time.monotonic()
        return self._tty

    def _wait_for_silence(self, tty: Tty, asked: Question, min_gap_s: float) -> None:
        silence_s = max(SILENCE_S, SILENCE_CHARACTERS * self._character_s, min_gap_s, self._asked_gap_s)
        if asked.unit == self._asked_unit:
            silence_s = max(silence_s, AGAIN_S)
        self._asked_unit, self._asked_gap_s = asked.unit, min_gap_s
        give_up = time.monotonic() + silence_s + BABBLE_S
        while True:
            data = tty.read(max(self._heard_at + silence_s - time.monotonic(), self.wait_s(asked)))
            now = time.monotonic()
            if self.stopping:
                raise described(self.path, "closed")
            if data:
                self._heard_at = now
            elif now >= self._heard_at + silence_s:
                return
            if now > give_up:
                raise FrameError("noise")

    def _ask(self, tty: Tty, asked: Question, timeout_s: float) -> bytes:
        message = with_crc(asked.unit, asked.pdu)
        tty.write(message)
        on_the_wire_s = (len(message) + asked.size + 5) * self._character_s
        pdu, rest = self._listen(tty, asked, time.monotonic() + timeout_s + on_the_wire_s)
        if find_answer(rest, asked).pdu not in {None, pdu}:
            raise FrameError("doubled")  # two different answers to one question: neither can be trusted
        self._alike[asked.unit, asked.function, asked.size] = self._heard_at + ALIKE_S
        return pdu

    def _listen(self, tty: Tty, asked: Question, deadline: float) -> tuple[bytes, bytes]:
        line, reason = b"", "no_reply"
        while True:
            left_s = deadline - time.monotonic()
            data = tty.read(left_s)
            if self.stopping:
                raise described(self.path, "closed")
            if data:
                self._heard_at = time.monotonic()
                line += data
                pdu, reason, end, self.answered_by = find_answer(line, asked)
                if pdu is not None:
                    return pdu, line[end:]
            elif left_s <= 0:
                raise FrameError(reason)
            if len(line) > HEARD_BYTES:
                raise FrameError("noise")

    def _answered(self, asked: Question) -> None:
        self.patience.answered(asked.unit)
        self.lines.answered(self._settings, time.monotonic())

    def _failed(self, asked: Question, reason: str, begin: float, late: float) -> None:
        unit = asked.unit
        if not reason.startswith("modbus_exception"):
            self._late[unit] = late
            self.lines.failed(unit)
        elif reason not in NOBODY:
            self._answered(asked)
            return
        now = time.monotonic()
        self.patience.failed(unit, now, now - begin, reason)


def _character_s(line: SerialLine) -> float:
    """Seconds that one character takes: start, data, parity and stop bits."""
    return (1 + line.bytesize + (line.parity != "N") + line.stopbits) / max(1, line.baudrate)

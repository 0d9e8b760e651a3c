"""Try the installed drivers on a serial port: first listen, then ask what asks for data and changes nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from edgegw.config import Sensor
from edgegw.driver import AskDriver, StreamDriver
from edgegw.once import read_once
from edgegw.ports.errors import PortError
from edgegw.probe.candidates import candidates
from edgegw.probe.guess import Guess, Sureness, heard
from edgegw.reading import QUANTITIES, Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from edgegw.clock import Clock
    from edgegw.driver import SerialLine
    from edgegw.probe.candidates import Candidate
    from edgegw.sensing.wires import Wires

#: How long one line setting is listened to: the slowest talker (Plantower) says a frame each 2.3 s.
LISTEN_S: Final = 5.0
#: How long a device that is asked gets for its first reading: the slowest wants a second between two commands.
ASK_S: Final = 4.0
# Bytes that are kept of one line setting: five seconds at 256000 baud are 128 KB.
MOST_BYTES: Final = 256 * 1024


async def listen(
    port: Path, wires: Wires, clock: Clock, said: Callable[[str], None], only: str = ""
) -> list[Guess]:
    """What talks by itself on the port, by listening at each line setting that a driver knows; PortError.

    It stops at the first setting under which a driver is sure.
    """
    lines: dict[SerialLine, list[Candidate]] = {}
    for each in candidates(StreamDriver, only):
        if isinstance(each.driver, StreamDriver):
            lines.setdefault(each.driver.line, []).append(each)
    found: list[Guess] = []
    for line, drivers in lines.items():
        said(f"listening at {line.baudrate} baud")
        chunks = await _bytes(port, line, wires, clock, drivers)
        found += _guesses(drivers, chunks)
        if any(guess.sureness is Sureness.SURE for guess in found):
            break
    return found


def _guesses(drivers: Sequence[Candidate], chunks: Sequence[tuple[bytes, float]]) -> list[Guess]:
    found: list[Guess] = []
    for name, options, driver in drivers:
        if isinstance(driver, StreamDriver) and (guess := heard(name, options, driver, chunks)):
            found.append(guess)
    return found


async def _bytes(
    port: Path, line: SerialLine, wires: Wires, clock: Clock, drivers: Sequence[Candidate]
) -> list[tuple[bytes, float]]:
    """What comes within LISTEN_S, or until a driver is sure."""
    chunks: list[tuple[bytes, float]] = []
    more = asyncio.Event()

    def on_data(data: bytes, now: float) -> None:
        if sum(len(each) for each, _ in chunks) < MOST_BYTES:
            chunks.append((data, now))
            more.set()

    async def enough() -> None:
        while not any(guess.sureness is Sureness.SURE for guess in _guesses(drivers, chunks)):
            more.clear()
            await more.wait()

    reading = asyncio.ensure_future(wires.serial(str(port), line, on_data, lambda: None).run())
    tasks = [reading, asyncio.ensure_future(enough()), asyncio.ensure_future(clock.sleep(LISTEN_S))]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks[1:]:
            task.cancel()
        if not reading.done():
            reading.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    if isinstance(results[0], PortError):
        raise results[0]
    return chunks


async def ask(port: Path, clock: Clock, said: Callable[[str], None], only: str = "") -> list[Guess]:
    """What answers on the port, by asking as each driver asks; only requests for data go out, nothing is set.

    It stops at the first driver that gets readings.
    """
    found: list[Guess] = []
    for name, options, driver in candidates(AskDriver, only):
        if not isinstance(driver, AskDriver):
            continue
        shown = " ".join(f"{key}={value}" for key, value in options.items())
        said(f"asking as {name} {shown}".rstrip())
        sensor = Sensor(driver=name, port=port, interval=1.0, stale_after=ASK_S, options=options)
        (answer,) = await read_once({name: sensor}, clock, ASK_S)
        readings = {
            each["quantity"]: Reading(QUANTITIES[each["quantity"]], each["value"])
            for each in answer["readings"]
        }
        if readings:
            about = f"it answered with {len(readings)} values"
            return [Guess(name, options, Sureness.SURE, about, driver.line, None, readings)]
        if "answer_ms" in answer:
            reasons = ", ".join(reason for reason in answer["errors"] if reason != "no_reply")
            about = f"it answered, without a value: {reasons or 'no reason given'}"
            found.append(Guess(name, options, Sureness.LIKELY, about, driver.line))
    return found

"""Try the installed drivers on a serial port: first listen, then ask what asks for data and changes nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple

from edgegw.config import Sensor
from edgegw.driver import AskDriver, StreamDriver
from edgegw.once import read_once
from edgegw.ports.errors import PortError
from edgegw.probe.candidates import ANYTHING, candidates
from edgegw.probe.guess import Guess, Sureness, heard
from edgegw.reading import QUANTITIES, Reading
from edgegw.reasons import meaning

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edgegw.clock import Clock
    from edgegw.config.kinds import Address
    from edgegw.driver import SerialLine
    from edgegw.probe.candidates import Candidate, Wish
    from edgegw.probe.progress import Said
    from edgegw.sensing.wires import Port, Wires

#: How long one line setting is listened to: the slowest talker (Plantower) says a frame each 2.3 s.
LISTEN_S: Final = 5.0
#: How long a device that is asked gets for its first reading: the slowest wants a second between two commands.
ASK_S: Final = 4.0
#: And how long one that answered, but said no value yet: a Rion takes a second for each of its commands.
MORE_S: Final = 10.0
# Bytes that are kept of one line setting: five seconds at 256000 baud are 128 KB.
MOST_BYTES: Final = 256 * 1024


class Wire(NamedTuple):
    """Where a device hangs: a serial port, or the raw TCP port of a serial server or of the device itself."""

    port: Path | None = None
    host: Address | None = None


async def listen(wire: Wire, wires: Wires, clock: Clock, said: Said, wish: Wish = ANYTHING) -> list[Guess]:
    """What talks by itself there, by listening at each line setting that a driver knows; PortError.

    Behind a host the line settings are somebody else's matter: it is listened to once.

    It stops at the first setting under which a driver is sure.
    """
    lines: dict[SerialLine | None, list[Candidate]] = {}
    for each in candidates(StreamDriver, wish):
        if isinstance(each.driver, StreamDriver):
            lines.setdefault(each.driver.line if wire.port is not None else None, []).append(each)
    found: list[Guess] = []
    often = sorted(lines.items(), key=lambda each: -len(each[1]))  # most sensors talk at 9600 baud
    for done, (line, drivers) in enumerate(often):
        said("listening" + (f" at {line.baudrate} baud" if line else ""), done / len(often))
        chunks = await _bytes(wire, line, wires, clock, drivers)
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
    wire: Wire, line: SerialLine | None, wires: Wires, clock: Clock, drivers: Sequence[Candidate]
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

    if wire.host is not None:
        port: Port = wires.socket(wire.host.host, wire.host.port, on_data, lambda: None)
    else:
        assert line is not None
        port = wires.serial(str(wire.port), line, on_data, lambda: None)
    reading = asyncio.ensure_future(port.run())
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


async def ask(wire: Wire, clock: Clock, said: Said, wish: Wish = ANYTHING) -> list[Guess]:
    """What answers there, by asking as each driver asks; only requests for data go out, nothing is set.

    It stops at the first driver that gets readings.
    """
    found: list[Guess] = []
    tried = candidates(AskDriver, wish)
    for done, each in enumerate(tried):
        said(f"asking as {each.shown}", done / len(tried))
        guess = await _asked(each, wire, clock)
        if guess is not None and guess.sureness is Sureness.SURE:
            return [guess]
        found += [guess] if guess is not None else []
    return found


async def _asked(candidate: Candidate, wire: Wire, clock: Clock) -> Guess | None:
    """What one driver gets from the device; None when nothing in it is an answer."""
    name, options, driver = candidate
    assert isinstance(driver, AskDriver)
    sensor = Sensor(
        driver=name, port=wire.port, host=wire.host, interval=1.0, stale_after=ASK_S, options=options
    )
    line = driver.line if wire.port is not None else None
    (answer,) = await read_once({name: sensor}, clock, ASK_S)
    if "answer_ms" in answer and not answer["readings"]:
        # Somebody is there, and may need time for a first value: nobody else is worth asking before that.
        (answer,) = await read_once({name: sensor}, clock, MORE_S)
    readings = {
        each["quantity"]: Reading(QUANTITIES[each["quantity"]], each["value"]) for each in answer["readings"]
    }
    notices = tuple(answer.get("notices", {}).values())
    if readings:
        about = f"it answered with {len(readings)} {'value' if len(readings) == 1 else 'values'}"
        return Guess(name, options, Sureness.SURE, about, line, None, readings, notices)
    if "answer_ms" not in answer:
        return None
    why = [meaning(reason)[0] or reason for reason in answer["errors"] if reason != "no_reply"]
    about = f"it answered, without a value: {'; '.join(why) or 'no reason given'}"
    return Guess(name, options, Sureness.LIKELY, about, line, notices=notices)

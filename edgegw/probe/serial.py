"""Try the installed drivers on a serial port: first listen, then ask what asks for data and changes nothing."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from edgegw import registry
from edgegw.clock import SystemClock
from edgegw.config import Sensor
from edgegw.driver import AskDriver, StreamDriver
from edgegw.once import read_once
from edgegw.ports.errors import PortError
from edgegw.probe.guess import Guess, Sureness, best_first, heard
from edgegw.problems import GatewayError
from edgegw.reading import QUANTITIES, Reading
from edgegw.wires import RealWires

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from edgegw.clock import Clock
    from edgegw.driver import Driver, SerialLine
    from edgegw.sensing.wires import Wires

#: How long one line setting is listened to: the slowest talker (Plantower) says a frame each 2.3 s.
LISTEN_S: Final = 5.0
#: How long a device that is asked gets for its first reading: the slowest wants a second between two commands.
ASK_S: Final = 4.0
_CODES: Final = {"busy": "EG-PORT-BUSY", "permission": "EG-PORT-DENIED"}
# Bytes that are kept of one line setting: five seconds at 256000 baud are 128 KB.
MOST_BYTES: Final = 256 * 1024


class Candidate(NamedTuple):
    """A driver with one set of options to try."""

    name: str
    options: Mapping[str, Any]
    driver: Driver


def candidates() -> list[Candidate]:
    """Every installed driver under every set of options that it offers for trying; broken ones are left out."""
    found: list[Candidate] = []
    for each in registry.installed():
        if each.error:
            continue
        for options in registry.load(each.name).candidates():
            with contextlib.suppress(registry.DriverError, registry.OptionsError):
                found.append(Candidate(each.name, options, registry.make(each.name, options)))
    return found


def find(port: Path, said: Callable[[str], None], *, ask: bool) -> list[Guess]:
    """Guesses for the device on a port, best first; GatewayError when the port cannot be used.

    `said` is told what is being tried. Without `ask` not a byte is sent.
    """
    try:
        return best_first(asyncio.run(_find(port, said, ask=ask)))
    except PortError as error:
        code = _CODES.get(error.reason, "EG-PORT-MISSING")
        raise GatewayError(code, error.why, todo=(error.todo,) if error.todo else None) from error


async def _find(port: Path, said: Callable[[str], None], *, ask: bool) -> list[Guess]:
    wires, clock, tried = RealWires(), SystemClock(), candidates()
    found = await listen(port, wires, clock, tried, said)
    if ask and not any(guess.sureness is Sureness.SURE for guess in found):
        found += await asked(port, clock, tried, said)
    return found


async def listen(
    port: Path, wires: Wires, clock: Clock, tried: Sequence[Candidate], said: Callable[[str], None]
) -> list[Guess]:
    """What talks by itself on the port, by listening at each line setting that a driver knows; PortError.

    It stops at the first setting under which a driver is sure.
    """
    lines: dict[SerialLine, list[Candidate]] = {}
    for each in tried:
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


async def asked(
    port: Path, clock: Clock, tried: Sequence[Candidate], said: Callable[[str], None]
) -> list[Guess]:
    """What answers on the port, by asking as each driver asks; only requests for data go out, nothing is set.

    It stops at the first driver that gets readings.
    """
    for name, options, driver in tried:
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
    return []

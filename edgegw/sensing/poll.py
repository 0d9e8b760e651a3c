"""Modbus devices, polled over a line or a host that several share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgegw.driver import FrameError
from edgegw.ports.errors import PortError
from edgegw.sampling import Sampler
from edgegw.sensing.setup import Setup
from edgegw.views import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgegw.driver import Answer, PollDriver, SerialLine
    from edgegw.sensing.sensing import Sensing
    from edgegw.sensing.wires import Bus


async def run(sensing: Sensing, driver: PollDriver) -> None:
    """Poll the device for ever; a bus that fails costs the poll, not the sensor."""
    sensor = sensing.sensor
    bus = sensing.buses.of(sensing.name, sensor, driver)
    decoder, setup = driver.decoder(), Setup(sensing, driver, bus)
    averager = Sampler(sensor.average) if sensor.average is not None else None
    async for _ in sensing.ticks(sensor.interval or 1.0):
        try:
            answers = await _poll(sensing, driver, bus)
            if _lost(answers):
                setup.again()
            elif await setup.settle():
                decoder = driver.decoder()  # another device: what the one before it counted is not its
        except PortError as error:
            setup.again()
            sensing.fails(error)
        else:
            now = sensing.clock.monotonic()
            readings = sensing.take(decoder.decode(answers, now), now)
            if not readings and _lost(answers) == "no_reply":
                _silent(sensing, driver, bus)
            if averager is not None:
                averager.feed(readings, now)
        if averager is not None:
            now = sensing.clock.monotonic()
            if means := averager.due(now):
                sensing.emit(means, now)


async def _poll(sensing: Sensing, driver: PollDriver, bus: Bus) -> Sequence[Answer]:
    """The answers of one poll, repeated while they are lost and half of the interval is left.

    While nobody on a serial line has answered, each repetition tries other line settings.
    """
    sensor, clock = sensing.sensor, sensing.clock
    lines = driver.lines() if sensor.port is not None else ()
    give_up = clock.monotonic() + (sensor.interval or 1.0) / 2
    tries = 0
    while True:
        before = bus.line
        answers = await bus.poll(
            sensor.unit, driver.blocks(), timeout_s=driver.timeout_s, min_gap_s=driver.min_gap_s, lines=lines
        )
        if bus.line is not None and bus.line != before:
            _tell_line(sensing, bus.line, lines)
        tries += 1
        if bus.line is None and len(lines) > 1:
            most = max(driver.retries, len(lines) - 1)
        else:  # a device that is known to be silent is asked once
            most = 0 if sensing.view.trouble is State.NO_ANSWER else driver.retries
        reason = _lost(answers)
        if not reason or tries > most or clock.monotonic() >= give_up:
            return answers
        sensing.view.error(reason)


def _lost(answers: Sequence[Answer]) -> str:
    """Why a poll got nothing that the device said itself; empty when it got something."""
    reasons = [answer.reason for answer in answers if isinstance(answer, FrameError)]
    lost = [reason for reason in reasons if not reason.startswith("modbus_exception")]
    return lost[0] if len(lost) == len(answers) and lost else ""


def _tell_line(sensing: Sensing, line: SerialLine, lines: Sequence[SerialLine]) -> None:
    """Show the settings that were found; say them aloud where they are not the usual ones."""
    text = spelt(line)
    if lines and line != lines[0]:
        sensing.log.info("line settings found", sensor=sensing.name, line=text, usual=spelt(lines[0]))
    sensing.view.notices["line"] = text
    sensing.view.facts.add("line")


def _silent(sensing: Sensing, driver: PollDriver, bus: Bus) -> None:
    """Say what a technician can look at."""
    view, unit = sensing.view, sensing.sensor.unit
    view.trouble = State.NO_ANSWER
    if sensing.sensor.port is None:
        view.why = f"Unit {unit} at {sensing.sensor.host} does not answer."
        view.todo = "Check the unit's address, its power, and the wires between it and the Modbus gateway."
        return
    view.why = f"Unit {unit} on {sensing.sensor.port} does not answer."
    view.todo = "Check power, address and the wires A and B, which are often swapped."
    if bus.line is not None:
        view.why += f" Others on this line answer at {spelt(bus.line)}."
        if bus.line != driver.lines()[0]:
            view.todo += f" It comes with {spelt(driver.lines()[0])}: one line needs one setting."
    elif len(driver.lines()) > 1:
        view.why += " Tried: " + ", ".join(map(spelt, driver.lines())) + "."


def spelt(line: SerialLine) -> str:
    """Line settings as people write them: `9600 8N1`."""
    return f"{line.baudrate} {line.bytesize}{line.parity}{line.stopbits}"

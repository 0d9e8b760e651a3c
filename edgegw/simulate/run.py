"""`edgegw simulate`: start a simulation, say what runs where, follow its script, stop everything."""

from __future__ import annotations

import signal
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from edgegw.problems import Exit, GatewayError
from edgegw.simulate.children import POLL_S
from edgegw.simulate.layout import GATEWAY
from edgegw.simulate.simulation import Options, Simulation

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

__all__ = ["Options", "Simulation", "interruptible", "simulate"]

# How often the script is asked whether the link is to go down, and the processes whether they live.
LOOK_S: Final = 0.2
# How long `once` waits for every sensor: a Modbus device on a busy machine needs a few polls.
ONCE_S: Final = 60.0


@contextmanager
def interruptible() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into KeyboardInterrupt, so that what was started is stopped on any way out."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def simulate(options: Options) -> int:
    """Run a simulation and print what runs where; returns the exit code.

    Raises GatewayError for a bad option, or when a part does not start or ends by itself. Ctrl-C ends it with
    130, everything stopped.
    """
    with interruptible():
        try:
            with Simulation(options) as simulation:
                _introduce(simulation)
                return _once(simulation) if options.once else _go_on(simulation, options.duration_s)
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)  # noqa: T201  the command's own voice
            return Exit.INTERRUPTED


def _go_on(simulation: Simulation, duration_s: float | None) -> int:
    end = None if duration_s is None else time.monotonic() + duration_s
    while end is None or time.monotonic() < end:
        done = simulation.follow_script()
        if done:
            print(f"{simulation.stage.second():7.1f} s  {done}", flush=True)  # noqa: T201
        simulation.check()
        time.sleep(LOOK_S)
    passed = simulation.stage.passed()
    print(f"people over the line: {passed.into} in, {passed.out} out (the truth)")  # noqa: T201
    return Exit.DONE


def _once(simulation: Simulation) -> int:
    """Wait until each sensor has been read and print what it said."""
    deadline = time.monotonic() + ONCE_S
    while True:
        simulation.check()
        sensors = simulation.status()["sensors"]
        # A gateway that has just begun to answer knows of no sensor yet.
        if sensors and all(sensor["readings"] for sensor in sensors):
            break
        if time.monotonic() > deadline:
            silent = ", ".join(sensor["id"] for sensor in sensors if not sensor["readings"])
            raise GatewayError("EG-SENSOR-NO-ANSWER", f"no reading from {silent} within {ONCE_S:.0f} s")
        time.sleep(POLL_S)
    for sensor in sensors:
        values = ", ".join(f"{quantity} {value:g}" for quantity, value in sensor["last"].items())
        print(f"{sensor['id']:<10} {sensor['driver']:<8} {values}")  # noqa: T201
    return Exit.DONE


def _introduce(simulation: Simulation) -> None:
    """Say what runs where, and how to look at it."""
    layout = simulation.layout
    lines = [f"simulation in {layout.directory}"]
    lines += [f"  sensor    {name:<10} {address}" for name, address in simulation.stage.addresses.items()]
    lines.append(f"  gateway   {GATEWAY}, log {layout.log('gateway')}")
    if simulation.broker is None:
        lines.append("  no broker: readings are stored and sent nowhere (sudo apt-get install mosquitto)")
    else:
        lines.append(f"  broker    {simulation.broker.server}, mutual TLS")
        lines.append(f"  receiver  {layout.readings}")
    shell = f"edgegw -c {layout.config}"
    lines += ["look at it with", f"  {shell} status", f"  {shell} sensors tail", "stop it with Ctrl-C"]
    print("\n".join(lines), flush=True)  # noqa: T201

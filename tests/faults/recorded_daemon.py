"""The whole daemon on virtual sensors, recorded: killed in the middle, started again, stopped."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import store_trace
from power_cuts import HERE, Owner, Recording, from_trace

from edgegw import config, keys
from edgegw.resume import Who
from edgegw.simulate.children import Child
from edgegw.simulate.layout import GATEWAY
from edgegw.simulate.simulation import Options, Simulation
from edgegw.wire import cose
from edgegw.wire.log import urn

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PATIENCE_S: Final = 120.0
# Batches of each of the two lives: enough for the first anchors, heads and, with a broker, receipts.
BATCHES: Final = 6


def record_daemon(directory: Path) -> Recording:
    """What the daemon under `edgegw.simulate` did to its store; with a broker where there is one."""
    simulation = Simulation(Options(directory))
    layout = simulation.layout
    marks, traces = layout.directory / "marks", [layout.directory / f"trace-{life}" for life in (1, 2)]
    store = layout.directory / "store"
    simulation.gateway = _recorded(simulation, traces[0], marks)
    with simulation:
        try:
            _until("batches are accepted", lambda: _said(marks, "accepted ") >= BATCHES)
            _end(simulation.gateway, marks, signal.SIGKILL)
            simulation.gateway = _recorded(simulation, traces[1], marks)
            simulation.gateway.start(simulation.answers)
            _until("batches are accepted again", lambda: _said(marks, "accepted ") >= 2 * BATCHES)
            _end(simulation.gateway, marks, signal.SIGTERM)
        finally:
            _end(simulation.gateway, marks, signal.SIGKILL)
    settings = config.load(layout.config)
    by = keys.load_private(settings.identity.signing_key, os.environ)
    who = Who(
        urn(settings.gateway.pen, GATEWAY), cose.signer(by), cose.verify_key(by.public_key()), simulated=True
    )
    owner = Owner(GATEWAY, who, settings.store.max_size)
    return Recording("daemon", from_trace(traces, store, marks, {}), owner)


def _recorded(simulation: Simulation, trace: Path, marks: Path) -> Child:
    """The gateway of a simulation under strace, which says what it accepts."""
    command = [
        *store_trace.command(trace),
        *(sys.executable, str(HERE / "recorded.py"), str(marks), "daemon", str(simulation.layout.config)),
    ]
    environment = {**simulation.stage.environment, "PYTHONPATH": f"{HERE.parent}:{HERE}"}
    return Child("gateway", command, simulation.layout.log("gateway"), environment)


def _said(marks: Path, word: str) -> int:
    """How many different lines begin with a word."""
    return len({line for line in _lines(marks) if line.startswith(word)})


def _lines(marks: Path) -> list[str]:
    return marks.read_text().splitlines() if marks.exists() else []


def _end(gateway: Child, marks: Path, how: signal.Signals) -> None:
    """End the daemon itself; strace, whose child it is, has written everything when it ends too."""
    if gateway.running:
        daemon = [int(line.removeprefix("pid ")) for line in _lines(marks) if line.startswith("pid ")][-1]
        with suppress(ProcessLookupError):
            os.kill(daemon, how)
        _until("the trace is complete", lambda: not gateway.running)


def _until(what: str, holds: Callable[[], bool]) -> None:
    deadline, pause = time.monotonic() + PATIENCE_S, threading.Event()
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        pause.wait(0.05)

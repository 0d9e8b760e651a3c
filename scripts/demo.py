"""The demonstration: virtual sensors, gateway, broker with mutual TLS and receiver, a dead broker, a killed gateway.

    demo.py [--dir DIR]

Started by `scripts/demo`, which makes the environment. Every value that the sensors send says which frame it came
from, and each sensor keeps a ledger; at the end `scripts/proof.py`, which imports nothing of the gateway, holds
ledgers, gateway and upstream against each other. The exit code is the proof's.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from edgegw.problems import Exit, GatewayError
from edgegw.simulate.layout import MAX_AGE_S
from edgegw.simulate.run import Options, Simulation, interruptible

if TYPE_CHECKING:
    from collections.abc import Callable

PROOF: Final = Path(__file__).with_name("proof.py")
# How long everything is left in peace, and how long the broker is away: enough rows to see it happen.
PEACE_S: Final = 5.0
AWAY_S: Final = 8.0
# Far longer than a Raspberry Pi needs for any step; only a broken machine meets it.
PATIENCE_S: Final = 120.0
# The kill comes so long after a commit: in the middle of a batch, so that there is something to take.
MIDDLE_S: Final = 0.5
# Sensors that were silent for so long have nothing left that is not committed.
SILENT_S: Final = 2 * MAX_AGE_S
# Some frames have a wrong check, some answers come when nobody waits any more: none of them may become a reading.
FAULTS: Final = ("checksum:air-1@5s+3s", "checksum:sound-1@5s+1s", "late:sound-1@7s+2s", "late:sound-2@6s+2s")
# The gateway is looked at this often, and a row is added this often.
LOOK_S: Final = 0.1
ROW_S: Final = 1.0
# Rows that stay on a terminal's screen.
ROWS: Final = 14
COLUMNS: Final = ("second", "what happens", "link", "readings", "backlog", "receipted")
LINE: Final = "{:>7}  {:<33} {:<11}{:>9} {:>9} {:>10}"
# A sensor that says nothing would make a proof of nothing.
LEAST_READINGS: Final = 4


class Row(NamedTuple):
    """What the gateway says at one moment, in words."""

    second: str
    what: str
    link: str
    accepted: str
    backlog: str
    receipted: str


class Screen:
    """A live table on a terminal, plain lines anywhere else."""

    def __init__(self) -> None:
        self._console = Console()
        self._live = Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None
        self._rows: list[Row] = []

    def __enter__(self) -> Self:
        if self._live is None:
            print(LINE.format(*COLUMNS), flush=True)
        else:
            self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, row: Row, *, stays: bool) -> None:
        """Show a row; the next one takes its place unless it `stays`."""
        if self._live is not None:
            self._live.update(self._table([*self._rows, row]), refresh=True)
        elif stays:
            print(LINE.format(*row), flush=True)
        if stays:
            self._rows = [*self._rows, row][-ROWS:]

    @staticmethod
    def _table(rows: list[Row]) -> Table:
        table = Table()
        for column in COLUMNS:
            table.add_column(column, justify="left" if column in COLUMNS[1:3] else "right", no_wrap=True)
        for row in rows:
            table.add_row(*row)
        return table


class Demonstration:
    """The steps, in order."""

    def __init__(self, simulation: Simulation, screen: Screen) -> None:
        self._simulation = simulation
        self._screen = screen
        self._began = time.monotonic()
        self._pause = threading.Event()
        self._next_row = 0.0
        self._killed = False

    def run(self) -> None:
        """Everything up to the clean stop; GatewayError when a step does not come to its end."""
        broker, gateway = self._simulation.broker, self._simulation.gateway
        if broker is None:
            raise GatewayError("EG-USAGE", "the demonstration needs a broker")
        self._until("readings flow upstream", self._flowing)
        self._peace("everything works", PEACE_S)
        self._until("everything works", self._grown())
        self._peace("everything works", MIDDLE_S)
        self._end_gateway("kill", gateway.kill)
        self._killed = True
        self._peace("gateway killed (SIGKILL)", ROW_S)
        gateway.start(self._simulation.answers)
        self._killed = False
        self._until("gateway started again", self._flowing)
        self._peace("everything works again", PEACE_S)
        broker.kill()
        self._peace("broker killed, gateway stores", AWAY_S)
        broker.start()
        self._until("broker back, backlog drains", self._drained)
        self._peace("backlog drained", PEACE_S)
        self._simulation.stage.stop()
        self._until("sensors off, last receipts", self._receipted)
        self._end_gateway("stop", gateway.stop)

    def _end_gateway(self, what: str, end: Callable[[], object]) -> None:
        """End the gateway and note when, for the proof."""
        began = time.monotonic()
        end()
        moment = {"what": what, "began": began, "mono": time.monotonic()}
        with (self._simulation.layout.directory / "moments.jsonl").open("a") as moments:
            moments.write(json.dumps(moment) + "\n")

    def _peace(self, what: str, seconds: float) -> None:
        end = time.monotonic() + seconds
        self._until(what, lambda _: time.monotonic() >= end)

    def _until(self, what: str, done: Callable[[dict[str, Any] | None], bool]) -> None:
        """Show the gateway's status until `done` says so of it (None while it does not answer)."""
        deadline = time.monotonic() + PATIENCE_S
        fresh = True
        while True:
            status = self._status()
            if not self._killed:
                self._simulation.check()
            now = time.monotonic()
            stays = fresh or now >= self._next_row
            if stays:
                self._next_row = now + ROW_S
            self._screen.show(self._row(what, status), stays=stays)
            fresh = False
            if done(status):
                return
            if now > deadline:
                raise GatewayError("EG-TIMEOUT", f"{what}: not within {PATIENCE_S:.0f} s")
            self._pause.wait(LOOK_S)

    def _status(self) -> dict[str, Any] | None:
        try:
            return self._simulation.status()
        except GatewayError:
            return None

    def _row(self, what: str, status: dict[str, Any] | None) -> Row:
        second = f"{time.monotonic() - self._began:.1f}"
        if status is None:
            return Row(second, what, "-", "-", "-", "-")
        log, backlog = status["log"], status["backlog"]["readings"]
        return Row(
            second, what, status["link"]["state"], str(log["size"]), str(backlog), str(log["receipted"])
        )

    @staticmethod
    def _flowing(status: dict[str, Any] | None) -> bool:
        """Whether every sensor has been read and the upstream has receipted some of it."""
        return (
            status is not None
            and all(sensor["readings"] >= LEAST_READINGS for sensor in status["sensors"])
            and status["log"]["receipted"] > 0
            and status["link"]["state"] == "online"
        )

    @staticmethod
    def _drained(status: dict[str, Any] | None) -> bool:
        """Whether what was stored while the broker was away has been receipted, but for the newest."""
        return (
            status is not None and status["link"]["state"] == "online" and status["backlog"]["oldest_s"] < 2.0
        )

    def _grown(self) -> Callable[[dict[str, Any] | None], bool]:
        """Whether something was committed from now on."""
        size = self._simulation.status()["log"]["size"]
        return lambda status: status is not None and status["log"]["size"] > size

    @staticmethod
    def _receipted(status: dict[str, Any] | None) -> bool:
        """Whether the sensors are silent and the upstream has receipted the whole log."""
        return (
            status is not None
            and all(sensor["age_s"] > SILENT_S for sensor in status["sensors"])
            and status["log"]["receipted"] == status["log"]["size"]
        )


def demonstrate(directory: Path) -> int:
    """Run the demonstration in `directory` and prove it; the proof's exit code."""
    print(f"demonstration in {directory}", flush=True)
    try:
        with Simulation(Options(directory, numbered=True, broker=True, faults=FAULTS)) as simulation:
            for name, address in simulation.stage.addresses.items():
                print(f"  sensor   {name:<9} {address}")
            print(f"  gateway  {simulation.layout.config}")
            if simulation.broker:
                print(f"  broker   {simulation.broker.server}, mutual TLS 1.3")
            print(
                f"  receiver {simulation.layout.readings}\n  logs     {simulation.layout.log('*')}",
                flush=True,
            )
            with Screen() as screen:
                Demonstration(simulation, screen).run()
    except GatewayError as error:
        print(error.text(), file=sys.stderr)
        print(f"  logs: {directory / 'log'}", file=sys.stderr)
        return int(error.exit_code)
    print("\neverything is stopped; the proof, by a program that imports nothing of the gateway:", flush=True)
    return subprocess.run([sys.executable, "-I", str(PROOF), str(directory)], check=False).returncode


def main() -> int:
    """Parse the arguments and demonstrate."""
    parser = argparse.ArgumentParser(description="The whole way, real: sensors to proof.")
    parser.add_argument("--dir", type=Path, metavar="DIR", help="an empty directory for everything")
    wanted: Path | None = parser.parse_args().dir
    directory = wanted.resolve() if wanted else Path(tempfile.mkdtemp(prefix="edgegw-demo-"))
    if directory.exists() and any(directory.iterdir()):
        print(f"{directory} is not empty: a proof needs ledgers from the first reading on", file=sys.stderr)
        return int(Exit.USAGE)
    with interruptible():
        try:
            return demonstrate(directory)
        except KeyboardInterrupt:
            print(f"\nstopped; what was written is in {directory}", file=sys.stderr)
            return int(Exit.INTERRUPTED)


if __name__ == "__main__":
    sys.exit(main())

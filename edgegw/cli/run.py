"""`edgegw run`: the daemon in the foreground, or one reading of each sensor."""

# ruff: noqa: PLC0415 -- a command imports what it needs when it runs: --help starts at once

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from edgegw.cli import printing
from edgegw.cli.options import Options, command
from edgegw.problems import Exit, GatewayError

if TYPE_CHECKING:
    from pathlib import Path


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "run")(run)


def run(
    options: Options,
    *,
    once: Annotated[
        bool, typer.Option("--once", help="Read each sensor once, show it, store nothing.")
    ] = False,
    no_uplink: Annotated[bool, typer.Option("--no-uplink", help="With --once: send nothing.")] = False,
) -> Exit:
    """Run the daemon in the foreground, until Ctrl-C."""
    if once:
        if not no_uplink:
            raise GatewayError("EG-USAGE", "--once sends nothing", todo=("edgegw run --once --no-uplink",))
        return _read_once(options)
    if no_uplink:
        raise GatewayError(
            "EG-USAGE", "--no-uplink goes with --once", todo=("edgegw run --once --no-uplink",)
        )
    if options.verbose:
        os.environ.setdefault("EDGEGW__LOG__LEVEL", "debug")
    arguments = ["--config", str(options.config)] if options.config else []
    # The daemon takes the place of this process: no library of the command line stays in its memory.
    return os.execv(sys.executable, [sys.executable, "-m", "edgegw.daemon", *arguments])  # noqa: S606 -- our own


def _daemon_answers(socket: "Path") -> bool:
    from edgegw import control

    try:
        control.request(socket, "status")
    except GatewayError:
        return False
    return True


def _read_once(options: Options) -> Exit:
    import asyncio

    from edgegw import config
    from edgegw.clock import SystemClock
    from edgegw.once import read_once

    settings = config.load(options.config or config.DEFAULT_FILE)
    found = asyncio.run(
        read_once(settings.sensor, SystemClock(), bluetooth=settings.bluetooth, endpoint=settings.endpoint)
    )
    if options.json:
        printing.document(found)
    else:
        rows = [
            (
                each["id"],
                reading["quantity"],
                printing.number(reading["value"]),
                reading["unit"],
                " ".join(reading["qc"]),
            )
            for each in found
            for reading in each["readings"]
        ]
        printing.table(("sensor", "quantity", "value", "unit", "checks"), rows, numbers=("value",))
    silent = [each for each in found if not each["readings"]]
    if silent:
        names = ", ".join(each["id"] for each in silent)
        why = "\n".join(f"{each['id']}: {each['why'] or 'it said nothing'}" for each in silent)
        todo = tuple(dict.fromkeys(each["todo"] for each in silent if each["todo"]))
        if _daemon_answers(settings.control.socket):
            why += "\nThe daemon runs and holds the ports of its sensors."
            todo = (
                "edgegw sensors tail shows what the daemon reads",
                "or: systemctl stop edgegw, and this command again",
            )
        raise GatewayError("EG-SENSOR-NO-ANSWER", f"no reading from {names}", why=why, todo=todo or None)
    return Exit.DONE

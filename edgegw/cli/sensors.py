"""`edgegw sensors …`: what the sensors say."""

# ruff: noqa: PLC0415 -- a command imports what it needs when it runs: --help starts at once

import time
from typing import Annotated

import typer

from edgegw.cli import printing
from edgegw.cli.options import Options, command, group
from edgegw.problems import Exit

app = group("sensors", "What the sensors say.")


def listed(options: Options) -> Exit:
    """List the sensors with their state and newest values."""
    from edgegw.cli.status import SENSOR_HEAD, SENSOR_NUMBERS, absence, look, sensor_row

    seen, absent = look(options)
    if options.json:
        printing.document(seen["sensors"])
    else:
        printing.table(
            SENSOR_HEAD,
            [sensor_row(sensor) for sensor in seen["sensors"]],
            numbers=SENSOR_NUMBERS,
        )
    return absence(absent, json=options.json)


def tail(
    options: Options,
    sensor: Annotated[str | None, typer.Argument(help="Only this sensor.", show_default=False)] = None,
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=0, help="Stop after so many readings; 0: never.")
    ] = 0,
) -> Exit:
    """Print readings as they come, until Ctrl-C."""
    from edgegw import config, control

    settings = config.load(options.config or config.DEFAULT_FILE)
    arguments = {"sensor": sensor} if sensor else {}
    for number, item in enumerate(control.stream(settings.control.socket, "tail", **arguments), 1):
        if options.json:
            printing.line(item)
        else:
            clock = time.strftime("%H:%M:%S", time.localtime(item["t"]))
            checks = f"  {' '.join(item['qc'])}" if item["qc"] else ""
            value = f"{printing.number(item['value'])} {item['unit']}"
            printing.text(
                f"{clock}  {item['sensor']:<16} {item['quantity']:<14} {value:<16}{checks}".rstrip()
            )
        if number == lines:
            break
    return Exit.DONE


command(app, "list")(listed)
command(app, "tail")(tail)

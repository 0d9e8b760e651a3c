"""`edgegw sensors …`: what the sensors say."""

# ruff: noqa: PLC0415 -- a command imports what it needs when it runs: --help starts at once

import time
from typing import Annotated, Any

import typer

from edgegw.cli import printing, probe, scan
from edgegw.cli.options import Options, command, group
from edgegw.problems import Exit, GatewayError

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
    arguments: dict[str, Any] = {"sensor": sensor} if sensor else {}
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


def show(
    options: Options,
    sensor: Annotated[str, typer.Argument(metavar="ID", help="A sensor of the configuration.")],
) -> Exit:
    """Print everything that is known of one sensor."""
    from edgegw.cli.status import absence, look

    seen, absent = look(options)
    found = next((each for each in seen["sensors"] if each["id"] == sensor), None)
    if found is None:
        known = ", ".join(each["id"] for each in seen["sensors"]) or "none"
        raise GatewayError("EG-SENSOR-UNKNOWN", f"there is no sensor {sensor!r}; there are {known}")
    if options.json:
        printing.document(found)
    else:
        printing.pairs({key: _shown(value) for key, value in found.items() if value != {}})
    return absence(absent, json=options.json)


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_shown(each)}" for key, each in value.items())
    return printing.number(value) if isinstance(value, float) else str(value)


def read_now(
    options: Options,
    sensor: Annotated[str, typer.Argument(metavar="ID", help="A sensor of the configuration.")],
    wait: Annotated[
        str, typer.Option("--wait", metavar="TIME", help="How long to wait for a reading.")
    ] = "30s",
) -> Exit:
    """Read one sensor now, while the daemon leaves the port to it.

    Readings of the test are neither stored nor sent.
    """
    from edgegw import config, sensortest
    from edgegw.config.units import seconds

    try:
        patience = seconds(wait)
    except ValueError as fault:
        raise typer.BadParameter(f"--wait {wait} {fault}") from None
    settings = config.load(options.config or config.DEFAULT_FILE)
    printing.say(options, f"reading {sensor}, at most {printing.seconds(patience)} …")
    found = sensortest.read(settings, sensor, patience)
    if options.json:
        printing.document(found)
    else:
        printing.table(
            ("quantity", "value", "unit", "checks"),
            [
                (each["quantity"], printing.number(each["value"]), each["unit"], " ".join(each["qc"]))
                for each in found["readings"]
            ],
            numbers=("value",),
        )
        if found["errors"]:
            printing.text(f"refused: {_shown(found['errors'])}")
    if not found["readings"]:
        why = found["why"] or (
            f"It said: {_shown(found['errors'])}." if found["errors"] else "It said nothing."
        )
        todo = (found["todo"],) if found["todo"] else None
        raise GatewayError("EG-SENSOR-NO-ANSWER", f"no reading from {sensor}", why=why, todo=todo)
    kept = "stored, they are the daemon's own" if found["stored"] else "neither stored nor sent"
    printing.say(options, f"{sensor} answers; these readings were {kept}")
    return Exit.DONE


command(app, "list")(listed)
command(app, "scan")(scan.scan)
command(app, "probe")(probe.probe)
command(app, "show")(show)
command(app, "test")(read_now)
command(app, "tail")(tail)

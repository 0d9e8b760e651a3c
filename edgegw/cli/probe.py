"""`edgegw sensors scan` and `sensors probe`: what hangs on this box, and which driver reads it."""

# ruff: noqa: PLC0415 -- a command imports what it needs when it runs: --help starts at once

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgegw.cli import printing
from edgegw.cli.options import Options
from edgegw.problems import Exit, GatewayError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgegw.config import Config
    from edgegw.probe.guess import Guess


def scan(options: Options) -> Exit:
    """Find what hangs on this box."""
    from edgegw.probe.ports import serial_ports

    settings = _settings(options)
    ports = serial_ports(settings.sensor if settings else {})
    if options.json:
        printing.document({"serial": [each._asdict() for each in ports]})
        return Exit.DONE
    printing.table(
        ("port", "what", "sensor"),
        [(each.name, each.what, ", ".join(each.sensors) or "free") for each in ports],
    )
    if not ports:
        printing.say(
            options, "no serial port: plug an adapter in; `dmesg | tail` says what the kernel thinks of it"
        )
    free = [each.name for each in ports if not each.sensors]
    if free:
        printing.say(options, f"next: edgegw sensors probe {free[0]}")
    return Exit.DONE


def _settings(options: Options) -> "Config | None":
    """The configuration; None when there is none yet, as on a new box."""
    from edgegw import config

    try:
        return config.load(options.config or config.DEFAULT_FILE)
    except GatewayError as error:
        if options.config is None and error.code == "EG-CONFIG-MISSING":
            return None
        raise


def probe(
    options: Options,
    port: Annotated[
        Path,
        typer.Argument(metavar="PORT", help="A serial port, as /dev/serial/by-id/….", show_default=False),
    ],
    ask: Annotated[
        bool, typer.Option("--ask/--listen", help="Ask devices for data too, or only listen.")
    ] = True,
    write: Annotated[
        str,
        typer.Option(
            "--write", metavar="ID", help="Write a drop-in for a sensor of this id.", show_default=False
        ),
    ] = "",
) -> Exit:
    """Guess which device is on a port, with its driver and line settings.

    It listens first, then asks for data as each driver does. Nothing is changed in a device.
    """
    from edgegw.probe.serial import find

    settings = _settings(options)
    owners = [
        name
        for name, sensor in (settings.sensor if settings else {}).items()
        if sensor.enabled and sensor.port is not None and sensor.port.resolve() == port.resolve()
    ]
    if owners:
        raise GatewayError(
            "EG-PORT-BUSY",
            f"{port} belongs to sensor {owners[0]}",
            why="The daemon reads it.",
            todo=(f"edgegw sensors test {owners[0]}", "or set enabled = false for it, and reload"),
        )
    found = find(port, lambda text: printing.say(options, f"{text} …"), ask=ask)
    if not found:
        raise GatewayError(
            "EG-SENSOR-NO-ANSWER",
            f"no driver recognises what is on {port}",
            todo=(
                "check power, and that RX and TX (or A and B) are not swapped",
                "edgegw drivers list: is there a driver for the device?",
            ),
        )
    if options.json:
        printing.document([each.as_dict() for each in found])
    else:
        _show(found)
    if write:
        _write(options, settings, write, {"port": str(port)}, found[0])
    elif found:
        printing.say(options, f"next: edgegw sensors probe {port} --write ID")
    return Exit.DONE


def _show(found: "Sequence[Guess]") -> None:
    """A row for each guess."""
    rows = []
    for guess in found:
        values = (f"{name} {printing.number(each.value)}" for name, each in guess.sample.items())
        how = " ".join(f"{key}={value}" for key, value in guess.options.items())
        unit = f" unit {guess.unit}" if guess.unit is not None else ""
        line = f"{guess.line.baudrate} baud{unit}" if guess.line else ""
        rows.append(
            (f"{guess.driver} {how}".strip(), str(guess.sureness), line, " ".join(values), guess.about)
        )
    printing.table(("driver", "sure", "line", "values", "because"), rows)


def _write(
    options: Options, settings: "Config | None", name: str, where: dict[str, Any], guess: "Guess"
) -> None:
    """A drop-in beside the configuration, checked before it stays."""
    from edgegw import config
    from edgegw.probe import dropin

    main = options.config or config.DEFAULT_FILE
    keys: dict[str, Any] = {"driver": guess.driver, **where}
    if guess.unit is not None:
        keys["unit"] = guess.unit
    keys |= guess.options
    file = main.parent / "conf.d" / f"{name}.toml"
    text = dropin.table(name, keys, f"{guess.driver}: {guess.about} ({guess.sureness})")
    # Without a configuration yet, the drop-in is checked by itself.
    check = (lambda: config.load(main)) if settings else (lambda: config.load(file, role="drop-in"))
    dropin.write(file, text, check)
    printing.say(options, f"wrote {file}; next: systemctl reload edgegw, then: edgegw sensors test {name}")

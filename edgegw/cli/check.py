"""`edgegw check`: is the configuration valid, and what does it say in the end."""

# ruff: noqa: PLC0415 -- a command imports what it needs when it runs: --help starts at once

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgegw.cli import printing
from edgegw.cli.options import Options, command
from edgegw.problems import Exit

if TYPE_CHECKING:
    from edgegw.config import Config


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "check")(check)


def check(
    options: Options,
    file: Annotated[
        Path | None, typer.Argument(help="A configuration, or a lone drop-in.", show_default=False)
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Treat notes as mistakes.")] = False,
) -> Exit:
    """Validate the configuration, print the sensors."""
    from edgegw.config import DEFAULT_FILE, ConfigError, examine

    config = examine(file or options.config or DEFAULT_FILE)
    if strict and config.notes:
        raise ConfigError(config.notes)
    if options.json:
        printing.document(
            {"file": str(config.file), "valid": True, "sensors": _sensors(config), "notes": _notes(config)}
        )
        return Exit.DONE
    printing.table(
        ("sensor", "driver", "on", "interval", "stale after", "options"),
        [_row(sensor) for sensor in _sensors(config)],
    )
    for note in config.notes:
        printing.say(options, f"note: {note}")
    printing.say(options, f"{config.file}: valid, {len(config.sensor)} sensors")
    return Exit.DONE


def _sensors(config: "Config") -> list[dict[str, Any]]:
    """The effective sensors as plain values."""
    return [
        {
            "id": name,
            "driver": sensor.driver,
            "enabled": sensor.enabled,
            "port": str(sensor.port) if sensor.port else None,
            "host": str(sensor.host) if sensor.host else None,
            "unit": sensor.unit,
            "interval_s": sensor.interval,
            "stale_after_s": sensor.stale_after,
            "options": dict(sensor.options),
        }
        for name, sensor in config.sensor.items()
    ]


def _notes(config: "Config") -> list[dict[str, Any]]:
    """What is allowed but worth knowing."""
    return [
        {"file": note.source, "line": note.line, "path": note.path, "text": note.text}
        for note in config.notes
    ]


def _row(sensor: dict[str, Any]) -> list[str]:
    from edgegw.config.units import show_seconds

    interval = sensor["interval_s"]
    return [
        sensor["id"] + ("" if sensor["enabled"] else " (disabled)"),
        sensor["driver"],
        str(sensor["port"] or sensor["host"] or ""),
        show_seconds(interval) if interval is not None else "all",
        show_seconds(sensor["stale_after_s"]),
        " ".join(f"{name}={value}" for name, value in sensor["options"].items()),
    ]

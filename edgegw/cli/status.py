"""`edgegw` and `edgegw status`: what the gateway is doing."""

# ruff: noqa: PLC0415 -- a command imports what it needs when it runs: --help starts at once

import shutil
import sys
from typing import Any

import typer

from edgegw.cli import printing
from edgegw.cli.options import Options, command
from edgegw.cli.printing import count, seconds, size
from edgegw.problems import Exit, GatewayError

SENSOR_HEAD = ("sensor", "driver", "state", "age", "readings", "errors", "last")
# Values of one sensor in a row of a table, on a narrow terminal and elsewhere: enough to see that it lives.
FEW, SOME = 2, 4
NARROW = 120
SENSOR_NUMBERS = ("age", "readings", "errors")


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "status")(status)


def status(options: Options) -> Exit:
    """Print the state of everything."""
    seen, absent = look(options)
    if options.json:
        printing.document(seen)
        return absence(absent, json=True)
    for line in _six_lines(seen):
        printing.text(line)
    printing.text("")
    printing.table(
        SENSOR_HEAD,
        [sensor_row(sensor) for sensor in seen["sensors"]],
        numbers=SENSOR_NUMBERS,
    )
    for (about, said), names in _notices(seen["sensors"]).items():
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        printing.hanging(f"note: {shown}, {about}: ", said, indent=6)
    for problem in seen["problems"]:
        if absent is not None and problem["code"] == absent.code:
            continue  # it is told once, with its cause, on stderr
        printing.text(f"{problem['severity']}: {problem['text']} [{problem['code']}]")
        for step in problem["todo"]:
            printing.text(f"  do:   {step}")
    return absence(absent, json=False)


def _notices(sensors: list[dict[str, Any]]) -> dict[tuple[str, str], list[str]]:
    """What somebody has to look at, each with the sensors that say it: one radio tells all of them the same."""
    found: dict[tuple[str, str], list[str]] = {}
    for sensor in sensors:
        for about, said in sensor.get("notices", {}).items():
            if about not in sensor["facts"]:
                found.setdefault((about, said), []).append(sensor["id"])
    return found


def overview(options: Options) -> Exit:
    """Six lines: state, sensors, link, backlog, clock and certificate, what to do next."""
    seen, absent = look(options)
    if options.json:
        printing.document(seen)
    else:
        for line in _six_lines(seen):
            printing.text(line)
    return absence(absent, json=options.json)


def look(options: Options) -> tuple[dict[str, Any], GatewayError | None]:
    """The status document, and why it is only the view from the store (None: it comes from the daemon)."""
    from edgegw import config, spool

    with spool.look(config.load(options.config or config.DEFAULT_FILE)) as seen:
        return seen.status, seen.absent


def absence(absent: GatewayError | None, *, json: bool) -> Exit:
    """Say that what was printed is the view from the store."""
    if absent is None:
        return Exit.DONE
    print(absent.json() if json else absent.text(), file=sys.stderr)  # noqa: T201 -- talk beside the data
    return absent.exit_code


def _six_lines(seen: dict[str, Any]) -> list[str]:
    sensors, link, log, backlog = seen["sensors"], seen["link"], seen["log"], seen["backlog"]
    well = sum(sensor["state"] in ("ok", "simulated", "warm_up", "flagged") for sensor in sensors)
    waiting = f"{count(backlog['readings'])} readings, oldest {seconds(backlog['oldest_s'])}"
    steps = [step for problem in seen["problems"] for step in problem["todo"]]
    return [
        f"gateway   {seen['gateway']['id']}: {seen['state']} (edgegw {seen['gateway']['version']})",
        f"sensors   {well} of {len(sensors)} measuring{_troubled(sensors)}",
        (
            f"link      {link['state']}{_for(link['since_s'])}; "
            f"{count(log['receipted'])} of {count(log['size'])} records receipted"
        ),
        f"backlog   {waiting if backlog['readings'] else 'empty'}; store {size(seen['store']['bytes'])}",
        (
            f"clock     {seen['clock']['state']}, ±{seen['clock']['error_ms']} ms; "
            f"certificate {seen['identity']['tls_days_left']} days left"
        ),
        f"next      {steps[0] if steps else 'nothing to do'}",
    ]


def _for(since_s: float) -> str:
    """How long; nothing where that is not known, as in the view from the store."""
    return f" for {seconds(since_s)}" if since_s else ""


def _troubled(sensors: list[dict[str, Any]]) -> str:
    bad = [
        f"{sensor['id']} {sensor['state']}"
        for sensor in sensors
        if sensor["state"] not in ("ok", "simulated", "warm_up", "flagged", "starting", "disabled", "paused")
    ]
    return f": {', '.join(bad[:3])}{', …' if len(bad) > 3 else ''}" if bad else ""


def sensor_row(sensor: dict[str, Any]) -> list[str]:
    """One sensor under `SENSOR_HEAD`."""
    values = [f"{name} {printing.number(value)}" for name, value in sensor["last"].items()]
    most = FEW if sys.stdout.isatty() and shutil.get_terminal_size().columns < NARROW else SOME
    more = len(values) - most
    last = " ".join(values[:most] + ([f"+{more}"] if more > 0 else []))
    return [
        sensor["id"],
        sensor["driver"],
        sensor["state"],
        seconds(sensor["age_s"]) if sensor["age_s"] >= 0 else "",
        count(sensor["readings"]),
        count(sum(sensor["errors"].values())),
        last,
    ]

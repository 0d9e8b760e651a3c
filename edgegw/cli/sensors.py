"""`edgegw sensors …`: what the sensors say."""

# ruff: noqa: PLC0415 -- a command imports what it needs when it runs: --help starts at once

import time
from typing import Annotated, Any

import typer

from edgegw import reasons
from edgegw.cli import printing, probe, scan
from edgegw.cli.options import Options, command, group
from edgegw.cli.printing import seconds
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
        meanings = [each.as_dict() for each in reasons.explained(found["errors"])]
        printing.document({**found, "explained": meanings})
    else:
        _show(found)
        if absent is None and found["state"] not in WELL:
            printing.say(options, f"next: edgegw sensors test {sensor}")
    return absence(absent, json=options.json)


# States in which a sensor needs nobody.
WELL = frozenset(("ok", "simulated", "warm_up", "flagged", "starting", "paused"))


def _show(found: dict[str, Any]) -> None:
    """A sensor: what it is doing, its newest values, what it made known, what was refused and why."""
    age = f"{seconds(found['age_s'])} ago" if found["age_s"] >= 0 else "never"
    facts = {
        "sensor": f"{found['id']}, driver {found['driver']}",
        "state": found["state"],
        "why": found.get("why", ""),
        "do": found.get("todo", ""),
        "last": ", ".join(f"{name} {printing.number(value)}" for name, value in found["last"].items()),
        "age": age,
        "readings": printing.count(found["readings"]),
        "checks": "; ".join(_meant(each) for each in found.get("checks", ())),
        "answers": _shown(found.get("answer_ms", {})) + (" ms" if "answer_ms" in found else ""),
        "radio": _shown(found.get("bluetooth", {})),
        **found.get("notices", {}),
    }
    width = max(map(len, facts)) + 2
    for name, text in facts.items():
        if text:
            printing.hanging(name.ljust(width), text)
    if found["errors"]:
        printing.text("refused, since the sensor was started:")
        _show_refused(found["errors"])


def _show_refused(errors: dict[str, int]) -> None:
    """How often what was refused, what that means and what to do."""
    for each in reasons.explained(errors):
        text = each.meaning or "only its driver knows what that means: see the README of the driver"
        printing.hanging(f"  {printing.count(each.times):>6} {each.name}: ", text, indent=9)
        if each.todo:
            printing.hanging("         do: ", each.todo)


def _meant(check: str) -> str:
    text, _ = reasons.meaning(check)
    return f"{check} ({text})" if text else check


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
    from edgegw.config import units

    try:
        patience = units.seconds(wait)
    except ValueError as fault:
        raise typer.BadParameter(f"--wait {wait} {fault}") from None
    settings = config.load(options.config or config.DEFAULT_FILE)
    with printing.waiting(options, f"reading {sensor}, at most {seconds(patience)}", patience):
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
        for name, text in found.get("notices", {}).items():
            printing.hanging(f"{name}: ", text)
        if found["errors"]:
            printing.text("refused meanwhile:")
            _show_refused(found["errors"])
    if not found["readings"]:
        raise _unread(found, patience)
    if not found["stored"]:
        kept = "neither stored nor sent"
    elif found["fresh"]:
        kept = "stored, they are the daemon's own"
    else:
        kept = f"the daemon's, {seconds(found['age_s'])} old; nothing new came meanwhile"
    printing.say(options, f"{sensor} answers; these readings were {kept}")
    known = found["stored"] or found["paused"]
    step = f"edgegw sensors tail {sensor}" if known else "systemctl reload edgegw, then: edgegw sensors list"
    printing.say(options, f"next: {step}")
    return Exit.DONE


def _unread(found: dict[str, Any], patience: float) -> GatewayError:
    """Why a sensor gave nothing, and what to do about it."""
    counted = [(each, *reasons.meaning(each)) for each in found["errors"]]
    why = [found["why"] or f"It said nothing within {seconds(patience)}."]
    if not found["why"] and counted:
        why = ["It said no value: " + "; ".join(text or name for name, text, _ in counted) + "."]
    notices = list(found.get("notices", {}).values())
    todo = [found["todo"]] if found["todo"] else []
    setup = any("allow_setup" in text for text in notices)
    if setup:
        todo.append(f"write allow_setup = true into [sensor.{found['id']}], then test again")
    todo += [
        text for _, _, text in counted if text and text not in todo and not (setup and "allow_setup" in text)
    ]
    if found["stored"]:
        todo.append(f"edgegw sensors test {found['id']} --wait 5m: a sensor may speak once in minutes")
    return GatewayError(
        "EG-SENSOR-NO-ANSWER", f"no reading from {found['id']}", why="\n".join(why), todo=tuple(todo) or None
    )


command(app, "list")(listed)
command(app, "scan")(scan.scan)
command(app, "probe")(probe.probe)
command(app, "show")(show)
command(app, "test")(read_now)
command(app, "tail")(tail)

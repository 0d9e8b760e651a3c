"""`edgegw sensors probe`: which device is it, and the drop-in that reads it."""

# ruff: noqa: PLC0415 -- a command imports what it needs when it runs: --help starts at once

from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgegw.cli import printing
from edgegw.cli.options import Options
from edgegw.problems import Exit, GatewayError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgegw.config import Config
    from edgegw.probe.candidates import Wish
    from edgegw.probe.find import Target
    from edgegw.probe.guess import Guess

# Guesses that are shown for one device; the others are counted.
MOST_SHOWN = 4


def probe(
    options: Options,
    where: Annotated[
        str,
        typer.Argument(
            metavar="WHERE",
            help="A serial port; HOST:PORT; http://HOST; mqtt://HOST; a Bluetooth address; plughw:CARD=….",
            show_default=False,
        ),
    ],
    *,
    ask: Annotated[
        bool, typer.Option("--ask/--listen", help="Ask devices for data too, or only listen.")
    ] = True,
    driver: Annotated[
        str, typer.Option("--driver", metavar="D", help="Try only this driver.", show_default=False)
    ] = "",
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            "-o",
            metavar="KEY=VALUE",
            help="Try only this, as profile=xy-md02.",
            show_default=False,
        ),
    ] = None,
    unit: Annotated[
        list[int] | None,
        typer.Option(
            "--unit",
            metavar="N",
            min=1,
            max=255,
            help="Only this Modbus unit; repeat it.",
            show_default=False,
        ),
    ] = None,
    write: Annotated[
        str,
        typer.Option(
            "--write", metavar="ID", help="Write a drop-in for a sensor of this id.", show_default=False
        ),
    ] = "",
    setup: Annotated[
        bool, typer.Option("--allow-setup", help="In the drop-in: the gateway may start and set the device.")
    ] = False,
) -> Exit:
    """Guess which device is there, and show the drop-in for it.

    On a serial port it listens first, then asks for data as each driver does. Nothing is changed in a device.
    """
    from edgegw.probe.find import find, nothing, target
    from edgegw.probe.guess import ambiguous, devices

    settings = configured(options)
    wish = _wish(driver, option or [], unit or [])
    wanted = target(where)
    _refuse_used(settings, wanted)
    _refuse_taken(options, write)
    adapter = settings.bluetooth.adapter if settings else ""
    with printing.progress(options) as said:
        found = find(wanted, said, ask=ask, wish=wish, adapter=adapter)
    if not found:
        raise nothing(wanted)
    best = devices(found)
    open_ = [guess for guess in best if ambiguous(guess, found)] if write else []
    drops = _drops(write or "ID", best, found, wanted.keys, setup=setup)
    if options.json:
        shown = {id(guess): text for guess, (_, text) in zip(best, drops, strict=True)}
        printing.document([{**guess.as_dict(), "toml": shown.get(id(guess), "")} for guess in found])
    else:
        _show(best, found)
    if write:
        chosen = [(guess, drop) for guess, drop in zip(best, drops, strict=True) if guess not in open_]
        best, drops = [guess for guess, _ in chosen], [drop for _, drop in chosen]
        _write(options, settings, drops)
    elif not options.json:
        for _, text in drops:
            printing.text(f"\n{text.rstrip()}")
    if drops:
        _say_next(options, where, write, best, drops)
    if open_:
        raise _undecided(where, write, open_, found)
    return Exit.DONE


def _undecided(where: str, write: str, open_: "Sequence[Guess]", found: "Sequence[Guess]") -> GatewayError:
    """What to type where only a person can tell which of several it is."""
    todo = []
    for guess in open_:
        unit = f" --unit {guess.unit}" if guess.unit is not None else ""
        name = f"{write}-{guess.unit}" if len(open_) > 1 else write
        choices = [each for each in found if each.unit == guess.unit][: MOST_SHOWN + 1]
        todo += [f"edgegw sensors probe {where}{unit} {_choice(each)} --write {name}" for each in choices]
    units = ", ".join(f"unit {guess.unit}" for guess in open_ if guess.unit is not None)
    return GatewayError(
        "EG-USAGE",
        f"several profiles fit {units or where} equally, and one of them is right",
        why="Its label says what it is; or compare the values above with what is true there. One of:",
        todo=tuple(todo),
        safe="nothing was written for it",
    )


def configured(options: Options) -> "Config | None":
    """The configuration; None when there is none yet, as on a new box."""
    from edgegw import config

    try:
        return config.load(options.config or config.DEFAULT_FILE)
    except GatewayError as error:
        if options.config is None and error.code == "EG-CONFIG-MISSING":
            return None
        raise


def _wish(driver: str, option: "Sequence[str]", units: "Sequence[int]") -> "Wish":
    """What the person knows already; GatewayError for a driver that there is not, or words that are no option."""
    from edgegw import registry
    from edgegw.probe.candidates import Wish

    try:
        if driver:
            registry.load(driver)
    except registry.DriverError as error:
        raise GatewayError("EG-DRIVER-UNKNOWN", str(error)) from None
    given = {}
    for word in option:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise GatewayError("EG-USAGE", f"--option wants KEY=VALUE, not {word!r}")
        given[key] = value
    return Wish(driver, given, units)


def _refuse_used(settings: "Config | None", wanted: "Target") -> None:
    """GatewayError when a sensor of the configuration has the port: the daemon reads it."""
    import os

    if wanted.kind != "serial" or settings is None:
        return
    device = os.path.realpath(wanted.text)
    for name, sensor in settings.sensor.items():
        if sensor.enabled and sensor.port is not None and os.path.realpath(sensor.port) == device:
            raise GatewayError(
                "EG-PORT-BUSY",
                f"{wanted.text} belongs to sensor {name}",
                why="The daemon reads it.",
                todo=(f"edgegw sensors test {name}", "or set enabled = false for it, and reload"),
            )


def _refuse_taken(options: Options, name: str) -> None:
    """GatewayError for an id that no sensor can have, or whose drop-in exists: said before the search, not after."""
    import re

    from edgegw.config.models import ID

    if not name:
        return
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", name):
        raise GatewayError("EG-USAGE", f"--write {name}: an id is made of {ID}")
    file = _file(options, name)
    if file.exists():
        raise GatewayError(
            "EG-REFUSED",
            f"{file} is there already",
            why="It may hold a sensor that somebody configured.",
            todo=("give the sensor another id", f"or remove it first: rm {file}"),
            safe="nothing was changed",
        )


def _show(best: "Sequence[Guess]", found: "Sequence[Guess]") -> None:
    """Each device with its best guess, then what would fit too."""
    from edgegw.probe import dropin

    for guess in best:
        printing.text(f"{guess.shown}: {guess.sureness}")
        rows = [
            ("because", guess.about),
            ("line", ", ".join(_line(guess))),
            ("says", dropin.said(guess)),
            *(("note", text) for text in guess.notices),
        ]
        others = [each for each in found if each is not guess and each.unit == guess.unit]
        rows += [
            ("or", f"{each.shown} ({each.sureness}): {dropin.said(each) or each.about}")
            for each in others[:MOST_SHOWN]
        ]
        if len(others) > MOST_SHOWN:
            rows.append(("or", f"{len(others) - MOST_SHOWN} more; --json lists them"))
        if others:
            rows.append(("", f"choose with {_choice(others[0])}"))
        for name, text in rows:
            if text:
                printing.hanging(f"  {name:<8} ", text)


def _line(guess: "Guess") -> list[str]:
    """Line settings and unit, where there are any."""
    from edgegw.probe.guess import spelt

    line = [spelt(guess.line)] if guess.line else []
    return [*line, f"unit {guess.unit}"] if guess.unit is not None else line


def _choice(guess: "Guess") -> str:
    """The options of the command that take this guess."""
    from edgegw.probe.guess import PLACES

    words = [f"-o {key}={value}" for key, value in guess.options.items() if key not in PLACES]
    return " ".join(words or [f"--driver {guess.driver}"])


def _drops(
    name: str,
    best: "Sequence[Guess]",
    found: "Sequence[Guess]",
    where: "Mapping[str, Any]",
    *,
    setup: bool,
) -> list[tuple[str, str]]:
    """The id and the drop-in for each device: several on one line have their unit behind the id."""
    from edgegw.probe import dropin

    made = []
    for guess in best:
        one = name if len(best) == 1 else f"{name}-{guess.unit}"
        others = [each for each in found if each is not guess and each.unit == guess.unit][:MOST_SHOWN]
        made.append((one, dropin.text(one, where, guess, others, setup=setup)))
    return made


def _file(options: Options, name: str) -> Any:
    from edgegw import config

    return (options.config or config.DEFAULT_FILE).parent / "conf.d" / f"{name}.toml"


def _write(options: Options, settings: "Config | None", drops: "Sequence[tuple[str, str]]") -> None:
    """Drop-ins beside the configuration, each checked before it stays."""
    from edgegw import config
    from edgegw.probe import dropin

    main = options.config or config.DEFAULT_FILE
    for name, text in drops:
        file = _file(options, name)

        def check(file: Any = file) -> object:
            # Without a configuration yet, the drop-in is checked by itself.
            return config.load(main) if settings else config.load(file, role="drop-in")

        dropin.write(file, text, check)
        printing.say(options, f"wrote {file}")


def _say_next(
    options: Options, where: str, write: str, best: "Sequence[Guess]", drops: "Sequence[tuple[str, str]]"
) -> None:
    """What the technician types now."""
    names = [name for name, _ in drops]
    if len(best) > 1:
        printing.say(options, f"{len(best)} devices are on this line; --unit N takes one of them")
    if not write:
        setup = " --allow-setup" if any(guess.wants_setup for guess in best) else ""
        printing.say(options, f"next: edgegw sensors probe {where} --write ID{setup}")
        return
    for name, guess in zip(names, best, strict=True):
        if guess.secret:
            key = _file(options, name).with_suffix(f".{guess.secret}")
            printing.say(options, f"next: write the {guess.secret}, 32 hexadecimal digits, into {key}")
            printing.say(options, f"      chown edgegw {key}; chmod 0600 {key}")
    printing.say(options, "next: edgegw check")
    printing.say(options, "      systemctl reload edgegw")
    for name in names:
        printing.say(options, f"      edgegw sensors test {name}")

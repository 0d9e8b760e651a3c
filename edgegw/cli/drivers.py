"""`edgegw drivers …`: which drivers are installed and what they know."""

# ruff: noqa: PLC0415 -- a command imports what it needs when it runs: --help starts at once

import contextlib
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from edgegw.cli import printing
from edgegw.cli.options import Options, command, group
from edgegw.problems import Exit, GatewayError

app = group("drivers", "Which drivers are installed, what they read.")

# Characters that `decode` takes from standard input: a day of the radar that talks most, in hexadecimal.
LONGEST_INPUT = 1 << 26


def listed(options: Options) -> Exit:
    """List the installed drivers and the packages that bring them."""
    from edgegw import registry

    found = registry.installed()
    if options.json:
        printing.document([{**each._asdict(), "reads": _reads(each.name)} for each in found])
    else:
        broken = any(each.error for each in found)
        printing.table(
            ("driver", "reads", "kind", "package", *(("trouble",) if broken else ())),
            [
                (
                    each.name,
                    _reads(each.name),
                    each.kind,
                    f"{each.package} {each.version}",
                    *((each.error,) if broken else ()),
                )
                for each in found
            ],
        )
    return Exit.PROBLEMS if any(each.error for each in found) else Exit.DONE


def _reads(name: str) -> str:
    """Which devices a driver reads, as the title of its README says; empty where there is none."""
    title, _, _ = _paper(name, "README.md").partition("\n")
    return title.partition(": ")[2].strip()


def _paper(name: str, paper: str) -> str:
    """A file that lies beside a driver's code; empty for none, as with a driver that cannot be used."""
    from importlib import resources

    from edgegw import registry

    try:
        package = sys.modules[registry.load(name).__module__].__package__
        return resources.files(package or "").joinpath(paper).read_text(encoding="utf-8")
    except (registry.DriverError, OSError, ValueError, ModuleNotFoundError):
        return ""


def info(
    options: Options, name: Annotated[str, typer.Argument(metavar="DRIVER", help="Name of a driver.")]
) -> Exit:
    """Print what a driver reads and which options it has."""
    from edgegw import registry
    from edgegw.reading import QUANTITIES

    try:
        driver = registry.load(name)
    except registry.DriverError as error:
        raise GatewayError("EG-DRIVER-UNKNOWN", str(error)) from None
    known = registry.options(driver)
    quantities = [QUANTITIES[each] for each in driver.quantities]
    if options.json:
        printing.document(
            {
                "name": name,
                "kind": driver.kind,
                "version": driver.version,
                "doc": driver.__doc__ or "",
                "quantities": [
                    {"name": each.name, "unit": each.unit, "mean": str(each.mean)} for each in quantities
                ],
                "options": [
                    {**each._asdict(), "default": None if each.required else printing.plain(each.default)}
                    for each in known
                ],
                "variants": [{"options": each, "quantities": found} for each, found in _variants(name)],
            }
        )
        return Exit.DONE
    printing.text(f"{name}, {driver.kind}, version {driver.version}")
    printing.text((driver.__doc__ or "").strip())
    printing.table(
        ("quantity", "unit", "over an interval"),
        [(each.name, each.unit, str(each.mean)) for each in quantities],
    )
    printing.table(
        ("option", "type", "default", "meaning"),
        [(each.name, each.type, "" if each.required else str(each.default), each.doc) for each in known],
    )
    if variants := _variants(name):
        printing.table(
            ("variant", "quantities"),
            [
                (", ".join(f"{k} = {v}" for k, v in each.items()), ", ".join(found))
                for each, found in variants
            ],
        )
    if sample := _paper(name, "sample.toml"):
        printing.text(f"\n# To begin with, as conf.d/ID.toml:\n{sample.rstrip()}")
    return Exit.DONE


def _variants(name: str) -> list[tuple[dict[str, Any], list[str]]]:
    """Sets of options that a driver offers by itself (profiles, models), each with what it then gives."""
    from edgegw import registry

    found = []
    for options in registry.load(name).candidates():
        # One file of the site that is wrong must not hide the others; `edgegw check` says what is wrong in it.
        with contextlib.suppress(registry.DriverError, registry.OptionsError):
            if options:
                found.append((dict(options), list(registry.make(name, options).emits())))
    return found


def decode(
    options: Options,
    name: Annotated[str, typer.Argument(metavar="DRIVER", help="Name of a driver.")],
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="HEX|-",
            help="Bytes in hexadecimal, or the text of a layer of text; - is stdin.",
            show_default=False,
        ),
    ] = None,
    layer: Annotated[
        str, typer.Option("--layer", metavar="LAYER", help="What the input is; uart-stream: with noise.")
    ] = "",
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option", "-o", metavar="KEY=VALUE", help="An option of the driver, or the layer's context."
        ),
    ] = None,
) -> Exit:
    """Decode bytes with a driver, offline.

    Prints a line of JSON for each reading and each refusal.
    """
    from edgegw import decode as pure

    del options  # the data is JSON lines either way
    readings = 0
    texts = pure.joined([_stdin() if text == "-" else text for text in inputs or ["-"]], layer)
    for line in pure.decode(name, texts, layer=layer, options=_pairs(option or [])):
        readings += "error" not in line
        printing.line(line)
    if not readings:
        raise GatewayError("EG-DECODE-NOTHING")
    return Exit.DONE


def new(
    options: Options,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the new driver, profile or map.")],
    kind: Annotated[
        str,
        typer.Option(
            "--kind",
            metavar="KIND",
            help="stream (it talks), ask (it is asked), poll (Modbus), advert (Bluetooth), message (JSON); "
            "without code: modbus-profile, json-map.",
        ),
    ] = "stream",
    folder: Annotated[Path, typer.Option("--dir", metavar="DIR", help="Where it is written.")] = Path(),
) -> Exit:
    """Write a new driver to begin with: a package that works, or a profile or map for a device without code.

    Nothing is overwritten.
    """
    from edgegw import skeleton

    written = skeleton.new(name, kind, folder)
    if options.json:
        printing.document(
            {
                "path": str(written.path),
                "files": [str(file) for file in written.files],
                "todo": list(written.todo),
            }
        )
        return Exit.DONE
    for file in written.files:
        printing.text(str(file))
    printing.say(options, "next:")
    for step in written.todo:
        printing.say(options, f"  {step}")
    return Exit.DONE


def _pairs(words: list[str]) -> dict[str, object]:
    """Options as they were typed, by name."""
    found: dict[str, object] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise GatewayError("EG-USAGE", f"--option wants KEY=VALUE, not {word!r}")
        if key in found:
            raise GatewayError("EG-USAGE", f"--option {key} is given twice")
        found[key] = value
    return found


def _stdin() -> str:
    """Standard input, without the line end that `echo` adds."""
    if sys.stdin.isatty():
        raise GatewayError("EG-USAGE", "nothing to decode: give hexadecimal bytes, or pipe them in")
    data = sys.stdin.buffer.read(LONGEST_INPUT + 1)
    if len(data) > LONGEST_INPUT:
        raise GatewayError(
            "EG-USAGE", f"standard input is longer than {printing.size(LONGEST_INPUT)}: cut it"
        )
    if data.endswith(b"\n") and not data.endswith(b"\r\n"):
        data = data[:-1]
    return data.decode("utf-8", "surrogateescape")


command(app, "list")(listed)
command(app, "info")(info)
command(app, "decode")(decode)
command(app, "new")(new)

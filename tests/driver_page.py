"""The page `docs/drivers.md`: from the box in a technician's hand to the driver, its wiring and its line settings.

It is made from what the drivers, profiles and maps say of themselves; `scripts/driver-tables --write` writes it.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from edgegw import contract, registry
from edgegw.contract.tables import section
from edgegw.driver import AdvertDriver, AskDriver, AudioDriver, MessageDriver, PollDriver, StreamDriver
from edgegw_drivers.json_map import find as maps
from edgegw_drivers.modbus import find as profiles

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edgegw.contract import Subject
    from edgegw.driver import Driver, SerialLine

PAGE = Path(__file__).parents[1] / "docs" / "drivers.md"

INTRODUCTION = """# Drivers: from the box in hand to the sensor's table

Search this page for a word that is printed on the device. The row says what to write into the sensor's table, how the
device is wired, and what it gives. Every driver's `sample.toml` is a table that works; its README says the rest
(`edgegw drivers info NAME` shows the options). Nothing fits: see *A device that is not here*.

This page is made from the drivers, profiles and maps themselves (`scripts/driver-tables --write`); a test holds it to
them.
"""

DOUBTFUL = """A row that says *doubtful* has something in its profile that its sources do not agree on, marked `[?]`
there: look before the first real unit is wired.
"""

KINDS = """## Kinds

| kind | what it is | in the sensor's table |
| --- | --- | --- |
| stream | it talks by itself, on a serial line | `port` |
| ask | it is asked, on a serial line or a TCP socket | `port` or `host` |
| poll | Modbus, RTU or TCP | `port` or `host`, `unit` |
| advert | Bluetooth LE; nobody connects to it | `address` |
| message | JSON on the local network | `url`, `server`, or nothing where it posts |
| audio | a microphone on a sound card | `device` |

## A device that is not here

- A Modbus device needs no code: `edgegw drivers new NAME --kind modbus-profile` writes a profile to begin with. So does
  one that speaks JSON: `--kind json-map`.
- For any other, `edgegw drivers new NAME --kind stream` (or `ask`, `advert`, `message`) writes a whole package; see
  *A driver in an hour* in `CONTRIBUTING.md`.
- Whose device is it at all? `edgegw sensors scan` and `edgegw sensors probe` try what is installed; `edgegw drivers decode` shows
  what a driver makes of captured bytes.
"""


def page() -> str:
    """The whole page."""
    drivers = [contract.subject(found.name) for found in registry.installed() if found.package == "edgegw"]
    return "\n".join(
        [
            INTRODUCTION,
            "## Devices with a driver of their own\n",
            *_table(("I have", "`driver`", "kind", "wire", "it gives", "maturity"), map(_driver, drivers)),
            "",
            '## Modbus devices: `driver = "modbus"` with a profile\n',
            "Parity and stop bits are 8N1 unless the row says otherwise; a device on TCP has `host` instead of `port`.\n",
            *_table(
                ("I have", "`profile`", "also called", "line", "`unit`", "it gives", "known from"),
                (_profile(file) for file in sorted(profiles.SHIPPED.glob("*.toml"))),
            ),
            "",
            DOUBTFUL,
            '## Devices that speak JSON: `driver = "json_http"` or `"json_mqtt"` with a map\n',
            *_table(
                ("I have", "`map`", "it gives", "known from"),
                (_map(file) for file in sorted(maps.SHIPPED.glob("*.toml"))),
            ),
            "",
            KINDS,
        ]
    )


def _table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> Iterator[str]:
    for cells in (head, ["---"] * len(head), *rows):
        yield f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _driver(driver: Subject) -> Sequence[str]:
    text = (driver.folder / "README.md").read_text(encoding="utf-8")
    devices = text.partition("\n")[0].partition(": ")[2]
    link = f"[`{driver.name}`](../drivers/edgegw_drivers/{driver.name}/README.md)"
    gives = driver.kind.quantities
    return (
        devices[0].upper() + devices[1:],
        link,
        driver.kind.kind,
        wire(driver.made()),
        " ".join(f"`{name}`" for name in gives) if gives else "see below",
        _sentence(section(text, "Maturity")),
    )


def _sentence(text: str) -> str:
    """The first sentence of a section, in one line."""
    words = " ".join(text.split())
    return re.split(r"(?<=[.;]) ", words, maxsplit=1)[0].rstrip(";.")


def wire(driver: Driver) -> str:
    """How a device is connected, with the settings of its line."""
    if isinstance(driver, StreamDriver):
        return f"serial, {settings(driver.line)}"
    if isinstance(driver, AskDriver):
        return f"serial, {settings(driver.line)}, or TCP"
    if isinstance(driver, PollDriver):
        return "RS-485 or Modbus TCP; line by the profile"
    if isinstance(driver, AdvertDriver):
        return "Bluetooth LE"
    if isinstance(driver, MessageDriver):
        return "network"
    assert isinstance(driver, AudioDriver)
    return f"sound card, {driver.rate} samples a second"


def settings(line: SerialLine) -> str:
    """Line settings as a technician says them."""
    return f"{line.baudrate} {line.bytesize}{line.parity}{line.stopbits}"


def _profile(file: Path) -> Sequence[str]:
    text = file.read_text(encoding="utf-8")
    about = tomllib.loads(text)["device"]
    loaded = profiles.load(file.stem)
    lines = {f"{each.bytesize}{each.parity}{each.stopbits}" for each in loaded.lines} - {"8N1"}
    rates = list(dict.fromkeys(str(each.baudrate) for each in loaded.lines))
    names = dict.fromkeys([loaded.model, *about.get("aliases", [])])
    return (
        f"{_device(file.stem)}: {_sentence(about.get('description', loaded.model))}",
        f"`{file.stem}`",
        ", ".join(name for name in names if name != file.stem),
        " ".join([*rates[:1], *([f"({', '.join(rates[1:])})"] if rates[1:] else []), *sorted(lines)]),
        ", ".join(map(str, loaded.units)),
        " ".join(f"`{read.quantity.name}`" for read in loaded.reads),
        f"{_known(len(loaded.examples))}{'; doubtful' if '[?]' in text else ''}",
    )


def _device(profile: str) -> str:
    """What the README of the driver calls the profile's device; KeyError where it does not name the profile."""
    readme = (contract.subject("modbus").folder / "README.md").read_text(encoding="utf-8")
    for line in readme.splitlines():
        cells = line.split("|")
        names = re.findall(r"`([\w-]+)`", cells[1]) if line.startswith("| `") else []
        if profile in names:
            devices = cells[2].strip().split("; ")
            return devices[names.index(profile)] if len(devices) == len(names) else devices[0]
    raise KeyError(profile)


def _map(file: Path) -> Sequence[str]:
    about = tomllib.loads(file.read_text(encoding="utf-8"))["device"]
    loaded = maps.load(file.stem)
    return (
        _sentence(about.get("description", loaded.model)),
        f"`{file.stem}`",
        " ".join(f"`{name}`" for name in dict.fromkeys(read.quantity.name for read in loaded.reads)),
        _known(len(loaded.examples)),
    )


def _known(examples: int) -> str:
    return f"{examples} worked example{'' if examples == 1 else 's'}"

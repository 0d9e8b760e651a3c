"""Where the text of a map comes from: the site's folder, what ships, or a file; and which map a document is of."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgegw.driver import FrameError
from edgegw_drivers.json_map.schema import TEXT_BYTES, parse
from edgegw_drivers.modbus.table import nearest

if TYPE_CHECKING:
    from edgegw_drivers.json_map.map import Map

SHIPPED: Final = Path(__file__).parent / "maps"
#: The variable that names another folder of site maps than the usual one.
VARIABLE: Final = "EDGEGW_MAPS"
USUAL: Final = "/etc/edgegw/maps"
NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def names() -> list[str]:
    """The names of all maps there are, shipped or of the site."""
    return sorted({file.stem for folder in _folders() for file in folder.glob("*.toml")})


def load(name: str) -> Map:
    """The map of that name or path; ValueError, beginning with `map: `, when there is no good one.

    A name is looked up in the site's folder first: like a unit of systemd, a file there stands for the one
    that ships. `file:PATH`, a path with a slash and whatever ends in `.toml` name a file.
    """
    file = _file(name)
    try:
        with file.open("rb") as opened:
            text = opened.read(TEXT_BYTES + 1).decode()
    except (OSError, ValueError) as error:  # ValueError: no UTF-8, or a zero byte in the path
        raise ValueError(f"map: {file} cannot be read: {error}") from error
    try:
        return parse(str(file), text)
    except ValueError as error:
        raise ValueError(f"map: {error}") from error


def recognised(document: Any) -> Map:
    """The map whose conditions the document meets, the most particular one; FrameError `malformed` for none.

    A map that is broken is passed over. Only the shell guesses: a sensor names its map.
    """
    found: list[Map] = []
    for name in names():
        try:
            plan = load(name)
        except ValueError:
            continue
        if plan.payload is None and plan.fits(document):
            found.append(plan)
    if not found:
        raise FrameError("malformed")
    return max(found, key=lambda plan: len(plan.match))


def _file(name: str) -> Path:
    if name.startswith("file:") or "/" in name or name.endswith(".toml"):
        return Path(name.removeprefix("file:"))
    if NAME.fullmatch(name):
        for folder in _folders():
            if (folder / f"{name}.toml").is_file():
                return folder / f"{name}.toml"
    raise ValueError(
        f"map: there is no map {name!r}{nearest(name, names())}; "
        f"a map of your own lies in {_folders()[0]} or is named file:PATH"
    )


def _folders() -> tuple[Path, Path]:
    return Path(os.environ.get(VARIABLE) or USUAL), SHIPPED

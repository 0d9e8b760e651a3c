"""A new driver to begin with: a whole package for an invented device, or a profile or map without any code.

What is written works as it stands: its tests pass, its sample is accepted, its README says what the code does. The
author replaces the invented device by the real one, piece by piece.
"""

from __future__ import annotations

import importlib.util
import keyword
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from edgegw import registry
from edgegw.problems import GatewayError

if TYPE_CHECKING:
    from collections.abc import Mapping

TEMPLATES: Final = Path(__file__).parent / "skeletons"
#: Kinds of driver that are a package.
PACKAGES: Final = ("stream", "ask", "poll", "advert", "message")
#: Kinds that need no code: the driver that reads the file, and the option that names it.
FILES: Final[Mapping[str, tuple[str, str]]] = {
    "modbus-profile": ("modbus", "profile"),
    "json-map": ("json_http", "map"),
}
# A name is an option's value in TOML, a module and a word of a technician: short, lower case. 32 characters is what a
# column of `edgegw drivers list` holds.
_NAME: Final = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_FILE_NAME: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_LONGEST_NAME: Final = 32


class Written(NamedTuple):
    """What was written: where, which files, and what to do next, a command or a sentence each."""

    path: Path
    files: tuple[Path, ...]
    todo: tuple[str, ...]


def new(name: str, kind: str, folder: Path) -> Written:
    """Write a new driver of that kind below `folder`: a package `edgegw-NAME`, or the file `NAME.toml`.

    Raises GatewayError: EG-USAGE for a name or kind that cannot be, EG-REFUSED where something is there already,
    EG-PERMISSION, EG-FILE. Nothing is left behind then.
    """
    if kind in FILES:
        _check(name, _FILE_NAME, "lower-case letters, digits and single dashes, such as acme-th")
        return _file(name, kind, folder)
    if kind not in PACKAGES:
        raise GatewayError("EG-USAGE", f"no kind {kind!r}; there are {', '.join((*PACKAGES, *FILES))}")
    _check(name, _NAME, "lower-case letters, digits and single underscores after a letter, such as acme_th")
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        raise GatewayError("EG-USAGE", f"{name!r} is a word of Python; a module cannot bear it")
    if name in registry.names():
        raise GatewayError(
            "EG-REFUSED",
            f"a driver {name!r} is installed already",
            why="Two packages that claim one name are both refused by the gateway.",
            todo=("choose another name", f"edgegw drivers info {name}"),
            safe="nothing was written",
        )
    if importlib.util.find_spec(f"edgegw_{name}") is not None:
        raise GatewayError(
            "EG-REFUSED",
            f"a package edgegw_{name} is installed already",
            why="Of two packages with one name Python finds only the first.",
            todo=("choose another name",),
            safe="nothing was written",
        )
    return _package(name, kind, folder)


def _check(name: str, allowed: re.Pattern[str], words: str) -> None:
    if len(name) > _LONGEST_NAME or not allowed.fullmatch(name):
        raise GatewayError(
            "EG-USAGE", f"{name[:60]!r} is no name for a driver: up to {_LONGEST_NAME} {words}"
        )


def _file(name: str, kind: str, folder: Path) -> Written:
    file = folder / f"{name}.toml"
    driver, option = FILES[kind]
    text = _filled(TEMPLATES / f"{kind}.toml.in", {"name": name})
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError:
        raise _taken(file if file.exists() else folder) from None
    except OSError as error:
        raise _unwritable(file, error) from error
    todo = (
        f"replace the invented device in {file} by yours",
        f'in a sensor\'s table: driver = "{driver}" and {option} = "file:{file.absolute()}"',
        "edgegw check: every mistake with its line, and the examples of the file are decoded",
    )
    return Written(file, (file,), todo)


def _package(name: str, kind: str, folder: Path) -> Written:
    root, package = folder / f"edgegw-{name.replace('_', '-')}", f"edgegw_{name}"
    words = {
        "name": name,
        "package": package,
        "project": root.name,
        "slug": name.replace("_", "-"),
        "class": "".join(part.capitalize() for part in name.split("_")),
    }
    files = {
        "pyproject.toml": TEMPLATES / "pyproject.toml.in",
        f"{package}/__init__.py": TEMPLATES / "__init__.py.in",
        f"{package}/py.typed": None,
        f"tests/test_{name}.py": TEMPLATES / "test_driver.py.in",
        **{f"{package}/{each.stem}": each for each in sorted((TEMPLATES / kind).glob("*.in"))},
    }
    try:
        root.mkdir(parents=True)
    except FileExistsError:
        raise _taken(root) from None
    except OSError as error:
        raise _unwritable(root, error) from error
    try:
        for path, template in files.items():
            (root / path).parent.mkdir(exist_ok=True)
            (root / path).write_text(_filled(template, words) if template else "", encoding="utf-8")
    except OSError as error:
        shutil.rmtree(root, ignore_errors=True)  # ours alone: it was made above
        raise _unwritable(root, error) from error
    todo = (
        f"cd {root} && pip install -e '.[test]' && pytest",
        f"edgegw drivers info {name}",
        f"replace the invented device: {package}/driver.py, facts.json, README.md, sample.toml",
        f"python -m edgegw.contract {name} --write: rules, and the tables of README.md from the code",
    )
    return Written(root, tuple(root / path for path in files), todo)


def _filled(template: Path, words: Mapping[str, str]) -> str:
    """A template with each `@word@` replaced."""
    text = template.read_text(encoding="utf-8")
    return re.sub(r"@(\w+)@", lambda found: words.get(found[1], found[0]), text)


def _taken(path: Path) -> GatewayError:
    return GatewayError(
        "EG-REFUSED",
        f"{path} is there already",
        why="Somebody's work may be in it.",
        todo=("choose another name", "choose another folder: --dir DIR"),
        safe="nothing was written",
    )


def _unwritable(path: Path, error: OSError) -> GatewayError:
    code = "EG-PERMISSION" if isinstance(error, PermissionError) else "EG-FILE"
    return GatewayError(code, f"{path} cannot be written: {error.strerror or error}")

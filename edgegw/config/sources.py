"""Where the configuration comes from: the main file, its `conf.d`, the environment.

`gather` lays them over each other into one `Tree` of plain values that remembers for each key the file and
line it came from. It does not know which keys exist.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from edgegw.config.positions import MAX_DEPTH, KeyPath, NestingError, positions
from edgegw.problems import GatewayError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# 500 sensors with every key and a comment on each are 200 KB; more is not a configuration.
MAX_FILE_BYTES = 512 * 1024
# One drop-in for each of the 500 sensors that a gateway may have.
MAX_DROPINS = 500
# More mistakes than this are no help to anybody; the rest appears when these are corrected.
MAX_MISTAKES = 100

PREFIX: Final = "EDGEGW__"
_TOML_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


class Origin(NamedTuple):
    """Where a value was set: a file and its line, or (line 0) an environment variable or the command line."""

    source: str
    line: int
    base: Path

    def __str__(self) -> str:
        return f"{self.source}:{self.line}" if self.line else self.source


class Mistake(NamedTuple):
    """One mistake: where it stands (line 0: not on a line), the key in dots (or nothing) and what is wrong."""

    source: str
    line: int
    path: str
    text: str

    def __str__(self) -> str:
        place = f"{self.source}:{self.line}" if self.line else self.source
        return f"{place}: {self.path}: {self.text}" if self.path else f"{place}: {self.text}"


def dotted(path: KeyPath) -> str:
    """A key path as it is written in TOML: `sensor.air-1.port`."""
    return ".".join(
        str(part) if re.fullmatch(r"[A-Za-z0-9_-]+", str(part)) else ascii(str(part))[:80] for part in path
    )


@dataclass
class Tree:
    """Plain values with their origins, and the mistakes found so far."""

    file: Path
    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[KeyPath, Origin] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)
    #: True when a file could not be read as TOML: keys may seem to be missing that are not.
    torn: bool = False

    def origin(self, path: KeyPath) -> Origin:
        """Where `path`, or else the nearest table around it, was set."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.origins:
                return self.origins[path[:length]]
        return Origin(str(self.file), 0, self.file.parent)

    def mistake(self, path: KeyPath, text: str, origin: Origin | None = None) -> None:
        """Note a mistake at `path`."""
        where = origin or self.origin(path)
        self.mistakes.append(Mistake(where.source, where.line, dotted(path), text))

    def clean(self, *path: str) -> bool:
        """Whether no mistake has been noted at `path` or below it."""
        name = dotted(path)
        return not any(noted.path == name or noted.path.startswith(f"{name}.") for noted in self.mistakes)


def gather(file: Path, env: Mapping[str, str], textual: Callable[[KeyPath], bool], *, alone: bool) -> Tree:
    """The main file, then (unless `alone`) each `conf.d/*.toml` beside it by name, then the environment.

    `textual` says whether a key takes an environment variable's text as it stands; others take it as TOML.
    Raises GatewayError when a file is missing or may not be read; every other mistake is noted in the tree.
    """
    file = Path(os.path.abspath(file))  # noqa: PTH100 -- resolve() would lead relative paths astray through links
    tree = Tree(file)
    _merge_file(tree, file)
    if not alone:
        for dropin in _dropins(tree, file.parent / "conf.d"):
            _merge_file(tree, dropin)
        _merge_environment(tree, env, textual)
    return tree


def _refusal(path: Path, fault: OSError) -> GatewayError:
    if isinstance(fault, PermissionError):
        return GatewayError(
            "EG-PERMISSION",
            f"{path} may not be read",
            why="It belongs to another user, or a directory above it is closed to you.",
            todo=("run the command as root or as a member of the group edgegw", f"ls -l {path}"),
        )
    if isinstance(fault, (FileNotFoundError, NotADirectoryError)):
        return GatewayError("EG-CONFIG-MISSING", f"{path} does not exist")
    return GatewayError(
        "EG-CONFIG", f"{path} cannot be read", why=f"{fault.strerror}.", todo=(f"ls -l {path}",)
    )


def _dropins(tree: Tree, directory: Path) -> list[Path]:
    try:
        found = sorted(each for each in directory.iterdir() if each.suffix == ".toml" and each.name[0] != ".")
    except FileNotFoundError:
        return []
    except OSError as fault:
        raise _refusal(directory, fault) from None
    if len(found) > MAX_DROPINS:
        tree.mistake((), f"holds more than {MAX_DROPINS} files", Origin(str(directory), 0, directory))
    return found[:MAX_DROPINS]


def read_bytes(path: Path) -> bytes:
    """The bytes of a regular file, at most one more than `MAX_FILE_BYTES`; OSError for anything else."""
    # Without O_NONBLOCK a named pipe would hold the daemon for ever.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(handle).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, "It is a directory", str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "It is not a regular file", str(path))
        with open(handle, "rb", closefd=False) as stream:
            return stream.read(MAX_FILE_BYTES + 1)
    finally:
        os.close(handle)


def _merge_file(tree: Tree, path: Path) -> None:
    here = Origin(str(path), 1, path.parent)
    try:
        data = read_bytes(path)
    except OSError as fault:
        raise _refusal(path, fault) from None
    try:
        if len(data) > MAX_FILE_BYTES:
            raise _Unreadable(1, f"is larger than {MAX_FILE_BYTES // 1024} KiB")
        lines, values = _parse(data)
    except _Unreadable as fault:
        tree.torn = True
        tree.mistake((), str(fault), here._replace(line=fault.line))
        return
    origins = {key: Origin(str(path), line, path.parent) for key, line in lines.items()}
    _refuse_twins(tree, values, origins)
    for key, origin in origins.items():
        if key not in tree.origins or not isinstance(_at(tree.values, key), dict):
            tree.origins[key] = origin  # a table that two files share keeps its first place
    _merge(tree.values, values)


class _Unreadable(ValueError):  # noqa: N818 -- it never leaves this module
    """A file is not TOML, from this line on."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.line = line


def _parse(data: bytes) -> tuple[dict[KeyPath, int], dict[str, Any]]:
    try:
        text = data.decode("utf-8-sig")  # editors on Windows put a byte order mark in front
    except UnicodeDecodeError as fault:
        line = data.count(b"\n", 0, fault.start) + 1
        raise _Unreadable(line, f"is not UTF-8: byte 0x{data[fault.start]:02x}") from None
    try:
        return positions(text), tomllib.loads(text)
    except NestingError as fault:
        raise _Unreadable(fault.line, str(fault)) from None
    except tomllib.TOMLDecodeError as fault:
        place = _TOML_PLACE.search(str(fault))
        last = text.count("\n") + 1
        line = int(place[1]) if place and place[1] else last
        message = _TOML_PLACE.sub("", str(fault))
        raise _Unreadable(line, f"is not TOML: {message[:1].lower()}{message[1:]}") from None
    except (
        ValueError,
        RecursionError,
    ):  # a number with thousands of digits; brackets that the scan stopped at
        raise _Unreadable(1, "is not a configuration: a number or a nesting in it has no end") from None


def _refuse_twins(tree: Tree, values: dict[str, Any], origins: dict[KeyPath, Origin]) -> None:
    """Take sensors that an earlier file has already out of `values` and `origins`, with a mistake for each."""
    mine, theirs = values.get("sensor"), tree.values.get("sensor")
    if not isinstance(mine, dict) or not isinstance(theirs, dict):
        return
    twins = mine.keys() & theirs.keys()
    for name in sorted(twins):
        path = ("sensor", name)
        tree.mistake(path, f"is configured twice: here and in {tree.origin(path)}", origins.get(path))
        del mine[name]
    for key in [key for key in origins if key[:1] == ("sensor",) and key[1:2] and key[1] in twins]:
        del origins[key]


def _at(values: Any, path: KeyPath) -> Any:
    for part in path:
        if not isinstance(values, dict) or part not in values:
            return None
        values = values[part]
    return values


def _merge(into: dict[str, Any], values: dict[str, Any]) -> None:
    for name, value in values.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        else:
            into[name] = value


def _merge_environment(tree: Tree, env: Mapping[str, str], textual: Callable[[KeyPath], bool]) -> None:
    for name in sorted(each for each in env if each.startswith(PREFIX)):
        origin = Origin(f"environment variable {name}", 0, tree.file.parent)
        path = tuple(name.removeprefix(PREFIX).lower().split("__"))
        if not 2 <= len(path) <= MAX_DEPTH or not all(path):
            tree.mistake((), f"does not name a key; write {PREFIX}TABLE__KEY", origin)
            continue
        if path[0] == "sensor":  # no shell can export a name with a dash
            path = ("sensor", path[1].replace("_", "-"), *path[2:])
        raw = env[name]
        value = raw if textual(path) else _as_toml(raw)
        if _put(tree.values, path, value):
            tree.origins[path] = origin
        else:
            tree.mistake(path, "is inside a key that is no table", origin)


def _put(values: dict[str, Any], path: tuple[str, ...], value: Any) -> bool:
    """Set `path` in `values`; False when a part of the way is not a table."""
    table: Any = values
    for part in path[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            return False
    table[path[-1]] = value
    return True


def _as_toml(raw: str) -> Any:
    if len(raw) > 4096 or raw.count("[") + raw.count("{") + raw.count(".") > 64:
        return raw
    try:
        return tomllib.loads(f"value = {raw}\n").get("value", raw)
    except ValueError:
        return raw

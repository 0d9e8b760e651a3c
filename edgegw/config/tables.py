"""From plain values to the tables of `models`: every key read by its kind, every mistake noted.

A key with a mistake gets its default (or, for one that must be given, the table is not made), so that the
rest is still checked.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from edgegw.config.kinds import Kind, suggest
from edgegw.config.models import ID, REQUIRED, Tables, fields

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgegw.config.positions import KeyPath
    from edgegw.config.sources import Tree

T = TypeVar("T")

# Each sensor costs a task, buffers and a line of status; a Pi Zero 2 W is busy with a tenth of this.
MAX_SENSORS = 500
_SENSOR_ID = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def textual(path: KeyPath) -> bool:
    """Whether the key at `path` takes a text; False for one that is not known."""
    model: Any = Tables
    for depth, part in enumerate(path):
        about = fields(model).get(str(part), {})
        if "each" in about and len(path) > depth + 2:
            model = about["each"]
            kind = fields(model).get(str(path[depth + 2]), {}).get("kind")
            return isinstance(kind, Kind) and kind.textual and len(path) == depth + 3
        if "kind" in about:
            kind = about["kind"]
            return isinstance(kind, Kind) and kind.textual and len(path) == depth + 1
        if "table" not in about:
            return False
        model = about["table"]
    return False


def refuse_secrets(tree: Tree) -> None:
    """Note each key that holds a pasted key or certificate, and take it out, so that nothing can print it."""
    _refuse_pem(tree, tree.values, ())


def _refuse_pem(tree: Tree, values: Any, path: KeyPath) -> bool:
    """True when `values` itself is or contains PEM outside of a table."""
    if isinstance(values, str):
        return "-----BEGIN" in values
    if isinstance(values, list):
        return any([_refuse_pem(tree, element, path) for element in values])  # noqa: C419 -- visit every one
    if isinstance(values, dict):
        for name in list(values):
            here = (*path, name)
            if _refuse_pem(tree, values[name], here):
                tree.mistake(
                    here,
                    "holds a pasted key or certificate; put it into a file with mode 0600 "
                    'and write "file:PATH" (or "cred:NAME")',
                )
                values[name] = Pasted()
    return False


class Pasted:
    """Stands where a pasted secret was; its mistake has been noted."""


def read_tables(tree: Tree, *, need_gateway: bool) -> dict[str, Any]:
    """The tables of `models.Tables` by name; `gateway` is left out when it has mistakes or is not there."""
    about = fields(Tables)
    _refuse_unknown(tree, (), tree.values, list(about))
    found: dict[str, Any] = {}
    for name, what in about.items():
        given = name in tree.values
        if "each" in what:
            found[name] = _read_each(tree, (name,), what["each"])
        elif given or name not in ("gateway", "receive") or (name == "gateway" and need_gateway):
            table = read_table(tree, (name,), what["table"])
            if table is None and name not in ("gateway", "receive"):
                table = what["table"]()
            if table is not None:
                found[name] = table
    return found


def read_table(tree: Tree, path: KeyPath, model: type[T]) -> T | None:
    """The table at `path` (empty when it is absent); None when a key that must be given is missing or wrong."""
    values = _table_at(tree, path)
    if values is None:
        return None
    about = fields(model)
    has_rest = any("rest" in what for what in about.values())
    if not has_rest:
        _refuse_unknown(tree, path, values, list(about))
    found: dict[str, Any] = {}
    whole = True
    for name, what in about.items():
        if "kind" in what:
            whole &= _read_key(tree, (*path, name), values, what, found)
        elif "table" in what:
            found[name] = read_table(tree, (*path, name), what["table"]) or what["table"]()
        else:
            rest = {key: each for key, each in values.items() if key not in about or key == name}
            rest = {key: each for key, each in rest.items() if not isinstance(each, Pasted)}
            found[name] = MappingProxyType(rest)
    return model(**found) if whole else None


def _read_key(
    tree: Tree, path: KeyPath, values: Mapping[str, Any], what: Mapping[str, Any], found: dict[str, Any]
) -> bool:
    name = str(path[-1])
    kind: Kind[Any] = what["kind"]
    default = what["default"]
    raw = values.get(name, default)
    if raw is REQUIRED:
        if not tree.torn:
            tree.mistake(path, "is missing")
        return False
    if isinstance(raw, Pasted):
        return default is not REQUIRED
    if name in values:
        try:
            found[name] = kind.read(raw, tree.origin(path).base)
        except ValueError as fault:
            tree.mistake(path, str(fault))
        else:
            return True
    if default is REQUIRED:
        return False
    found[name] = kind.read(default, tree.file.parent)
    return True


def _read_each(tree: Tree, path: KeyPath, model: type[T]) -> Mapping[str, T]:
    values = _table_at(tree, path) or {}
    if len(values) > MAX_SENSORS:
        tree.mistake(path, f"has more than {MAX_SENSORS} sensors")
    found: dict[str, T] = {}
    for name in list(values)[:MAX_SENSORS]:
        here = (*path, name)
        if _SENSOR_ID.fullmatch(name) is None:
            tree.mistake(here, f"is not a name for a sensor; use 1 to 63 {ID}")
        table = read_table(tree, here, model)
        if table is not None:
            found[name] = table
    return MappingProxyType(found)


def _table_at(tree: Tree, path: KeyPath) -> Mapping[str, Any] | None:
    """The plain values of a table, empty when it is absent; None when something else stands there."""
    values: Any = tree.values
    for part in path:
        values = values.get(part, {}) if isinstance(values, dict) else {}
    if isinstance(values, dict):
        return values
    if not isinstance(values, Pasted):
        tree.mistake(path, f"must be a table: [{'.'.join(map(str, path))}]")
    return None


def _refuse_unknown(tree: Tree, path: KeyPath, values: Mapping[str, Any], known: list[str]) -> None:
    for name in values:
        if name not in known:
            what = "unknown key" if path else "unknown table or key"
            tree.mistake((*path, name), f"{what}{suggest(name, known)}")

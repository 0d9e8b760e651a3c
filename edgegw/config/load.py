"""Load the configuration: gather, read, check; every mistake at once."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from edgegw import registry
from edgegw.config import rules
from edgegw.config.documents import check_endpoint
from edgegw.config.kinds import FILE, SECRET, Kind
from edgegw.config.models import DEFAULT_FILE, Gateway, Receive, Tables, fields
from edgegw.config.sources import MAX_MISTAKES, Mistake, Origin, Tree, dotted, gather
from edgegw.config.tables import read_tables, refuse_secrets, textual
from edgegw.problems import GatewayError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edgegw.config.positions import KeyPath
    from edgegw.driver import Driver

#: What a file is for: a gateway, a receiver, or a lone drop-in with sensors.
Role = Literal["gateway", "receiver", "drop-in"]


class ConfigError(GatewayError):
    """The configuration has mistakes; `mistakes` holds each one, in the order of files and lines."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        count = len(self.mistakes)
        shown = [str(mistake) for mistake in self.mistakes[:MAX_MISTAKES]]
        if count > MAX_MISTAKES:
            shown.append(f"… and {count - MAX_MISTAKES} more")
        super().__init__(
            "EG-CONFIG",
            f"the configuration has {count} mistakes" if count > 1 else "the configuration has a mistake",
            why="\n".join(shown),
            details={"mistakes": [_as_dict(mistake) for mistake in self.mistakes[:MAX_MISTAKES]]},
        )


@dataclass(frozen=True, kw_only=True)
class Config(Tables):
    """The effective configuration.

    `file` is the main file, `notes` what somebody should know although it is allowed. A receiver's file or a
    lone drop-in may have no `[gateway]`; its id is then empty.
    """

    file: Path = DEFAULT_FILE
    notes: tuple[Mistake, ...] = ()
    origins: Mapping[KeyPath, Origin] = field(default_factory=lambda: MappingProxyType({}), repr=False)

    def origin(self, path: str) -> str:
        """Where the key `path` (as `uplink.server`) was set: `FILE:LINE`, an environment variable, or `default`."""
        parts: KeyPath = tuple(path.split("."))
        found = self.origins.get(parts)
        return str(found) if found else "default"


def load(
    path: Path | str = DEFAULT_FILE,
    env: Mapping[str, str] | None = None,
    *,
    role: Role = "gateway",
    make: Callable[[str, Mapping[str, Any]], Driver] = registry.make,
    strict: bool = False,
) -> Config:
    """The configuration of `path`, the `conf.d/*.toml` beside it and the environment `EDGEGW__TABLE__KEY`.

    `make(driver, options)` checks the options of a sensor (by default the registry's). A broken driver
    package is a note, because it costs its own sensors and no others; when `strict`, a mistake. Raises ConfigError with
    every mistake, or GatewayError when a file is missing (exit 4) or may not be read (exit 5).
    """
    tree = gather(Path(path), os.environ if env is None else env, textual, alone=role == "drop-in")
    refuse_secrets(tree)
    values = read_tables(tree, need_gateway=role == "gateway")
    if role == "receiver" and "receive" not in values and tree.clean("receive"):
        tree.mistake((), "has no [receive] table")
    values["uplink"], notes = rules.settle_uplink(tree, values["uplink"])
    if role != "gateway":
        notes = []
    notes += rules.check_store(tree, values)
    notes += check_endpoint(tree, values["endpoint"])
    values["sensor"], more = rules.settle_sensors(
        tree,
        values["sensor"],
        values["quality"],
        make,
        strict=strict,
        endpoint=values["endpoint"] if role == "gateway" else None,
    )
    notes += more
    if tree.mistakes:
        raise ConfigError(_in_order(tree, tree.mistakes))
    values.setdefault("gateway", Gateway(id=""))
    noted = [
        Mistake(where.source, where.line, dotted(key), text)
        for key, text in notes
        for where in [tree.origin(key)]
    ]
    values["sensor"] = MappingProxyType(values["sensor"])
    return Config(
        **values, file=tree.file, notes=tuple(_in_order(tree, noted)), origins=MappingProxyType(tree.origins)
    )


def receive_options(said: Mapping[str, Any], base: Path | None = None) -> dict[str, Any]:
    """What a command line says about `[receive]`, read as the file is; a plain path stands for `file:PATH`.

    Relative paths start from `base` (the working directory). Raises GatewayError EG-USAGE for what is wrong.
    """
    about = fields(Receive)
    found: dict[str, Any] = {}
    for name, raw in said.items():
        kind: Kind[Any] = about[name]["kind"]
        is_path = kind in (SECRET, FILE) and not raw.startswith(("file:", "cred:"))
        try:
            found[name] = kind.read(f"file:{raw}" if is_path else raw, base or Path.cwd())
        except ValueError as fault:
            option = f"--{name.replace('_', '-')}"
            raise GatewayError("EG-USAGE", f"{option} {fault}", todo=("edgegw receive --help",)) from None
    return found


def digest(config: Tables) -> str:
    """SHA-256 in hexadecimal of the effective configuration; secrets are references and stand in it by name."""
    plain = {name: _plain(getattr(config, name)) for name in Tables.__dataclass_fields__}
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    """`value` as JSON knows it, the same for the same configuration on every machine and version of Python."""
    if hasattr(value, "__dataclass_fields__") and not hasattr(value, "scheme"):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if hasattr(value, "items"):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return [_plain(each) for each in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)


def _as_dict(mistake: Mistake) -> dict[str, Any]:
    return {"file": mistake.source, "line": mistake.line, "path": mistake.path, "text": mistake.text}


def _in_order(tree: Tree, mistakes: Sequence[Mistake]) -> list[Mistake]:
    """By file (the main one first, then by name) and line, each one once."""
    return sorted(dict.fromkeys(mistakes), key=lambda each: (each.source != str(tree.file), each[:4]))

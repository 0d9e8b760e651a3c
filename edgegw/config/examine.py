"""Look at a configuration as somebody who asks whether it is good: whatever kind of file it is, and its store."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

from edgegw.config.load import Config, ConfigError, Role, load
from edgegw.config.sources import Mistake, read_bytes
from edgegw.storage import volatile

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def examine(path: Path, env: Mapping[str, str] | None = None) -> Config:
    """The configuration of a gateway, a receiver or a lone drop-in; raises as `load` does.

    A store that does not survive a power cut is a mistake here, although the daemon would measure on.
    """
    role = role_of(path)
    config = load(path, env, role=role, strict=True)
    store = config.store
    kind = volatile(store.path) if role == "gateway" and store.require_persistent else ""
    if not kind:
        return config
    place = config.origins.get(("store", "path"))
    text = (
        f"{store.path} is on {kind}: a power cut takes everything in it; "
        "name a directory on a disk or card, or say require_persistent = false"
    )
    source, line = (place.source, place.line) if place else (str(config.file), 0)
    raise ConfigError([Mistake(source, line, "store.path", text)])


def role_of(path: Path) -> Role:
    """What the file is for, by its tables; a gateway's where that cannot be told."""
    try:
        tables = tomllib.loads(read_bytes(path).decode("utf-8-sig")).keys()
    except (OSError, ValueError, RecursionError):  # load says what is wrong with it
        return "drop-in" if path.absolute().parent.name == "conf.d" else "gateway"
    if tables == {"sensor"}:
        return "drop-in"
    return "receiver" if "receive" in tables and "gateway" not in tables else "gateway"

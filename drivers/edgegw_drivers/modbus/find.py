"""Where the text of a profile comes from: the site's folder, what ships, or a file. Read once, never again."""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edgegw_drivers.modbus.schema import TEXT_BYTES, aliases, parse
from edgegw_drivers.modbus.table import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edgegw_drivers.modbus.profile import Profile

SHIPPED: Final = Path(__file__).parent / "profiles"
#: The variable that names another folder of site profiles than the usual one.
VARIABLE: Final = "EDGEGW_PROFILES"
USUAL: Final = "/etc/edgegw/profiles"
# Broadcast, what nearly every device has, and what asks whoever is there.
_USUAL_UNITS: Final = frozenset({0, 1, 255})
NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def names() -> list[str]:
    """The names of all profiles there are, shipped or of the site."""
    return sorted({file.stem for folder in _folders() for file in folder.glob("*.toml")})


def load(profile: str) -> Profile:
    """The profile of that name or path; ValueError, beginning with `profile: `, when there is no good one.

    A name is looked up in the site's folder first: like a unit of systemd, a file there stands for the one
    that ships. `file:PATH`, a path with a slash and whatever ends in `.toml` name a file.
    """
    file = _file(profile)
    try:
        with file.open("rb") as opened:
            text = opened.read(TEXT_BYTES + 1).decode()
    except (OSError, ValueError) as error:  # ValueError: no UTF-8, or a zero byte in the path
        raise ValueError(f"profile: {file} cannot be read: {error}") from error
    try:
        return parse(str(file), text)
    except ValueError as error:
        raise ValueError(f"profile: {error}") from error


@cache
def of_unit(unit: int) -> Profile | None:
    """The profile that ships for the devices that leave their maker with this address; None for several, or none.

    The usual address 1 tells nothing; others do: an SCD30 has 0x61, a Senseair 0xFE or 0x68.
    """
    if unit in _USUAL_UNITS:
        return None
    return _only(profile for profile in _shipped() if unit in profile.units)


@cache
def of_register(function: int | None, register: int) -> Profile | None:
    """The profile that ships for the devices that are asked for this register; None for several, or none."""
    return _only(
        profile
        for profile in _shipped()
        if any(
            function in {None, block.function}
            and register in range(block.address, block.address + block.count)
            for block in profile.blocks
        )
    )


@cache
def _shipped() -> tuple[Profile, ...]:
    return tuple(load(str(file)) for file in sorted(SHIPPED.glob("*.toml")))


def _only(profiles: Iterable[Profile]) -> Profile | None:
    found = list(profiles)
    return found[0] if len(found) == 1 else None


def _file(profile: str) -> Path:
    if profile.startswith("file:") or "/" in profile or profile.endswith(".toml"):
        return Path(profile.removeprefix("file:"))
    name = re.sub(r"[\s_]+", "-", profile.strip().lower())
    if NAME.fullmatch(name):
        for folder in _folders():
            if (folder / f"{name}.toml").is_file():
                return folder / f"{name}.toml"
        for folder in _folders():  # rare: a device by the name that is printed on it
            for file in sorted(folder.glob("*.toml")):
                if name in _aliases(file):
                    return file
    raise ValueError(
        f"profile: there is no profile {profile!r}{nearest(profile, names())}; "
        f"a profile of your own lies in {_folders()[0]} or is named file:PATH"
    )


def _aliases(file: Path) -> list[str]:
    """Other names of the profile in a file; none where it cannot be read."""
    try:
        with file.open("rb") as opened:
            return aliases(opened.read(TEXT_BYTES).decode())
    except (OSError, ValueError):
        return []


def _folders() -> tuple[Path, Path]:
    return Path(os.environ.get(VARIABLE) or USUAL), SHIPPED

"""What a device should be set to: the profile's list, and what the sensor's own table says about it. Pure."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import TYPE_CHECKING

from edgegw.driver import Setting
from edgegw_drivers.modbus.table import is_integer, nearest, shown
from edgegw_drivers.modbus.words import bits_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgegw_drivers.modbus.profile import Choice, Profile


def settings(profile: Profile, wanted: Mapping[str, int]) -> Sequence[Setting]:
    """The settings that have a value; ValueError, beginning with `settings: `, for what the profile does not allow.

    A setting with a default can be left alone only by a profile of one's own: what the default says is what
    makes the device measure at all.
    """
    known = {choice.name: choice for choice in profile.choices}
    mistakes = []
    for name, value in wanted.items():
        if name not in known:
            hint = nearest(name, list(known)) if known else "; this profile has none"
            mistakes.append(f"there is no setting {shown(name)}{hint}")
        elif not is_integer(value) or not known[name].allowed[0] <= value <= known[name].allowed[1]:
            lowest, highest = known[name].allowed
            mistakes.append(f"{name} is {shown(value)}, not a whole number from {lowest} to {highest}")
    if mistakes:
        raise ValueError("settings: " + "; ".join(mistakes))
    found = []
    chosen: Mapping[str, int | None] = wanted
    for choice in profile.choices:
        number = chosen.get(choice.name, choice.default)
        if number is not None:
            found.append(_setting(choice, number))
    return found


def _setting(choice: Choice, value: int) -> Setting:
    if choice.write.function == 5:
        shows: tuple[int, ...] = (int(bool(value)),)
        words: tuple[int, ...] = (0xFF00 if value else 0,)
    else:
        words = shows = _words(value, choice)
    if choice.shows is not None:
        shows = (choice.shows,) * choice.read.count
    return Setting(choice.name, choice.read, shows, replace(choice.write, values=words), choice.settle_s)


def _words(value: int, choice: Choice) -> tuple[int, ...]:
    """The registers that spell a whole number in the setting's type and word order."""
    kind, order = choice.value.kind, choice.value.order
    data = bits_for(value, kind).to_bytes(2 * choice.value.width, "big")
    words = struct.unpack(f">{choice.value.width}H", data)
    if order in {"CDAB", "DCBA"}:
        words = words[::-1]
    if order in {"BADC", "DCBA"}:
        words = tuple((word & 0xFF) << 8 | word >> 8 for word in words)
    return words

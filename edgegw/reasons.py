"""What each counted reason means, in a sentence for whoever stands before the device; the words in `reasons.toml`."""

from __future__ import annotations

import re
import tomllib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

_FILE: Final = Path(__file__).with_name("reasons.toml")
# What a device adds to a reason: one number or code at its end, as in modbus_exception_2 and sensor_status_0A0F.
_CODE: Final = re.compile(r"(?P<family>[a-z_]+)_(?P<code>[0-9a-fA-F]{1,8})")


class Reason(NamedTuple):
    """A reason that was counted: how often, what it means (empty where only its driver knows), what to do about it."""

    name: str
    times: int
    meaning: str
    todo: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return self._asdict()


def explained(counted: Mapping[str, int]) -> list[Reason]:
    """Each counted reason with its meaning, the most frequent first."""
    often = sorted(counted.items(), key=lambda each: (-each[1], each[0]))
    return [Reason(name, count, *meaning(name)) for name, count in often]


def meaning(reason: str) -> tuple[str, str]:
    """What a reason or check means, and what to do about it (empty: nothing); both empty for one that is not known."""
    table = _table()
    if reason in table:
        return table[reason]
    words = _CODE.fullmatch(reason)
    if words is None or f"{words['family']}_N" not in table:
        return "", ""
    text, todo = table[f"{words['family']}_N"]
    return text.format(code=words["code"]), todo


def names() -> frozenset[str]:
    """Every reason that is explained; `…_N` stands for those that end with a code."""
    return frozenset(_table())


@lru_cache(maxsize=1)
def _table() -> Mapping[str, tuple[str, str]]:
    rows = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    return {name: (row["means"], row.get("do", "")) for name, row in rows.items()}

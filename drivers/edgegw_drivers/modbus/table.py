"""One table of a profile, read key by key; mistakes are collected, each with the place where it stands."""

from __future__ import annotations

import difflib
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

# Numbers of a profile beyond these are typing mistakes, and a float still holds their products.
SMALLEST: Final = Decimal("1e-12")
LARGEST: Final = Decimal("1e12")


class Table:
    """A TOML table. Each method takes one key, says what is wrong with it, and gives a usable value."""

    def __init__(self, where: str, data: object, mistakes: list[str]) -> None:
        """Read `data`, which stands at `where`; `mistakes` grows by a sentence for each mistake."""
        self.where = where
        self._data: dict[str, Any] = data if isinstance(data, dict) else {}
        self._mistakes = mistakes
        self._known: list[str] = []
        if not isinstance(data, dict):
            self.wrong("is no table")

    def wrong(self, sentence: str) -> None:
        """Note a mistake in this table."""
        self._mistakes.append(f"{self.where}: {sentence}" if self.where else sentence)

    def has(self, key: str) -> bool:
        """Whether the key is there."""
        return key in self._data

    def any(self, key: str, default: object = None) -> Any:
        """The value as it stands."""
        self._known.append(key)
        return self._data.get(key, default)

    def text(self, key: str, *, needed: bool = False) -> str:
        """A string."""
        value = self.any(key, "")
        if not isinstance(value, str):
            self.wrong(f"{key} is {shown(value)}, not a string")
            return ""
        if needed and not value:
            self.wrong(f"{key} is missing")
        return str(value)

    def choice(self, key: str, choices: Sequence[str], default: str = "") -> str:
        """One of some words."""
        value = self.any(key, default)
        if value in choices:
            return str(value)
        if value == "":
            self.wrong(f"{key} is missing: {', '.join(choices)}")
        else:
            self.wrong(f"{key} is {shown(value)}{nearest(str(value), choices)}")
        return choices[0]

    def integer(self, key: str, lowest: int, highest: int, default: int | None = None) -> int:
        """A whole number within bounds."""
        value = self.any(key, default)
        if value is None:
            self.wrong(f"{key} is missing: {lowest} to {highest}")
        elif not is_integer(value) or not lowest <= value <= highest:
            self.wrong(f"{key} is {shown(value)}, not a whole number from {lowest} to {highest}")
        else:
            return int(value)
        return lowest

    def decimal(self, key: str, default: int) -> Decimal:
        """An exact number, zero or of a sensible size."""
        value = self.any(key, default)
        if is_number(value) and (value == 0 or SMALLEST <= abs(value) <= LARGEST):
            return Decimal(value)
        self.wrong(f"{key} is {shown(value)}, not a number from {SMALLEST:E} to {LARGEST:E}")
        return Decimal(1)

    def pair(self, key: str) -> tuple[Decimal, Decimal] | None:
        """Two numbers in rising order, or nothing."""
        value = self.any(key)
        if value is None:
            return None
        if (
            isinstance(value, list)
            and len(value) == 2
            and all(map(is_number, value))
            and value[0] <= value[1]
        ):
            return Decimal(value[0]), Decimal(value[1])
        self.wrong(f"{key} is {shown(value)}, not [lowest, highest]")
        return None

    def values(self, key: str, *, alone: bool = False) -> list[Any]:
        """A list, or nothing; with `alone` a single value is a list of one."""
        value = self.any(key, [])
        if isinstance(value, list):
            return value
        if not alone:
            self.wrong(f"{key} is {shown(value)}, not a list")
        return [value] if alone else []

    def items(self, key: str) -> list[tuple[str, Any]]:
        """The keys and values of a table inside this one, or nothing."""
        value = self.any(key, {})
        if isinstance(value, dict):
            return list(value.items())
        self.wrong(f"{key} is {shown(value)}, not a table")
        return []

    def finish(self) -> None:
        """Complain about every key that nobody took."""
        for key in self._data:
            if key not in self._known:
                self.wrong(f"unknown key {shown(key)}{nearest(key, self._known)}")


def is_integer(value: object) -> bool:
    """A whole number; TOML's booleans are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """A finite number."""
    return is_integer(value) or (isinstance(value, Decimal) and value.is_finite())


def shown(value: object) -> str:
    """A value for a message, as a line of bounded length."""
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def nearest(word: str, known: Sequence[str]) -> str:
    """What was meant, as the end of a sentence."""
    near = difflib.get_close_matches(word, known, n=1)
    return f'; did you mean "{near[0]}"?' if near else f"; there are {', '.join(known)}"

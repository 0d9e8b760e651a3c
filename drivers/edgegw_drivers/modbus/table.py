"""One table of a profile, read key by key; mistakes are collected, each with the place where it stands."""

from __future__ import annotations

import difflib
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

# Numbers of a profile beyond these are typing mistakes, and a float still holds their products.
SMALLEST: Final = Decimal("1e-12")
LARGEST: Final = Decimal("1e12")
_HEADER: Final = re.compile(r"\s*(\[\[?)\s*([\w-]+)\s*\]")
_KEY: Final = re.compile(r"\s*([\w-]+)\s*=")


class Mistakes:
    """What is wrong with one text, each mistake with its line where that is known."""

    def __init__(self, name: str, text: str = "") -> None:
        """Take the file's name for messages, and its text."""
        self.found: list[str] = []
        self._name = name
        self._lines = lines_of(text)

    def add(self, sentence: str, table: str = "", key: str = "") -> None:
        """Note one, at a key of a table (`read 2`), else where the table begins, else without a line."""
        line = self._lines.get((table, key)) or self._lines.get((table, ""))
        self.found.append(f"{self._name}:{line}: {sentence}" if line else sentence)


def lines_of(text: str) -> dict[tuple[str, str], int]:
    """The line of each key by table (`link`, `read 1`) and name; the table itself has an empty name.

    It looks at beginnings of lines only: a key inside an inline table has its table's line, and a string of
    several lines may name a wrong one. What is valid TOML is not its matter.
    """
    found: dict[tuple[str, str], int] = {}
    counts: dict[str, int] = {}
    table = ""
    for line, content in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(content):
            table = header[2]
            if header[1] == "[[":
                counts[table] = counts.get(table, 0) + 1
                table = f"{table} {counts[table]}"
            found.setdefault((table, ""), line)
        elif key := _KEY.match(content):
            found.setdefault((table, key[1]), line)
    return found


class Table:
    """A TOML table. Each method takes one key, says what is wrong with it, and gives a usable value."""

    def __init__(self, where: str, data: object, mistakes: Mistakes) -> None:
        """Read `data`, which stands at `where` (`link`, `read 1`); `mistakes` takes what is wrong."""
        self.where = where
        self._table = where
        self._data: dict[str, Any] = data if isinstance(data, dict) else {}
        self._mistakes = mistakes
        self._known: list[str] = []
        if not isinstance(data, dict):
            self.wrong("is no table")

    def wrong(self, sentence: str, key: str = "") -> None:
        """Note a mistake in this table; the line is that of `key`, or of the key that the sentence begins with."""
        self._mistakes.add(
            f"{self.where}: {sentence}" if self.where else sentence,
            self._table,
            key or sentence.split(maxsplit=1)[0],
        )

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

    def flag(self, key: str) -> bool:
        """True or false; false where nothing stands."""
        value = self.any(key, default=False)
        if not isinstance(value, bool):
            self.wrong(f"{key} is {shown(value)}, neither true nor false")
        return value is True

    def texts(self, key: str) -> list[str]:
        """A list of strings."""
        values = self.values(key)
        if all(isinstance(value, str) for value in values):
            return values
        self.wrong(f"{key} is {shown(values)}, not a list of strings")
        return []

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
                self.wrong(f"unknown key {shown(key)}{nearest(key, list(dict.fromkeys(self._known)))}", key)


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

"""The tables of a driver's README that say what the code says: they are compared with it, and written from it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from edgegw import registry
from edgegw.driver import QUANTITIES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edgegw.driver import Driver
    from edgegw.registry import Option

_ROW: Final = re.compile(r"^\|.*\|$", re.MULTILINE)
_OPTIONS: Final = ("option", "default", "meaning")
_READINGS: Final = ("quantity", "unit", "rule over an interval")
#: What the third column may say besides the quantity's own rule: of a device that is asked once an interval.
_ONCE: Final = "one reading"


class Table(NamedTuple):
    """A table of a section: where it begins and ends in the text, its head and its rows, each a list of cells."""

    begin: int
    end: int
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def section(text: str, heading: str) -> str:
    """What stands below a heading, up to the next one of its level."""
    return text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def table(text: str, heading: str, first: str) -> Table | None:
    """The table below a heading whose first column has that name."""
    start = text.find(f"\n## {heading}\n")
    stop = text.find("\n## ", start + 1)
    for found in re.finditer(r"(?:^\|.*\|\n)+", text + "\n", re.MULTILINE):
        lines = [_cells(line) for line in found[0].splitlines()]
        if (
            start >= 0
            and start < found.start()
            and (stop < 0 or found.start() < stop)
            and lines[0][0] == first
        ):
            return Table(found.start(), found.end(), lines[0], lines[2:])
    return None


def _cells(line: str) -> list[str]:
    # A bar in code is written \| and is none of the table's.
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]


# Options


def wrong_options(kind: type[Driver], text: str) -> Iterator[str]:
    """What the table of options says that the code does not."""
    known = {option.name: option for option in registry.options(kind)}
    found = table(text, "Options", "option")
    rows = [] if found is None else found.rows
    if not known and not section(text, "Options").strip():
        yield "README.md, Options: say that there are none"
    names = [row[0].strip("`") for row in rows]
    for name in sorted(set(known) ^ set(names)):
        yield f"README.md, Options: {name} is {'not in the table' if name in known else 'no option'}"
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"README.md, Options: {name} stands there twice"
    for row in rows:
        option = known.get(row[0].strip("`"))
        if len(row) != len(_OPTIONS) or not row[-1]:
            yield f"README.md, Options: {row[0]} wants three columns, {', '.join(_OPTIONS)}"
        elif option is not None and not says_default(option, row[1]):
            yield f"README.md, Options: the default of {option.name} is {default(option)}, not {row[1]}"


def default(option: Option) -> str:
    """How the table says an option's default."""
    if option.required:
        return "required"
    if option.default is None or option.secret:
        return "none"
    value = list(option.default) if isinstance(option.default, tuple) else option.default
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def says_default(option: Option, cell: str) -> bool:
    """Whether a cell says an option's default; one that is nothing may be said in words."""
    number = re.fullmatch(r"`(-?\d+(?:\.\d+)?)`", cell)
    if cell == default(option) or (number is not None and float(number[1]) == option.default):
        return True
    nothing = option.default is None or option.default in ("", (), [], {})
    # `required` of one that is not: a device that the shell shows without it; the sample's rule tries that.
    return not option.required and nothing and bool(cell) and "`" not in cell


# Readings


def wrong_readings(quantities: Sequence[str], variable: bool, text: str) -> Iterator[str]:
    """What the table of readings says that the code does not.

    `quantities` are those that the driver may give; of a driver of many devices (`variable`) the README may name
    them anywhere, for they stand in the profile.
    """
    found = table(text, "Readings", "quantity")
    if found is None:
        if not variable:
            yield "README.md, Readings: there is no table | quantity | unit | rule over an interval |"
        yield from (f"README.md does not name {each}" for each in quantities if f"`{each}`" not in text)
        return
    named: list[str] = []
    for row in found.rows:
        names = [name for name in _quoted(row[0]) if name in QUANTITIES]
        named += names
        yield from _wrong_row(row, names, found.head)
    for name in sorted(set(quantities) - set(named)):
        yield f"README.md, Readings: {name} is not in the table"
    if not variable:
        for name in sorted(set(named) - set(quantities)):
            yield f"README.md, Readings: {name} is in the table, and the driver never gives it"
    for name in sorted({name for name in named if named.count(name) > 1}):
        yield f"README.md, Readings: {name} stands there twice"


def _wrong_row(row: Sequence[str], names: Sequence[str], head: Sequence[str]) -> Iterator[str]:
    if len(row) != len(_READINGS) or not names or not row[-1]:
        yield f"README.md, Readings: the row {' | '.join(row)} names no quantity, or not its unit and rule"
        return
    units = [QUANTITIES[name].unit for name in names]
    if _quoted(row[1]) not in (units, list(dict.fromkeys(units))):
        yield f"README.md, Readings: the unit of {', '.join(names)} is {', '.join(units)}, not {row[1]}"
    means = {str(QUANTITIES[name].mean) for name in names}
    if head[2] == _READINGS[2] and not row[2].startswith((*means, _ONCE)):
        yield f"README.md, Readings: {', '.join(names)}: over an interval it is the {' or '.join(sorted(means))}"


def _quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


# Writing


def written(kind: type[Driver], quantities: Sequence[str], text: str) -> str:
    """The README with both tables as the code has them; the words of people are kept."""
    found = table(text, "Readings", "quantity")
    if found is not None:
        text = _put(text, found, found.head, _reading_rows(quantities, found))
    found = table(text, "Options", "option")
    known = registry.options(kind)
    if found is not None:
        text = _put(text, found, _OPTIONS, _option_rows(known, found))
    return text


def _option_rows(known: Sequence[Option], found: Table) -> Iterator[Sequence[str]]:
    said = {row[0].strip("`"): row for row in found.rows}
    for option in known:
        row = said.get(option.name, (f"`{option.name}`", default(option), option.doc))
        yield (row[0], row[1] if says_default(option, row[1]) else default(option), row[2] or option.doc)


def _reading_rows(quantities: Sequence[str], found: Table) -> Iterator[Sequence[str]]:
    named = []
    for row in found.rows:
        names = [name for name in _quoted(row[0]) if name in quantities and name not in named]
        named += names
        units = dict.fromkeys(QUANTITIES[name].unit for name in names)
        if names and not [*_wrong_row(row, names, found.head)]:
            yield row
        elif names:
            rule = str(QUANTITIES[names[0]].mean)
            yield (", ".join(f"`{n}`" for n in names), " ".join(f"`{u}`" for u in units), rule)
    for name in quantities:
        if name not in named:
            yield (f"`{name}`", f"`{QUANTITIES[name].unit}`", str(QUANTITIES[name].mean))


def _put(text: str, found: Table, head: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    made = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return text[: found.begin] + made + text[found.end :]

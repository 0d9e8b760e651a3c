"""Paths into a document: where a map finds a value.

pm02                              a key
message.data.total                a key of an object in an object
channels[0].pm02                  an element of a list, counted from 0
sensordatavalues[value_type=SDS_P1].value     elements of which a key has that value
content.element[].measurement[]   each element of a list
'a.b'[0]                          a key with characters that mean something here
/sensor-info.serial-number        from the whole document, where a row is looked at
^.element-name                    from the element of the list around the row
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

# A path has a few steps; a document is searched with each.
LONGEST: Final = 200
_STEP: Final = re.compile(
    r"""(?:^|(?<!^)\.)(?:'(?P<quoted>[^']+)'|(?P<name>[^.\[\]'^/]+))
      | \[ (?: (?P<index>\d{1,4}) | (?P<key>[^\[\]=]+)=(?P<value>[^\[\]]*) | (?P<each>) ) \]""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Row:
    """What paths start from: an element of the document, the whole document, and what lies between.

    `above` holds the elements of lists on the way from the whole to `node`, the innermost (often `node`) last.
    `index` remembers elements of lists by their keys for all rows of one document: a map may look for sixty of
    them, and a hostile list have thousands.
    """

    node: Any
    above: Sequence[Any]
    root: Any
    index: dict[tuple[int, str], dict[str, list[Any]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Step:
    """One step: a `key`; or of a list one `index`, the elements whose `key` is `value`, or each of them."""

    key: str = ""
    index: int = -1
    value: str | None = None
    each: bool = False


@dataclass(frozen=True, slots=True)
class Path:
    """A path; `up` is how many lists it leaves first, -1 the whole document."""

    steps: tuple[Step, ...]
    up: int = 0
    text: str = ""

    def find(self, row: Row) -> list[Any]:
        """Every value that the path leads to; none, not None, where a step leads nowhere."""
        if self.up and self.up >= len(row.above):
            return []
        start = row.root if self.up < 0 else row.above[-1 - self.up] if self.up else row.node
        return [found.node for found in walk(Row(start, (), row.root, row.index), self.steps)]

    def first(self, row: Row) -> Any:
        """The one value that the path leads to; None when there is none, or more than one."""
        found = self.find(row)
        return found[0] if len(found) == 1 else None


def parse(text: str) -> Path:
    """The path that `text` spells; ValueError, with the end of a sentence, for anything else."""
    if not text or len(text) > LONGEST:
        raise ValueError(f"is no path of 1 to {LONGEST} characters")
    up, rest = (-1, text[1:]) if text.startswith("/") else (0, text)
    while rest.startswith("^"):
        up, rest = up + 1, rest[1:].removeprefix(".")
    steps, end = [], 0
    while end < len(rest):
        match = _STEP.match(rest, end)
        if match is None:
            raise ValueError(f"is no path: it cannot be understood from {rest[end : end + 20]!r} on")
        steps.append(_step(match))
        end = match.end()
    return Path(tuple(steps), up, text)


def walk(row: Row, steps: Sequence[Step]) -> list[Row]:
    """Each place that the steps lead to, with the elements of lists that were passed on the way."""
    rows = [row]
    for step in steps:
        rows = [found for row in rows for found in _taken(row, step)]
    return rows


def spelled(value: object) -> str | None:
    """How a map or a configuration spells a value of a document; None for lists, objects and null."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int | Decimal) else None


def _taken(row: Row, step: Step) -> list[Row]:
    node = row.node
    if step.key and step.value is None:
        found = [node[step.key]] if isinstance(node, dict) and step.key in node else []
        return [Row(each, row.above, row.root, row.index) for each in found]
    if not isinstance(node, list):
        return []
    if step.index >= 0:
        found = node[step.index : step.index + 1]
    elif step.each:
        found = node
    else:
        found = _by_key(row, node, step.key).get(step.value or "", [])
    return [Row(each, (*row.above, each), row.root, row.index) for each in found]


def _by_key(row: Row, elements: list[Any], key: str) -> dict[str, list[Any]]:
    """Elements by how the value of their key is spelled."""
    # The document outlives its rows, so that no other list can come to have this one's identity.
    known = row.index.get((id(elements), key))
    if known is None:
        known = row.index[id(elements), key] = {}
        for each in elements:
            text = spelled(each.get(key)) if isinstance(each, dict) else None
            if text is not None:
                known.setdefault(text, []).append(each)
    return known


def _step(match: re.Match[str]) -> Step:
    if match["each"] is not None:
        return Step(each=True)
    if match["index"] is not None:
        return Step(index=int(match["index"]))
    if match["key"] is not None:
        return Step(key=match["key"], value=match["value"])
    return Step(key=match["quoted"] or match["name"])

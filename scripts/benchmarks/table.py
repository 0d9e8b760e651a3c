"""What a benchmark found: rows beside their bare limits, as a table for people and as JSON. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Row:
    """One measured number.

    `bare` is the limit that was measured in the same run by the means that `bare_name` names. `aim` is what the
    number should be: at most that, or at least with `more`. None: measured for comparison, without an aim.
    """

    key: str
    what: str
    unit: str
    measured: float
    bare: float | None = None
    bare_name: str = ""
    aim: float | None = None
    more: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def ratio(self) -> float | None:
        """Measured over bare limit."""
        return self.measured / self.bare if self.bare else None

    @property
    def verdict(self) -> str:
        """`met`, `missed`, or nothing without an aim."""
        if self.aim is None:
            return ""
        held = self.measured >= self.aim if self.more else self.measured <= self.aim
        return "met" if held else "missed"

    def as_dict(self) -> dict[str, Any]:
        """The element of `rows` in the JSON file."""
        return {**asdict(self), "ratio": self.ratio, "verdict": self.verdict}


@dataclass(frozen=True)
class Table:
    """Numbers of many alike: a line for each, under a head, with notes below."""

    key: str
    head: tuple[str, ...]
    lines: list[tuple[str, ...]]
    notes: list[str] = field(default_factory=list)

    def text(self) -> str:
        """As Markdown, with its key above."""
        notes = [f"- {note}" for note in self.notes]
        return "\n".join(
            [f"{self.key}:", "", *_aligned(self.head, self.lines), *(["", *notes] if notes else [])]
        )

    def as_dict(self) -> dict[str, Any]:
        """The element of `tables` in the JSON file."""
        return asdict(self)


def number(value: float | None) -> str:
    """Three significant digits, thousands with commas; nothing for None."""
    if value is None:
        return ""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def render(rows: Sequence[Row], machine: str, tables: Sequence[Table] = ()) -> str:
    """The tables and the notes below them, as Markdown that is readable in a terminal."""
    head = ("row", "measured", "bare limit of the same run", "ratio", "aim", "")
    lines = []
    for row in rows:
        aim = f"{'≥' if row.more else '≤'} {number(row.aim)}" if row.aim is not None else ""
        bare = f"{number(row.bare)} ({row.bare_name})" if row.bare is not None else ""
        measured = f"{number(row.measured)} {row.unit}"
        lines.append((f"{row.key}: {row.what}", measured, bare, number(row.ratio), aim, row.verdict))
    notes = [f"- {row.key}: {note}" for row in rows for note in row.notes]
    shown = ["\n".join(_aligned(head, lines))] if lines else []
    shown += ["\n".join(notes)] if notes else []
    return "\n\n".join([machine, *shown, *(table.text() for table in tables)])


def _aligned(head: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(line[column]) for line in (head, *lines)) for column in range(len(head))]
    shown = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in (head, *lines)
    ]
    shown.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return shown

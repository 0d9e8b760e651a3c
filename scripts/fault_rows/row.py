"""What a row of `scripts/faults` is, and the list into which each row puts itself.

A module in this folder with a function under `@row("name", runs=...)` is a row: nothing else has to know it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Order:
    """What a row is to do: so many runs with a seed, in an empty directory of its own, in so many processes."""

    runs: int
    seed: int
    jobs: int
    directory: Path


@dataclass
class Result:
    """What came of it: readings that were lost or are there twice, the slowest start after a fault in seconds.

    `wrong` counts runs with anything that does not hold; `findings` are the first of them in words.
    """

    fault: str
    runs: int
    lost: int = 0
    twice: int = 0
    wrong: int = 0
    worst_s: float | None = None
    findings: list[str] = field(default_factory=list)
    note: str = ""


@dataclass(frozen=True)
class Row:
    """A row: how many runs the full one has, why it cannot run here (or nothing), and the run itself."""

    runs: int
    missing: Callable[[], str]
    run: Callable[[Order], Result]


ROWS: Final[dict[str, Row]] = {}


def row(
    name: str, *, runs: int, missing: Callable[[], str] = lambda: ""
) -> Callable[[Callable[[Order], Result]], Callable[[Order], Result]]:
    """Register a function as the row `name`."""

    def register(run: Callable[[Order], Result]) -> Callable[[Order], Result]:
        ROWS[name] = Row(runs, missing, run)
        return run

    return register


def render(results: Sequence[Result]) -> str:
    """The table as Markdown, and what was found below it."""
    lines = [("fault", "runs", "lost", "duplicates", "wrong", "worst recovery", "note")]
    for each in results:
        worst = "" if each.worst_s is None else f"{each.worst_s:.3f} s"
        counts = (f"{each.runs:,}", f"{each.lost:,}", f"{each.twice:,}", f"{each.wrong:,}")
        lines.append((each.fault, *counts, worst, each.note))
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    shown = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in lines
    ]
    shown.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join([*shown, *(f"- {text}" for each in results for text in each.findings)])

"""Print data on stdout and talk on stderr: JSON for scripts, tables for people, plain lines for pipes."""

import contextlib
import json
import os
import sys
import textwrap
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgegw.cli.options import Options
from edgegw.problems import printable

if TYPE_CHECKING:
    from edgegw.probe.progress import Said

# The narrowest terminal that is still common; tables fit into it.
WIDTH = 80
# Cells of a progress bar.
BAR = 20


def document(value: Any) -> None:
    """One JSON document."""
    print(json.dumps(value, indent=2, ensure_ascii=not _is_utf8()))  # noqa: T201 -- the command's data


def line(value: Any) -> None:
    """One line of JSON, at once: somebody may follow a stream."""
    print(json.dumps(value), flush=True)  # noqa: T201 -- the command's data


def text(value: str) -> None:
    """Plain text, without control characters of whatever it quotes."""
    print(printable(value))  # noqa: T201 -- the command's data


def say(options: Options, value: str) -> None:
    """Talk to the person; nothing with `--quiet`."""
    if not options.quiet:
        print(printable(value), file=sys.stderr)  # noqa: T201 -- talk, not data


def step(options: Options, value: str) -> None:
    """Say what is being done now; on a terminal over what was said before, so that many steps take one line."""
    if not sys.stderr.isatty():
        say(options, value)
    elif not options.quiet:
        shown = printable(value)[: WIDTH - 1]
        print(f"\r{shown.ljust(WIDTH - 1)}\r", end="", file=sys.stderr, flush=True)  # noqa: T201 -- talk, not data


@contextlib.contextmanager
def progress(options: Options) -> Iterator["Said"]:
    """Show how far something is while the context lasts: a bar on a terminal, elsewhere a line for each new thing."""
    last = ""

    def said(text: str, share: float = 0.0, detail: str = "") -> None:
        nonlocal last
        if sys.stderr.isatty():
            full = round(BAR * min(1.0, max(0.0, share)))
            step(options, f"[{'#' * full}{'.' * (BAR - full)}] {f'{text}, {detail}' if detail else text}")
        elif text != last:
            say(options, f"{text} …")
        last = text

    try:
        yield said
    finally:
        if last and sys.stderr.isatty():
            step(options, "")


@contextlib.contextmanager
def waiting(options: Options, value: str, patience_s: float) -> Iterator[None]:
    """Show how much of a wait has passed, while the context lasts; away from a terminal say it once."""
    over = threading.Event()
    began = time.monotonic()

    def tick(said: "Said") -> None:
        while not over.wait(0.5):
            said(value, (time.monotonic() - began) / patience_s)

    with progress(options) as said:
        said(value)
        ticking = threading.Thread(target=tick, args=(said,), daemon=True)
        ticking.start()
        try:
            yield
        finally:
            over.set()
            ticking.join()


def hanging(head: str, value: str, indent: int | None = None) -> None:
    """A paragraph for a terminal; its further lines are indented so far, or as far as `head` is long."""
    blanks = " " * (len(head) if indent is None else indent)
    lines = textwrap.wrap(
        printable(value), WIDTH, initial_indent=head, subsequent_indent=blanks, break_on_hyphens=False
    )
    text("\n".join(lines))


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[str] = ()) -> None:
    """A table: framed on a terminal, columns in a pipe, nothing without rows. `numbers` names right-hand columns."""
    cells = [[printable(cell).replace("\n", " ") for cell in row] for row in rows]
    if not cells:
        return
    if sys.stdout.isatty():
        _framed(head, cells, numbers)
        return
    widths = [max(len(row[column]) for row in [list(head), *cells]) for column in range(len(head))]
    for row in [[name.upper() for name in head], *cells]:
        shown = [
            cell.rjust(width) if name in numbers else cell.ljust(width)
            for name, cell, width in zip(head, row, widths, strict=True)
        ]
        print("  ".join(shown).rstrip())  # noqa: T201 -- the command's data


def _framed(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[str]) -> None:
    from rich import box  # noqa: PLC0415 -- half of the start of a command, and only terminals need it
    from rich.console import Console  # noqa: PLC0415 -- the same
    from rich.table import Table  # noqa: PLC0415 -- the same
    from rich.text import Text  # noqa: PLC0415 -- the same

    framed = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in head:
        framed.add_column(name, justify="right" if name in numbers else "left", overflow="fold")
    for row in rows:
        framed.add_row(*(Text(cell) for cell in row))  # as it stands: a name in brackets is no markup
    Console(no_color=bool(os.environ.get("NO_COLOR")), highlight=False).print(framed)


def _is_utf8() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"


def seconds(value: float) -> str:
    """How long something is ago or took, for people: the two largest units."""
    whole = int(value)
    if whole < 60:
        return f"{max(0, whole)} s"
    for unit, size, smaller, small in (("d", 86_400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            rest = whole % size // small
            return f"{whole // size} {unit} {rest} {smaller}" if rest else f"{whole // size} {unit}"
    return f"{whole} s"


def count(value: int) -> str:
    """A number with thin groups of three: 48 211."""
    return f"{value:,}".replace(",", " ")


def of(value: int, one: str, many: str) -> str:
    """A number with what is counted."""
    return f"{count(value)} {one if value == 1 else many}"


def size(value: int) -> str:
    """Bytes for people."""
    amount = float(value)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def number(value: float) -> str:
    """A value as the device stated it: 52.3, never 52.300000000000004; whole numbers without a point.

    Seven digits hold all that a device's own floating point has, and 6.675000190734863 is its 6.675.
    """
    if float(value).is_integer() and abs(value) < 2**53:
        return str(int(value))
    return min(f"{value:.7g}", repr(float(value)), key=len)


def plain(value: object) -> object:
    """`value` where JSON knows it, else its text."""
    return (
        value
        if value is None or isinstance(value, (bool, int, float, str, list, tuple, dict))
        else str(value)
    )


def pairs(values: Mapping[str, str]) -> None:
    """Names and values, one pair to a line."""
    width = max(map(len, values), default=0)
    for name, value in values.items():
        text(f"{name.ljust(width)}  {value}")

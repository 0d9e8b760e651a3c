"""Runs of log positions: what was sent and waits for a receipt, and what is to be sent again. Pure.

Both collections are bounded: they keep runs, never lists of batches, and merge neighbours when there are too many.
That costs a little precision (some batches too many are sent again) and never a batch.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_STRETCHES: Final = 1024
"""Runs of sent batches that are told apart: one for each of the 500 in flight, and coarser ones for the live data
that went out ahead of a long backlog. About 150 KiB."""

MAX_RANGES: Final = 16
"""Ranges to send again that are told apart: an upstream asks for a few holes at a time."""

Span = tuple[int, int]
"""Log positions [first, end)."""


class Stretch(NamedTuple):
    """A run of sent batches: where it ends, how many batches and bytes, and when the newest of them went."""

    end: int
    batches: int
    bytes: int
    at: float


class Unreceipted:
    """Batches that were sent in log order, one behind the other from a position on, and are not receipted."""

    def __init__(self) -> None:
        self._runs: deque[Stretch] = deque()
        self.batches = 0
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._runs)

    def add(self, run: Stretch) -> None:
        """Append a run behind the others."""
        self._runs.append(run)
        self.batches += run.batches
        self.bytes += run.bytes
        if len(self._runs) > MAX_STRETCHES:
            runs = list(self._runs)
            self._runs = deque(_joined(a, b) for a, b in zip(runs[::2], runs[1::2], strict=False))
            if len(runs) % 2:
                self._runs.append(runs[-1])

    def append(self, other: Unreceipted) -> None:
        """Append what another collection holds, and empty it."""
        for run in other._runs:
            self.add(run)
        other.clear()

    def drop(self, size: int) -> None:
        """Forget the runs that end at or below `size`."""
        while self._runs and self._runs[0].end <= size:
            run = self._runs.popleft()
            self.batches -= run.batches
            self.bytes -= run.bytes

    def clear(self) -> None:
        """Forget everything."""
        self._runs.clear()
        self.batches = self.bytes = 0

    def sent_before(self, begin: int, moment: float) -> Iterator[Span]:
        """Where the runs lie that went out before `moment`; `begin` is where the first one starts."""
        for run in self._runs:
            if run.at < moment:
                yield begin, run.end
            begin = run.end


def _joined(a: Stretch, b: Stretch) -> Stretch:
    return Stretch(b.end, a.batches + b.batches, a.bytes + b.bytes, max(a.at, b.at))


@dataclass(slots=True)
class _Range:
    """Positions to send again: asked for from `first` on, sent up to `at`, done at `end`."""

    first: int
    at: int
    end: int


class Again:
    """Ranges to send again, the lowest first. What is being served is not begun anew when it is asked for again."""

    def __init__(self) -> None:
        self._ranges: list[_Range] = []

    def __len__(self) -> int:
        return len(self._ranges)

    def add(self, spans: Iterable[Span]) -> None:
        """Ask for spans; whatever of them is in a range already, sent or not, counts as asked for."""
        for span in spans:
            self._insert(span, [(each.first, each.end) for each in self._ranges])

    def put_back(self, span: Span) -> None:
        """Ask for what was sent and refused; it is left out only where it is still to be sent."""
        self._insert(span, [(each.at, each.end) for each in self._ranges])

    def _insert(self, span: Span, known: list[Span]) -> None:
        pieces = [span]
        for taken in known:
            pieces = [piece for whole in pieces for piece in _without(whole, taken)]
        for first, end in pieces:
            self._ranges = _bounded([*self._ranges, _Range(first, first, end)])

    @property
    def next(self) -> Span | None:
        """What is to be sent next."""
        return (self._ranges[0].at, self._ranges[0].end) if self._ranges else None

    def sent(self, at: int, end: int) -> None:
        """The range that `next` named with `at` is sent up to `end`."""
        for each in self._ranges:
            if each.at == at:
                each.at = end
        self._ranges = [each for each in self._ranges if each.at < each.end]

    def clear(self) -> None:
        """Forget everything."""
        self._ranges.clear()


def _bounded(ranges: list[_Range]) -> list[_Range]:
    """The ranges in order; one too many is merged with its nearest neighbour."""
    ranges = sorted(ranges, key=lambda each: each.at)
    if len(ranges) > MAX_RANGES:
        gaps = [b.at - a.end for a, b in pairwise(ranges)]
        near = gaps.index(min(gaps))
        low, high = ranges[near : near + 2]
        ranges[near : near + 2] = [_Range(low.at, low.at, max(low.end, high.end))]
    return ranges


def _without(span: Span, taken: Span) -> list[Span]:
    """The parts of a span outside another."""
    parts = [(span[0], min(span[1], taken[0])), (max(span[0], taken[1]), span[1])]
    return [(first, end) for first, end in parts if first < end]

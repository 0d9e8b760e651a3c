"""The meter: samples in, levels out. Samples are kept for 0.27 s in memory, and go nowhere.

Time is counted in samples, those that were dropped included, and cut into blocks of 100 ms on one grid. A block
counts when all of its samples came, when the filters no longer remember a gap before it, and when the microphone
moved at all. Levels are those of the blocks that count; how many did is the coverage.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from edgegw.driver import QUANTITIES, FrameError, Quality, Reading
from edgegw_drivers.alsa_slm.levels import FAST, Exceeded, TimeWeighting, level
from edgegw_drivers.alsa_slm.weighting import BLOCK, MEMORY_BLOCKS, Weighting

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edgegw.driver import Outcome

# Time after opening that is not measured: the coupling capacitors of USB sound cards charge for half a second.
SETTLING_BLOCKS: Final = 10
#: Share of a window that must have been measured, or its levels bear the check `coverage`.
ENOUGH: Final = 0.9
# Full scale as 16 bits in 32 have it: 24 and 32 bits reach it too when they clip.
CLIPPED: Final = 0x7FFF_0000
FULL_SCALE: Final = 0x8000_0000
_BYTES: Final = 4
_PERCENTS: Final = (10, 50, 90)


class Terms(NamedTuple):
    """What makes levels of what was measured.

    `reference`: level in dB of a full-scale square wave, whose power is 1. `floor`: level in dB(A) below which the
    microphone hears itself. `checks` are borne by every reading.
    """

    reference: float
    floor: float
    checks: tuple[str, ...] = ()


class Meter:
    """One opened microphone. `blocks` of 100 ms make a window, `statistics` of them one of la10, la50, la90."""

    def __init__(self, terms: Terms, blocks: int, statistics: int, weighting: Weighting) -> None:
        self._weighting = weighting
        self._fast = TimeWeighting(FAST, BLOCK)
        self._levels = _Levels(terms, blocks)
        self._statistics = _Statistics(terms, statistics)
        self._block = np.zeros(BLOCK, np.int32)
        self._filled = 0
        # Samples that belong to no block: after a gap, the rest of the block that it tore.
        self._skipped = 0
        # Blocks that the filters still remember something before a gap.
        self._remembering = 0
        self._settling = SETTLING_BLOCKS

    def decode(self, samples: bytes, lost: int, now: float) -> Sequence[Outcome]:
        """See `edgegw.driver.AudioDecoder`."""
        del now
        found: list[Outcome] = []
        if lost > 0:
            found += self._gap(lost)
        whole = len(samples) // _BYTES * _BYTES
        if whole != len(samples):
            found.append(FrameError("truncated"))
        values = np.frombuffer(samples[:whole], "<i4")
        passed = min(self._skipped, len(values))
        self._skipped -= passed
        values = values[passed:]
        while len(values):
            part = values[: BLOCK - self._filled]
            self._block[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            values = values[len(part) :]
            if self._filled == BLOCK:
                self._filled = 0
                found += self._measure()
        return found

    def _gap(self, lost: int) -> Iterator[Outcome]:
        """Time passes of which nothing is known: neither of the block that it begins in nor of that it ends in."""
        self._forget()
        passed = min(self._skipped, lost)
        self._skipped -= passed
        torn, self._filled = self._filled + lost - passed, 0
        missed = -(-torn // BLOCK)
        self._skipped += missed * BLOCK - torn
        return self._miss(missed)

    def _measure(self) -> Iterator[Outcome]:
        """The block is whole."""
        lowest, highest = int(self._block.min()), int(self._block.max())
        a, c = self._weighting.feed(self._block.astype(np.float64) / FULL_SCALE)
        clipped = highest >= CLIPPED or lowest <= -CLIPPED
        dead = lowest == highest
        remembering = self._remembering > 0
        self._remembering -= remembering
        if dead:
            # No microphone is ever still: it is dead, or something (a noise gate) made silence of what it heard.
            self._forget()
        if dead or remembering or self._settling:
            self._levels.note(clipped=clipped, dead=dead)
            self._statistics.note(clipped=clipped, dead=dead)
            yield from self._miss(1)
            return
        powers = a * a
        fast = self._fast.feed(powers)
        block = _Block(
            float(powers.mean()),
            float(fast.max()),
            float(fast.min()),
            float(fast[-1]),
            float(np.abs(c).max()),
        )
        for window in (self._levels, self._statistics):
            window.note(clipped=clipped, dead=False)
            window.add(block)
            yield from window.passed(1)

    def _forget(self) -> None:
        self._remembering = MEMORY_BLOCKS
        self._fast.forget()

    def _miss(self, blocks: int) -> Iterator[Outcome]:
        """So many blocks pass that do not count."""
        settled = min(self._settling, blocks)
        self._settling -= settled
        if blocks > settled:
            yield from self._levels.passed(blocks - settled)
            yield from self._statistics.passed(blocks - settled)


class _Block(NamedTuple):
    """What 100 ms of sound are reduced to; all but the peak are powers."""

    mean: float
    highest: float
    lowest: float
    last: float
    peak: float


class _Window(ABC):
    """A window of blocks on the grid of time."""

    def __init__(self, terms: Terms, length: int) -> None:
        self._terms = terms
        self._length = self._left = length
        self._counted = 0
        self._clipped = self._dead = False

    def note(self, *, clipped: bool, dead: bool) -> None:
        """Of each block that came."""
        self._clipped |= clipped
        self._dead |= dead

    def add(self, block: _Block) -> None:
        """Of each block that counts."""
        self._counted += 1
        self._take(block)

    def passed(self, blocks: int) -> Iterator[Outcome]:
        """Time has passed; what ended with it. Windows that lie within one gap are told of once: they may be many."""
        if blocks < self._left:
            self._left -= blocks
            return
        blocks -= self._left
        yield from self._close()
        if blocks >= self._length:
            yield FrameError("no_samples")
        self._left = self._length - blocks % self._length

    def _close(self) -> Iterator[Outcome]:
        if not self._counted:
            yield FrameError("flatline" if self._dead else "no_samples")
        else:
            coverage = self._counted / self._length
            checks = list(self._terms.checks)
            if coverage < ENOUGH:
                checks.append("coverage")
            if self._clipped:
                checks.append("overload")
            for name, decibels in self._results():
                yield self._reading(name, round(decibels, 2), checks, {"coverage": round(coverage, 4)})
        self._counted = 0
        self._clipped = self._dead = False
        self._begin()

    def _reading(self, name: str, decibels: float, checks: list[str], meta: dict[str, Any]) -> Reading:
        if name != "lcpeak" and decibels < self._terms.floor:
            checks = [*checks, "under_range"]
        flag = Quality.SUSPECT if checks else None
        return Reading(QUANTITIES[name], decibels, flag, tuple(checks), meta)

    @abstractmethod
    def _take(self, block: _Block) -> None: ...

    @abstractmethod
    def _results(self) -> Iterator[tuple[str, float]]:
        """Quantities and levels of the blocks that were taken, one at least."""

    @abstractmethod
    def _begin(self) -> None: ...


class _Levels(_Window):
    """laeq, lafmax, lafmin, lcpeak."""

    def __init__(self, terms: Terms, length: int) -> None:
        super().__init__(terms, length)
        self._begin()

    def _begin(self) -> None:
        self._sum = 0.0
        self._highest, self._lowest, self._peak = 0.0, math.inf, 0.0

    def _take(self, block: _Block) -> None:
        self._sum += block.mean
        self._highest = max(self._highest, block.highest)
        self._lowest = min(self._lowest, block.lowest)
        self._peak = max(self._peak, block.peak)

    def _results(self) -> Iterator[tuple[str, float]]:
        powers = {
            "laeq": self._sum / self._counted,
            "lafmax": self._highest,
            "lafmin": self._lowest,
            "lcpeak": self._peak**2,
        }
        for name, power in powers.items():
            yield name, level(power, self._terms.reference)


class _Statistics(_Window):
    """la10, la50, la90, of the Fast level at the end of each block (ISO 1996-1 takes them of LAF)."""

    def __init__(self, terms: Terms, length: int) -> None:
        super().__init__(terms, length)
        self._begin()

    def _begin(self) -> None:
        self._exceeded = Exceeded()

    def _take(self, block: _Block) -> None:
        self._exceeded.add(level(block.last, self._terms.reference))

    def _results(self) -> Iterator[tuple[str, float]]:
        for percent in _PERCENTS:
            yield f"la{percent}", self._exceeded.level(percent)

"""A map: where a device's values stand in its documents, and what they mean. Data, and the arithmetic on it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from edgegw.driver import FrameError
from edgegw_drivers.json_map.path import Path, Row, spelled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgegw.driver import Quantity

# Numbers of a document beyond these decimal exponents measure nothing, and arithmetic with them could be made slow.
EXPONENTS: Final = range(-30, 19)
#: Texts that say "no value"; compared in lower case.
NOTHING: Final = frozenset({"", "nan", "null", "none", "inf", "-inf", "unavailable", "unknown", "n/a", "-"})
_NUMBER: Final = re.compile(r"[+-]?(\d{1,20}(\.\d{0,20})?|\.\d{1,20})([eE][+-]?\d{1,2})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Condition:
    """What a document (or a row of it) must hold at one of `paths`: anything, one of `values`, or such a beginning."""

    paths: tuple[Path, ...]
    values: tuple[str, ...] = ()
    start: str = ""

    def holds(self, row: Row) -> bool:
        """Whether it is so."""
        found = [each for path in self.paths for each in path.find(row)]
        if self.values:
            return any(spelled(each) in self.values for each in found)
        if self.start:
            return any(isinstance(each, str) and each.startswith(self.start) for each in found)
        return bool(found)


@dataclass(frozen=True, slots=True)
class Counter:
    """A running total: the reading is what was added.

    More than `max_step` is no count but a jump. `bits` is the width of a counter that wraps, 0 for one that
    does not.
    """

    max_step: int
    bits: int = 0

    def added(self, before: int | None, count: int) -> int:
        """What was added since `before`; FrameError `first_count`, `counter_reset` or `counter_jump`."""
        if before is None:
            raise FrameError("first_count")
        step = count - before
        if step < 0:
            step = (step + (1 << self.bits)) if self.bits else -1
            if not 0 <= step <= self.max_step:
                raise FrameError("counter_reset")
        if step > self.max_step:
            raise FrameError("counter_jump")
        return step


@dataclass(frozen=True, slots=True)
class Read:
    """One quantity. `paths` are tried in turn; `sums` adds everything that the first fitting one leads to.

    `missing` are numbers and texts that stand for "no value". A quantity that is `optional` may be absent
    without a reason being counted, for as long as it never was there. `when` are conditions that all must hold.
    """

    quantity: Quantity
    paths: tuple[Path, ...]
    scale: Decimal = Decimal(1)
    offset: Decimal = Decimal(0)
    valid: tuple[Decimal, Decimal] | None = None
    missing: frozenset[Decimal | str] = frozenset()
    optional: bool = False
    sums: bool = False
    counter: Counter | None = None
    when: tuple[Condition, ...] = ()

    def raw(self, row: Row) -> Decimal | None:
        """The number that stands there, None when the key is not there at all.

        FrameError: `not_available` for null and codes that say so, `not_a_number`, `out_of_range` for sizes that
        no quantity has, `ambiguous` when there are several and they are not to be added.
        """
        for path in self.paths:
            found = path.find(row)
            if len(found) > 1 and not self.sums:
                raise FrameError("ambiguous")
            if found:
                return sum((self._number(each) for each in found), Decimal(0))
        return None

    def scaled(self, number: Decimal) -> float:
        """The number in the quantity's unit; FrameError `out_of_range`. The arithmetic is decimal."""
        exact = number * self.scale + self.offset
        if self.valid is not None and not self.valid[0] <= exact <= self.valid[1]:
            raise FrameError("out_of_range")
        return float(exact)

    def count(self, number: Decimal) -> int:
        """The number as a running total; FrameError `not_a_number` for a fraction or a negative one."""
        if number < 0 or number != int(number):
            raise FrameError("not_a_number")
        return int(number)

    def _number(self, found: object) -> Decimal:
        if isinstance(found, str) and found in self.missing:
            raise FrameError("not_available")
        number = as_number(found)
        if number is None or number in self.missing:
            raise FrameError("not_available")
        return number


def as_number(found: object) -> Decimal | None:
    """A number, or the text of one; None for null and for texts that say "no value".

    FrameError `not_a_number` for anything else, `out_of_range` for sizes that no quantity has.
    """
    if found is None or (isinstance(found, str) and found.strip().lower() in NOTHING):
        return None
    if isinstance(found, str):
        text = found.strip()
        if not _NUMBER.fullmatch(text):
            raise FrameError("not_a_number")
        found = Decimal(text)
    if isinstance(found, bool) or not isinstance(found, int | Decimal):
        raise FrameError("not_a_number")
    if isinstance(found, int) and found.bit_length() > 64:
        raise FrameError("out_of_range")
    number = Decimal(found)
    if not number.is_finite() or (number and number.adjusted() not in EXPONENTS):
        raise FrameError("out_of_range")
    return number


@dataclass(frozen=True, slots=True)
class Note:
    """Something about the device that is shown beside its readings; `number` turns a text into a number."""

    name: str
    paths: tuple[Path, ...]
    number: bool = False


@dataclass(frozen=True, slots=True)
class Payload:
    """Bytes inside the document that are decoded first; the values then stand under `payload`."""

    paths: tuple[Path, ...]
    encoding: str
    model: str


@dataclass(frozen=True, slots=True)
class Rows:
    """Elements of the document that are looked at one after the other; without, the document is the one row.

    `unique` are what tells one from another: a row that was seen before is a repetition. `name` is what an
    option of the sensor may choose by (a line, a scenario).
    """

    path: Path | None = None
    unique: tuple[Path, ...] = ()
    name: Path | None = None


@dataclass(frozen=True, slots=True)
class Example:
    """Documents in order (or one payload), and what the last of them gives."""

    documents: Sequence[bytes]
    payload: bytes | None
    expect: dict[str, float]
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Map:
    """A whole map."""

    model: str
    match: tuple[Condition, ...] = ()
    identity: tuple[Path, ...] = ()
    restart: tuple[Path, ...] = ()
    rows: Rows = Rows()
    payload: Payload | None = None
    reads: tuple[Read, ...] = ()
    notes: tuple[Note, ...] = ()
    examples: tuple[Example, ...] = ()
    #: SHA-256 of the text, in hexadecimal.
    sha256: str = ""

    def fits(self, document: Any) -> bool:
        """Whether a document is of this kind."""
        row = Row(document, (), document)
        return isinstance(document, dict) and all(condition.holds(row) for condition in self.match)

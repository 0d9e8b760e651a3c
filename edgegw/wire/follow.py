"""Follow a log: from signed batches in any order to a proven prefix (WIRE §4 and §9, steps 5, 6, 8 and 9).

`judge_batch`, `judge_head` and `advance` decide; what was seen so far lies behind `Evidence`: sorted lists in
memory, a database for a receiver. The complete prefix itself is one compact range, logarithmic in the size of
the log. Without a hole the same messages prove the same records in whatever order they come; after a hole the
tree goes on at the nearest head that is there by then.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol

from edgegw.wire import log, merkle

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgegw.wire.batch import Batch
    from edgegw.wire.head import Consistency, Head


class Held(NamedTuple):
    """What a follower needs of a batch: its leaves' compact range, its signed root, and its content's hash."""

    range: merkle.Range
    root: bytes
    content: bytes


class HeldHead(NamedTuple):
    """What a follower needs of a head; without `consistency` one that arrives late is not held against it."""

    number: int
    tree: merkle.Range
    root: bytes
    consistency: Consistency | None = None


class Verdict(StrEnum):
    """What a message is to its log."""

    NEW = "new"
    REPEAT = "repeat"
    EQUIVOCATION = "equivocation"  # other content under an index that is already taken
    HEAD_ROOT = "head_root"  # a head and a batch of the same size with different roots
    HEAD_SIZE = "head_size"  # a head that does not stand at the end of a batch
    HEAD_NUMBER = "head_number"  # numbers and sizes of heads in different order
    CONSISTENCY = "consistency"  # the proof from the previous head, which is unsigned, is missing or wrong
    ROOT_MISMATCH = "root_mismatch"  # the signed root is not the root of the records

    @property
    def is_fork(self) -> bool:
        """Whether this is evidence that the log was forked or altered."""
        return self not in (Verdict.NEW, Verdict.REPEAT)


class Evidence(Protocol):
    """What was seen of one log. All sizes and indices are of that log."""

    def overlapping(self, first: int, end: int) -> Held | None:
        """A held batch that shares an index with [first, end), the earliest."""
        ...

    def batch_at(self, first: int) -> Held | None:
        """The held batch that begins at `first`."""
        ...

    def head_at(self, size: int) -> HeldHead | None:
        """A held head of exactly this size."""
        ...

    def head_numbered(self, number: int) -> HeldHead | None:
        """The held head of this number."""
        ...

    def heads_around(self, number: int) -> tuple[HeldHead | None, HeldHead | None]:
        """The held heads with the nearest lower and the nearest higher number."""
        ...

    def head_from(self, size: int) -> HeldHead | None:
        """The smallest held head of at least this size."""
        ...

    def lost_until(self, index: int) -> int | None:
        """Where the signed losses that cover `index` without a hole end; None when none covers it."""
        ...


class Proven(NamedTuple):
    """Records [first, end) are proven: the tree over them has the signed root."""

    first: int
    end: int


class Skipped(NamedTuple):
    """Records [first, end) are named as lost; the tree goes on at the head of `size`.

    Records [end, size) are all there or named as lost, too, and stay signed without being proven.
    """

    first: int
    end: int
    size: int


class Broken(NamedTuple):
    """The batch at `first` has another root than its records: nothing after it can be proven."""

    first: int


Step = Proven | Skipped | Broken


def judge_batch(batch: Batch, content: bytes, evidence: Evidence) -> Verdict:
    """What a signed batch is to the log; `content` is `batch.content`."""
    held = evidence.overlapping(batch.first, batch.end)
    if held is not None:
        same = (held.range.begin, held.range.end, held.content) == (batch.first, batch.end, content)
        return Verdict.REPEAT if same else Verdict.EQUIVOCATION
    head = evidence.head_from(batch.first + 1)
    if head is None or head.tree.end > batch.end:
        return Verdict.NEW
    if head.tree.end < batch.end:
        return Verdict.HEAD_SIZE
    return Verdict.NEW if head.root == batch.root else Verdict.HEAD_ROOT


def judge_head(head: Head, evidence: Evidence) -> Verdict:
    """What a signed head is to the log."""
    known = evidence.head_numbered(head.number)
    if known is not None:
        same = (known.tree.end, known.root) == (head.size, head.root)
        return Verdict.REPEAT if same else Verdict.EQUIVOCATION
    below, above = evidence.heads_around(head.number)
    if (below and below.tree.end > head.size) or (above and above.tree.end < head.size):
        return Verdict.HEAD_NUMBER
    ending = evidence.overlapping(head.size - 1, head.size)
    if ending is not None and ending.range.end != head.size:
        return Verdict.HEAD_SIZE
    twin = evidence.head_at(head.size)
    if (ending and ending.root != head.root) or (twin and twin.root != head.root):
        return Verdict.HEAD_ROOT
    held = HeldHead(head.number, head.tree, head.root, head.consistency)
    if below and below.number == head.number - 1 and not _continues(below, held):
        return Verdict.CONSISTENCY
    if above and above.number == head.number + 1 and above.consistency and not _continues(held, above):
        return Verdict.CONSISTENCY
    return Verdict.NEW


def _continues(old: HeldHead, new: HeldHead) -> bool:
    proof = new.consistency
    if proof is None or proof.old_size != old.tree.end:
        return False
    return merkle.consistent(proof.old_size, new.tree.end, old.root, new.root, proof.path)


def advance(tree: merkle.Range, evidence: Evidence) -> Iterator[tuple[Step, merkle.Range]]:
    """Each step that can be taken from the complete prefix `tree`, with the complete prefix after it."""
    while True:
        held = evidence.batch_at(tree.end)
        if held is not None:
            longer = tree.join(held.range)
            if longer.root() != held.root:
                yield Broken(held.range.begin), tree
                return
            yield Proven(held.range.begin, held.range.end), longer
            tree = longer
            continue
        end = evidence.lost_until(tree.end)
        head = evidence.head_from(end) if end is not None else None
        if end is None or head is None or not _is_complete(end, head.tree.end, evidence):
            return
        yield Skipped(tree.end, end, head.tree.end), head.tree
        tree = head.tree


def _is_complete(index: int, size: int, evidence: Evidence) -> bool:
    """Whether each record of [index, size) is held or named as lost: nothing is skipped in silence."""
    while index < size:
        held = evidence.overlapping(index, index + 1)
        after = held.range.end if held else evidence.lost_until(index)
        if after is None:
            return False
        index = after
    return True


class MemoryEvidence:
    """Evidence in sorted lists: for files and tests, as large as what it is shown."""

    def __init__(self) -> None:
        self._batches: list[Held] = []  # by first index; judged batches never overlap
        self._heads: list[HeldHead] = []  # by number, and therefore by size
        self._lost: list[tuple[int, int]] = []

    def add_batch(self, batch: Batch, content: bytes) -> None:
        """Hold a batch that was judged new, and the losses that it names."""
        insort(self._batches, Held(batch.range, batch.root, content), key=_first)
        self._lost.extend(losses(batch))

    def add_head(self, head: Head) -> None:
        """Hold a head that was judged new."""
        insort(self._heads, HeldHead(head.number, head.tree, head.root, head.consistency), key=_number)

    def overlapping(self, first: int, end: int) -> Held | None:
        """See `Evidence`."""
        at = bisect_right(self._batches, first, key=_first)
        for held in self._batches[max(0, at - 1) : at + 1]:
            if held.range.begin < end and held.range.end > first:
                return held
        return None

    def batch_at(self, first: int) -> Held | None:
        """See `Evidence`."""
        held = self.next_batch(first)
        return held if held and held.range.begin == first else None

    def next_batch(self, index: int) -> Held | None:
        """The held batch with the lowest first index of at least `index`."""
        at = bisect_left(self._batches, index, key=_first)
        return self._batches[at] if at < len(self._batches) else None

    def head_at(self, size: int) -> HeldHead | None:
        """See `Evidence`."""
        head = self.head_from(size)
        return head if head and head.tree.end == size else None

    def head_numbered(self, number: int) -> HeldHead | None:
        """See `Evidence`."""
        at = bisect_left(self._heads, number, key=_number)
        return self._heads[at] if at < len(self._heads) and self._heads[at].number == number else None

    def heads_around(self, number: int) -> tuple[HeldHead | None, HeldHead | None]:
        """See `Evidence`."""
        at = bisect_left(self._heads, number, key=_number)
        above = at + (self.head_numbered(number) is not None)
        return (
            self._heads[at - 1] if at else None,
            self._heads[above] if above < len(self._heads) else None,
        )

    def head_from(self, size: int) -> HeldHead | None:
        """See `Evidence`."""
        at = bisect_left(self._heads, size, key=_size)
        return self._heads[at] if at < len(self._heads) else None

    def lost_until(self, index: int) -> int | None:
        """See `Evidence`."""
        return covered_until(index, self._lost)


def _first(held: Held) -> int:
    return held.range.begin


def _number(head: HeldHead) -> int:
    return head.number


def _size(head: HeldHead) -> int:
    return head.tree.end


class Loss(NamedTuple):
    """What one `lost` record names (WIRE §7): `readings` that are gone, and their indices [begin, end) if any."""

    readings: int
    why: str
    begin: int | None
    end: int | None


def named_losses(batch: Batch) -> list[Loss]:
    """What a batch's `lost` records name."""
    name = f"{batch.log.iss}:_gateway:lost"
    found = []
    for record in batch.records:
        if record.name == name:
            extra = record.extra or {}
            begin, end = log.whole(extra.get("from")), log.whole(extra.get("to"))
            if begin is None or end is None or not begin < end <= batch.end:
                begin = end = None
            count, why = log.whole(record.value), extra.get("why")
            found.append(Loss(count or 0, why if isinstance(why, str) else "", begin, end))
    return found


def losses(batch: Batch) -> list[tuple[int, int]]:
    """The index ranges [from, to) that a batch's `lost` records name (WIRE §7)."""
    return [
        (loss.begin, loss.end)
        for loss in named_losses(batch)
        if loss.begin is not None and loss.end is not None
    ]


def covered_until(index: int, ranges: list[tuple[int, int]]) -> int | None:
    """Where the union of [begin, end) ranges that covers `index` ends; None when none covers it."""
    end = index
    for begin, stop in sorted(ranges):
        if begin <= end < stop:
            end = stop
    return end if end > index else None

"""Check what the store holds: every signature, every record, the whole tree. SQLite does not notice changed bytes.

One pass in log order with memory for one batch: the tree so far is a compact range, and what was before the first
stored batch comes from the nearest signed head.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from edgegw.problems import Exit
from edgegw.wire import follow, merkle, verify
from edgegw.wire.batch import Batch
from edgegw.wire.head import Head
from edgegw.wire.log import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from edgegw.store import StoredBatch, StoredHead
    from edgegw.wire.verify import KeyRing

# Findings that are kept; a disk that is broken throughout is described by the first few.
MAX_FINDINGS: Final = 100


class Finding(NamedTuple):
    """Something that does not hold: from which index on, and one word for what."""

    first: int
    reason: str


@dataclass
class Report:
    """What was checked. `signed` records have a right signature; `proven` ones also stand in the signed tree.

    `gaps` are index ranges [begin, end) that are neither stored nor named as lost; `named` are lost and say so.
    """

    batches: int = 0
    signed: int = 0
    proven: int = 0
    heads: int = 0
    first: int = 0
    end: int = 0
    refused: int = 0
    findings: list[Finding] = field(default_factory=list)
    gaps: list[tuple[int, int]] = field(default_factory=list)
    named: list[tuple[int, int]] = field(default_factory=list)

    @property
    def exit_code(self) -> Exit:
        """Failed, incomplete, complete with named losses, or done."""
        if self.refused:
            return Exit.VERIFICATION_FAILED
        if self.gaps:
            return Exit.VERIFICATION_INCOMPLETE
        return Exit.PROBLEMS if self.named else Exit.DONE

    def refuse(self, first: int, reason: str) -> None:
        """Count something that does not hold."""
        self.refused += 1
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(Finding(first, reason))


def check(
    batches: Iterable[StoredBatch],
    heads: Iterable[StoredHead],
    keys: KeyRing,
    *,
    receipted: int = 0,
    progress: Callable[[int], None] = lambda _end: None,
) -> Report:
    """Check everything that is stored of a log of which `receipted` records may be gone.

    `progress` is told the index after each batch. Heads are kept in memory: one for each minute of the backlog.
    """
    report = Report()
    trees = _heads(heads, keys, report)
    tree: merkle.Range | None = None
    losses: list[tuple[int, int]] = []
    holes: list[tuple[int, int]] = []
    end: int | None = None
    for stored in batches:
        if end is None:
            report.first = stored.first
            tree = merkle.Range.empty() if stored.first == 0 else trees.get(stored.first)
            if stored.first > receipted:
                holes.append((receipted, stored.first))
        elif stored.first != end:
            holes.append((end, stored.first))
            tree = trees.get(stored.first)
        tree = _check_batch(stored, keys, tree, trees, report, losses)
        end = stored.first + stored.count
        progress(end)
    report.end = end or 0
    for begin, stop in holes:
        covered = follow.covered_until(begin, losses)
        (report.named if covered is not None and covered >= stop else report.gaps).append((begin, stop))
    return report


def _heads(heads: Iterable[StoredHead], keys: KeyRing, report: Report) -> dict[int, merkle.Range]:
    trees: dict[int, merkle.Range] = {}
    for stored in heads:
        report.heads += 1
        try:
            head = verify.open_gateway_message(stored.message, keys)
        except Refused as fault:
            report.refuse(stored.size, f"head_{fault.reason}")
            continue
        if isinstance(head, Head) and head.size == stored.size:
            trees[head.size] = head.tree
        else:
            report.refuse(stored.size, "head_misplaced")
    return trees


def _check_batch(
    stored: StoredBatch,
    keys: KeyRing,
    tree: merkle.Range | None,
    trees: dict[int, merkle.Range],
    report: Report,
    losses: list[tuple[int, int]],
) -> merkle.Range | None:
    """Check one batch; the tree after it, None while the tree is not known."""
    end = stored.first + stored.count
    report.batches += 1
    try:
        batch = verify.open_gateway_message(stored.message, keys)
    except Refused as fault:
        report.refuse(stored.first, fault.reason)
        return trees.get(end)
    if not isinstance(batch, Batch) or (batch.first, batch.end) != (stored.first, end):
        report.refuse(stored.first, "misplaced")
        return trees.get(end)
    report.signed += stored.count
    losses.extend(follow.losses(batch))
    if tree is None:
        return trees.get(end)
    longer = tree.join(batch.range)
    if longer.root() != batch.root:
        report.refuse(stored.first, "root_mismatch")
        return trees.get(end)
    known = trees.get(end)
    if known is not None and known.root() != batch.root:
        report.refuse(stored.first, "head_root")
    report.proven += stored.count
    return longer

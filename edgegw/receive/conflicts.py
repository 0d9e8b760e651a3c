"""Two contents where a log has room for one: what contradicts what, and from which size on nothing is receipted."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edgegw.receive.notes import Note
from edgegw.wire.follow import Verdict

if TYPE_CHECKING:
    from edgegw.receive.upstream_store import Log, UpstreamStore
    from edgegw.wire.batch import Batch
    from edgegw.wire.head import Head

#: The end that a new epoch names for the old one has another root than the old one has there.
PREVIOUS_ROOT = "previous_root"

_WORDS = {
    Verdict.EQUIVOCATION: "signed two contents for the same place",
    Verdict.HEAD_ROOT: "signed two roots for the same size",
    Verdict.HEAD_SIZE: "signed a head that stands within a batch",
    Verdict.HEAD_NUMBER: "signed heads whose numbers and sizes are in different order",
    Verdict.ROOT_MISMATCH: "signed a root that is not the root of its records",
    PREVIOUS_ROOT: "began a new epoch that names another end of this one",
}


class Conflict(NamedTuple):
    """Evidence of a fork: the verdict, the size up to which the log is not in doubt, the message that was held."""

    verdict: str
    place: int
    held: bytes | None

    def note(self, log: Log) -> Note:
        """The loud report."""
        text = (
            f"{log.gateway} {_WORDS.get(self.verdict, self.verdict)}: epoch {log.epoch}, record {self.place}. "
            "Both are kept in the table conflict; receipts of this epoch stop here"
        )
        fields = {"gateway": log.gateway, "epoch": log.epoch, "verdict": self.verdict, "place": self.place}
        return Note("fork", text, fields, "error")


def batch_conflict(store: UpstreamStore, log: Log, batch: Batch, verdict: Verdict) -> Conflict:
    """A batch that was judged a fork, and what is held against it."""
    evidence = store.evidence(log)
    held = evidence.overlapping(batch.first, batch.end)
    if held is not None:
        place = min(batch.first, held.range.begin)
        return Conflict(verdict, place, store.batch_message(log, held.range.begin))
    head = evidence.head_from(batch.first + 1)
    return Conflict(verdict, batch.first, store.head_message(log, head.number) if head else None)


def head_conflict(store: UpstreamStore, log: Log, head: Head, verdict: Verdict) -> Conflict:
    """A head that was judged a fork, and what is held against it."""
    evidence = store.evidence(log)
    if verdict is Verdict.EQUIVOCATION:
        known = evidence.head_numbered(head.number)
        size = min(head.size, known.tree.end) if known else head.size
        return Conflict(verdict, size - 1, store.head_message(log, head.number))
    if verdict is Verdict.HEAD_NUMBER:
        below, above = evidence.heads_around(head.number)
        other = below if below is not None and below.tree.end > head.size else above
        return Conflict(verdict, head.size - 1, store.head_message(log, other.number) if other else None)
    ending = evidence.overlapping(head.size - 1, head.size)
    if ending is not None:
        place = min(head.size - 1, ending.range.begin)
        return Conflict(verdict, place, store.batch_message(log, ending.range.begin))
    twin = evidence.head_at(head.size)
    return Conflict(verdict, head.size - 1, store.head_message(log, twin.number) if twin else None)


def broken(first: int) -> Conflict:
    """The batch at `first` has another root than its records: it contradicts itself."""
    return Conflict(Verdict.ROOT_MISMATCH, first, None)

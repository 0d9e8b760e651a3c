"""Where one log stands after some of its messages: what is proven, what is missing, what contradicts itself."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from edgegw.wire import follow, merkle
from edgegw.wire.follow import Broken, Proven, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgegw.wire.batch import Batch, Previous
    from edgegw.wire.head import Head
    from edgegw.wire.log import LogId
    from edgegw.wire.seen import Claim, Place, SeenLog

# Ranges that a report lists of each sort; the counts beside them are of all. More is read by nobody.
MAX_LISTED: Final = 1000


class Judged(NamedTuple):
    """The verdict on one message: `proven`, `ahead`, `ok`, `repeat` or `fork`, and the reason of a fork."""

    verdict: str
    reason: str = ""


class Finding(NamedTuple):
    """A contradiction that a later message brought out: where the earlier one stands, what it is, which records."""

    place: Place
    about: str
    reason: str
    first: int
    end: int


class Standing:
    """Takes the opened messages of one log in any order; `finish` once, then `report`."""

    def __init__(self, log_id: LogId, evidence: SeenLog) -> None:
        self.log = log_id
        self.previous: Previous | None = None
        self.announced = True
        self.issued: int | None = (
            None  # when the first of its messages was issued; None: no batch or head yet
        )
        self._evidence = evidence
        self._tree = merkle.Range.empty()
        self._broken = False
        self._proven: list[tuple[int, int]] = []
        self._late: list[Finding] = []
        self._losses: list[follow.Loss] = []
        self._extent = self._records = self._lost = self._loss_count = self._forks = 0
        self._simulated = False

    def take_batch(self, batch: Batch, place: Place) -> Judged:
        """Judge a batch and hold it if it is new."""
        self._meet(batch.issued, simulated=batch.simulated)
        verdict = follow.judge_batch(batch, batch.content, self._evidence)
        if verdict is not Verdict.NEW:
            return self._known(verdict)
        self._evidence.add_batch(batch, place)
        self._extent = max(self._extent, batch.end)
        self._records += len(batch.records)
        if not batch.first:
            self.previous = batch.previous
        named = follow.named_losses(batch)
        self._losses += named[: MAX_LISTED - len(self._losses)]
        self._loss_count += len(named)
        self._lost += sum(loss.readings for loss in named)
        self._advance()
        if self._late and self._late[-1].first == batch.first:
            return Judged("fork", self._late.pop().reason)
        return Judged("proven" if self._covers(batch.first) else "ahead")

    def take_head(self, head: Head) -> Judged:
        """Judge a head and hold it if it is new."""
        self._meet(head.issued, simulated=head.simulated)
        verdict = follow.judge_head(head, self._evidence)
        if verdict is not Verdict.NEW:
            return self._known(verdict)
        self._evidence.add_head(head)
        self._extent = max(self._extent, head.size)
        self._advance()
        return Judged("proven" if self._covers(head.size - 1) else "ahead")

    def take_claim(self, claim: Claim) -> Judged:
        """Hold what a receipt, a proof or the next log says about this one against what its gateway signed."""
        if claim.kind != "proof":  # which proves one record, whatever else is there
            self._extent = max(self._extent, claim.size)
        reason = self._contradiction(claim)
        if reason is None:
            self._evidence.add_claim(claim)
        if reason:
            self._forks += 1
            return Judged("fork", reason)
        return Judged("proven" if claim.kind == "proof" else "ok")

    def late(self) -> list[Finding]:
        """The contradictions that came out since the last call."""
        found, self._late = self._late, []
        return found

    def finish(self) -> None:
        """Everything is there: take the tree up again behind each gap, at the next head; look at all claims."""
        while True:
            self._advance()
            head = self._evidence.head_from(self._tree.end + 1)
            if head is None:
                break
            self._tree, self._broken = head.tree, False
        for claim in self._evidence.claims():
            if reason := self._contradiction(claim):
                self._forks += 1
                self._late.append(Finding(claim.place, claim.kind, reason, 0, claim.size))

    def report(self) -> dict[str, Any]:
        """The standing as JSON can hold it: half-open ranges, counts of records."""
        gaps, missing = self._gaps()
        proven = sum(end - begin for begin, end in self._proven)
        verdict = "lost" if self._loss_count else "proven"
        if missing or not self.announced:
            verdict = "incomplete"
        return {
            "gateway": self.log.gateway,
            "epoch": self.log.epoch,
            "size": self._extent,
            "records": self._records,
            "proven": [list(stretch) for stretch in self._proven[:MAX_LISTED]],
            "proven_records": proven,
            "gaps": gaps,
            "missing_records": missing,
            "lost": [
                {"from": loss.begin, "to": loss.end, "readings": loss.readings, "why": loss.why}
                for loss in self._losses
            ],
            "lost_readings": self._lost,
            "forks": self._forks,
            "announced": self.announced,
            "previous": self.previous and [self.previous.stream, self.previous.size],
            "simulated": self._simulated,
            "verdict": "forked" if self._forks else verdict,
        }

    def _meet(self, issued: int, *, simulated: bool) -> None:
        self.issued = issued if self.issued is None else min(self.issued, issued)
        self._simulated |= simulated

    def _known(self, verdict: Verdict) -> Judged:
        if verdict is Verdict.REPEAT:
            return Judged("repeat")
        self._forks += 1
        return Judged("fork", str(verdict))

    def _advance(self) -> None:
        if self._broken:
            return
        for step, tree in follow.advance(self._tree, self._evidence):
            self._tree = tree
            if isinstance(step, Proven):
                touching = self._proven and self._proven[-1][1] == step.first
                begin = self._proven.pop()[0] if touching else step.first
                self._proven.append((begin, step.end))
            elif isinstance(step, Broken):
                self._broken = True
                self._forks += 1
                held = self._evidence.batch_at(step.first)
                end = held.range.end if held else step.first
                place = self._evidence.place_of(step.first)
                self._late.append(Finding(place, "batch", str(Verdict.ROOT_MISMATCH), step.first, end))

    def _covers(self, index: int) -> bool:
        at = bisect_right(self._proven, index, key=_begin) - 1
        return at >= 0 and index < self._proven[at][1]

    def _contradiction(self, claim: Claim) -> str | None:
        """Why the claim cannot be; empty when it is right, None while the root at its size is not known."""
        if not claim.size:
            return "" if claim.root == merkle.EMPTY_ROOT else f"{claim.kind}_root"
        held = self._evidence.overlapping(claim.size - 1, claim.size)
        if held is not None and held.range.end != claim.size:
            return f"{claim.kind}_size"
        known = held or self._evidence.head_at(claim.size)
        if known is None:
            return None
        return "" if known.root == claim.root else f"{claim.kind}_root"

    def _gaps(self) -> tuple[list[list[int]], int]:
        """What is neither held nor named as lost, and how many records that is."""
        found: list[list[int]] = []
        missing = 0
        for begin, end in self._holes():
            missing += end - begin
            if len(found) < MAX_LISTED:
                found.append([begin, end])
        return found, missing

    def _holes(self) -> Iterator[tuple[int, int]]:
        at = 0
        for begin, end in self._evidence.stretches():
            if begin > at:
                yield at, begin
            at = max(at, end)
        if self._extent > at:
            yield at, self._extent


def _begin(stretch: tuple[int, int]) -> int:
    return stretch[0]

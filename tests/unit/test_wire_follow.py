from __future__ import annotations

from contextlib import closing
from itertools import permutations
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wire_facts import sample

from edgegw.wire import cbor, cose, follow, merkle, verify
from edgegw.wire.batch import Batch
from edgegw.wire.follow import Broken, MemoryEvidence, Proven, Skipped, Verdict
from edgegw.wire.head import Head
from edgegw.wire.seen import Place, SeenLog, SeenLogs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from edgegw.wire.follow import Step


class Follower:
    """Holds what is new, and goes on along the tree after each message."""

    def __init__(self, evidence: MemoryEvidence | SeenLog) -> None:
        self.evidence = evidence
        self.tree = merkle.Range.empty()
        self.steps: list[Step] = []
        self._keys = sample.Gateway().keys

    def take(self, message: bytes, keys: verify.KeyRing | None = None) -> Verdict:
        found = verify.open_gateway_message(message, keys or self._keys)
        if isinstance(found, Batch):
            verdict = follow.judge_batch(found, found.content, self.evidence)
            if verdict is Verdict.NEW and isinstance(self.evidence, MemoryEvidence):
                self.evidence.add_batch(found, found.content)
            elif verdict is Verdict.NEW and isinstance(self.evidence, SeenLog):
                self.evidence.add_batch(found, Place("file", 0))
        else:
            assert isinstance(found, Head)
            verdict = follow.judge_head(found, self.evidence)
            if verdict is Verdict.NEW:
                self.evidence.add_head(found)
        self.go_on()
        return verdict

    def go_on(self) -> None:
        if self.steps and isinstance(self.steps[-1], Broken):
            return
        for step, tree in follow.advance(self.tree, self.evidence):
            self.tree = tree
            self.steps.append(step)

    def all(self, messages: Iterable[bytes]) -> list[Verdict]:
        return [self.take(message) for message in messages]

    @property
    def proven(self) -> set[int]:
        return {i for step in self.steps if isinstance(step, Proven) for i in range(step.first, step.end)}


@pytest.fixture(params=["in memory", "in a database"])
def follower(request: pytest.FixtureRequest) -> Iterator[Follower]:
    if request.param == "in memory":
        yield Follower(MemoryEvidence())
    else:
        seen = SeenLogs()
        seen.log()  # another log beside it
        yield Follower(seen.log())
        seen.close()


def whole_log() -> tuple[sample.Gateway, list[bytes]]:
    gateway = sample.Gateway()
    messages = []
    for count in (3, 1, 5, 2):
        messages += [gateway.batch(count), gateway.head()]
    return gateway, messages


def test_a_log_in_order_is_proven_batch_by_batch(follower: Follower) -> None:
    gateway, messages = whole_log()
    assert set(follower.all(messages)) == {Verdict.NEW}
    assert follower.steps == [Proven(0, 3), Proven(3, 4), Proven(4, 9), Proven(9, 11)]
    assert follower.tree == gateway.tree


@given(st.permutations(range(8)), st.lists(st.integers(0, 7), max_size=6))
@settings(max_examples=60)
def test_any_order_of_arrival_and_any_repeats_prove_the_same(order: list[int], again: list[int]) -> None:
    gateway, messages = whole_log()
    sequence = [messages[i] for i in order]
    for i in again:
        sequence.insert(i, messages[i])
    with closing(SeenLogs()) as seen:
        for follower in (Follower(MemoryEvidence()), Follower(seen.log())):
            verdicts = follower.all(sequence)
            assert verdicts.count(Verdict.NEW) == 8
            assert verdicts.count(Verdict.REPEAT) == len(again)
            assert follower.tree == gateway.tree
            assert follower.proven == set(range(11))


def test_nothing_is_proven_before_its_prefix_is_there(follower: Follower) -> None:
    _, messages = whole_log()
    assert follower.all(messages[2:]) == [Verdict.NEW] * 6
    assert follower.steps == []
    follower.take(messages[0])
    assert follower.proven == set(range(11))


def test_a_batch_signed_again_is_a_repeat(follower: Follower) -> None:
    one, two = sample.Gateway("p256"), sample.Gateway("p256")
    first, again = one.batch(3), two.batch(3)
    assert first != again
    assert follower.take(first, one.keys) is Verdict.NEW
    assert follower.take(again, one.keys) is Verdict.REPEAT
    parts = cose.parse(first)
    n = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    mirrored = parts.signature[:32] + (n - int.from_bytes(parts.signature[32:])).to_bytes(32)
    message = b"\xd2" + cbor.encode([parts.protected, {"note": 1}, parts.payload, mirrored])
    assert follower.take(message, one.keys) is Verdict.REPEAT


@pytest.mark.parametrize(("before", "count"), [(0, 3), (0, 1), (0, 9), (3, 1), (2, 3), (3, 6), (1, 2)])
def test_other_content_under_an_index_that_is_taken_is_an_equivocation(
    follower: Follower, before: int, count: int
) -> None:
    honest, fork = sample.Gateway(), sample.Gateway()
    follower.all([honest.batch(3), honest.batch(2)])
    if before:
        fork.batch(before)
    fork.secret = bytes(32)
    assert follower.take(fork.batch(count)) is Verdict.EQUIVOCATION


def test_the_same_header_over_other_records_is_an_equivocation(follower: Follower) -> None:
    gateway = sample.Gateway()
    first = gateway.batch(1)
    follower.take(first)
    parts = cose.parse(first)
    other = b"\x81" + gateway.writer.reading("air-1", "pm2_5", "ug/m3", 1, sample.T0)
    signature = gateway.by.sign(cose.to_be_signed(parts.protected, other))
    assert (
        follower.take(b"\xd2" + cbor.encode([parts.protected, {}, other, signature])) is Verdict.EQUIVOCATION
    )


def forked_heads() -> dict[Verdict, list[bytes]]:
    """For each contradiction between a head and another message: the two messages, in either order."""
    honest, fork = sample.Gateway(), sample.Gateway()
    fork.secret = bytes(32)
    batch, other = honest.batch(3), fork.batch(3)
    head, other_head = honest.head(), fork.head()
    large, small = sample.Gateway(), sample.Gateway()
    small.batch(2)
    later = sample.Gateway()
    later.batch(2)
    later.number = 5
    assert batch != other
    return {
        Verdict.HEAD_ROOT: [batch, other_head],
        Verdict.EQUIVOCATION: [head, other_head],
        Verdict.HEAD_SIZE: [large.batch(3), small.head()],
        Verdict.HEAD_NUMBER: [head, later.head()],
    }


@pytest.mark.parametrize("expected", forked_heads())
@pytest.mark.parametrize("order", [1, -1])
def test_a_head_that_contradicts_is_found_in_either_order(
    follower: Follower, expected: Verdict, order: int
) -> None:
    assert follower.all(forked_heads()[expected][::order]) == [Verdict.NEW, expected]
    assert expected.is_fork


def test_two_heads_of_one_size_have_one_root(follower: Follower) -> None:
    honest, fork = sample.Gateway(), sample.Gateway()
    honest.batch(3)
    fork.secret, fork.number = bytes(32), 7
    fork.batch(3)
    assert follower.all([honest.head(), fork.head()]) == [Verdict.NEW, Verdict.HEAD_ROOT]


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("damage", ["another prefix", "bent", "of another size"])
def test_a_wrong_consistency_proof_is_found_in_either_order(
    follower: Follower, damage: str, order: int
) -> None:
    gateway, fork = sample.Gateway(), sample.Gateway()
    gateway.batch(3)
    one = gateway.head()
    if damage == "another prefix":
        fork.secret = bytes(32)
    fork.batch(2 if damage == "of another size" else 3)
    fork.head()
    fork.batch(3)
    two = fork.head()
    if damage == "bent":
        two = two.replace(gateway.tree.hashes[0], bytes(32), 1)
        parts = cose.parse(two)
        peaks = list(fork.tree.hashes)
        two = b"\xd2" + cbor.encode(
            [parts.protected, parts.unprotected | {"edgegw": {9: peaks}}, parts.payload, parts.signature]
        )
    assert follower.all([one, two][::order]) == [Verdict.NEW, Verdict.CONSISTENCY]


def test_a_head_without_its_proof_does_not_continue_the_one_before(follower: Follower) -> None:
    gateway = sample.Gateway()
    gateway.batch(3)
    one = gateway.head()
    gateway.batch(1)
    parts = cose.parse(gateway.head())
    kept = {"edgegw": parts.unprotected["edgegw"]}
    bare = b"\xd2" + cbor.encode([parts.protected, kept, parts.payload, parts.signature])
    assert follower.all([one, bare]) == [Verdict.NEW, Verdict.CONSISTENCY]


def test_a_root_that_is_not_that_of_the_records_breaks_the_log_there(follower: Follower) -> None:
    gateway = sample.Gateway()
    first = gateway.batch(3)
    second = gateway.batch(2)
    fields = cose.parse(second).headers["edgegw"] | {2: bytes(32)}
    lying = sample.resigned(second, gateway.by, edgegw=fields)
    assert follower.all([first, gateway.batch(4), lying]) == [Verdict.NEW] * 3
    assert follower.steps == [Proven(0, 3), Broken(3)]
    assert follower.tree.end == 3


def test_a_named_loss_is_skipped_at_the_next_head(follower: Follower) -> None:
    gateway = sample.Gateway()
    first = gateway.batch(3)
    gateway.batch(4)
    gateway.head()
    between, head = gateway.batch(2), gateway.head()
    naming = gateway.batch(records=[gateway.lost(3, 7), *gateway.readings(1)])
    assert follower.all([first, between]) == [Verdict.NEW] * 2
    assert follower.tree.end == 3
    follower.take(naming)
    assert follower.tree.end == 3, "there is no head to take the tree up at"
    follower.take(head)
    assert follower.steps == [Proven(0, 3), Skipped(3, 7, 9), Proven(9, 11)]
    assert follower.tree == gateway.tree
    assert follower.proven == {0, 1, 2, 9, 10}, "what lies between the hole and the head stays signed only"


def test_after_a_loss_all_orders_reach_the_same_end() -> None:
    gateway = sample.Gateway()
    first = gateway.batch(3)
    gateway.batch(4)
    messages = [first, gateway.head(), gateway.batch(2), gateway.head()]
    messages.append(gateway.batch(records=[gateway.lost(3, 7)]))
    for order in permutations(messages):
        follower = Follower(MemoryEvidence())
        assert follower.all(order) == [Verdict.NEW] * 5
        assert follower.tree == gateway.tree


def test_losses_that_touch_are_one_hole_and_a_gap_between_them_stops_it(follower: Follower) -> None:
    gateway = sample.Gateway()
    gateway.batch(10)
    head = gateway.head()
    one = gateway.batch(records=[gateway.lost(0, 3), gateway.lost(7, 10), gateway.lost(1, 4)])
    rest = gateway.batch(records=[gateway.lost(4, 7)])
    follower.all([head, one])
    assert follower.evidence.lost_until(0) == 4
    assert follower.evidence.lost_until(4) is None
    assert follower.evidence.lost_until(7) == 10
    assert follower.evidence.lost_until(10) is None
    assert follower.tree.end == 0, "records 4 to 6 are neither there nor named: nothing is skipped in silence"
    follower.take(rest)
    assert follower.steps[0] == Skipped(0, 10, 10)
    assert follower.tree == gateway.tree


def test_what_lies_between_a_loss_and_the_next_head_must_be_there(follower: Follower) -> None:
    gateway = sample.Gateway()
    first = gateway.batch(3)
    gateway.batch(2)
    between = gateway.batch(4)
    head = gateway.head()
    naming = gateway.batch(records=[gateway.lost(3, 5)])
    follower.all([first, head, naming])
    assert follower.steps == [Proven(0, 3)]
    follower.take(between)
    assert follower.steps == [Proven(0, 3), Skipped(3, 5, 9), Proven(9, 10)]


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 10)), max_size=12), st.integers(0, 45))
@settings(max_examples=80)
def test_the_end_of_a_loss_is_the_same_in_memory_and_in_a_database(
    spans: list[tuple[int, int]], index: int
) -> None:
    gateway = sample.Gateway()
    gateway.batch(45)
    with closing(SeenLogs()) as seen:
        one, two = MemoryEvidence(), seen.log()
        for begin, length in spans:
            message = gateway.batch(records=[gateway.lost(begin, begin + length)])
            batch = verify.open_gateway_message(message, gateway.keys)
            assert isinstance(batch, Batch)
            one.add_batch(batch, batch.content)
            two.add_batch(batch, Place("file", 0))
        found = one.lost_until(index)
        assert two.lost_until(index) == found
    taken = {i for begin, length in spans for i in range(begin, begin + length)}
    end = index
    while end in taken:
        end += 1
    assert found == (end if end > index else None)


def test_a_loss_names_readings_and_the_indices_that_they_had() -> None:
    gateway = sample.Gateway()
    write = gateway.writer.event
    gateway.batch(20)
    records = [
        write("lost", 4, sample.T0, {"from": 3, "to": 7, "why": "full"}),
        write("lost", 9, sample.T0, {"why": "driver"}),
        write("lost", 1, sample.T0, {"from": 7, "to": 7, "why": "age"}),
        write("lost", 1, sample.T0, {"from": 8, "to": 7}),
        write("lost", 1, sample.T0, {"from": 0, "to": 27}),
        write("lost", 1, sample.T0, {"from": 0.5, "to": 3}),
        write("lost", "1", sample.T0, {"from": True, "to": 3, "why": 5}),
        gateway.writer.reading("_gateway", "found", "count", 1, sample.T0),
    ]
    batch = verify.open_gateway_message(gateway.batch(records=records), gateway.keys)
    assert isinstance(batch, Batch)
    assert follow.named_losses(batch) == [
        follow.Loss(4, "full", 3, 7),
        follow.Loss(9, "driver", None, None),
        follow.Loss(1, "age", None, None),
        follow.Loss(1, "", None, None),
        follow.Loss(1, "", 0, 27),
        follow.Loss(1, "", None, None),
        follow.Loss(0, "", None, None),
    ]
    assert follow.losses(batch) == [(3, 7), (0, 27)]


def test_a_follower_that_joins_late_starts_at_a_head(follower: Follower) -> None:
    gateway, messages = whole_log()
    later = [gateway.batch(3), gateway.head(), gateway.batch(2)]
    head = verify.open_gateway_message(messages[-1], gateway.keys)
    assert isinstance(head, Head)
    follower.tree = head.tree
    follower.all(later)
    assert follower.steps == [Proven(11, 14), Proven(14, 16)]
    assert follower.tree == gateway.tree

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from signed_logs import START, SignedLog, ring

from edgegw.receive.stretches import Stretches
from edgegw.receive.upstream_store import UpstreamStore
from edgegw.wire.batch import Batch
from edgegw.wire.follow import HeldHead, MemoryEvidence, Verdict, judge_batch, judge_head
from edgegw.wire.head import Head
from edgegw.wire.verify import open_gateway_message

if TYPE_CHECKING:
    from edgegw.wire.follow import Evidence


def without_proofs(head: HeldHead | None) -> HeldHead | None:
    return head and head._replace(consistency=None)


def answers(evidence: Evidence, index: int, end: int) -> list[object]:
    return [
        evidence.overlapping(index, end),
        evidence.batch_at(index),
        without_proofs(evidence.head_at(index)),
        without_proofs(evidence.head_numbered(index)),
        [without_proofs(head) for head in evidence.heads_around(index)],
        without_proofs(evidence.head_from(index)),
        evidence.lost_until(index),
    ]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_the_database_answers_like_the_evidence_in_memory(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    gateway = SignedLog()
    messages = []
    for _ in range(data.draw(st.integers(1, 8))):
        messages.append(gateway.batch(data.draw(st.integers(1, 3))))
        if data.draw(st.booleans()):
            first = data.draw(st.integers(0, gateway.size - 1))
            messages.append(gateway.lost(first, data.draw(st.integers(first + 1, gateway.size))))
        if data.draw(st.booleans()):
            messages.append(gateway.head())
    kept = data.draw(st.permutations(messages))[data.draw(st.integers(0, len(messages) // 2)) :]
    reach = data.draw(st.integers(1, gateway.size + 3))
    store = UpstreamStore(tmp_path_factory.mktemp("evidence") / "up.db")
    memory = MemoryEvidence()
    keys = ring(gateway)
    with store.transaction():
        log = store.add_log("gw-1", gateway.id.epoch, gateway.id.iss, START)
        for message in kept:
            found = open_gateway_message(message, keys)
            if isinstance(found, Batch) and judge_batch(found, found.content, memory) is Verdict.NEW:
                memory.add_batch(found, found.content)
                store.add_batch(log, found, message, START)
                for record in found.records:
                    if record.extra:
                        store.lost.add(log.id, record.extra["from"], record.extra["to"])
            elif isinstance(found, Head) and judge_head(found, memory) is Verdict.NEW:
                memory.add_head(found)
                store.add_head(log, found, message, START)
    evidence = store.evidence(log)
    for index in range(gateway.size + 2):
        assert answers(evidence, index, index + reach) == answers(memory, index, index + reach)
    store.close()


@settings(max_examples=200, deadline=None)
@given(added=st.lists(st.tuples(st.integers(0, 30), st.integers(1, 8)), max_size=20))
def test_stretches_are_the_union_of_what_was_added(
    tmp_path_factory: pytest.TempPathFactory, added: list[tuple[int, int]]
) -> None:
    store = UpstreamStore(tmp_path_factory.mktemp("stretches") / "up.db")
    covered: set[int] = set()
    store.lost.add(2, 0, 40)  # another log does not matter
    for first, count in added:
        store.lost.add(1, first, first + count)
        covered.update(range(first, first + count))
    rows = store.db.execute("SELECT first, stop FROM lost WHERE log = 1 ORDER BY first").fetchall()
    assert {index for first, stop in rows for index in range(first, stop)} == covered
    assert all(stop < first for (_, stop), (first, _) in pairwise(rows))
    for index in range(40):
        end = index
        while end in covered:
            end += 1
        assert store.lost.end_around(1, index) == (end if end > index else None)
    store.close()


def test_there_are_only_the_two_tables(tmp_path_factory: pytest.TempPathFactory) -> None:
    store = UpstreamStore(tmp_path_factory.mktemp("tables") / "up.db")
    with pytest.raises(ValueError, match="log; DROP"):
        Stretches(store.db, "log; DROP TABLE log")
    store.close()

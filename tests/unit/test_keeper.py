from __future__ import annotations

import os
import sqlite3
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from keeping import LIMITS, RING, START, STORES, closed, fill, keeper, opened, signed_receipt

from edgegw.problems import GatewayError
from edgegw.store import FILE_NAME, StoreFailed, StoreFull
from edgegw.wire import follow, head, merkle
from edgegw.wire.batch import Batch
from edgegw.wire.verify import open_gateway_message

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edgegw.keeper import Keeper


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Keeper]:
    kept = keeper(tmp_path)
    yield kept
    kept.close()


def proven(log: Keeper) -> tuple[int, list[follow.Step]]:
    """How far a stranger can prove what is stored, and the steps of it."""
    evidence = follow.MemoryEvidence()
    for each in opened(log):
        assert follow.judge_batch(each, bytes(str(each.first), "ascii"), evidence) is follow.Verdict.NEW
        evidence.add_batch(each, bytes(str(each.first), "ascii"))
    at = 0
    while heads := log.heads_between(at, 1 << 40):
        for stored in heads:
            found = open_gateway_message(stored.message, RING)
            assert isinstance(found, head.Head)
            assert follow.judge_head(found, evidence) is follow.Verdict.NEW
            evidence.add_head(found)
        at = heads[-1].size
    steps = list(follow.advance(merkle.Range.empty(), evidence))
    return (steps[-1][1].end if steps else 0), [step for step, _ in steps]


def test_indices_are_dense_from_zero_and_everything_stored_can_be_proven(log: Keeper) -> None:
    fill(log, 25)
    assert [(each.first, each.end) for each in opened(log)] == [(n * 100, n * 100 + 100) for n in range(25)]
    assert proven(log)[0] == log.size == 2500


def test_a_new_start_goes_on_where_the_last_one_stopped_without_a_fork(tmp_path: Path) -> None:
    for start in range(5):
        log = keeper(tmp_path)
        assert log.size == start * 700
        fill(log, 7, first=start * 700, heads=start % 2 == 0)
        log.close()
    log = keeper(tmp_path)
    assert proven(log)[0] == 3500
    assert log.newest_time == START + 349.9
    log.close()


def test_a_stored_head_comes_at_an_idle_minute_too_and_replaces_its_twin(log: Keeper) -> None:
    fill(log, 1, heads=False)
    numbers = [made.number for _ in range(3) if (made := log.make_head(int(START)))]
    assert numbers == [0, 1, 2]
    assert [stored.number for stored in log.heads_between(0, 1000)] == [2]


def test_two_daemons_cannot_share_a_log(log: Keeper, tmp_path: Path) -> None:
    del log
    with pytest.raises(GatewayError, match="another daemon") as error:
        keeper(tmp_path)
    assert (error.value.code, error.value.exit_code) == ("EG-STORE-LOCKED", 9)


def test_only_a_valid_receipt_moves_the_receipted_size(log: Keeper) -> None:
    fill(log, 3)
    roots = {each.end: each.root for each in opened(log)}
    assert log.take_receipt(signed_receipt(log, 200, roots[200]), {}).problem == "EG-RECEIPT-FORGED"
    assert log.take_receipt(signed_receipt(log, 200, roots[300]), STORES).problem == "EG-RECEIPT-FORGED"
    assert log.take_receipt(signed_receipt(log, 150, roots[200]), STORES).problem == "EG-RECEIPT-FORGED"
    assert log.take_receipt(b"\xd2nonsense", STORES).problem == "EG-RECEIPT-FORGED"
    assert log.receipted == 0
    assert log.take_receipt(signed_receipt(log, 200, roots[200]), STORES).progress
    again = log.take_receipt(signed_receipt(log, 100, roots[100]), STORES)
    assert (again.size, again.problem, again.progress) == (200, "", False)


def test_the_receipted_size_is_kept_over_a_restart(tmp_path: Path) -> None:
    log = keeper(tmp_path)
    fill(log, 3)
    log.take_receipt(signed_receipt(log, 200, opened(log)[1].root), STORES)
    log.close()
    log = keeper(tmp_path)
    assert (log.receipted, log.snapshot().backlog.records) == (200, 100)
    log.close()


def test_what_a_status_said_was_receipted_is_receipted_after_a_kill_too(tmp_path: Path) -> None:
    log = keeper(tmp_path)
    fill(log, 3)
    log.take_receipt(signed_receipt(log, 200, opened(log)[1].root), STORES)
    assert log.snapshot().receipted == 200
    with sqlite3.connect(f"file:{tmp_path / FILE_NAME}?mode=ro", uri=True) as db:
        assert db.execute("SELECT value FROM state WHERE key = 'receipted'").fetchone() == (200,)
    db.close()
    log.close()


def test_a_receipt_beyond_the_end_sets_the_log_aside_and_announces_a_new_one(
    log: Keeper, tmp_path: Path
) -> None:
    fill(log, 2)
    old, root = log.log, opened(log)[-1].root
    taken = log.take_receipt(signed_receipt(log, 10_000, root), STORES)
    assert taken.problem == "EG-STORE-ROLLED-BACK"
    assert log.size == 0
    assert log.log.epoch != old.epoch
    assert list(tmp_path.glob("edgegw-rolled-back-*.db"))
    fill(log, 1)
    previous = opened(log)[0].previous
    assert previous is not None
    assert (previous.stream, previous.size, previous.root) == (old.stream, 200, root)


def test_a_full_store_drops_whole_intervals_names_them_and_receipts_go_on(tmp_path: Path) -> None:
    log = keeper(tmp_path, max_size=2 << 20)
    done = fill(log, 400)
    lost = sum(each.lost for each in done)
    assert lost > 10_000
    assert (tmp_path / FILE_NAME).stat().st_size <= 2 << 20
    batches = opened(log)
    evidence = follow.MemoryEvidence()
    for each in batches:
        evidence.add_batch(each, b"")
    for stored in log.heads_between(0, 1 << 40):
        made = open_gateway_message(stored.message, RING)
        assert isinstance(made, head.Head)
        evidence.add_head(made)
    steps = list(follow.advance(merkle.Range.empty(), evidence))
    skipped = steps[0][0]
    assert isinstance(skipped, follow.Skipped)
    assert (skipped.first, skipped.end, skipped.size) == (0, batches[0].first, batches[0].first)
    assert steps[-1][1].end == log.size
    assert log.snapshot().lost == lost
    assert log.take_receipt(signed_receipt(log, log.size, batches[-1].root), STORES).progress
    fill(log, 100, first=100_000)
    assert log.snapshot().lost == lost, "receipted batches go before anything is lost"
    assert proven_from(log)
    log.close()


def proven_from(log: Keeper) -> bool:
    tail = opened(log)
    return all(one.end == two.first for one, two in pairwise(tail))


def test_an_earlier_loss_stays_named_when_its_own_record_is_dropped(tmp_path: Path) -> None:
    log = keeper(tmp_path, max_size=2 << 20)
    fill(log, 600)
    batches = opened(log)
    named = [interval for each in batches for interval in follow.losses(each)]
    assert follow.covered_until(0, named) == batches[0].first
    log.close()


def test_a_full_store_that_must_stop_refuses_and_loses_nothing(tmp_path: Path) -> None:
    log = keeper(tmp_path, max_size=1 << 20, drop_oldest=False)
    with pytest.raises(StoreFull):
        fill(log, 1000)
    size = log.size
    assert size == sum(len(each.records) for each in opened(log))
    log.take_receipt(signed_receipt(log, size, opened(log)[-1].root), STORES)
    assert log.commit(closed(size), int(START)).lost == 0, "what is receipted makes room"
    log.close()


def test_receipted_batches_go_after_their_time_and_unreceipted_ones_stay(tmp_path: Path) -> None:
    log = keeper(tmp_path, keep=60.0)
    fill(log, 100)
    log.take_receipt(signed_receipt(log, 5000, opened(log)[49].root), STORES)
    now = START + 100.0 + 60.0
    while log.prune(now):
        pass
    first = opened(log)[0].first
    assert 900 <= first <= 1000
    while log.prune(now + 1e6):
        pass
    assert opened(log)[0].first == 5000
    log.close()
    log = keeper(tmp_path)
    assert log.size == 10_000, "the log goes on after what was removed"
    log.close()


def test_everything_receipted_and_removed_the_log_still_goes_on(tmp_path: Path) -> None:
    log = keeper(tmp_path, keep=0.0)
    fill(log, 10)
    log.take_receipt(signed_receipt(log, 1000, opened(log)[-1].root), STORES)
    while log.prune(START + 1e6):
        pass
    assert opened(log) == []
    log.close()
    log = keeper(tmp_path, keep=0.0)
    assert (log.size, log.receipted) == (1000, 1000)
    assert fill(log, 1, first=1000)[0].end == 1100
    log.close()


def test_nothing_behind_the_newest_head_goes_or_an_index_would_be_given_twice(tmp_path: Path) -> None:
    log = keeper(tmp_path, keep=0.0)
    fill(log, 10)
    fill(log, 5, first=1000, heads=False)
    log.take_receipt(signed_receipt(log, 1500, opened(log)[-1].root), STORES)
    while log.prune(START + 1e6):
        pass
    assert opened(log)[0].first == 1000
    log.close()
    log = keeper(tmp_path, keep=0.0)
    assert (log.size, log.receipted) == (1500, 1500)
    log.close()


@pytest.mark.parametrize("where", ["head", "batch"])
def test_a_damaged_tail_is_set_aside_and_measuring_goes_on(tmp_path: Path, where: str) -> None:
    log = keeper(tmp_path)
    fill(log, 5, heads=False)
    if where == "head":
        log.make_head(int(START))
    log.close()
    with sqlite3.connect(tmp_path / FILE_NAME) as db:
        (message,) = db.execute(f"SELECT message FROM {where} ORDER BY rowid DESC LIMIT 1").fetchone()
        flipped = message[:-70] + bytes([message[-70] ^ 1]) + message[-69:]
        db.execute(f"UPDATE {where} SET message = ?", (flipped,))
    db.close()
    log = keeper(tmp_path)
    assert [code for code, _ in log.notes] == ["EG-STORE-DAMAGED"]
    assert list(tmp_path.glob("edgegw-damaged-*.db"))
    fill(log, 1)
    assert proven(log)[0] == 100
    log.close()


def test_a_database_that_is_garbage_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"SQLite format 3\0" + os.urandom(20_000))
    log = keeper(tmp_path)
    assert [code for code, _ in log.notes] == ["EG-STORE-DAMAGED"]
    log.close()


@pytest.mark.parametrize(
    "prepare",
    [lambda db: db.execute("PRAGMA user_version = 7"), lambda db: db.execute("CREATE TABLE recipes(x)")],
    ids=["newer version", "another program's"],
)
def test_a_database_of_another_kind_is_refused_and_not_touched(tmp_path: Path, prepare: object) -> None:
    db = sqlite3.connect(tmp_path / FILE_NAME)
    prepare(db)  # type: ignore[operator]
    db.commit()
    db.close()
    before = (tmp_path / FILE_NAME).read_bytes()
    with pytest.raises(StoreFailed) as error:
        keeper(tmp_path)
    assert (error.value.code, error.value.exit_code) == ("EG-STORE-VERSION", 9)
    assert (tmp_path / FILE_NAME).read_bytes() == before


def test_the_file_is_for_its_owner_alone(log: Keeper, tmp_path: Path) -> None:
    del log
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_a_refused_write_leaves_no_trace_and_the_same_records_go_in_later(
    log: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(log, 2)

    def broken(_batch: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(log._store, "add_batch", broken)
        with pytest.raises(StoreFailed):
            log.commit(closed(200), int(START))
    log.reopen()
    assert log.size == 200
    assert log.commit(closed(200), int(START)).end == 300
    assert proven(log)[0] == 300


def test_a_write_that_reports_an_error_but_happened_is_not_repeated(
    log: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(log, 2)
    took = log._took

    def after_the_fact(_sealed: object) -> None:
        raise StoreFailed("EG-STORE-FAILED", "sync failed")

    monkeypatch.setattr(log, "_took", after_the_fact)
    with pytest.raises(StoreFailed):
        log.commit(closed(200), int(START))
    monkeypatch.setattr(log, "_took", took)
    log.reopen()
    assert log.commit(closed(200), int(START)).end == 300
    assert [len(each.records) for each in opened(log)] == [100, 100, 100]


def test_durability_is_not_lowered(log: Keeper) -> None:
    assert log._store.pragma("synchronous") == 2
    assert log._store.path.with_name(FILE_NAME + "-wal").exists()


def test_a_batch_message_respects_its_limit() -> None:
    assert LIMITS.max_bytes <= 240 * 1024


def test_a_batch_is_what_it_says(log: Keeper) -> None:
    fill(log, 1)
    (stored,) = opened(log)
    assert isinstance(stored, Batch)
    assert [record.value for record in stored.records] == [n / 10 for n in range(100)]
    assert stored.clock == (1, 5)

from __future__ import annotations

import dataclasses
import sqlite3
from typing import TYPE_CHECKING

import pytest
from keeping import GATEWAY, RING, START, STORES, fill, keeper, opened, signed_receipt

from edgegw.config import load
from edgegw.problems import Exit, GatewayError
from edgegw.spool import FileSpool, StoreReader, look
from edgegw.spoolcheck import MAX_FINDINGS, Report, check
from edgegw.wire.verify import KeyRing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edgegw.store import StoredBatch, StoredHead


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    log = keeper(tmp_path / "store")
    fill(log, 25)
    log.close()
    return tmp_path / "store"


@pytest.fixture
def spool(directory: Path) -> Iterator[FileSpool]:
    reader = StoreReader(directory)
    yield FileSpool(reader)
    reader.close()


def checked(batches: list[StoredBatch], heads: list[StoredHead], receipted: int = 0) -> Report:
    return check(batches, heads, RING, receipted=receipted)


def altered(batch: StoredBatch, at: int = -1) -> StoredBatch:
    message = bytearray(batch.message)
    message[at] ^= 1
    return dataclasses.replace(batch, message=bytes(message))


def without(batches: list[StoredBatch], *numbers: int) -> list[StoredBatch]:
    return [batch for number, batch in enumerate(batches) if number not in numbers]


# What is read


def test_a_closed_store_is_read_in_log_order(spool: FileSpool) -> None:
    batches = list(spool.batches())
    assert [batch.first for batch in batches] == list(range(0, 2500, 100))
    assert [batch.first for batch in spool.batches(1050)] == list(range(1000, 2500, 100))
    assert [head.size for head in spool.heads()] == [1000, 2000]


def test_reading_changes_nothing_in_the_directory(directory: Path) -> None:
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    reader = StoreReader(directory)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._db.execute("DELETE FROM batch")
    list(FileSpool(reader).batches())
    reader.close()
    assert {path.name: path.read_bytes() for path in directory.iterdir() if path.suffix == ".db"} == {
        name: data for name, data in before.items() if name.endswith(".db")
    }


def test_what_a_killed_daemon_left_in_the_wal_is_read(tmp_path: Path) -> None:
    log = keeper(tmp_path / "store")
    fill(log, 3)  # not closed: the batches are in the WAL only
    reader = StoreReader(tmp_path / "store")
    assert reader.end() == 300
    reader.close()
    log.close()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (None, "EG-STORE-MISSING"),
        (b"", "EG-STORE-MISSING"),
        (b"this is not a database, it is a text" * 200, "EG-STORE-DAMAGED"),
    ],
)
def test_what_is_no_store_is_named(tmp_path: Path, data: bytes | None, code: str) -> None:
    if data is not None:
        (tmp_path / "edgegw.db").write_bytes(data)
    with pytest.raises(GatewayError) as error:
        StoreReader(tmp_path)
    assert error.value.code == code
    assert error.value.exit_code is Exit.STORE


def test_a_store_of_a_newer_version_is_left_alone(directory: Path) -> None:
    connection = sqlite3.connect(directory / "edgegw.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(GatewayError) as error:
        StoreReader(directory)
    assert error.value.code == "EG-STORE-VERSION"


def test_without_a_daemon_the_status_is_the_view_from_the_store(directory: Path, tmp_path: Path) -> None:
    file = tmp_path / "edgegw.toml"
    file.write_text(
        f'[gateway]\nid = "{GATEWAY}"\n[store]\npath = "store"\n[control]\nsocket = "none.sock"\n'
        '[sensor.air-1]\ndriver = "sds011"\nport = "/dev/x"\n[sensor.air-2]\ndriver = "sds011"\nport = "/dev/y"\n'
        "enabled = false\n"
    )
    with look(load(file, {})) as seen:
        assert seen.absent is not None
        assert seen.absent.code == "EG-NOT-RUNNING"
        assert seen.status["link"]["state"] == seen.status["state"] == "offline"
        assert seen.status["log"]["size"] == 2500
        assert seen.status["backlog"]["readings"] == 2500
        assert [(sensor["id"], sensor["state"]) for sensor in seen.status["sensors"]] == [
            ("air-1", "paused"),
            ("air-2", "disabled"),
        ]
        assert isinstance(seen.spool, FileSpool)
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        list(seen.spool.heads())
    (directory / "edgegw.db").unlink()
    with look(load(file, {})) as empty:
        assert empty.spool is None
    assert empty.status.keys() == seen.status.keys()
    assert empty.status["log"]["size"] == 0


# What is checked


def test_a_whole_store_is_proven_from_end_to_end(spool: FileSpool) -> None:
    told: list[int] = []
    report = check(spool.batches(), spool.heads(), RING, progress=told.append)
    assert (report.batches, report.signed, report.proven, report.heads) == (25, 2500, 2500, 2)
    assert (report.first, report.end) == (0, 2500)
    assert report.exit_code is Exit.DONE
    assert told[-1] == 2500


def test_a_store_that_begins_at_a_head_is_proven_from_there(spool: FileSpool) -> None:
    batches = [batch for batch in spool.batches() if batch.first >= 1000]
    report = checked(batches, list(spool.heads()), receipted=1000)
    assert (report.proven, report.exit_code) == (1500, Exit.DONE)


def test_a_store_that_begins_elsewhere_is_signed_until_the_next_head(spool: FileSpool) -> None:
    batches = [batch for batch in spool.batches() if batch.first >= 1500]
    report = checked(batches, list(spool.heads()), receipted=1500)
    assert (report.signed, report.proven, report.exit_code) == (1000, 500, Exit.DONE)


@pytest.mark.parametrize("at", [3, 60, 200, -1])
def test_one_flipped_bit_in_a_batch_is_found_where_it_is(spool: FileSpool, at: int) -> None:
    batches = list(spool.batches())
    batches[7] = altered(batches[7], at)
    report = checked(batches, list(spool.heads()))
    assert [finding.first for finding in report.findings] == [700]
    assert report.exit_code is Exit.VERIFICATION_FAILED


def test_one_flipped_bit_in_a_head_is_found(spool: FileSpool) -> None:
    heads = list(spool.heads())
    heads[1] = heads[1]._replace(message=heads[1].message[:-1] + bytes([heads[1].message[-1] ^ 1]))
    report = checked(list(spool.batches()), heads)
    assert report.findings == [(2000, "head_signature")]


def test_a_batch_in_another_place_is_found(spool: FileSpool) -> None:
    batches = list(spool.batches())
    batches[3] = dataclasses.replace(batches[3], message=batches[4].message)
    assert checked(batches, []).findings == [(300, "misplaced")]


def test_a_missing_batch_is_a_gap(spool: FileSpool) -> None:
    report = checked(without(list(spool.batches()), 5), list(spool.heads()))
    assert report.gaps == [(500, 600)]
    assert report.exit_code is Exit.VERIFICATION_INCOMPLETE


def test_a_missing_begin_that_nobody_has_receipted_is_a_gap(spool: FileSpool) -> None:
    assert checked(without(list(spool.batches()), 0), []).gaps == [(0, 100)]


def test_a_hole_that_a_signed_record_names_is_a_loss_and_no_gap(tmp_path: Path) -> None:
    log = keeper(tmp_path / "small", max_size=1 << 20)
    fill(log, 200)
    receipted = log.receipted
    snapshot = log.snapshot()
    log.close()
    assert snapshot.lost > 0
    reader = StoreReader(tmp_path / "small")
    spool = FileSpool(reader)
    report = check(spool.batches(), spool.heads(), RING, receipted=receipted)
    reader.close()
    assert report.gaps == []
    assert report.named
    assert report.exit_code is Exit.PROBLEMS


def test_a_pruned_store_of_receipted_batches_is_whole(tmp_path: Path) -> None:
    log = keeper(tmp_path / "pruned", keep=0.0)
    fill(log, 30)
    log.take_receipt(signed_receipt(log, 1000, opened(log)[9].root), STORES)
    while log.prune(START + 1e6):
        pass
    receipted = log.receipted
    log.close()
    reader = StoreReader(tmp_path / "pruned")
    report = check(FileSpool(reader).batches(), FileSpool(reader).heads(), RING, receipted=receipted)
    reader.close()
    assert report.first > 0
    assert report.exit_code is Exit.DONE


def test_a_disk_that_is_broken_throughout_does_not_fill_the_report(spool: FileSpool) -> None:
    batches = [altered(batch) for batch in list(spool.batches()) * 10]
    report = check(batches, [], KeyRing({}))
    assert report.refused == 250
    assert len(report.findings) == MAX_FINDINGS

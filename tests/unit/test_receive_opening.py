from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from signed_logs import PREFIX, START, SignedLog, ring, upstream

from edgegw.problems import Exit, GatewayError
from edgegw.receive import opening
from edgegw.receive.intake import Intake
from edgegw.receive.upstream_store import UpstreamStore

if TYPE_CHECKING:
    from pathlib import Path


def filled(path: Path) -> SignedLog:
    gateway = SignedLog()
    store = UpstreamStore(path)
    messages = [gateway.to("batch", gateway.batch(500)) for _ in range(20)]
    Intake(store, PREFIX, accept_simulated=False).take(messages, ring(gateway), START)
    store.close()
    return gateway


def refused(path: Path) -> GatewayError:
    before = path.read_bytes()
    with pytest.raises(GatewayError) as error:
        UpstreamStore(path)
    assert error.value.exit_code is Exit.STORE
    assert path.read_bytes() == before
    return error.value


def test_a_store_is_made_where_there_is_none_and_found_again(tmp_path: Path) -> None:
    gateway = filled(tmp_path / "up.db")
    store = UpstreamStore(tmp_path / "up.db")
    assert upstream(store, gateway) == gateway.values
    store.close()


def test_it_commits_durably(tmp_path: Path) -> None:
    store = UpstreamStore(tmp_path / "up.db")
    assert store.db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert store.db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    store.close()


def test_the_library_for_migrations_is_loaded_only_to_make_the_tables(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from edgegw.receive.upstream_store import UpstreamStore;"
        "UpstreamStore(Path(sys.argv[1])); print('sqlite_utils' in sys.modules)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "up.db")]
    loaded = [subprocess.run(command, check=True, capture_output=True, text=True).stdout for _ in range(2)]
    assert loaded == ["True\n", "False\n"]


def test_what_was_interrupted_while_the_tables_were_made_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "up.db"
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA application_id = {opening.APPLICATION_ID}")
    db.execute("CREATE TABLE _sqlite_migrations(id INTEGER PRIMARY KEY, migration_set, name, applied_at)")
    db.commit()
    db.close()
    UpstreamStore(path).close()
    path.write_bytes(b"")
    UpstreamStore(path).close()


@pytest.mark.parametrize("content", [b"not a database at all", b"SQLite format 3\x00", os.urandom(5000)])
def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "up.db").write_bytes(content)
    assert refused(tmp_path / "up.db").code == "EG-STORE-DAMAGED"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["up.db", "up.db.lock"]


def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "up.db")
    db.execute("CREATE TABLE readings(value)")
    db.execute("PRAGMA user_version = 1")
    db.commit()
    db.close()
    error = refused(tmp_path / "up.db")
    assert error.code == "EG-STORE-VERSION"
    assert "another program" in error.what


def test_a_store_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    filled(tmp_path / "up.db")
    db = sqlite3.connect(tmp_path / "up.db")
    db.execute("PRAGMA user_version = 2")
    db.close()
    error = refused(tmp_path / "up.db")
    assert error.code == "EG-STORE-VERSION"
    assert "version 2" in error.what


def test_a_cut_or_overwritten_store_is_named_as_damaged(tmp_path: Path) -> None:
    filled(tmp_path / "up.db")
    whole = (tmp_path / "up.db").read_bytes()
    (tmp_path / "up.db").write_bytes(whole[: len(whole) // 2])
    assert refused(tmp_path / "up.db").code == "EG-STORE-DAMAGED"
    (tmp_path / "up.db").write_bytes(whole[:4096] + bytes(len(whole) - 4096))
    assert refused(tmp_path / "up.db").code == "EG-STORE-DAMAGED"


def test_damage_that_shows_later_stops_the_receiver_and_acknowledges_nothing(tmp_path: Path) -> None:
    path = tmp_path / "up.db"
    gateway = filled(path)
    store = UpstreamStore(path)
    (root,) = store.db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'batch'").fetchone()
    store.close()
    with path.open("r+b") as file:
        file.seek((root - 1) * opening.PAGE_BYTES)
        file.write(os.urandom(opening.PAGE_BYTES))
    store = UpstreamStore(path)
    intake = Intake(store, PREFIX, accept_simulated=False)
    with pytest.raises(GatewayError) as error:
        intake.take([gateway.to("batch", gateway.batch(1))], ring(gateway), START)
    assert (error.value.code, error.value.exit_code) == ("EG-STORE-DAMAGED", Exit.STORE)
    assert "not acknowledged" in error.value.safe
    store.close()


def test_a_full_disk_stops_the_receiver_and_loses_nothing(tmp_path: Path) -> None:
    gateway = SignedLog()
    store = UpstreamStore(tmp_path / "up.db")
    intake = Intake(store, PREFIX, accept_simulated=False)
    pages = store.db.execute("PRAGMA page_count").fetchone()[0]
    store.db.execute(f"PRAGMA max_page_count = {pages + 1}")
    first = gateway.to("batch", gateway.batch(900))
    with pytest.raises(GatewayError) as error:
        intake.take([first], ring(gateway), START)
    assert (error.value.code, error.value.exit_code) == ("EG-STORE-FAILED", Exit.STORE)
    store.db.execute("PRAGMA max_page_count = 1000000")
    assert intake.take([first], ring(gateway), START).receipts["gw-1"].size == 900
    store.close()


def test_two_receivers_do_not_share_a_database(tmp_path: Path) -> None:
    store = UpstreamStore(tmp_path / "up.db")
    assert refused(tmp_path / "up.db").code == "EG-STORE-LOCKED"
    store.close()
    UpstreamStore(tmp_path / "up.db").close()


@pytest.mark.parametrize("make", ["missing", "directory", "closed"])
def test_a_path_where_no_file_can_be_has_exit_code_9(tmp_path: Path, make: str) -> None:
    path = tmp_path / "sub" / "up.db"
    if make == "directory":
        path.mkdir(parents=True)
    if make == "closed":
        (tmp_path / "sub").write_text("a file")
    with pytest.raises(GatewayError) as error:
        UpstreamStore(path)
    assert error.value.exit_code is Exit.STORE
    assert str(path) in error.value.what


def test_others_may_read_while_it_writes(tmp_path: Path) -> None:
    gateway = SignedLog()
    store = UpstreamStore(tmp_path / "up.db")
    Intake(store, PREFIX, accept_simulated=False).take(
        [gateway.to("batch", gateway.batch(3))], ring(gateway), START
    )
    reader = sqlite3.connect(f"file:{tmp_path / 'up.db'}?mode=ro", uri=True)
    assert reader.execute("SELECT count(*) FROM readings").fetchone() == (3,)
    reader.close()
    store.close()


def test_the_address_of_a_store_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    assert opening.locate(f"sqlite:///{tmp_path}/up.db") == tmp_path / "up.db"
    assert str(opening.locate("sqlite:///up.db")) == "up.db"
    assert str(opening.locate("sqlite:///data/up.db")) == "data/up.db"
    assert opening.locate(f"sqlite://{tmp_path}/up.db") == tmp_path / "up.db"


@pytest.mark.parametrize(
    "url", ["", "up.db", "sqlite://", "sqlite:///", "mysql:///x", "postgresql://city/readings", "sqlite:x"]
)
def test_any_other_address_is_a_mistake_of_usage(url: str) -> None:
    with pytest.raises(GatewayError) as error:
        opening.locate(url)
    assert error.value.exit_code is Exit.USAGE
    assert "sqlite:///PATH" in error.value.todo[0]

from __future__ import annotations

import gc
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from fakes_clock import NOW, FakeClock
from signed_logs import BOOT, PREFIX, START, SignedLog, register, upstream

from edgegw.receive import upstream_store
from edgegw.receive.desk import LOOK_S, REPEAT_S, SAY_S, Desk, Speaker
from edgegw.receive.keyfolder import KeyFolder
from edgegw.receive.upstream_store import UpstreamStore
from edgegw.wire import cbor, cose, verify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edgegw.receive.desk import Reply
    from edgegw.wire.receipt import Receipt, Request

KEY = ec.derive_private_key(0x5709E, ec.SECP256R1())
ISS = "urn:dev:ops:32473-city"
STORES = {cose.signer(KEY).kid: cose.verify_key(KEY.public_key())}


class Office:
    """A desk with its folder of keys, its store and a clock that tests own."""

    def __init__(self, directory: Path, *gateways: SignedLog) -> None:
        self.folder = directory / "keys"
        self.folder.mkdir(exist_ok=True)
        register(self.folder, *gateways)
        self.clock = FakeClock()
        self.store = UpstreamStore(directory / "up.db")
        keys = KeyFolder(self.folder)
        keys.look()
        speaker = Speaker(ISS, cose.signer(KEY))
        self.desk = Desk(
            self.store, keys, speaker, self.clock, prefix=PREFIX, accept_simulated=False, random=lambda: 0.5
        )

    def wait(self, seconds: float) -> Reply:
        self.clock.advance(seconds)
        return self.desk.tick()


def receipts(reply: Reply) -> list[Receipt]:
    found = [message for message in reply.publish if message.topic.endswith("/main/receipt")]
    assert all(message.retain for message in found)
    opened = [verify.open_receipt(message.payload, STORES) for message in found]
    assert [message.topic for message in found] == [f"{PREFIX}/{r.log.gateway}/main/receipt" for r in opened]
    return opened


def requests(reply: Reply) -> list[Request]:
    found = [message for message in reply.publish if message.topic.endswith("/request")]
    assert not any(message.retain for message in found)
    return [verify.open_request(message.payload, STORES) for message in found]


@pytest.fixture
def gateway() -> SignedLog:
    return SignedLog()


@pytest.fixture
def office(tmp_path: Path, gateway: SignedLog) -> Iterator[Office]:
    found = Office(tmp_path, gateway)
    yield found
    found.store.close()


def test_a_receipt_says_who_holds_what_since_when(office: Office, gateway: SignedLog) -> None:
    (receipt,) = receipts(office.desk.take([gateway.to("batch", gateway.batch(4))]))
    assert (receipt.log, receipt.size, receipt.root) == (gateway.id, 4, gateway.tree.root())
    assert (receipt.store, receipt.issued) == (ISS, int(NOW))


def test_each_group_that_makes_progress_is_receipted_once(office: Office, gateway: SignedLog) -> None:
    messages = [gateway.to("batch", gateway.batch(2)) for _ in range(6)]
    assert [r.size for r in receipts(office.desk.take(messages[:3]))] == [6]
    assert [r.size for r in receipts(office.desk.take(messages[4:]))] == []  # a hole
    assert [r.size for r in receipts(office.desk.take(messages[3:4]))] == [12]


def test_a_repeated_batch_brings_the_receipt_again_once_a_second(office: Office, gateway: SignedLog) -> None:
    batch = gateway.to("batch", gateway.batch(2))
    office.desk.take([batch])
    assert receipts(office.desk.take([batch])) == []  # it was sent just now
    again = office.wait(REPEAT_S)
    assert [r.size for r in receipts(again)] == [2]
    assert receipts(office.wait(10 * REPEAT_S)) == []
    assert len(receipts(office.desk.take([batch]))) == 1


def test_a_new_connection_brings_the_newest_receipt_of_each_gateway(tmp_path: Path) -> None:
    logs = [SignedLog(f"gw-{n}") for n in range(3)]
    office = Office(tmp_path, *logs)
    office.desk.take([logs[0].to("batch", logs[0].batch(2)), logs[1].to("batch", logs[1].batch(3))])
    office.desk.take([logs[2].to("batch", (logs[2].batch(1), logs[2].batch(1))[1])])  # nothing complete
    office.clock.advance(1)
    new = SignedLog("gw-0", "ffffffff", previous=logs[0].end())
    office.desk.take([new.to("batch", new.batch(7))])
    office.store.close()
    again = Office(tmp_path)
    found = receipts(again.desk.greet())
    assert [(r.log, r.size, r.root) for r in found] == [
        (new.id, 7, new.tree.root()),
        (logs[1].id, 3, logs[1].tree.root()),
    ]
    again.store.close()


def test_the_receipt_of_a_forked_log_can_still_be_repeated(office: Office, gateway: SignedLog) -> None:
    one = gateway.to("batch", gateway.batch(2))
    root = gateway.tree.root()
    office.desk.take([one])
    twin = gateway.fork()
    office.desk.take([gateway.to("batch", gateway.batch(2)), twin.to("batch", twin.batch(1))])
    assert [(r.size, r.root) for r in receipts(office.desk.greet())] == [(2, root)]


def hole(office: Office, gateway: SignedLog, *, head: bool = True, status: bool = True) -> bytes:
    """Leave records 2 and 3 out; what they were in."""
    first, missing, last = gateway.batch(2), gateway.batch(2), gateway.batch(2)
    arrivals = [gateway.to("batch", first), gateway.to("batch", last)]
    arrivals += [gateway.to("head", gateway.head())] if head else []
    arrivals += [gateway.to("status", gateway.status())] if status else []
    office.desk.take(arrivals)
    return missing


def test_a_hole_is_asked_for_with_a_signed_request(office: Office, gateway: SignedLog) -> None:
    missing = hole(office, gateway)
    assert requests(office.wait(1.9)) == []
    reply = office.wait(0.1)
    (request,) = requests(reply)
    assert (request.first, request.end, request.boot, request.head) == (2, 4, BOOT, 1)
    assert (request.store, request.log) == (ISS, gateway.id)
    assert [note.type for note in reply.notes] == ["gap"]
    reply = office.desk.take([gateway.to("batch", missing)])
    assert [note.type for note in reply.notes] == ["gap_closed"]
    assert requests(office.wait(600)) == []


@pytest.mark.parametrize("lacking", ["head", "status"])
def test_without_a_head_and_a_run_no_question_would_be_fresh(
    office: Office, gateway: SignedLog, lacking: str
) -> None:
    hole(office, gateway, head=lacking != "head", status=lacking != "status")
    reply = office.wait(10)
    assert requests(reply) == []
    assert [note.type for note in reply.notes] == ["gap"]
    late = gateway.to("head", gateway.head()) if lacking == "head" else gateway.to("status", gateway.status())
    office.desk.take([late])
    assert len(requests(office.wait(2))) == 1


def test_behind_a_named_loss_it_asks_for_the_way_to_the_next_head(office: Office, gateway: SignedLog) -> None:
    one = gateway.batch(2)
    early = gateway.head()
    gateway.batch(4)
    naming, rest = gateway.lost(2, 6), gateway.batch(3)
    office.desk.take(
        [
            gateway.to("batch", one),
            gateway.to("head", early),
            gateway.to("batch", naming),
            gateway.to("batch", rest),
            gateway.to("status", gateway.status()),
        ]
    )
    (request,) = requests(office.wait(2))
    assert (request.first, request.end) == (6, 7)
    (receipt,) = receipts(office.desk.take([gateway.to("head", gateway.head())]))
    assert receipt.size == 10


def test_a_removed_key_is_refused_from_then_on_and_what_is_stored_stays(
    office: Office, gateway: SignedLog
) -> None:
    hole(office, gateway)
    stored = upstream(office.store, gateway)
    (office.folder / "gw-1.pem").unlink()
    reply = office.wait(LOOK_S)
    assert requests(reply) == []  # and nobody asks it for anything
    assert [note.type for note in reply.notes] == ["keys"]
    refused = office.desk.take([gateway.to("batch", gateway.batch(2))])
    assert [note.fields["reason"] for note in refused.notes] == ["unknown_key"]
    assert upstream(office.store, gateway) == stored
    assert receipts(office.desk.greet()) == []
    register(office.folder, gateway)
    office.wait(LOOK_S)
    assert office.desk.take([gateway.to("batch", gateway.batch(2))]).notes == []


def test_refusals_are_counted_by_reason_and_said_once_a_minute_for_each_gateway(
    office: Office, gateway: SignedLog
) -> None:
    stranger = SignedLog("gw-2")
    bad = gateway.to("batch", b"\xd2nonsense")
    foreign = stranger.to("batch", stranger.batch(1))
    said = office.desk.take([bad, foreign, bad, bad]).notes
    assert [(note.type, note.fields["reason"], note.fields["count"]) for note in said] == [
        ("refused", "malformed", 3),
        ("refused", "unknown_key", 1),
    ]
    assert office.desk.take([bad]).notes == []
    office.clock.advance(SAY_S)
    assert [note.fields["count"] for note in office.desk.take([bad]).notes] == [2]
    assert office.desk.refused == {"malformed": 5, "unknown_key": 1}
    assert office.desk.progress().fields["refused"] == {"malformed": 5, "unknown_key": 1}


def test_a_thousand_strangers_are_one_line(office: Office) -> None:
    strangers = [SignedLog(f"stranger-{n}") for n in range(50)]
    said = office.desk.take([s.to("batch", s.batch(1)) for s in strangers]).notes
    assert len(said) == 1
    assert office.desk.refused == {"unknown_key": 50}


def test_progress_counts_readings_of_all_logs(office: Office, gateway: SignedLog) -> None:
    hole(office, gateway)
    note = office.desk.progress()
    assert note.type == "progress"
    assert {key: note.fields[key] for key in ("readings", "proven", "receipted")} == {
        "readings": 4,
        "proven": 2,
        "receipted": 2,
    }


def test_receipts_are_spoken_of_once_a_minute(office: Office, gateway: SignedLog) -> None:
    said = [office.desk.take([gateway.to("batch", gateway.batch(1))]).notes for _ in range(5)]
    assert [[note.type for note in notes] for notes in said] == [["epoch", "receipt"], [], [], [], []]
    office.clock.advance(SAY_S)
    (note,) = office.desk.take([gateway.to("batch", gateway.batch(1))]).notes
    assert (note.type, note.fields["size"], note.fields["count"]) == ("receipt", 6, 5)


def test_memory_stays_flat_whatever_a_registered_gateway_and_strangers_send(
    office: Office, gateway: SignedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream_store, "MAX_NAMES", 16)

    def flood(turn: int) -> None:
        for number in range(turn * 50, turn * 50 + 50):
            epoch = SignedLog(epoch=f"{number:08x}")
            epoch.batch(5)
            name = {0: f"{gateway.id.iss}:sensor-{number}:{'x' * 100}", 1: "x" * 1000, 2: 1, 6: START}
            less = {0: f"{gateway.id.iss}:sensor-{number}:y", 2: 1, 6: START, "more": "x" * 1000}
            stranger = SignedLog(f"stranger-{number}")
            office.desk.take(
                [
                    epoch.to("batch", epoch.records([cbor.encode(name), cbor.encode(less)])),
                    epoch.to("batch", epoch.lost(0, 3)),
                    epoch.to("head", epoch.head()),
                    epoch.to("status", epoch.status(boot=f"boot-{number}", more="x" * 10_000)),
                    stranger.to("batch", stranger.batch(1)),
                    gateway.to("batch", number.to_bytes(1000)),
                ]
            )
            office.wait(3.0)

    flood(0)
    tracemalloc.start()
    try:
        flood(1)
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        flood(2)
        flood(3)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 50 * 1024  # a hundred epochs, thousands of names and megabytes came in between

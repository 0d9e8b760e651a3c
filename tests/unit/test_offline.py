from __future__ import annotations

import io
import json
import os
import sys
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from wire_facts import sample

from edgegw import offline
from edgegw.problems import GatewayError
from edgegw.wire import batch, capture, cbor, cose, log, merkle, seen, standing

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from edgegw.wire.cose import VerifyKey

Event = dict[str, Any]
CITY = sample.City()


def judged(
    messages: Iterable[bytes],
    more: dict[str, list[VerifyKey]] | None = None,
    *,
    accept_simulated: bool = True,
) -> list[Event]:
    known = {sample.GATEWAY: [sample.Gateway().key], "city": [CITY.key], **(more or {})}
    saved = capture.messages("file", [b"".join(messages)])
    found = list(offline.judge(saved, known, accept_simulated=accept_simulated))
    assert json.loads(json.dumps(found)) == found, "events are JSON"
    return found


def verdicts(events: list[Event]) -> list[str]:
    return [f"{event['verdict']} {event['reason']}".strip() for event in events if event["type"] == "message"]


def logs(events: list[Event]) -> list[Event]:
    return [event for event in events if event["type"] == "log"]


def only_log(events: list[Event]) -> Event:
    (found,) = logs(events)
    return found


def code(events: list[Event]) -> int:
    assert events[-1]["type"] == "summary"
    return int(events[-1]["exit_code"])


def a_log(batches: int = 4) -> tuple[sample.Gateway, list[bytes]]:
    gateway = sample.Gateway()
    messages = []
    for _ in range(batches):
        messages += [gateway.batch(4), gateway.head()]
    return gateway, messages


def test_a_whole_log_is_proven() -> None:
    gateway, messages = a_log()
    proof = gateway.proof(5, messages[-1])
    receipt, request = CITY.receipt(gateway.log, gateway.tree), CITY.request(gateway.log, 0, 4)
    events = judged([*messages, receipt, gateway.status(), proof, request])
    assert verdicts(events) == ["proven"] * 8 + ["ok", "ok", "proven", "ok"]
    assert events[0] == {
        "type": "message",
        "source": "file",
        "offset": 0,
        "kind": "batch",
        "verdict": "proven",
        "reason": "",
        "gateway": sample.GATEWAY,
        "epoch": sample.EPOCH,
        "first": 0,
        "end": 4,
        "simulated": False,
    }
    assert only_log(events) == {
        "type": "log",
        "gateway": sample.GATEWAY,
        "epoch": sample.EPOCH,
        "size": 16,
        "records": 16,
        "proven": [[0, 16]],
        "proven_records": 16,
        "gaps": [],
        "missing_records": 0,
        "lost": [],
        "lost_readings": 0,
        "forks": 0,
        "announced": True,
        "previous": None,
        "simulated": False,
        "verdict": "proven",
    }
    assert events[-1] == {
        "type": "summary",
        "messages": 12,
        "verdicts": {"proven": 9, "ok": 3},
        "logs": 1,
        "verdict": "verified",
        "exit_code": 0,
    }


def test_each_kind_of_message_says_what_it_is_about() -> None:
    gateway, messages = a_log(1)
    proof = gateway.proof(1, messages[-1])
    receipt, request = CITY.receipt(gateway.log, gateway.tree), CITY.request(gateway.log, 1, 3)
    bare = sample.resigned(request, CITY.by, h15=None)
    _, head, receipt_, status, proof_, request_, bare_, _, _ = judged(
        [*messages, receipt, gateway.status(), proof, request, bare]
    )
    assert (head["kind"], head["size"], head["number"]) == ("head", 4, 0)
    assert (receipt_["kind"], receipt_["size"], receipt_["store"]) == ("receipt", 4, CITY.iss)
    assert (status["kind"], status["gateway"], status["simulated"]) == ("status", sample.GATEWAY, False)
    assert (proof_["kind"], proof_["index"], proof_["size"]) == ("proof", 1, 4)
    assert proof_["record"] == {
        "name": f"{gateway.log.iss}:sound-1:laeq",
        "unit": "dB",
        "value": 40.7,
        "t": sample.T0 + 1.125,
    }
    assert (request_["first"], request_["end"], request_["gateway"]) == (1, 3, sample.GATEWAY)
    assert bare_["gateway"] == ""


@given(
    st.permutations(range(8)), st.sets(st.integers(0, 7), max_size=3), st.lists(st.integers(0, 7), max_size=4)
)
@settings(max_examples=50)
def test_gaps_and_proven_ranges_do_not_depend_on_the_order(
    order: list[int], missing: set[int], again: list[int]
) -> None:
    _, messages = a_log()
    chosen = [i for i in order if i not in missing]
    chosen += [i for i in again if i not in missing]
    events = judged([messages[i] for i in chosen])
    in_order = judged([messages[i] for i in sorted(set(chosen))])
    # A head without its predecessor, and a predecessor after it, are the same pair.
    assert logs(events) == logs(in_order)
    held = {2 * i for i in range(4)} - missing
    if held:
        last = max([4 * (i // 2 + 1) for i in chosen])
        expected = [[4 * i, 4 * i + 4] for i in range(last // 4) if 2 * i not in held]
        flat = {n for begin, end in only_log(events)["gaps"] for n in range(begin, end)}
        assert flat == {n for begin, end in expected for n in range(begin, end)}
        assert code(events) == (11 if flat else 0)


def test_a_missing_batch_is_a_gap_and_the_tree_goes_on_at_the_next_head() -> None:
    _, messages = a_log()
    events = judged([*messages[:2], *messages[3:]])
    assert verdicts(events) == ["proven", "proven", *["ahead"] * 5]
    found = only_log(events)
    assert found["gaps"] == [[4, 8]]
    assert found["missing_records"] == 4
    assert found["proven"] == [[0, 4], [8, 16]]
    assert found["verdict"] == "incomplete"
    assert code(events) == 11


def test_a_log_that_does_not_begin_at_0_has_a_gap_and_is_followed_from_its_next_head() -> None:
    gateway, messages = a_log()
    later = [gateway.batch(2), gateway.batch(1), gateway.head(), gateway.batch(3)]
    found = only_log(events := judged([messages[6], *later]))
    assert found["gaps"] == [[0, 12]]
    assert found["proven"] == [[19, 22]], "from the head of size 19 on"
    found = only_log(judged([*messages[7:], *later]))
    assert found["gaps"] == [[0, 16]]
    assert found["proven"] == [[16, 22]]
    assert code(events) == 11


def test_a_head_or_receipt_beyond_the_last_batch_shows_that_something_is_missing() -> None:
    gateway, messages = a_log()
    assert only_log(judged([*messages[:6], messages[7]]))["gaps"] == [[12, 16]]
    receipt = CITY.receipt(gateway.log, gateway.tree)
    assert only_log(judged([*messages[:6], receipt]))["gaps"] == [[12, 16]]
    assert logs(judged([receipt])) == [], "a receipt alone is no log"
    assert code(judged([receipt])) == 0


def test_a_named_loss_is_a_problem_and_no_gap() -> None:
    gateway, messages = a_log(2)
    gateway.batch(3)
    gateway.head()
    naming = gateway.batch(records=[gateway.lost(8, 11), *gateway.readings(1)])
    missing = gateway.writer.event("lost", 7, sample.T0, {"why": "driver"})
    events = judged([*messages, naming, gateway.head(), gateway.batch(records=[missing])])
    found = only_log(events)
    assert found["lost"] == [
        {"from": 8, "to": 11, "readings": 3, "why": "full"},
        {"from": None, "to": None, "readings": 7, "why": "driver"},
    ]
    assert found["lost_readings"] == 10
    assert (found["gaps"], found["verdict"]) == ([], "lost")
    assert found["proven"] == [[0, 8], [13, 14]]
    assert code(events) == 1
    assert events[-1]["verdict"] == "verified_with_losses"


def test_a_gap_weighs_more_than_a_loss_and_a_refusal_more_than_a_gap() -> None:
    gateway, messages = a_log()
    naming = gateway.batch(records=[gateway.lost(0, 4)])
    assert code(judged([*messages[1:], naming])) == 1
    assert code(judged([*messages[3:], naming])) == 11
    assert code(judged([*messages[3:], naming, b"\xd2"])) == 10


@pytest.mark.parametrize("at", [0, 3, 7])
def test_damage_is_refused_where_it_stands_and_everything_else_is_judged(at: int) -> None:
    _, messages = a_log()
    damaged = sample.flipped(messages[at], len(messages[at]) * 8 - 1)
    events = judged([*messages[:at], damaged, *messages[at + 1 :]])
    assert verdicts(events)[at] == "refused signature"
    assert events[at]["offset"] == sum(map(len, messages[:at]))
    assert events[at]["gateway"] == sample.GATEWAY
    assert verdicts(events).count("refused signature") == 1
    assert code(events) == 10
    assert events[-1]["verdict"] == "failed"


def test_a_message_under_a_key_that_nobody_gave_us_is_unverified() -> None:
    gateway, messages = a_log(1)
    other = sample.Gateway(gateway="kyiv-podil-0043")
    store = sample.City(name="city-2")
    foreign = other.batch(1)
    events = judged([*messages, foreign, store.receipt(gateway.log, gateway.tree)])
    assert verdicts(events)[2:] == ["unverified unknown_key"] * 2
    assert events[2]["gateway"] == "kyiv-podil-0043"
    assert code(events) == 11
    assert code(judged([*messages, foreign], {"kyiv-podil-0043": [other.key]})) == 0


def test_another_gateways_key_does_not_speak_for_this_one() -> None:
    gateway, other = sample.Gateway(), sample.Gateway(gateway="kyiv-podil-0043")
    posing = sample.resigned(gateway.batch(1), other.by)
    events = judged([posing], {"kyiv-podil-0043": [other.key]})
    assert verdicts(events) == ["refused issuer"]
    assert code(events) == 10


def test_a_gateway_signs_no_receipt_for_itself() -> None:
    gateway, messages = a_log(1)
    own = sample.resigned(CITY.receipt(gateway.log, gateway.tree), gateway.by)
    assert verdicts(judged([*messages, own]))[-1] == "refused issuer"


def test_the_topic_of_a_line_belongs_to_the_gateway() -> None:
    gateway, messages = a_log(1)
    receipt = CITY.receipt(gateway.log, gateway.tree)
    lines = [
        f"edgegw/1/{sample.GATEWAY}/main/batch {messages[0].hex()}",
        f"edgegw/1/kyiv-podil-0043/main/head {messages[1].hex()}",
        f"edgegw/1/kyiv-podil-0043/main/receipt {receipt.hex()}",
        f"edgegw/1/{sample.GATEWAY}/main/receipt {receipt.hex()}",
    ]
    events = judged(["\n".join(lines).encode()])
    assert verdicts(events) == ["proven", "refused topic", "refused topic", "ok"]
    assert [event["line"] for event in events[:4]] == [1, 2, 3, 4]


def test_simulated_messages_are_named_and_refused_where_nobody_accepts_them() -> None:
    gateway = sample.Gateway(simulated=True)
    messages = [gateway.batch(4), head := gateway.head(), gateway.proof(1, head)]
    messages.append(gateway.status({"state": "ok", "simulated": True}))
    events = judged(messages)
    assert verdicts(events) == ["proven", "proven", "proven", "ok"]
    assert all(event["simulated"] for event in events[:4])
    assert only_log(events)["simulated"]
    refused = judged(messages, accept_simulated=False)
    assert verdicts(refused) == ["refused simulated"] * 4
    assert refused[0]["gateway"] == sample.GATEWAY
    assert (logs(refused), code(refused)) == ([], 10)


# Contradictions


def test_a_repeat_is_no_harm_and_other_content_is_a_fork() -> None:
    _, messages = a_log(2)
    fork = sample.Gateway()
    fork.secret = bytes(32)
    events = judged([*messages, messages[0], messages[1], fork.batch(4)])
    assert verdicts(events)[4:] == ["repeat", "repeat", "fork equivocation"]
    assert only_log(events)["forks"] == 1
    assert only_log(events)["verdict"] == "forked"
    assert only_log(events)["proven"] == [[0, 8]]
    assert code(events) == 10
    assert code(judged([*messages, *messages])) == 0


def test_a_root_that_is_not_that_of_the_records_is_found_at_once_or_later() -> None:
    gateway, messages = a_log(1)
    message = gateway.batch(2)
    lying = sample.resigned(
        message, gateway.by, edgegw=cose.parse(message).headers["edgegw"] | {2: bytes(32)}
    )
    rest = [gateway.batch(3), gateway.head(), gateway.batch(1)]
    events = judged([*messages, lying, *rest])
    assert verdicts(events) == ["proven", "proven", "fork root_mismatch", "ahead", "ahead", "ahead"]
    assert only_log(events)["proven"] == [[0, 4], [9, 10]]
    assert only_log(events)["forks"] == 1
    late = judged([lying, messages[1], messages[0], *rest])
    assert verdicts(late)[:3] == ["ahead", "ahead", "proven"]
    (finding,) = [event for event in late if event["type"] == "finding"]
    assert finding == {
        "type": "finding",
        "source": "file",
        "offset": 0,
        "kind": "batch",
        "verdict": "fork",
        "reason": "root_mismatch",
        "gateway": sample.GATEWAY,
        "epoch": sample.EPOCH,
        "first": 4,
        "end": 6,
    }
    assert code(events) == code(late) == 10


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(("kind", "reason"), [("root", "receipt_root"), ("size", "receipt_size")])
def test_a_receipt_for_what_the_gateway_never_signed_is_a_fork(first: bool, kind: str, reason: str) -> None:
    gateway, messages = a_log(2)
    other = sample.Gateway()
    other.secret = bytes(32) if kind == "root" else other.secret
    other.batch(8 if kind == "root" else 5)
    receipt = CITY.receipt(gateway.log, other.tree)
    events = judged([receipt, *messages] if first else [*messages, receipt])
    forks = [event for event in events if event.get("verdict") == "fork"]
    assert [event["reason"] for event in forks] == [reason]
    assert forks[0]["type"] == ("finding" if first else "message")
    assert forks[0]["kind"] == "receipt"
    assert code(events) == 10


def test_a_receipt_for_nothing_has_the_empty_root() -> None:
    gateway, messages = a_log(1)
    empty = CITY.receipt(gateway.log, sample.Gateway().tree)
    wrong = CITY.receipt(gateway.log, merkle.Range(0, 0, (bytes(32),)))
    assert verdicts(judged([*messages, empty, wrong]))[2:] == ["ok", "fork receipt_root"]


def test_a_proof_of_another_tree_is_a_fork_and_a_proof_alone_needs_no_log() -> None:
    _, messages = a_log(2)
    fork = sample.Gateway()
    fork.secret = bytes(32)
    fork.batch(8)
    proof = fork.proof(3, fork.head())
    assert verdicts(judged([*messages, proof]))[-1] == "fork proof_root"
    events = judged([proof])
    assert (verdicts(events), logs(events), code(events)) == (["proven"], [], 0)
    assert code(judged([proof, *messages])) == 10


# Epochs


def next_epoch(gateway: sample.Gateway, **changed: Any) -> sample.Gateway:
    ended = batch.Previous(gateway.log.stream, gateway.tree.end, gateway.tree.root())
    return sample.Gateway(epoch="00000002", previous=replace(ended, **changed))


def in_later_days(gateway: sample.Gateway, message: bytes) -> bytes:
    claims = cose.parse(message).headers[cose.CLAIMS] | {log.IAT: sample.T0 + 86_400}
    return sample.resigned(message, gateway.by, h15=claims)


def test_an_epoch_that_names_the_one_before_goes_on_without_a_gap() -> None:
    gateway, messages = a_log(2)
    later = next_epoch(gateway)
    new = in_later_days(later, later.batch(3))
    for order in ([*messages, new], [new, *messages]):
        events = judged(order)
        old_log, new_log = logs(events)
        assert (old_log["epoch"], new_log["epoch"]) == (sample.EPOCH, "00000002")
        assert new_log["previous"] == [gateway.log.stream, 8]
        assert (old_log["announced"], new_log["announced"]) == (True, True)
        assert code(events) == 0


def test_an_epoch_that_no_batch_announced_is_incomplete() -> None:
    gateway, messages = a_log(2)
    later = sample.Gateway(epoch="00000002")
    events = judged([in_later_days(later, later.batch(3)), *messages])
    assert [found["announced"] for found in logs(events)] == [True, False]
    assert logs(events)[1]["verdict"] == "incomplete"
    assert code(events) == 11
    assert gateway.log != later.log


def test_the_end_that_the_next_epoch_names_is_held_against_the_log() -> None:
    gateway, messages = a_log(2)
    cut_off = judged([*messages[:2], in_later_days(later := next_epoch(gateway), later.batch(1))])
    assert logs(cut_off)[0]["gaps"] == [[4, 8]], "the new epoch says that there was more"
    assert code(cut_off) == 11
    for order in (1, -1):
        for changed, reason in (({"root": bytes(32)}, "previous_root"), ({"size": 5}, "previous_size")):
            later = next_epoch(gateway, **changed)
            events = judged([*messages, in_later_days(later, later.batch(1))][::order])
            assert reason in [event.get("reason") for event in events]
            assert code(events) == 10


def test_a_log_that_went_on_after_the_end_that_was_named_is_a_disk_rolled_back_and_no_fork() -> None:
    gateway, messages = a_log(1)
    later = next_epoch(gateway)
    events = judged([*messages, gateway.batch(2), in_later_days(later, later.batch(1))])
    assert code(events) == 0


# Limits


def test_long_lists_are_cut_and_counted() -> None:
    gateway = sample.Gateway()
    messages = [gateway.batch(1) for _ in range(2 * standing.MAX_LISTED + 11)]
    found = only_log(judged(messages[1::2]))
    assert found["missing_records"] == standing.MAX_LISTED + 5
    assert len(found["gaps"]) == standing.MAX_LISTED
    losses = [gateway.writer.event("lost", 2, sample.T0, {"why": "driver"})] * 600
    found = only_log(judged([*messages, gateway.batch(records=losses), gateway.batch(records=losses)]))
    assert found["lost_readings"] == 2400
    assert len(found["lost"]) == standing.MAX_LISTED


def test_nothing_at_all_is_incomplete() -> None:
    assert judged([]) == [
        {
            "type": "summary",
            "messages": 0,
            "verdicts": {},
            "logs": 0,
            "verdict": "incomplete",
            "exit_code": 11,
        }
    ]


@given(st.lists(st.sampled_from(range(8)), max_size=12), st.lists(st.binary(max_size=40), max_size=4))
@settings(max_examples=60)
def test_whatever_comes_there_are_events_and_an_exit_code(chosen: list[int], noise: list[bytes]) -> None:
    _, messages = a_log()
    events = judged([*(messages[i] for i in chosen), *noise])
    assert code(events) in (0, 1, 10, 11)
    assert len([event for event in events if event["type"] == "message"]) == events[-1]["messages"]


# Files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "keys"
    found.mkdir()
    for name, private in ((sample.GATEWAY, sample.Gateway().private), ("city", CITY.private)):
        public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (found / f"{name}.pem").write_bytes(public)
    (found / "notes.txt").write_text("not a key")
    return found


def test_files_of_every_form_are_read_together(tmp_path: Path, folder: Path) -> None:
    gateway, messages = a_log()
    (tmp_path / "one").write_bytes(messages[0])
    (tmp_path / "sequence").write_bytes(b"".join(messages[1:5]))
    (tmp_path / "lines").write_text("".join(f"{message.hex()}\n" for message in messages[5:]))
    (tmp_path / "reading.proof").write_bytes(gateway.proof(2, messages[-1]))
    names = [tmp_path / name for name in ("one", "sequence", "lines", "reading.proof")]
    events = list(offline.verify_files(names, folder))
    assert code(events) == 0
    assert verdicts(events) == ["proven"] * 9
    assert [event["source"] for event in events[:2]] == [str(names[0]), str(names[1])]


def test_several_keys_of_a_gateway_stand_in_one_file(tmp_path: Path, folder: Path) -> None:
    gateway, next_key = sample.Gateway(), sample.Gateway("p256", seed="next")
    first = gateway.batch(2)
    next_key.batch(2)
    next_key.secret, next_key.tree = gateway.secret, gateway.tree
    second = next_key.batch(2)
    with (folder / f"{sample.GATEWAY}.pem").open("ab") as stream:
        public = next_key.private.public_key()
        stream.write(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    (tmp_path / "file").write_bytes(first + second)
    assert code(list(offline.verify_files([tmp_path / "file"], folder))) == 0


def test_a_hyphen_is_standard_input(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    _, messages = a_log(1)
    lines = "".join(f"edgegw/1/{sample.GATEWAY}/main/x {message.hex()}\n" for message in messages)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines.encode())))
    events = list(offline.verify_files(["-"], folder))
    assert (code(events), events[1]["source"], events[1]["line"]) == (0, "-", 2)


def test_a_pipe_is_opened_once_and_judged_while_it_is_written(tmp_path: Path, folder: Path) -> None:
    gateway, (batch_, head) = a_log(1)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    go_on = threading.Event()

    def write() -> None:
        with pipe.open("wb", buffering=0) as stream:
            stream.write(f"{batch_.hex()}\n".encode())
            go_on.wait(60)
            stream.write(f"{head.hex()}\n{gateway.status().hex()}".encode())

    writer = threading.Thread(target=write)
    writer.start()
    events = offline.verify_files([pipe], folder)
    assert next(events)["verdict"] == "proven", "before the writer goes on"
    go_on.set()
    assert code(list(events)) == 0
    writer.join()


@pytest.mark.parametrize("name", ["missing", "keys", "missing/file"])
def test_a_file_that_cannot_be_read_is_said_before_the_first_verdict(
    tmp_path: Path, folder: Path, name: str
) -> None:
    (tmp_path / "file").write_bytes(a_log(1)[1][0])
    events = offline.verify_files([tmp_path / "file", tmp_path / name], folder)
    with pytest.raises(GatewayError, match="cannot be read") as caught:
        next(events)
    assert (caught.value.code, caught.value.exit_code) == ("EG-FILE", 2)


def test_keys_that_are_none_are_said_by_name(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(GatewayError, match="not a directory") as caught:
        next(offline.verify_files([tmp_path / "file"], tmp_path / "nowhere"))
    assert caught.value.exit_code == 2
    (folder / "bad.pem").write_text("no key")
    with pytest.raises(GatewayError, match=r"bad\.pem") as caught:
        next(offline.verify_files([tmp_path / "file"], folder))
    assert caught.value.exit_code == 8


def test_a_full_disk_for_temporary_files_is_said(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seen, "_SCHEMA", f"{seen._SCHEMA} PRAGMA max_page_count = 8;")
    gateway = sample.Gateway()
    (tmp_path / "file").write_bytes(b"".join(gateway.batch(1) for _ in range(200)))
    with pytest.raises(GatewayError, match="no room") as caught:
        list(offline.verify_files([tmp_path / "file"], folder))
    assert caught.value.code == "EG-FILE"


def test_an_event_value_of_bytes_is_hexadecimal() -> None:
    gateway = sample.Gateway()
    record = cbor.encode({0: f"{gateway.log.iss}:cam:picture", 8: b"\x01\xff", 6: sample.T0})
    gateway.batch(records=[record])
    assert judged([gateway.proof(0, gateway.head())])[0]["record"]["value"] == "01ff"

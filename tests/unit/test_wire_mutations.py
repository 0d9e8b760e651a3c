"""Any change, cut, swap, replay or invention is found. EDGEGW_MUTATIONS=1000000 sets the length of the seeded run."""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import product
from random import Random
from typing import TYPE_CHECKING, NamedTuple

import pytest
from wire_facts import sample

from edgegw import offline
from edgegw.wire import batch, capture, cbor, cose, follow, log, merkle, verify
from edgegw.wire.head import Head
from edgegw.wire.log import Refused
from edgegw.wire.proof import Proof

if TYPE_CHECKING:
    from collections.abc import Callable

# What fits in some seconds.
MUTATIONS = int(os.environ.get("EDGEGW_MUTATIONS", "1500"))
ALGORITHMS = ["p256", "ed25519"]


class Subject(NamedTuple):
    """A message, how to open it, and what it means."""

    message: bytes
    open: Callable[[bytes], object]
    meaning: object


def subjects(alg: str) -> dict[str, Subject]:
    gateway, city = sample.Gateway(alg, simulated=True), sample.City(alg)
    ended = batch.Previous("main/00000001", 7, bytes(32))
    gateway.previous = ended
    first, _ = gateway.batch(3), gateway.head()
    gateway.batch(4)
    head = gateway.head()

    def of_gateway(data: bytes) -> object:
        return verify.open_gateway_message(data, gateway.keys)

    openings: dict[str, tuple[bytes, Callable[[bytes], object]]] = {
        "batch": (first, of_gateway),
        "head": (head, of_gateway),
        "status": (gateway.status(), of_gateway),
        "receipt": (
            city.receipt(gateway.log, gateway.tree),
            lambda data: verify.open_receipt(data, city.stores),
        ),
        "request": (
            city.request(gateway.log, 0, 3),
            lambda data: verify.open_request(data, city.stores),
        ),
        "proof": (gateway.proof(5, head), lambda data: verify.open_proof(data, gateway.keys)),
    }
    return {name: Subject(data, opens, opens(data)) for name, (data, opens) in openings.items()}


def meaning(subject: Subject, data: bytes) -> object | None:
    """What `data` means; None when it is refused. Nothing else may happen."""
    try:
        return subject.open(data)
    except Refused:
        return None


def means_the_same(subject: Subject, found: object) -> bool:
    """Whether `found` is what was signed.

    The consistency proof of a head is not signed: where it was changed the follower says so.
    """
    if isinstance(found, Head) and isinstance(subject.meaning, Head):
        if replace(found, consistency=None) != replace(subject.meaning, consistency=None):
            return False
        if found.consistency == subject.meaning.consistency:
            return True
        evidence = follow.MemoryEvidence()
        evidence.add_head(replace(found, number=0, size=3, tree=_BEFORE, root=_BEFORE.root()))
        return follow.judge_head(found, evidence) is follow.Verdict.CONSISTENCY
    return found == subject.meaning


_GATEWAY = sample.Gateway()
_GATEWAY.batch(3)
_BEFORE = _GATEWAY.tree


@pytest.mark.parametrize("alg", ALGORITHMS)
@pytest.mark.parametrize("kind", ["batch", "head", "status", "receipt", "request", "proof"])
def test_every_flipped_bit_is_refused_or_carries_no_meaning(alg: str, kind: str) -> None:
    subject = subjects(alg)[kind]
    kept = []
    for bit in range(len(subject.message) * 8):
        found = meaning(subject, sample.flipped(subject.message, bit))
        if found is not None:
            assert means_the_same(subject, found), bit
            kept.append(bit // 8)
    if kind != "head":
        assert kept == [], "every bit of it is signed, or needed to find what is signed"
        return
    # In a head the consistency proof alone is neither signed nor checked against the root.
    begin = subject.message.index(cbor.encode(396))
    end = begin + len(cbor.encode(cose.parse(subject.message).unprotected[396])) + 3
    assert kept
    assert set(kept) <= set(range(begin, end))


@pytest.mark.parametrize("alg", ALGORITHMS)
@pytest.mark.parametrize("kind", ["batch", "head", "status", "receipt", "request", "proof"])
def test_every_cut_and_every_extension_is_refused(alg: str, kind: str) -> None:
    subject = subjects(alg)[kind]
    data = subject.message
    for at in range(len(data)):
        assert meaning(subject, data[:at]) is None
        assert at == 0 or meaning(subject, data[at:]) is None
        assert meaning(subject, data[:at] + data[at + 1 :]) is None or data[at] == data[at - 1]
        assert meaning(subject, data[:at] + b"\x00" + data[at:]) is None
    for more in (b"\x00", b"\xff", b"\xf6", data):
        assert meaning(subject, data + more) is None


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_parts_of_two_messages_make_no_third(alg: str) -> None:
    found = subjects(alg)
    parts = {kind: cose.parse(subject.message) for kind, subject in found.items() if kind != "proof"}
    for one, two in product(parts, parts):
        for choice in product((one, two), repeat=4):
            protected, unprotected, payload, signature = choice
            fields = [
                parts[protected].protected,
                parts[unprotected].unprotected,
                parts[payload].payload,
                parts[signature].signature,
            ]
            mixed = b"\xd2" + cbor.encode(fields)
            for kind in {one, two}:
                result = meaning(found[kind], mixed)
                if result is not None:
                    assert protected == signature
                    assert parts[payload].payload == parts[protected].payload  # a root may stand in two
                    assert means_the_same(found[protected], result)


def test_the_mirror_of_an_ecdsa_signature_means_the_same() -> None:
    n = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    for kind, subject in subjects("p256").items():
        signature = subject.message[-64:]
        mirrored = signature[:32] + (n - int.from_bytes(signature[32:])).to_bytes(32)
        assert meaning(subject, subject.message[:-64] + mirrored) == subject.meaning, kind


def test_what_stands_unprotected_and_unknown_carries_no_meaning() -> None:
    for subject in subjects("ed25519").values():
        if not isinstance(subject.meaning, Proof):
            parts = cose.parse(subject.message)
            more = {**parts.unprotected, 99: "x", "note": [1, {"a": b""}]}
            data = b"\xd2" + cbor.encode([parts.protected, more, parts.payload, parts.signature])
            assert subject.open(data) == subject.meaning


@pytest.mark.parametrize("shift", [0, 1, 2, 3])
def test_other_encodings_of_the_same_structure_mean_the_same_or_are_refused(shift: int) -> None:
    # The outer array, its byte strings and the tag in longer heads: the signed bytes are the same.
    subject = subjects("ed25519")["batch"]
    parts = cose.parse(subject.message)
    size = 1 << shift

    def text(data: bytes) -> bytes:
        return bytes((0x58 + max(shift, 1),)) + len(data).to_bytes(max(size, 2)) + data

    assert parts.payload is not None
    longer = bytes((0xD8 + shift,)) + (18).to_bytes(size) + bytes((0x98 + shift,)) + (4).to_bytes(size)
    longer += text(parts.protected) + b"\xa0" + text(parts.payload) + text(parts.signature)
    assert subject.open(longer) == subject.meaning


# The stream: what somebody between gateway and verifier can do


class Stream:
    """A log as somebody saved it, and its meaning message by message."""

    def __init__(self, alg: str) -> None:
        self.gateway, self.city = sample.Gateway(alg), sample.City(alg)
        self.messages: list[bytes] = []
        for count in (3, 1, 4):
            self.messages += [self.gateway.batch(count), self.gateway.head()]
        self.messages.append(self.city.receipt(self.gateway.log, self.gateway.tree))
        stranger = sample.Gateway(alg, seed="stranger")
        self.invented = [
            stranger.batch(3),
            sample.resigned(self.messages[0], stranger.by, h4=self.gateway.key.kid),
            sample.Gateway(alg, gateway="kyiv-podil-0043").batch(2),
            b"\xd2" + cbor.encode([b"", {}, b"", bytes(64)]),
        ]
        self.keys = {sample.GATEWAY: [self.gateway.key], "city": [self.city.key]}
        self.starts = [sum(map(len, self.messages[:i])) for i in range(len(self.messages))]

    def judged(self, data: bytes) -> tuple[int, list[tuple[str, bytes]]]:
        """The exit code, and each message that was taken, with what it means to the log."""
        taken = []
        events = list(offline.judge(capture.messages("", [data]), self.keys))
        for saved, event in zip(
            capture.messages("", [data]),
            (event for event in events if event["type"] == "message"),
            strict=True,
        ):
            assert event["offset"] == saved.place.at
            if event["verdict"] not in ("refused", "unverified", "fork"):
                taken.append((event["kind"], saved.data))
        return events[-1]["exit_code"], taken


# What becomes of one message, given another of the stream and one that nobody there signed.
CHANGES: list[Callable[[Random, bytes, bytes, bytes], list[bytes]]] = [
    lambda random, data, _, __: [sample.flipped(data, random.randrange(len(data) * 8))],
    lambda random, data, _, __: [data[: random.randrange(len(data))]],
    lambda random, data, _, __: [data[random.randrange(len(data)) :]],
    lambda random, data, other, _: [data[: (at := random.randrange(len(data)))] + other[at:]],
    lambda random, data, _, __: [
        data[: (at := random.randrange(len(data)))] + random.randbytes(9) + data[at:]
    ],
    lambda random, data, _, __: [data[: (at := random.randrange(len(data)))] + data[at + 9 :]],
    lambda random, data, other, _: [data[: (at := random.randrange(len(data)))], other, data[at:]],
    lambda _, __, ___, ____: [],
    lambda _, data, other, __: [data, other],
    lambda _, data, other, __: [other, data],
    lambda _, data, __, ___: [data, data],
    lambda _, __, other, ___: [other],
    lambda _, data, __, invented: [data, invented],
    lambda _, __, ___, invented: [invented],
]


def mutated(stream: Stream, random: Random) -> list[bytes]:
    """The messages after one to three changes."""
    messages = list(stream.messages)
    for _ in range(random.randint(1, 3)):
        at = random.randrange(len(messages))
        change = random.choice(CHANGES)
        other, invented = random.choice(messages), random.choice(stream.invented)
        messages[at : at + 1] = [part for part in change(random, messages[at], other, invented) if part]
    return messages


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_no_seeded_mutation_of_a_stream_alters_hides_or_invents_a_reading(alg: str) -> None:
    stream = Stream(alg)
    assert stream.judged(b"".join(stream.messages))[0] == 0
    for seed in range(MUTATIONS // 2):
        messages = mutated(stream, Random(f"{alg} {seed}"))
        code, taken = stream.judged(b"".join(messages))
        found = {data for _, data in taken}
        # What is taken is what was sent; a head may lack or have another consistency proof.
        for kind, data in taken:
            assert data in stream.messages or kind == "head", seed
            if data not in stream.messages:
                head = verify.open_gateway_message(data, stream.gateway.keys)
                assert isinstance(head, Head)
                assert any(
                    isinstance(sent := verify.open_gateway_message(each, stream.gateway.keys), Head)
                    and replace(sent, consistency=None) == replace(head, consistency=None)
                    for each in stream.messages[1:6:2]
                ), seed
        # Nothing is passed over in silence, and what is missing below the last message shows.
        last = max((i for i, data in enumerate(stream.messages) if data in found), default=-1)
        missing = [i for i in (0, 2, 4) if stream.messages[i] not in found and i < last]
        assert not missing or code in (10, 11), seed
        assert code != 0 or sum(len(data) for _, data in taken) == sum(map(len, messages)), seed


def test_one_damaged_message_is_located() -> None:
    stream = Stream("ed25519")
    random = Random(7)
    for _ in range(200):
        at = random.randrange(len(stream.messages))
        data = stream.messages[at]
        messages = [*stream.messages]
        messages[at] = sample.flipped(data, random.randrange(len(data) * 8))
        saved = capture.messages("", [b"".join(messages)])
        events = list(offline.judge(saved, stream.keys))
        begin, end = stream.starts[at], stream.starts[at] + len(data)
        bad = [event for event in events if event.get("reason")]
        assert bad
        located = [event["offset"] for event in bad if event["verdict"] != "fork"]
        assert all(begin <= offset < end for offset in located)
        # A head whose unsigned proof was changed does not fit to its neighbours.
        forks = [event["offset"] for event in bad if event["verdict"] == "fork"]
        assert not forks or stream.messages[at] in stream.messages[1:6:2]


def test_a_log_rewritten_from_the_middle_does_not_continue_what_was_seen() -> None:
    # The worst case: the thief has the signing key, and the verifier saw the log up to a head.
    honest, thief = Stream("ed25519"), sample.Gateway("ed25519")
    rewritten = [thief.batch(3), thief.head()]
    thief.secret = bytes(32)
    rewritten += [thief.batch(1), thief.head(), thief.batch(4), thief.head()]
    both = b"".join([*honest.messages[:4], *rewritten])
    events = list(offline.judge(capture.messages("", [both]), honest.keys))
    reasons = [event["reason"] for event in events if event.get("verdict") == "fork"]
    assert "equivocation" in reasons
    assert events[-1]["exit_code"] == 10
    assert merkle.leaf_hash(thief.entries[3]) != merkle.leaf_hash(honest.gateway.entries[3])
    assert len(both) < log.MAX_MESSAGE

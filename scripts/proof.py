#!/usr/bin/env python3
"""Proves one run of the demonstration; imports nothing of the gateway.

    proof.py DIR

reads the ledgers of the virtual sensors (what they really sent), the gateway's store (what it accepted and signed)
and the receiver's database (what is upstream), and prints sent, accepted and verified. It exits 0 only if every
accepted reading is upstream exactly once with its ledger's value, nothing is upstream that is in no ledger, each
signature and tree root is right, a kill took only what was too young to be committed, and the whole log is
receipted. Otherwise it names the reading and exits 1.

Formats: COSE_Sign1 (RFC 9052), SenML-CBOR (RFC 8428), the tree of RFC 9162 with salted leaves.
"""

from __future__ import annotations

import hmac
import json
import sqlite3
import sys
import tomllib
from collections import Counter, defaultdict
from contextlib import closing
from dataclasses import dataclass, field
from functools import reduce
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_public_key

# A reading's time is the arrival of its last byte: not before it was sent, and on a busy machine seconds after.
EARLIEST_S: Final = -0.01
LATEST_S: Final = 10.0
# A batch closes at `max_age` and is committed after that; a kill between the two takes it. A slow card needs this.
COMMIT_S: Final = 0.5
# Opening a serial line empties its buffer: the frame that arrives in that moment is nobody's.
OPENING_FRAMES: Final = 1
# So many mistakes are named, the rest is counted.
NAMED: Final = 10
COUNTS: Final = frozenset({"count_in", "count_out"})


class Reading(NamedTuple):
    """One signed reading: its place in the log, what it says, and when (POSIX seconds)."""

    place: int
    sensor: str
    quantity: str
    value: object
    t: float


class Frame(NamedTuple):
    """One line of a ledger: what a sensor put on its wire."""

    sensor: str
    number: int
    mono: float
    wall: float
    fate: str
    values: dict[str, float]
    leg: int | None = None
    passes: str | None = None


class Moment(NamedTuple):
    """When the gateway ended: `began` and `mono` frame it on the monotonic clock; `what` is `kill` or `stop`."""

    what: str
    began: float
    mono: float


#: One life of the gateway: each sensor's readings, those of one frame together.
Life = dict[str, list[list[Reading]]]


@dataclass
class Verdict:
    """What was found wrong, and what is counted: readings by sensor, and seconds by run."""

    mistakes: list[str] = field(default_factory=list)
    accepted: Counter[str] = field(default_factory=Counter)
    verified: Counter[str] = field(default_factory=Counter)
    taken: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))


class Tree:
    """The Merkle tree of RFC 9162 §2.1, as the roots of its perfect subtrees, largest first."""

    def __init__(self) -> None:
        self._peaks: list[tuple[int, bytes]] = []

    def append(self, leaf: bytes) -> None:
        """Add the hash of the next leaf."""
        height = 0
        while self._peaks and self._peaks[-1][0] == height:
            leaf = sha256(b"\x01" + self._peaks.pop()[1] + leaf).digest()
            height += 1
        self._peaks.append((height, leaf))

    def root(self) -> bytes:
        """The root over at least one leaf."""
        peaks = [peak for _, peak in reversed(self._peaks)]
        return reduce(lambda right, left: sha256(b"\x01" + left + right).digest(), peaks)


class Key:
    """The gateway's public key: its id (RFC 9679) and whether it signed something with ES256."""

    def __init__(self, pem: bytes) -> None:
        key = load_pem_public_key(pem)
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise SystemExit("proof: the gateway of a demonstration signs with P-256")
        point = key.public_numbers()
        cose_key = {1: 2, -1: 1, -2: point.x.to_bytes(32), -3: point.y.to_bytes(32)}
        self._key = key
        self._kid = sha256(cbor2.dumps(cose_key, canonical=True)).digest()[:8]

    def opens(self, message: bytes) -> tuple[dict[Any, Any], bytes]:
        """The protected header and payload of a COSE_Sign1 that this key signed; ValueError otherwise."""
        tag = cbor2.loads(message)
        if not isinstance(tag, cbor2.CBORTag) or tag.tag != 18 or len(tag.value) != 4:
            raise ValueError("is no COSE_Sign1")
        protected, _, payload, signature = tag.value
        header = cbor2.loads(protected)
        if header[1] != -7 or header[4] != self._kid or len(signature) != 64:
            raise ValueError("is signed with another key")
        r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
        signed = cbor2.dumps(["Signature1", protected, b"", payload])
        try:
            self._key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            raise ValueError("has a wrong signature") from None
        return dict(header), payload


def read_batch(message: bytes, key: Key, iss_end: str, first: int, tree: Tree) -> list[Reading]:
    """The records of one batch that begins at index `first`; ValueError when anything in it is wrong."""
    header, payload = key.opens(message)
    records = cbor2.loads(payload)
    ours = header["edgegw"]
    encoded = [cbor2.dumps(record, canonical=True) for record in records]
    if ours[1] != first or not header[15][1].endswith(iss_end):
        raise ValueError("is not the next one of this gateway's log")
    if not payload.endswith(b"".join(encoded)):
        raise ValueError("is not in canonical form")
    found = []
    for place, (record, data) in enumerate(zip(records, encoded, strict=True), first):
        salt = hmac.digest(ours[3], place.to_bytes(8), "sha256")[:16]
        tree.append(sha256(b"\x00\x82\x50" + salt + data).digest())
        sensor, quantity = record[0].rsplit(":", 2)[1:]
        value = next((record[kind] for kind in (2, 3, 4, 8) if kind in record), None)
        found.append(Reading(place, sensor, quantity, value, record[6]))
    if tree.root() != ours[2]:
        raise ValueError("has another tree root than the signed one")
    return found


def read_log(database: Path, key: Key, gateway: str, verdict: Verdict) -> list[Reading]:
    """Every record of the gateway's log, each batch with its signature and its tree root checked."""
    tree, log = Tree(), list[Reading]()
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:
        for (message,) in db.execute("SELECT message FROM batch ORDER BY first"):
            try:
                log += read_batch(message, key, f"-{gateway}", len(log), tree)
            except (ValueError, KeyError, TypeError, IndexError, cbor2.CBORError) as error:
                verdict.mistakes.append(f"the batch that should begin at index {len(log)} {error}")
                break
    return log


def compare_upstream(database: Path, gateway: str, log: list[Reading], verdict: Verdict) -> int:
    """Check that upstream holds exactly the log; returns the receipted size."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:
        rows = db.execute(
            "SELECT idx, sensor, quantity, coalesce(value, text), t, proven FROM readings"
            " WHERE gateway = ? ORDER BY idx",
            (gateway,),
        ).fetchall()
        receipts = db.execute("SELECT receipted FROM gateways WHERE gateway = ?", (gateway,)).fetchall()
        strangers = db.execute("SELECT count(*) FROM readings WHERE gateway != ?", (gateway,)).fetchone()[0]
    if strangers:
        verdict.mistakes.append(f"{strangers} readings upstream are of another gateway")
    for index, times in Counter(row[0] for row in rows).items():
        if times > 1:
            verdict.mistakes.append(f"index {index} is upstream {times} times")
    upstream = {row[0]: row for row in rows}
    for reading in log:
        row = upstream.pop(reading.place, None)
        if row is None:
            verdict.mistakes.append(f"{named(reading)} was accepted and is not upstream")
        elif row[1:5] != (reading.sensor, reading.quantity, reading.value, reading.t):
            verdict.mistakes.append(f"{named(reading)} is upstream as {row[1:5]}")
        elif not row[5]:
            verdict.mistakes.append(f"{named(reading)} is upstream, but not proven")
        else:
            verdict.verified[reading.sensor] += 1
    for row in upstream.values():
        verdict.mistakes.append(
            f"index {row[0]} ({row[1]} {row[2]} {row[3]}) is upstream and not in the gateway's log"
        )
    return max((int(row[0]) for row in receipts), default=0)


def named(reading: Reading) -> str:
    """A reading in words."""
    return f"reading {reading.place} ({reading.sensor} {reading.quantity} {reading.value}, t {reading.t})"


def lives(log: list[Reading], verdict: Verdict) -> list[Life]:
    """The log cut into the lives of the gateway, at its `start` records."""
    found: list[Life] = []
    for reading in log:
        if reading.sensor == "_gateway":
            if reading.quantity == "start":
                found.append(defaultdict(list))
            if reading.quantity == "lost" and reading.value:
                verdict.mistakes.append(f"the gateway says that it lost {reading.value} accepted readings")
            continue
        if not found:
            verdict.mistakes.append(f"{named(reading)} stands before the gateway's first start")
            return []
        groups = found[-1][reading.sensor]
        other = groups and (
            groups[-1][0].t != reading.t or reading.quantity in {r.quantity for r in groups[-1]}
        )
        if not groups or other:
            groups.append([])
        groups[-1].append(reading)
    return found


class Ledger:
    """One sensor's book, held against what the gateway accepted, run by run in order."""

    def __init__(self, sensor: str, frames: list[Frame], max_age: float, verdict: Verdict) -> None:
        self.sensor = sensor
        self.fates = Counter(frame.fate for frame in frames)
        self._sent = [frame for frame in frames if frame.fate == "sent"]
        # The way that the walker was on when the sensor was switched off has no end: it is never whole.
        self._legs = Counter(frame.leg for frame in frames if frame.leg != frames[-1].leg)
        self._max_age = max_age
        self._verdict = verdict
        self._next = 0

    def hold(self, number: int, groups: list[list[Reading]], opened: float, end: Moment) -> bool:
        """Check life `number`, begun after monotonic second `opened`; False when the later ones can't be judged."""
        if groups:
            offset = self._place(groups)
            if offset is None:
                return False
            missed = [frame for frame in self._sent[self._next : offset] if frame.mono > opened]
            if len(missed) > OPENING_FRAMES:
                self._wrong(
                    f"{len(missed)} frames from number {missed[0].number} on were sent and not accepted"
                )
            self._count_legs(groups, offset)
            self._verdict.accepted[self.sensor] += sum(map(len, groups))
            self._next = offset + len(groups)
        self._leave(number, end)
        return True

    def finish(self) -> None:
        """Check that nothing was sent after the last run had ended."""
        if rest := self._sent[self._next :]:
            self._wrong(f"{len(rest)} frames were sent after the gateway had ended")

    def _wrong(self, mistake: str) -> None:
        self._verdict.mistakes.append(f"{self.sensor}: {mistake}")

    def _place(self, groups: list[list[Reading]]) -> int | None:
        """Where a run's readings stand in the book, frame by frame without a gap; None when nowhere."""
        furthest = 0
        for offset in range(self._next, len(self._sent)):
            frames = self._sent[offset : offset + len(groups)]
            pairs = zip(groups, frames, strict=False)
            agreed = next((n for n, pair in enumerate(pairs) if not fits(*pair)), len(frames))
            if agreed == len(groups):
                return offset
            furthest = max(furthest, agreed)
        self._wrong(f"{named(groups[furthest][0])} is not what the ledger says comes next")
        return None

    def _leave(self, number: int, end: Moment) -> None:
        """What was sent and not accepted when a run ended must be younger than a kill may take."""
        while self._next < len(self._sent) and self._sent[self._next].mono <= end.mono:
            frame = self._sent[self._next]
            age = end.mono - frame.mono
            allowed = self._max_age if end.what == "kill" else end.mono - end.began
            if age > allowed + COMMIT_S:
                self._wrong(
                    f"frame {frame.number} was sent {age:.2f} s before the {end.what} and not accepted"
                )
            self._verdict.taken[number].append(age)
            self._next += 1

    def _count_legs(self, groups: list[list[Reading]], offset: int) -> None:
        """Each way over the counting line is one passage; one that was seen in part may be none."""
        seen: Counter[int | None] = Counter()
        counted: dict[int | None, Counter[str]] = defaultdict(Counter)
        frames = self._sent[offset : offset + len(groups)]
        for group, frame in zip(groups, frames, strict=True):
            seen[frame.leg] += 1
            for reading in group:
                if reading.quantity in COUNTS and isinstance(reading.value, (int, float)):
                    counted[frame.leg][reading.quantity] += int(reading.value)
        for leg, passes in {frame.leg: frame.passes for frame in frames}.items():
            if leg is None or passes is None:
                continue
            right, wrong = counted[leg][passes], counted[leg].total() - counted[leg][passes]
            if wrong or right > 1 or (seen[leg] == self._legs[leg] and right != 1):
                self._wrong(f"way {leg} over the line is one {passes}, but was counted {dict(counted[leg])}")


def fits(group: list[Reading], frame: Frame) -> bool:
    """Whether these readings are what that frame said, when it said it."""
    said = {reading.quantity: reading.value for reading in group}
    more = said.keys() - frame.values.keys()
    return (
        all(said.get(quantity) == value for quantity, value in frame.values.items())
        and more <= (COUNTS if frame.leg is not None else frozenset())
        and EARLIEST_S <= group[0].t - frame.wall <= LATEST_S
    )


def read_ledger(book: Path) -> list[Frame]:
    """The frames of one ledger, in order."""
    return [Frame(**json.loads(line)) for line in book.read_text().splitlines()]


def show(
    ledgers: list[Ledger], log: list[Reading], receipted: int, ends: list[Moment], verdict: Verdict
) -> None:
    """Print the table, what the kills took, and the verdict."""
    row = "{:<10} {:>12} {:>9} {:>9} {:>9} {:>9}"
    print(row.format("sensor", "frames sent", "bad, late", "unheard", "accepted", "verified"))
    for ledger in ledgers:
        fates, sensor = ledger.fates, ledger.sensor
        numbers = (fates["sent"], fates["damaged"] + fates["late"], fates["unheard"])
        print(row.format(sensor, *numbers, verdict.accepted[sensor], verdict.verified[sensor]))
    own = Counter(reading.sensor for reading in log)["_gateway"]
    print(row.format("_gateway", "", "", "", own, verdict.verified["_gateway"]))
    for number, end in enumerate(ends):
        ages = verdict.taken[number]
        oldest = f", the oldest {max(ages):.2f} s old" if ages else ""
        print(f"{end.what} {number + 1}: {len(ages)} frames were not committed yet{oldest}")
    print(f"log: {len(log)} records, receipted {receipted}")
    for mistake in verdict.mistakes[:NAMED]:
        print(f"WRONG: {mistake}")
    if verdict.mistakes[NAMED:]:
        print(f"WRONG: and {len(verdict.mistakes) - NAMED} more")
    elif not verdict.mistakes:
        print(
            "PROVEN: every accepted reading is upstream exactly once, as its sensor sent it; nothing else is."
        )


def main() -> int:
    """Prove the run in DIR; 0 when everything holds."""
    if len(sys.argv) != 2:
        raise SystemExit("usage: proof.py DIR")
    directory = Path(sys.argv[1])
    settings = tomllib.loads((directory / "edgegw.toml").read_text())
    gateway = settings["gateway"]["id"]
    max_age = float(settings["store"]["batch"]["max_age"].removesuffix("s"))
    ends = [Moment(**json.loads(line)) for line in (directory / "moments.jsonl").read_text().splitlines()]
    verdict = Verdict()
    key = Key((directory / "receiver" / "keys" / f"{gateway}.pem").read_bytes())
    log = read_log(directory / "store" / "edgegw.db", key, gateway, verdict)
    receipted = compare_upstream(directory / "receiver" / "readings.db", gateway, log, verdict)
    if receipted != len(log):
        verdict.mistakes.append(f"the log has {len(log)} records, and {receipted} are receipted")
    books = {book.stem: book for book in sorted((directory / "ledger").glob("*.jsonl"))}
    ledgers = [Ledger(sensor, read_ledger(book), max_age, verdict) for sensor, book in books.items()]
    strangers = {reading.sensor for reading in log} - {"_gateway", *books}
    if strangers:
        verdict.mistakes.append(f"readings of sensors without a ledger: {', '.join(sorted(strangers))}")
    lived = lives(log, verdict)
    if len(lived) != len(ends):
        verdict.mistakes.append(f"the gateway started {len(lived)} times and ended {len(ends)} times")
    opened = [0.0, *(end.mono for end in ends)]
    for ledger in ledgers:
        parts = enumerate(zip(lived, opened, ends, strict=False))
        if all(ledger.hold(n, life[ledger.sensor], began, end) for n, (life, began, end) in parts):
            ledger.finish()
    if not verdict.accepted:
        verdict.mistakes.append("nothing was accepted, so nothing is proven")
    show(ledgers, log, receipted, ends, verdict)
    return 1 if verdict.mistakes else 0


if __name__ == "__main__":
    sys.exit(main())

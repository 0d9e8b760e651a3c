"""Cut the power anywhere in a recorded life of the log, open what is left with the real keeper, judge it.

Judged is what was promised when the power failed: what was accepted is there, letter by letter, and stands in the
signed tree; nothing is there that was not sealed; the log goes on, and no index or head that may have left the
gateway is signed a second time with other content.
"""

from __future__ import annotations

import hashlib
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import keeping
import store_trace
from crash_states import CrashStates, Disk

from edgegw.journal import Closed
from edgegw.keeper import Keeper, Policy
from edgegw.problems import GatewayError
from edgegw.resume import Who
from edgegw.spoolcheck import check
from edgegw.wire import cose, senml
from edgegw.wire.log import SUB, claims, epoch_of
from edgegw.wire.verify import KeyRing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from edgegw.store import StoredBatch, StoredHead

HERE: Final = Path(__file__).parent
# Memory, where there is some: what is rebuilt here was never on a disk.
_MEMORY: Final = "/dev/shm" if Path("/dev/shm").is_dir() else None
READ_BYTES: Final = 1 << 20
# Far above what a recording takes (3 s): only a broken machine meets it.
PATIENCE_S: Final = 240.0
#: The scenes without faults of the disk, see `recorded.py`.
SCENES: Final = ("life", "full", "killed", "damaged", "rolled-back")


@dataclass(frozen=True)
class Owner:
    """Whose log it is: enough to open it as its gateway would, in any process."""

    gateway: str
    who: Who
    max_size: int

    def open(self, directory: Path) -> Keeper:
        """The real keeper on a directory."""
        return Keeper(directory, self.who, Policy(self.max_size, 0, 7 * 86400.0, True, keeping.LIMITS))

    @property
    def ring(self) -> KeyRing:
        """The key that its messages are held to."""
        return KeyRing({self.gateway: [self.who.own]})


OWNER: Final = Owner(
    keeping.GATEWAY, Who(keeping.ISS, cose.signer(keeping.KEY), keeping.OWN), max_size=512 * 1024
)


class Batch(NamedTuple):
    """A batch as the marks name it."""

    epoch: str
    first: int
    records: int
    digest: str

    @property
    def end(self) -> int:
        """The index after its last record."""
        return self.first + self.records


@dataclass(frozen=True)
class Recording:
    """What one life of a log did to its directory.

    `aside`: a database is set aside in it. `kept` are batches that were there before, and stay wherever it goes.
    `injected` counts the system calls that strace tampered with.
    """

    name: str
    states: CrashStates
    owner: Owner = OWNER
    aside: bool = False
    kept: frozenset[Batch] = frozenset()
    injected: int = 0


@dataclass
class Verdict:
    """What judging some states found; readings for `lost` and `twice`, states for the rest."""

    states: int = 0
    lost: int = 0
    twice: int = 0
    wrong: int = 0
    worst_s: float = 0.0
    findings: list[str] = field(default_factory=list)

    def add(self, other: Verdict) -> None:
        """Count another verdict in; the first findings are kept."""
        self.states += other.states
        self.lost += other.lost
        self.twice += other.twice
        self.wrong += other.wrong
        self.worst_s = max(self.worst_s, other.worst_s)
        self.findings = (self.findings + other.findings)[:20]


# -- recording


def record(scene: str, directory: Path, *inject: str) -> Recording:
    """Run a scene of `recorded.py` under strace; `inject` are options of strace that make system calls fail."""
    store, trace, marks = (directory / name for name in ("store", "trace", "marks"))
    store.mkdir(parents=True)
    what = scene.partition("+")[0]
    if what == "damaged":
        from recorded import prepare_damaged

        prepare_damaged(store)
    kept = frozenset(_in_file(store / "edgegw.db")) if what == "damaged" else frozenset()
    before = store_trace.contents(store)
    done = subprocess.run(
        [
            *store_trace.command(trace, *inject),
            *(sys.executable, str(HERE / "recorded.py"), str(marks), scene, str(store)),
        ],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{HERE.parent}:{HERE}", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    shot = any("signal=SIGKILL" in word for word in inject)
    assert done.returncode in ((0, -signal.SIGKILL) if shot else (0,)), done.stderr[-4000:]
    text = trace.read_text()
    injected = text.count("(INJECTED)") + text.count("+++ killed by SIGKILL +++")
    states = from_trace([trace], store, marks, before)
    trace.unlink()  # megabytes
    aside = what in ("damaged", "rolled-back")
    return Recording(" ".join((scene, *inject)), states, aside=aside, kept=kept, injected=injected)


def from_trace(traces: Iterable[Path], store: Path, marks: Path, before: dict[str, bytes]) -> CrashStates:
    """The states that finished traces allow, one after the other."""
    lines = chain.from_iterable(trace.read_text().splitlines() for trace in traces)
    return CrashStates(store_trace.read(lines, store, marks, before))


# -- what was promised


class Promised:
    """What the gateway had said and done before the cut, from its marks."""

    def __init__(self, marks: Iterable[str]) -> None:
        self.sealed: set[Batch] = set()
        self.accepted: set[Batch] = set()
        self.heads: dict[str, int] = {}
        self.ends: dict[str, int] = {}
        self._goes: list[tuple[str, int, int]] = []
        for mark in marks:
            word, epoch, *rest = mark.split(" ")
            if word in ("sealed", "accepted"):
                batch = Batch(epoch, int(rest[0]), int(rest[1]), rest[2])
                self.sealed.add(batch)
                if word == "accepted":
                    self.accepted.add(batch)
                    self.ends[epoch] = max(batch.end, self.ends.get(epoch, 0))
            elif word == "head":
                self.heads[epoch] = max(int(rest[0]), self.heads.get(epoch, -1))
            elif word == "goes":
                self._goes.append((epoch, int(rest[0]), int(rest[1])))

    def due(self) -> set[Batch]:
        """What was accepted and must be there: its removal was not begun, for which it is receipted or named as lost."""
        return {
            batch
            for batch in self.accepted
            if not any(
                epoch == batch.epoch and first <= batch.first and batch.end <= end
                for epoch, first, end in self._goes
            )
        }


# -- judging


def judge(recording: Recording, disk: Disk, directory: Path) -> Verdict:
    """Lay out one state in an empty directory, open it, go on, and say what does not hold."""
    for name, data in disk.files.items():
        (directory / name).write_bytes(data)
    verdict = Verdict(states=1)
    promised = Promised(recording.states.marks(disk.cut))
    began = time.perf_counter()
    try:
        log = recording.owner.open(directory)
    except (GatewayError, sqlite3.Error, ValueError) as error:
        verdict.findings.append(f"it does not open: {error}")
        verdict.lost += sum(batch.records for batch in promised.due())
        verdict.wrong = 1
        return verdict
    verdict.worst_s = time.perf_counter() - began
    with closing(log):
        if log.notes and not recording.aside:
            verdict.findings.append(f"set aside: {log.notes}")
        stored = list(batches(log))
        _held_to(promised, log, stored, verdict)
        _beside(promised.due() | recording.kept, log, stored, directory, verdict)
        _goes_on(promised, recording.owner, log, verdict)
        _stands(recording.owner, log, verdict)
    verdict.wrong = int(bool(verdict.findings))
    return verdict


def batches(log: Keeper) -> Iterator[StoredBatch]:
    """Everything in the log."""
    at = 0
    while found := log.batches_from(at, READ_BYTES):
        yield from found
        at = found[-1].end


def _heads(log: Keeper) -> Iterator[StoredHead]:
    at = 0
    while found := log.heads_between(at, 1 << 60):
        yield from found
        at = found[-1].size


def _named(epoch: str, first: int, count: int, message: bytes) -> Batch:
    return Batch(epoch, first, count, hashlib.sha256(message).hexdigest()[:32])


def _held_to(promised: Promised, log: Keeper, stored: Sequence[StoredBatch], verdict: Verdict) -> None:
    """Nothing is in the log that was not sealed; of what was not accepted at most the one that was being written."""
    epoch = log.log.epoch
    found = {_named(epoch, each.first, each.count, each.message) for each in stored}
    extra = found - promised.accepted
    if extra - promised.sealed:
        verdict.findings.append(f"never sealed: {sorted(extra - promised.sealed)[:2]}")
    if len(extra) > 1 or any(batch.first < promised.ends.get(epoch, 0) for batch in extra):
        verdict.findings.append(f"never accepted: {sorted(extra)[:2]}")
    records = Counter(record for each in stored for record in records_of(each.message))
    twice = sum(count - 1 for count in records.values())
    if twice:
        verdict.twice += twice
        verdict.findings.append(f"{twice} records are there twice")


@lru_cache(maxsize=4096)
def records_of(message: bytes) -> tuple[tuple[str, float, object], ...]:
    """Name, time and value of the readings of a batch."""
    _, records = senml.read_pack(cose.parse(message).payload or b"")
    return tuple((each.name, each.t, each.value) for each in records if not each.name.endswith(":lost"))


def _beside(
    due: set[Batch], log: Keeper, stored: Sequence[StoredBatch], directory: Path, verdict: Verdict
) -> None:
    """What was accepted is in the log, or in a database that was set aside."""
    missing = due - {_named(log.log.epoch, each.first, each.count, each.message) for each in stored}
    if missing:
        for path in directory.glob("edgegw-*.db"):
            missing -= _in_file(path)
    for batch in sorted(missing):
        verdict.lost += batch.records
        verdict.findings.append(f"accepted, and not there: {batch}")


def _in_file(path: Path) -> set[Batch]:
    found = set()
    try:
        with closing(sqlite3.connect(path)) as db:
            for first, count, message in db.execute("SELECT first, count, message FROM batch"):
                try:
                    epoch = epoch_of(claims(cose.parse(message)).get(SUB)) or ""
                except ValueError:
                    continue  # the damage for which it was set aside
                found.add(_named(epoch, first, count, message))
    except sqlite3.Error:
        return found
    return found


def _goes_on(promised: Promised, owner: Owner, log: Keeper, verdict: Verdict) -> None:
    """The next batch and the next head have numbers that were never given away."""
    epoch = log.log.epoch
    writer, t = senml.RecordWriter(owner.who.iss), keeping.START + 1_000_000
    record = writer.reading("air-1", "temperature", "Cel", 1.5, t)
    done = log.commit(Closed([record], [t], (1, 5), 0.0), int(keeping.START))
    if done.first < promised.ends.get(epoch, 0):
        verdict.twice += promised.ends[epoch] - done.first
        verdict.findings.append(f"a fork: index {done.first} again, {promised.ends[epoch]} were given away")
    head = log.make_head(int(keeping.START))
    if head is None or head.number <= promised.heads.get(epoch, -1):
        verdict.findings.append(f"a fork: head {head and head.number} again")


def _stands(owner: Owner, log: Keeper, verdict: Verdict) -> None:
    """Every signature, every record and the whole tree."""
    report = check(batches(log), _heads(log), owner.ring, receipted=log.receipted)
    if report.refused:
        verdict.findings.append(f"does not verify: {report.findings[:2]}")
    if report.gaps:
        verdict.findings.append(f"holes that nothing names: {report.gaps[:2]}")


# -- many of them


def cuts(recording: Recording, seed: int, numbers: Iterable[int]) -> Verdict:
    """Judge the power cuts with these numbers; the same seed and number give the same state."""

    def state(number: int) -> Disk:
        chance = random.Random(f"{recording.name} {seed} {number}")
        return recording.states.cut(chance.randrange(len(recording.states)), chance)

    return _judged(recording, numbers, state)


def kills(recording: Recording, numbers: Iterable[int]) -> Verdict:
    """Judge a kill before each of these operations: nothing that was written is missing."""
    return _judged(recording, numbers, recording.states.killed)


def worst(recording: Recording) -> Verdict:
    """Judge the worst cut right behind each acceptance: nothing reached the disk that did not have to."""
    said = [
        number
        for number, each in enumerate(recording.states.operations, 1)
        if isinstance(each, store_trace.Mark) and each.text.startswith("accepted ")
    ]
    return _judged(recording, said, recording.states.least)


def _judged(recording: Recording, numbers: Iterable[int], state: Callable[[int], Disk]) -> Verdict:
    found = Verdict()
    for number in numbers:
        directory = Path(tempfile.mkdtemp(prefix="edgegw-cut-", dir=_MEMORY))
        try:
            verdict = judge(recording, state(number), directory)
        finally:
            shutil.rmtree(directory)
        verdict.findings = [f"{recording.name} {number}: {text}" for text in verdict.findings]
        found.add(verdict)
    return found

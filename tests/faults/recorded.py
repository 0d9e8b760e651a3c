"""Run a life of the log, or the whole daemon, that says what it accepted: `recorded.py MARKS WHAT DIRECTORY|CONFIG`.

WHAT is a scene below or `daemon`. The product has no hooks for this: what seals, accepts and forgets is wrapped from
outside, in this process, and each such moment is a line in the file MARKS, written in the thread of the store:

    pid NUMBER                          this process, whoever started it
    sealed EPOCH FIRST COUNT DIGEST     is signed, nobody may rely on it yet
    accepted EPOCH FIRST COUNT DIGEST   is accepted, and may be sent from now on
    head EPOCH NUMBER SIZE              the same for a head
    goes EPOCH FIRST END                may be missing from now on: receipted, or named as lost with it

`+normal`, `+early` and `+trusting` after WHAT make it wrong on purpose, see `WRONG`.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fakes_clock import FakeClock
from keeping import LIMITS, START, STORES, WRITER, closed, keeper, signed_receipt

from edgegw import store
from edgegw.clock import Timeline, look
from edgegw.driver import QUANTITIES, Reading
from edgegw.journal import Journal
from edgegw.keeper import Keeper
from edgegw.ports.thread import PortThread
from edgegw.recorder import Recorder
from edgegw.store import Store, StoreFailed, StoreFull
from edgegw.wire.merkle import Range

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ISSUED = int(START)
TEMPERATURE = QUANTITIES["temperature"]
#: What the scene `stubborn` takes in.
READINGS = 90
# 2 pages of 4 KiB in eight go to a checkpoint: the WAL is folded in every few batches.
SMALL = 512 * 1024


def watch(marks: Path) -> None:
    """Write a line to `marks` at each moment that matters."""
    out = os.open(marks, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    epochs: dict[int, str] = {}

    def say(*words: object) -> None:
        os.write(out, (" ".join(map(str, words)) + "\n").encode())

    say("pid", os.getpid())

    def digest(message: bytes) -> str:
        return hashlib.sha256(message).hexdigest()[:32]

    seal, took, took_head, remove = Journal.seal, Journal.took, Journal.took_head, Store.remove
    commit, opened = Keeper.commit, Keeper._open

    def sealing(self: Journal, *given: Any) -> Any:
        sealed = seal(self, *given)
        say("sealed", self.log.epoch, sealed.first, sealed.count, digest(sealed.message))
        return sealed

    def taking(self: Journal, sealed: Any) -> None:
        took(self, sealed)
        say("accepted", self.log.epoch, sealed.first, sealed.count, digest(sealed.message))

    def taking_head(self: Journal, sealed: Any) -> None:
        took_head(self, sealed)
        say("head", self.log.epoch, sealed.number, sealed.size)

    def removing(self: Store, first: int, end: int) -> int:
        say("goes", epochs.get(id(self), self.get("epoch")), first, end)
        return remove(self, first, end)

    def newest(self: Keeper) -> None:
        stored = self._store.batch_ending(self.size)
        if stored:
            say("accepted", self.log.epoch, stored.first, stored.count, digest(stored.message))

    def committing(self: Keeper, *given: Any) -> Any:
        done = commit(self, *given)
        newest(self)
        return done

    def opening(self: Keeper) -> None:
        opened(self)
        newest(self)  # what is in the log after a start is sent, whoever accepted it

    for owner, name, wrapper in (
        (Journal, "seal", sealing),
        (Journal, "took", taking),
        (Journal, "took_head", taking_head),
        (Store, "remove", removing),
        (Keeper, "commit", committing),
        (Keeper, "_open", opening),
    ):
        setattr(owner, name, wrapper)


# -- wrong on purpose


def normal() -> None:
    """What a store that trusts the disk less often does: no sync at a commit."""
    prepare = Store._prepare

    def wrong(self: Store) -> None:
        prepare(self)
        self._db.execute("PRAGMA synchronous = NORMAL")

    Store._prepare = wrong  # type: ignore[method-assign]


def early() -> None:
    """A store that says "done" before it is: three batches share a commit."""
    right, counted = Store.transaction, [0]

    @contextmanager
    def wrong(self: Store) -> Iterator[None]:
        counted[0] += 1
        if self._db.in_transaction:
            yield
            if counted[0] % 3 == 0:
                self._db.execute("COMMIT")
        elif counted[0] < 3:
            with right(self):
                yield
        else:
            self._db.execute("BEGIN IMMEDIATE")
            yield

    Store.transaction = wrong  # type: ignore[method-assign]


def trusting() -> None:
    """A store that takes what it reads in the WAL for durable."""
    store._settle = lambda wal: None  # noqa: ARG005 -- its name belongs to the call


WRONG = {"normal": normal, "early": early, "trusting": trusting}

# -- scenes: each runs in a directory and ends as it likes


def receipt(log: Keeper, size: int) -> None:
    """The upstream has the first `size` records, which end with a batch."""
    stored = log._store.batch_ending(size) or log._store.head_of(size)
    root = log._root_at(size)
    assert stored
    assert root
    assert log.take_receipt(signed_receipt(log, size, root), STORES).progress


def grow(log: Keeper, batches: int, count: int, *, head_each: int = 7) -> None:
    """So many batches more; the numbers of their records are their indices."""
    for number in range(batches):
        done = log.commit(closed(log.size, count), ISSUED)
        if done.head_wanted or number % head_each == head_each - 1:
            log.make_head(ISSUED)


def life(directory: Path) -> None:
    """First start, checkpoints, heads, receipts, what is old goes, a clean stop, a second start."""
    log = keeper(directory, max_size=SMALL, keep=0.0)
    grow(log, 24, 3)
    receipt(log, 30)
    log.snapshot()
    grow(log, 6, 1)
    log.prune(START + 86400)
    log.save({"stretch": "0 1"})
    grow(log, 10, 20)
    log.close()
    log = keeper(directory, max_size=SMALL, keep=0.0)
    grow(log, 12, 2)
    receipt(log, log.size)
    grow(log, 3, 2)
    log.prune(START + 86400)
    log.close()


def full(directory: Path) -> None:
    """A store that is full: the oldest interval goes and is named, again and again; then a receipt frees some."""
    log = keeper(directory, max_size=SMALL)
    grow(log, 20, 100)
    grow(log, 30, 60)
    receipt(log, log.size)
    grow(log, 12, 80)
    log.close()


def killed(directory: Path) -> None:
    """Lives that end without a stop, and a start over what they left."""
    for life_number in range(3):
        child = os.fork()
        if child == 0:
            log = keeper(directory, max_size=SMALL)
            grow(log, 15 + life_number, 2)
            os._exit(9)
        os.waitpid(child, 0)
    log = keeper(directory, max_size=SMALL)
    grow(log, 4, 2)
    log.close()


def damaged(directory: Path) -> None:
    """A start over a database that does not hold (see `prepare_damaged`): it is set aside, a new log begins."""
    log = keeper(directory, max_size=SMALL)
    grow(log, 9, 3)
    log.close()


def rolled_back(directory: Path) -> None:
    """A receipt for more than this disk has: the log is set aside and a new one begins, announced."""
    log = keeper(directory, max_size=SMALL)
    grow(log, 12, 3)
    ahead = signed_receipt(log, log.size + 5, Range.of_leaves(0, [b"\0" * 32] * (log.size + 5)).root())
    assert log.take_receipt(ahead, STORES).problem == "EG-STORE-ROLLED-BACK"
    grow(log, 9, 3)
    log.close()


class Hurried(FakeClock):
    """Time that passes when somebody waits for it."""

    async def sleep(self, seconds: float) -> None:
        self.advance(seconds)
        await asyncio.sleep(0)


def stubborn(directory: Path) -> None:
    """The real recorder on a disk that refuses now and then: whatever it takes in is accepted in the end."""
    try:
        log = keeper(directory, max_size=SMALL)
    except (StoreFull, StoreFailed):  # the daemon ends, and is started again
        os.execv(sys.executable, [sys.executable, *sys.argv])
    asyncio.run(_insist(log))


async def _insist(log: Keeper) -> None:
    clock, worker = Hurried(), PortThread("store")
    recorder = Recorder(
        log,
        worker,
        writer=WRITER,
        clock=clock,
        timeline=Timeline(look(clock), boot_id="b", floor=0.0),
        limits=LIMITS,
        on_commit=lambda _: None,
    )
    running = asyncio.create_task(recorder.run())
    for number in range(READINGS // 3):
        for value in range(3):
            clock.advance(0.1)
            recorder.readings("air-1", [Reading(TEMPERATURE, 3 * number + value)], clock.monotonic())
        goal = recorder.next_index
        recorder.close_batch()
        for _ in range(1000):  # a batch takes a few turns of loop and thread; each refusal a few more
            if await worker.call(lambda: log.size) >= goal and recorder.trouble is None:
                break
        else:
            raise AssertionError(f"given up: {recorder.trouble}")
        if number % 7 == 6:
            with suppress(StoreFull, StoreFailed):  # as the gateway does: the next one comes
                await worker.call(log.make_head, ISSUED)
    running.cancel()
    await worker.call(log.close)
    worker.stop()


SCENES: dict[str, Callable[[Path], None]] = {
    scene.__name__.replace("_", "-"): scene for scene in (life, full, killed, damaged, rolled_back, stubborn)
}


def prepare_damaged(directory: Path) -> None:
    """A database whose newest batch was changed behind SQLite's back."""
    log = keeper(directory, max_size=SMALL)
    grow(log, 10, 3, head_each=100)
    with log._store.transaction():
        log._store._db.execute("UPDATE batch SET message = zeroblob(length(message)) WHERE first = 27")
    log.close()


def main() -> int:
    marks, what, where = sys.argv[1:4]
    scene, _, wrong = what.partition("+")
    if wrong:
        WRONG[wrong]()
    watch(Path(marks))
    if scene == "daemon":
        from edgegw.daemon import main as daemon

        return daemon(["--config", where])
    SCENES[scene](Path(where))
    return 0


if __name__ == "__main__":
    sys.exit(main())

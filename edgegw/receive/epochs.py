"""New epochs: whether one was announced, and whether the old one ended as it says (WIRE §3 field 8, §9 step 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edgegw.receive.conflicts import PREVIOUS_ROOT, Conflict
from edgegw.receive.notes import Note
from edgegw.wire import log as wire_log

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgegw.receive.upstream_store import Log, UpstreamStore
    from edgegw.wire.batch import Previous
    from edgegw.wire.follow import Skipped


class Began(NamedTuple):
    """What the first batch of a log says: the log that it continues, if it is held, and whether that agrees."""

    notes: list[Note]
    old: Log | None = None
    conflict: Conflict | None = None


def begin(store: UpstreamStore, log: Log, previous: Previous | None, open_logs: Mapping[int, Log]) -> Began:
    """Judge the announcement in the batch at index 0; `open_logs` are newer than the store's."""
    if previous is None:
        return Began(_unannounced(store, log))
    epoch = wire_log.epoch_of(previous.stream) or ""
    old = store.log(log.gateway, epoch)
    if old is None or old.id == log.id:
        text = f"{log.gateway}: epoch {log.epoch} follows {epoch}, of which nothing is held"
        return Began([_note("epoch_end", log, text, {"old": epoch, "held": 0}, "warning")])
    old = open_logs.get(old.id, old)
    old.ended = (previous.size, previous.root)
    notes = []
    if old.size > previous.size:
        notes.append(longer(old, old.size))
    elif old.tree.end < previous.size:
        old.size = max(old.size, previous.size)
        text = (
            f"{log.gateway}: epoch {epoch} ended with {previous.size} records, "
            f"of which {old.tree.end} are here without a hole"
        )
        fields = {"old": epoch, "size": previous.size, "complete": old.tree.end}
        notes.append(_note("epoch_end", log, text, fields, "warning"))
    return Began(notes, old, other_end(store, old))


def other_end(store: UpstreamStore, old: Log) -> Conflict | None:
    """The contradiction when the announced end of `old` has another root than the one that is known there."""
    if old.ended is None:
        return None
    size, root = old.ended
    known = old.tree.root() if old.tree.end == size else store.signed_at(old, size)
    if known is None or known == root:
        return None
    return Conflict(PREVIOUS_ROOT, max(0, size - 1), store.batch_message(old, size - 1))


def longer(old: Log, size: int) -> Note:
    """The old epoch has more records than its successor says: the gateway's disk went back in time."""
    ended = old.ended[0] if old.ended else 0
    text = (
        f"{old.gateway}: epoch {old.epoch} has {size} records here, but its successor says that it ended "
        f"with {ended}: the gateway's store went back in time"
    )
    return _note("epoch_end", old, text, {"old": old.epoch, "size": ended, "held": size}, "error")


def lost(store: UpstreamStore, log: Log, step: Skipped) -> list[Note]:
    """The prefix goes on behind a named loss; a loss of index 0 takes the announcement with it."""
    text = (
        f"{log.gateway} names records {step.first} to {step.end - 1} of epoch {log.epoch} as lost; "
        f"the tree goes on at {step.size}"
    )
    note = _note("lost", log, text, {"first": step.first, "stop": step.end, "size": step.size}, "warning")
    return [note, *(_unannounced(store, log) if step.first == 0 else [])]


def _unannounced(store: UpstreamStore, log: Log) -> list[Note]:
    if store.epochs(log.gateway) < 2:
        return []
    text = f"{log.gateway}: nothing announced epoch {log.epoch}; the one before it stays open-ended"
    return [_note("epoch_unannounced", log, text, {}, "error")]


def _note(kind: str, log: Log, text: str, fields: Mapping[str, object], level: str) -> Note:
    return Note(kind, text, {"gateway": log.gateway, "epoch": log.epoch, **fields}, level)

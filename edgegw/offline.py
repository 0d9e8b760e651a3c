"""Judge saved messages with public keys only: a verdict for each, then what each log comes to (WIRE §9).

Messages come in any order and more than once, from files of any size: each is judged when it is read, against
everything before it; what only the whole can say (gaps, what a later message proves) stands in the events at the
end. `judge` is pure over messages and keys; `verify_files` reads the files.

Events are dictionaries that JSON can hold; `type` is

- `message`: source, offset or line, kind, verdict, reason, gateway, epoch, simulated, and by kind first, end,
  size, number, index, ...;
- `finding`: a contradiction that showed only later: the same keys, about the earlier message;
- `log`: one log, the keys of `Standing.report`;
- `summary`, the last: messages, verdicts (counts by word), logs, verdict and exit_code.

The verdict of a message is `proven` (the tree over all before it has the signed root), `ahead` (signed; something
before it is not there yet), `ok` (signed, and no part of the tree), `repeat`, `fork` (contradicts what the same
gateway signed), `refused`, or `unverified` (nobody gave us the key); the last three have a reason.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgegw import keys
from edgegw.problems import Exit, GatewayError
from edgegw.wire import capture, cose, verify
from edgegw.wire.batch import Batch
from edgegw.wire.head import Head
from edgegw.wire.log import LogId, Refused, epoch_of, gateway_of
from edgegw.wire.proof import Proof
from edgegw.wire.receipt import Receipt, Request
from edgegw.wire.seen import Claim, SeenLogs
from edgegw.wire.standing import Judged, Standing
from edgegw.wire.status import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from edgegw.wire.capture import Saved
    from edgegw.wire.cose import VerifyKey
    from edgegw.wire.seen import Place
    from edgegw.wire.senml import Record
    from edgegw.wire.standing import Finding

    Message = Batch | Head | Status | Proof | Receipt | Request

#: The name that stands for standard input.
STDIN: Final = "-"
# Reading is cheap in pieces of this size, and a live pipe gives what it has.
_PIECE_BYTES: Final = 256 * 1024
_VERDICTS: Final = {
    Exit.DONE: "verified",
    Exit.PROBLEMS: "verified_with_losses",
    Exit.VERIFICATION_FAILED: "failed",
    Exit.VERIFICATION_INCOMPLETE: "incomplete",
}


def verify_files(
    paths: Sequence[str | Path], keys_dir: Path, *, accept_simulated: bool = True
) -> Iterator[dict[str, Any]]:
    """The events of the messages in files (`-`: standard input), judged with the keys in `keys_dir`.

    Raises GatewayError EG-FILE (exit 2) for a file that cannot be read, and what `load_keys` raises.
    """
    known = load_keys(keys_dir)
    for path in paths:
        _check(path)  # a wrong name is said before the first verdict
    saved = (found for path in paths for found in capture.messages(str(path), _pieces(path)))
    try:
        yield from judge(saved, known, accept_simulated=accept_simulated)
    except sqlite3.Error as error:
        raise GatewayError(
            "EG-FILE",
            f"no room to remember what was verified: {error}",
            why="What was seen of each log is kept in a temporary file, a few hundredths of the input.",
            todo=("set SQLITE_TMPDIR to a directory with space, and run it again",),
            safe="the files themselves are only read",
        ) from error


def load_keys(directory: Path) -> dict[str, list[VerifyKey]]:
    """The public keys in `directory` by the name of their file: `<gateway>.pem`, and any name for a store's.

    Raises GatewayError: EG-FILE (exit 2) when there is no such directory, EG-IDENTITY-KEY for a file without keys.
    """
    if not directory.is_dir():
        raise GatewayError(
            "EG-FILE",
            f"{directory} is not a directory",
            why="The public key of each gateway lies there as GATEWAY.pem.",
            todo=("edgegw identity show --public-key > DIR/GATEWAY.pem, on each gateway",),
            exit_code=Exit.USAGE,
        )
    return {path.stem: keys.load_publics(path) for path in sorted(directory.glob("*.pem"))}


def judge(
    saved: Iterable[Saved], known: Mapping[str, Sequence[VerifyKey]], *, accept_simulated: bool = True
) -> Iterator[dict[str, Any]]:
    """The events of saved messages; `known` are the public keys by the name of their owner."""
    verdicts: Counter[str] = Counter()
    with closing(SeenLogs()) as seen:
        judging = _Judging(known, seen, accept_simulated=accept_simulated)
        count = 0
        for count, each in enumerate(saved, 1):  # noqa: B007 -- the last one is how many there were
            for event in judging.take(each):
                verdicts[event["verdict"]] += 1
                yield event
        for event in judging.finish():
            verdicts[event["verdict"]] += 1
            yield event
        logs = judging.reports()
        yield from logs
    code = _exit_code(count, verdicts, logs)
    yield {
        "type": "summary",
        "messages": count,
        "verdicts": dict(verdicts),
        "logs": len(logs),
        "verdict": _VERDICTS[code],
        "exit_code": int(code),
    }


def _exit_code(count: int, verdicts: Counter[str], logs: Sequence[Mapping[str, Any]]) -> Exit:
    if verdicts["refused"] or verdicts["fork"]:
        return Exit.VERIFICATION_FAILED
    if not count or verdicts["unverified"] or any(log["verdict"] == "incomplete" for log in logs):
        return Exit.VERIFICATION_INCOMPLETE
    return Exit.PROBLEMS if any(log["verdict"] == "lost" for log in logs) else Exit.DONE


class _Judging:
    """Opens messages and hands each to its log."""

    def __init__(
        self, known: Mapping[str, Sequence[VerifyKey]], seen: SeenLogs, *, accept_simulated: bool
    ) -> None:
        self._ring = verify.KeyRing(known)
        self._owners = {key.kid: owner for owner, found in known.items() for key in found}
        self._stores = {key.kid: key for found in known.values() for key in found}
        self._seen = seen
        self._accept_simulated = accept_simulated
        self._logs: dict[LogId, Standing] = {}

    def take(self, saved: Saved) -> Iterator[dict[str, Any]]:
        """The verdict on a message, and what it brings out about earlier ones."""
        kind = verify.kind_of(saved.data)
        event = {"type": "message", **_where(saved.place), "kind": kind}
        try:
            message = self._open(saved, kind)
        except Refused as fault:
            verdict = "unverified" if fault.reason == "unknown_key" else "refused"
            yield event | {"verdict": verdict, "reason": fault.reason, "gateway": fault.gateway}
            return
        log_id, about = _about(message)
        judged = self._judged(message, log_id, saved)
        yield event | judged._asdict() | about
        if log_id in self._logs:
            yield from _findings(self._logs[log_id])

    def _open(self, saved: Saved, kind: str) -> Message:
        if saved.fault:
            raise Refused(saved.fault)
        if kind in ("receipt", "request"):
            return self._open_of_store(saved, kind)
        message: Message
        if kind == "proof":
            message = verify.open_proof(saved.data, self._ring)
        else:
            message = verify.open_gateway_message(saved.data, self._ring, saved.topic_gateway)
        if message.simulated and not self._accept_simulated:
            raise Refused("simulated", _about(message)[1]["gateway"])
        return message

    def _open_of_store(self, saved: Saved, kind: str) -> Receipt | Request:
        open_it = verify.open_receipt if kind == "receipt" else verify.open_request
        message = open_it(saved.data, self._stores)
        gateway = message.log.gateway if message.log else ""
        # A gateway says nothing in the name of a store about itself.
        if self._owners[cose.parse(saved.data).headers[cose.KID]] == gateway:
            raise Refused("issuer", gateway)
        if saved.topic_gateway not in (None, gateway) and gateway:
            raise Refused("topic", gateway)
        return message

    def _judged(self, message: Message, log_id: LogId | None, saved: Saved) -> Judged:
        if log_id is None or isinstance(message, Request):
            return Judged("ok")
        standing = self._standing(log_id)
        if isinstance(message, Head):
            return standing.take_head(message)
        if isinstance(message, Batch):
            judged = standing.take_batch(message, saved.place)
            if message.previous and judged.verdict in ("proven", "ahead"):
                ended = LogId(log_id.iss, epoch_of(message.previous.stream) or "")
                claim = Claim(message.previous.size, message.previous.root, "previous", saved.place)
                found = self._standing(ended).take_claim(claim)
                return judged if found.verdict == "ok" else found
            return judged
        if isinstance(message, (Receipt, Proof)):
            kind = type(message).__name__.lower()
            return standing.take_claim(Claim(message.size, message.root, kind, saved.place))
        return Judged("ok")

    def _standing(self, log_id: LogId) -> Standing:
        if log_id not in self._logs:
            self._logs[log_id] = Standing(log_id, self._seen.log())
        return self._logs[log_id]

    def finish(self) -> Iterator[dict[str, Any]]:
        """What the whole brings out."""
        for standing in self._logs.values():
            standing.finish()
            yield from _findings(standing)

    def reports(self) -> list[dict[str, Any]]:
        """One event for each log of which a batch or head was there, by gateway and age.

        Every log of a gateway but its oldest must name the one before it (WIRE §9, step 5).
        """
        found = [standing for standing in self._logs.values() if standing.issued is not None]
        found.sort(key=lambda standing: (standing.log.iss, standing.issued, standing.log.epoch))
        older = ""
        for standing in found:
            standing.announced = older != standing.log.iss or standing.previous is not None
            older = standing.log.iss
        return [{"type": "log", **standing.report()} for standing in found]


def _findings(standing: Standing) -> Iterator[dict[str, Any]]:
    for found in standing.late():
        yield _finding(standing.log, found)


def _finding(log_id: LogId, found: Finding) -> dict[str, Any]:
    return {
        "type": "finding",
        **_where(found.place),
        "kind": found.about,
        "verdict": "fork",
        "reason": found.reason,
        "gateway": log_id.gateway,
        "epoch": log_id.epoch,
        "first": found.first,
        "end": found.end,
    }


def _where(place: Place) -> dict[str, Any]:
    return {"source": place.source, "line" if place.is_line else "offset": place.at}


def _about(message: Message) -> tuple[LogId | None, dict[str, Any]]:
    """The log that a message belongs to, and the keys of its event."""
    about: dict[str, Any]
    match message:
        case Batch():
            about = {"first": message.first, "end": message.end, "simulated": message.simulated}
        case Head():
            about = {"size": message.size, "number": message.number, "simulated": message.simulated}
        case Proof():
            about = {"index": message.index, "size": message.size, "simulated": message.simulated}
            about["record"] = _record(message.record)
        case Receipt():
            about = {"size": message.size, "store": message.store}
        case Request():
            about = {"first": message.first, "end": message.end, "store": message.store}
        case Status():
            return None, {"gateway": gateway_of(message.iss) or "", "simulated": message.simulated}
    of = {"gateway": message.log.gateway, "epoch": message.log.epoch} if message.log else {"gateway": ""}
    return message.log, of | about


def _record(record: Record) -> dict[str, Any]:
    value = record.value.hex() if isinstance(record.value, bytes) else record.value
    return {"name": record.name, "unit": record.unit, "value": value, "t": record.t}


def _check(path: str | Path) -> None:
    """EG-FILE when `path` is no file that can be read; a pipe is left alone, since it can be opened once."""
    try:
        if str(path) != STDIN and Path(path).is_dir():
            raise _unreadable(path, "it is a directory")
        if str(path) != STDIN and not os.access(path, os.R_OK):
            raise _unreadable(path, "not allowed" if Path(path).exists() else "there is no such file")
    except OSError as error:
        raise _unreadable(path, (error.strerror or str(error)).lower()) from error


def _pieces(path: str | Path) -> Iterator[bytes]:
    """What is read from a file or from standard input, as it comes."""
    try:
        if str(path) == STDIN:
            read = getattr(sys.stdin.buffer, "read1", sys.stdin.buffer.read)
            yield from iter(lambda: read(_PIECE_BYTES), b"")
            return
        with Path(path).open("rb") as stream:
            yield from iter(lambda: stream.read1(_PIECE_BYTES), b"")
    except OSError as error:
        raise _unreadable(path, (error.strerror or str(error)).lower()) from error


def _unreadable(path: str | Path, why: str) -> GatewayError:
    return GatewayError("EG-FILE", f"{path} cannot be read: {why}", exit_code=Exit.USAGE)

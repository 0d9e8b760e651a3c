"""`edgegw spool …`: what the store holds."""

# ruff: noqa: PLC0415 -- a command imports what it needs when it runs: --help starts at once

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgegw.cli import printing
from edgegw.cli.options import Options, command, group
from edgegw.cli.printing import count, seconds, size
from edgegw.cli.status import absence, look
from edgegw.problems import Exit, GatewayError

if TYPE_CHECKING:
    from edgegw.config import Config
    from edgegw.spool import Seen, Spool
    from edgegw.spoolcheck import Report
    from edgegw.wire.batch import Batch
    from edgegw.wire.senml import Record

app = group("spool", "The store: how much, what, and is it whole.")


def stats(options: Options) -> Exit:
    """Count what is stored, receipted, waiting and lost."""
    seen, absent = look(options)
    parts = {name: seen[name] for name in ("log", "backlog", "lost", "store")}
    if options.json:
        printing.document(parts)
    else:
        log, backlog, store = seen["log"], seen["backlog"], seen["store"]
        printing.pairs(
            {
                "log": f"{log['epoch'] or 'none yet'}, {count(log['size'])} records",
                "receipted": f"{count(log['receipted'])} records",
                "backlog": f"{count(backlog['readings'])} records, {printing.of(backlog['batches'], 'batch', 'batches')}, "
                f"{size(backlog['bytes'])}, oldest {seconds(backlog['oldest_s'])}",
                "lost": f"{count(seen['lost']['total'])} records",
                "on disk": f"{size(store['bytes'])}; a power cut takes at most {store['max_age_s']:g} s",
            }
        )
    return absence(absent, json=options.json)


def inspect(
    options: Options,
    first: Annotated[
        int | None, typer.Option("--from", min=0, help="Index of a record.", show_default="the last 100")
    ] = None,
    number: Annotated[int, typer.Option("--count", "-n", min=1, help="How many batches.")] = 10,
    records: Annotated[bool, typer.Option("--records", help="Print the records too.")] = False,
) -> Exit:
    """Decode stored batches, each with its signature checked."""
    from itertools import islice

    rows = []
    bad = False
    with _open(options) as (settings, seen, spool):
        start = max(0, seen.status["log"]["size"] - 100) if first is None else first
        for stored in islice(spool.batches(start), number):
            batch, reason = _decoded(stored.message, settings)
            bad = bad or bool(reason)
            if options.json:
                printing.line(_as_dict(stored, batch, reason))
            elif records and batch is not None:
                for index, record in enumerate(batch.records, batch.first):
                    printing.text(f"{index}  {_stamp(record.t)}  {_shown(record)}")
            else:
                times = [record.t for record in batch.records] if batch else []
                rows.append(
                    (
                        count(stored.first),
                        count(stored.count),
                        _stamp(times[0]) if times else "",
                        size(len(stored.message)),
                        ("free-running", "synchronised", "unknown")[batch.clock[0]] if batch else "",
                        reason or "ok",
                    )
                )
    if rows:
        printing.table(
            ("first", "records", "time", "size", "clock", "signature"),
            rows,
            numbers=("first", "records", "size"),
        )
    return Exit.VERIFICATION_FAILED if bad else Exit.DONE


def verify(options: Options) -> Exit:
    """Check every stored signature and the whole tree."""
    from edgegw.spoolcheck import check

    with _open(options) as (settings, seen, spool):
        status = seen.status["log"]
        with _progress(options, status["receipted"], status["size"]) as progress:
            report = check(
                spool.batches(),
                spool.heads(),
                _ring(settings),
                receipted=status["receipted"],
                progress=progress,
            )
    if options.json:
        printing.document(_report(report))
    else:
        _print_report(report)
    return report.exit_code


command(app, "stats")(stats)
command(app, "inspect")(inspect)
command(app, "verify")(verify)


@contextmanager
def _open(options: Options) -> "Iterator[tuple[Config, Seen, Spool]]":
    from edgegw import config
    from edgegw.spool import look as look_into

    settings = config.load(options.config or config.DEFAULT_FILE)
    with look_into(settings) as seen:
        if seen.spool is None:
            raise GatewayError(
                "EG-STORE-MISSING", f"there is no store in {settings.store.path}, and no daemon runs"
            )
        yield settings, seen, seen.spool


def _ring(settings: "Config") -> Any:
    from edgegw import keys
    from edgegw.wire import cose
    from edgegw.wire.verify import KeyRing

    public = keys.load_private(settings.identity.signing_key, os.environ).public_key()
    return KeyRing({settings.gateway.id: [cose.verify_key(public)]})


def _decoded(message: bytes, settings: "Config") -> "tuple[Batch | None, str]":
    """The batch, or the reason why it is refused."""
    from edgegw.wire.batch import Batch
    from edgegw.wire.log import Refused
    from edgegw.wire.verify import open_gateway_message

    try:
        found = open_gateway_message(message, _ring(settings))
    except Refused as fault:
        return None, fault.reason
    return (found, "") if isinstance(found, Batch) else (None, "no batch")


def _as_dict(stored: Any, batch: "Batch | None", reason: str) -> dict[str, Any]:
    found: dict[str, Any] = {"first": stored.first, "count": stored.count, "bytes": len(stored.message)}
    if batch is None:
        return {**found, "refused": reason}
    return {
        **found,
        "issued": batch.issued,
        "clock": list(batch.clock),
        "simulated": batch.simulated,
        "root": batch.root.hex(),
        "records": [
            {
                "index": index,
                "name": record.name,
                "unit": record.unit,
                "value": record.value.hex() if isinstance(record.value, bytes) else record.value,
                "t": record.t,
                "q": record.q,
                "qc": list(record.checks),
                **(dict(record.extra) if record.extra else {}),
            }
            for index, record in enumerate(batch.records, batch.first)
        ],
    }


def _shown(record: "Record") -> str:
    """Name without what all records share, value and unit."""
    value = record.value
    if isinstance(value, bytes):
        shown = value.hex()
    elif isinstance(value, float):
        shown = printing.number(value)
    else:
        shown = str(value)
    return f"{record.name.partition(':ops:')[2]}  {shown} {record.unit or ''}".rstrip()


def _stamp(t: float) -> str:
    import datetime as dt

    return dt.datetime.fromtimestamp(t, dt.UTC).strftime("%Y-%m-%d %H:%M:%SZ")


@contextmanager
def _progress(options: Options, begin: int, end: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on a terminal; it appears on stderr and leaves nothing behind."""
    if options.quiet or options.json or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("records", total=max(1, end - begin))
        yield lambda at: bar.update(task, completed=max(0, at - begin))


def _report(report: "Report") -> dict[str, Any]:
    return {
        "batches": report.batches,
        "first": report.first,
        "end": report.end,
        "signed": report.signed,
        "proven": report.proven,
        "heads": report.heads,
        "refused": report.refused,
        "findings": [finding._asdict() for finding in report.findings],
        "gaps": [list(gap) for gap in report.gaps],
        "named_losses": [list(hole) for hole in report.named],
    }


def _print_report(report: "Report") -> None:
    printing.pairs(
        {
            "stored": f"records {count(report.first)} to {count(report.end)} in {printing.of(report.batches, 'batch', 'batches')}, "
            f"{printing.of(report.heads, 'head', 'heads')}",
            "signed": f"{count(report.signed)} records",
            "proven": f"{count(report.proven)} records stand in the signed tree",
            "refused": count(report.refused),
            "gaps": ", ".join(f"{begin}-{end - 1}" for begin, end in report.gaps) or "none",
            "lost": ", ".join(f"{begin}-{end - 1}" for begin, end in report.named) or "none",
        }
    )
    for finding in report.findings:
        printing.text(f"at {finding.first}: {finding.reason}")

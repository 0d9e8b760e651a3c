"""`edgegw verify`: judge saved messages offline."""

# ruff: noqa: PLC0415 -- a command imports what it needs when it runs: --help starts at once

from pathlib import Path
from typing import Annotated, Any

import typer

from edgegw.cli import printing
from edgegw.cli.options import Options, command
from edgegw.cli.printing import count
from edgegw.problems import Exit

# Verdicts on a message that somebody has to look at.
BAD = ("refused", "fork", "unverified")


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "verify")(verify)


def verify(
    options: Options,
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="Messages and proofs, or lines of TOPIC HEX; - is stdin.",
            show_default=False,
        ),
    ],
    keys: Annotated[
        Path, typer.Option("--keys", metavar="DIR", help="Public keys: DIR/GATEWAY.pem.", show_default=False)
    ],
) -> Exit:
    """Judge saved messages offline, with public keys only.

    With --json a line for each message and log, the last one is the summary.
    """
    from edgegw.offline import verify_files

    code = Exit.VERIFICATION_INCOMPLETE
    for event in verify_files(files, keys):
        if event["type"] == "summary":
            code = Exit(event["exit_code"])
        if options.json:
            printing.line(event)
        elif options.verbose or event["type"] != "message" or event["verdict"] in BAD:
            printing.text({"log": _log, "summary": _summary}.get(event["type"], _message)(event))
    return code


def _message(event: dict[str, Any]) -> str:
    place = (
        f"{event['source']}:{event['line']}"
        if "line" in event
        else f"{event['source']} at {event.get('offset', 0)}"
    )
    reason = f" ({event['reason']})" if event.get("reason") else ""
    said = [event["kind"], event.get("gateway", ""), event.get("epoch", "")]
    if "end" in event:
        said.append(f"{event['first']}-{event['end'] - 1}")
    return f"{place}: {event['verdict']}{reason} {' '.join(filter(None, said))}".rstrip()


def _log(event: dict[str, Any]) -> str:
    parts = [f"{event['verdict']}: {count(event['proven_records'])} of {count(event['size'])} records proven"]
    if event["missing_records"]:
        parts.append(f"{count(event['missing_records'])} missing: {_ranges(event['gaps'])}")
    if event["lost"]:
        parts.append(f"{count(event['lost_readings'])} lost, and the log says so")
    if event["forks"]:
        parts.append(f"{printing.of(event['forks'], 'contradiction', 'contradictions')}, forked or altered")
    if not event["announced"]:
        parts.append("a new log that no batch announced (epoch_unannounced)")
    if event["simulated"]:
        parts.append("simulated")
    return f"{event['gateway']} {event['epoch']}: {'; '.join(parts)}"


def _ranges(gaps: list[list[int]]) -> str:
    shown = ", ".join(f"{begin}-{end - 1}" for begin, end in gaps[:5])
    return f"{shown}, …" if len(gaps) > 5 else shown


def _summary(event: dict[str, Any]) -> str:
    return f"{printing.of(event['messages'], 'message', 'messages')}: {event['verdict'].replace('_', ' ')}"

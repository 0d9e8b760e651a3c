"""The command `edgegw`. Errors become text or JSON on stderr and an exit code here, and nowhere else."""

import os
import re
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from edgegw import __version__
from edgegw.cli import (
    check,
    drivers,
    identity,
    receive,
    run,
    sensors,
    simulate,
    spool,
    status,
    uplink,
    verify,
)
from edgegw.cli.options import ConfigFile, Json, Options, Quiet, Verbose
from edgegw.problems import Exit, GatewayError

app = typer.Typer(
    name="edgegw",
    help="Gateway for city sensors: reads them, signs every reading, keeps it and forwards it.",
    epilog="Without a command: what the gateway is doing, and what to do next.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"edgegw {__version__}")  # noqa: T201 -- the command's data
        raise typer.Exit


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    *,
    config: ConfigFile = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Take the common options; without a command show six lines."""
    del version
    context.obj = Options(config, json, quiet, verbose)
    if context.invoked_subcommand is None:
        raise typer.Exit(int(status.overview(context.obj)))


for command in (run, check, status):
    command.add_to(app)
for part in (sensors, drivers, spool, identity, uplink):
    app.add_typer(part.app)
for command in (simulate, verify, receive):
    command.add_to(app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code of INTERFACE §2."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    own = given[: given.index("--")] if "--" in given else given
    try:
        code = app(given, prog_name="edgegw", standalone_mode=False)
        sys.stdout.flush()
        return int(code or 0)
    except GatewayError as error:
        return _tell(error, own)
    except typer.TyperException as error:
        return _tell(_usage(error), own)
    except (KeyboardInterrupt, typer.Abort):
        return _tell(GatewayError("EG-INTERRUPTED"), own)
    except BrokenPipeError:
        # Whoever read our output has seen enough; Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.DONE
    except Exception as error:  # noqa: BLE001 -- the last stop: a defect is told like any other error
        return _tell(GatewayError("EG-INTERNAL", f"{type(error).__name__}: {error}"), own)


def _usage(error: typer.TyperException) -> GatewayError:
    """What was wrong with the command line, and whose help to ask."""
    # typer's own errors all have these two; its public base class does not declare them.
    said = str(getattr(error, "format_message", error.__str__)())
    command = getattr(getattr(error, "ctx", None), "command_path", "edgegw")
    return GatewayError("EG-USAGE", said[:1].lower() + said[1:].rstrip("."), todo=(f"{command} --help",))


def _tell(error: GatewayError, own: Sequence[str]) -> int:
    """Print an error where it belongs; its exit code."""
    if sum(word.count("v") for word in own if re.fullmatch(r"-v+", word)) + own.count("--verbose") >= 2:
        traceback.print_exc()
    print(error.json() if "--json" in own else error.text(), file=sys.stderr)  # noqa: T201 -- the command's voice
    return int(error.exit_code)


if __name__ == "__main__":
    sys.exit(main())

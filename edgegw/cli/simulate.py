"""`edgegw simulate`: virtual sensors on real wires, around the real daemon."""

# ruff: noqa: PLC0415 -- a command imports what it needs when it runs: --help starts at once

from pathlib import Path
from typing import Annotated, Final

import typer

from edgegw.cli.options import Options, command
from edgegw.problems import Exit, GatewayError

# How every configuration of a simulation begins.
MARK: Final = b"# Written by the simulation"


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "simulate")(simulate)


def simulate(
    options: Options,
    directory: Annotated[
        Path,
        typer.Option(
            "--dir", metavar="DIR", help="Takes configuration, keys, sockets, store.", show_default=False
        ),
    ],
    scenario: Annotated[
        str, typer.Option("--scenario", help="city-night, blast, crowd, or a TOML file.")
    ] = "city-night",
    fault: Annotated[
        list[str] | None,
        typer.Option(
            "--fault", metavar="WORDS", help="A fault on top, as silent:air-1@10s+5s.", show_default=False
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed, the same street.")] = 1,
    sensor: Annotated[
        list[str] | None,
        typer.Option(
            "--sensor",
            metavar="MODEL",
            help="A virtual sensor of this model; repeat it.",
            show_default="a street of four",
        ),
    ] = None,
    duration: Annotated[
        str | None,
        typer.Option("--duration", metavar="TIME", help='Stop after this, as "10m".', show_default=False),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Stop when each sensor has been read.")] = False,
    numbered: Annotated[
        bool, typer.Option("--numbered", help="Number the values and write ledgers.")
    ] = False,
    broker: Annotated[
        bool | None,
        typer.Option(
            "--broker/--no-broker", help="With a broker and a receiver, or without.", show_default="if found"
        ),
    ] = None,
) -> Exit:
    """Run virtual sensors, the gateway and a receiver.

    Everything stands in one directory; readings are marked as simulated.
    """
    from edgegw.config.units import seconds
    from edgegw.simulate.run import Options as Wanted
    from edgegw.simulate.run import simulate as run

    del options
    try:
        length = seconds(duration) if duration is not None else None
    except ValueError as fault_in:
        raise typer.BadParameter(f"--duration {duration} {fault_in}") from None
    _make_room(directory)
    wanted = Wanted(
        directory, scenario, tuple(fault or ()), seed, length, once, numbered, broker, tuple(sensor or ())
    )
    return Exit(run(wanted))


def _make_room(directory: Path) -> None:
    """Make the directory; refuse one with a configuration or keys that no simulation wrote: it would replace them."""
    configuration = directory / "edgegw.toml"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if configuration.exists():
            with configuration.open("rb") as stream:
                foreign = [] if stream.read(len(MARK)) == MARK else [configuration]
        else:
            foreign = [directory / name for name in ("sign.key", "tls.key") if (directory / name).exists()]
    except PermissionError as fault:
        raise GatewayError("EG-PERMISSION", f"{fault.filename} may not be used") from None
    except OSError as fault:
        raise GatewayError(
            "EG-FILE",
            f"{directory} cannot take a simulation: {fault.strerror}",
            todo=("name another directory: edgegw simulate --dir DIR",),
            exit_code=Exit.USAGE,
        ) from None
    if foreign:
        raise GatewayError(
            "EG-REFUSED",
            f"{directory} belongs to a gateway: {foreign[0].name} was not written by a simulation",
            why="The simulation writes a configuration and throwaway keys in its place.",
            todo=("name another directory: edgegw simulate --dir DIR",),
            safe="nothing was changed",
        )

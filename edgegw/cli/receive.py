"""`edgegw receive`: the upstream side."""

# ruff: noqa: PLC0415 -- a command imports what it needs when it runs: --help starts at once

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgegw.cli.options import Options, command
from edgegw.problems import Exit, GatewayError

if TYPE_CHECKING:
    from edgegw.receive.run import ReceiveOptions


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "receive")(receive)


def _option(name: str, metavar: str, text: str) -> Any:
    return typer.Option(name, metavar=metavar, help=text, show_default=False)


def receive(
    options: Options,
    server: Annotated[str | None, _option("--server", "URL", "The broker: mqtts://HOST:PORT.")] = None,
    ca: Annotated[str | None, _option("--ca", "FILE", "CA of the broker.")] = None,
    cert: Annotated[str | None, _option("--cert", "FILE", "Client certificate.")] = None,
    key: Annotated[str | None, _option("--key", "FILE", "Its key.")] = None,
    keys: Annotated[
        str | None, _option("--keys", "DIR", "GATEWAY.pem for each gateway that may speak.")
    ] = None,
    signing_key: Annotated[str | None, _option("--signing-key", "FILE", "Signs the receipts.")] = None,
    store: Annotated[str | None, _option("--store", "URL", "sqlite:///PATH")] = None,
    prefix: Annotated[
        str | None, _option("--prefix", "TOPIC", "First levels of the topics (edgegw/1).")
    ] = None,
    accept_simulated: Annotated[
        bool, typer.Option("--accept-simulated", help="Take simulated readings too.")
    ] = False,
) -> Exit:
    """Verify, store and receipt what gateways send, until Ctrl-C.

    Every option may stand under [receive] in the file of --config instead.
    """
    from edgegw.receive.run import receive as run

    given = {
        "server": server,
        "ca": ca,
        "cert": cert,
        "key": key,
        "keys": keys,
        "signing_key": signing_key,
        "store": store,
        "prefix": prefix,
        "accept_simulated": accept_simulated or None,
    }
    said = {name: value for name, value in given.items() if value is not None}
    return Exit(asyncio.run(run(_settings(options, said))))


_NEEDED = ("server", "ca", "cert", "key", "keys", "signing_key", "store")


def _settings(options: Options, said: dict[str, Any]) -> "ReceiveOptions":
    """What the command line says over what the file says; without --config a full command line needs no file."""
    from edgegw import config, tls
    from edgegw.receive.run import ReceiveOptions

    pen = 32473
    file: dict[str, Any] = {}
    if options.config or not all(name in said for name in _NEEDED):
        if options.config is None and said:
            missing = ", ".join(f"--{name.replace('_', '-')}" for name in _NEEDED if name not in said)
            raise GatewayError("EG-USAGE", f"missing: {missing}", todo=("edgegw receive --help",))
        loaded = config.load(options.config or config.DEFAULT_FILE, role="receiver")
        pen = loaded.gateway.pen
        file = {name: getattr(loaded.receive, name) for name in (*_NEEDED, "prefix", "accept_simulated")}
    table = config.receive_options(said)
    merged = {**file, **table}
    merged["server"] = tls.Server(*merged["server"])
    return ReceiveOptions(**merged, json=options.json, pen=pen)

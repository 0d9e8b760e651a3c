"""`edgegw identity …`: keys and certificate."""

# ruff: noqa: PLC0415 -- a command imports what it needs when it runs: --help starts at once

import datetime as dt
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgegw.cli import printing
from edgegw.cli.options import Options, command, group
from edgegw.problems import Exit, GatewayError

if TYPE_CHECKING:
    from edgegw.identity import Identity

app = group("identity", "Keys and certificate of this gateway.")


def _identity(options: Options) -> "Identity":
    from edgegw import config
    from edgegw.identity import Identity

    return Identity.of(config.load(options.config or config.DEFAULT_FILE), os.environ)


def init(
    options: Options,
    force: Annotated[
        bool,
        typer.Option("--force", help="Make new keys although there are some; the old ones are set aside."),
    ] = False,
    ed25519: Annotated[
        bool, typer.Option("--ed25519", help="Sign readings with Ed25519 instead of P-256.")
    ] = False,
) -> Exit:
    """Make the keys of this gateway; they never leave it."""
    from edgegw import identity

    who = _identity(options)
    made = identity.init(who, force=force, ed25519_signing=ed25519)
    if options.json:
        printing.document({"gateway": who.gateway, "made": [str(path) for path in made]})
        return Exit.DONE
    for path in made:
        printing.text(str(path))
    printing.say(
        options, "next: edgegw identity csr > gateway.csr, have it signed, edgegw identity install FILE"
    )
    return Exit.DONE


def csr(options: Options) -> Exit:
    """Print the certificate request.

    Its name is the gateway's id, its key the TLS key.
    """
    from edgegw import identity

    request = identity.csr(_identity(options)).decode()
    if options.json:
        printing.document({"csr": request})
    else:
        printing.text(request.rstrip("\n"))
    return Exit.DONE


def install(
    options: Options,
    certificate: Annotated[Path, typer.Argument(help="The signed certificate with its chain: PEM, or DER.")],
    ca: Annotated[
        Path | None, typer.Option("--ca", help="The CA of client certificates, where it is not the broker's.")
    ] = None,
) -> Exit:
    """Check a certificate and put it in the place of the old one."""
    from edgegw import identity, keys

    who = _identity(options)
    if not certificate.exists():
        raise GatewayError(
            "EG-FILE",
            f"{certificate} cannot be read: there is no such file",
            exit_code=Exit.USAGE,
            safe="nothing was changed",
        )
    now = dt.datetime.now(dt.UTC)
    installed = identity.install(who, keys.read_public(certificate), now, ca)
    end, left = identity.ends(installed), identity.days_left(installed, now)
    if options.json:
        printing.document({"installed": str(who.tls_cert), "not_after": end.isoformat(), "days_left": left})
    else:
        printing.say(options, f"installed: {who.tls_cert} holds until {end:%Y-%m-%d}, {left} days")
    return Exit.DONE


def show(
    options: Options,
    public_key: Annotated[
        bool, typer.Option("--public-key", help="Print the public signing key, for a receiver's --keys.")
    ] = False,
) -> Exit:
    """Print ids, fingerprints and days left."""
    from edgegw import identity

    who = _identity(options)
    if public_key:
        pem = identity.public_pem(who)
        if options.json:
            printing.document({"gateway": who.gateway, "public_key": pem})
        else:
            printing.text(pem.rstrip("\n"))
        return Exit.DONE
    found = identity.show(who, dt.datetime.now(dt.UTC))
    if options.json:
        printing.document(found)
    else:
        printing.text(f"gateway  {found['gateway']}")
        for part in ("signing", "tls", "ca"):
            for name, value in found[part].items():
                printing.text(f"{part:<8} {name:<12} {value}")
    for problem in found["problems"]:
        printing.say(options, f"{problem['severity']}: {problem['text']} [{problem['code']}]")
        for step in problem["todo"]:
            printing.say(options, f"  do:   {step}")
    wrong = any(problem["severity"] == "error" for problem in found["problems"])
    return Exit.IDENTITY if wrong else Exit.DONE


command(app, "init")(init)
command(app, "csr")(csr)
command(app, "install")(install)
command(app, "show")(show)

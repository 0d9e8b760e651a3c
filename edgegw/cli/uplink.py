"""`edgegw uplink …`: the way to the broker."""

# ruff: noqa: PLC0415 -- a command imports what it needs when it runs: --help starts at once

import asyncio
import os

from edgegw.cli import printing
from edgegw.cli.options import Options, command, group
from edgegw.problems import Exit, GatewayError

app = group("uplink", "The way to the broker.")


def test(options: Options) -> Exit:
    """Try the uplink step by step, and name what is wrong."""
    from edgegw import config, uplinktest
    from edgegw.spool import look

    settings = config.load(options.config or config.DEFAULT_FILE)
    with look(settings) as seen:
        heads = list(seen.spool.heads()) if seen.spool else []
    found = asyncio.run(uplinktest.test(settings, os.environ, heads[-1].message if heads else None))
    if options.json:
        printing.document(
            [
                {"server": server, "steps": [step._asdict() for step in outcome.steps]}
                for server, outcome in found
            ]
        )
    else:
        for server, outcome in found:
            printing.text(server)
            for step in outcome.steps:
                mark = {True: "ok", False: "FAILED", None: "-"}[step.ok]
                printing.text(f"  {step.name:<18} {mark:<6} {step.text}")
    failures = [outcome.failure for _, outcome in found]
    failure = next((each for each in failures if each is not None), None)
    if failure is None or None in failures:  # one broker of several is enough for a link
        return Exit.DONE if failure is None else Exit.PROBLEMS
    raise GatewayError(
        failure.code,
        failure.what,
        todo=failure.todo or None,
        safe="nothing is lost: readings are stored until then",
    )


command(app, "test")(test)

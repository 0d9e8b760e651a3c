"""The daemon: `python -m edgegw.daemon --config FILE`. Signals and systemd outside, `Gateway` inside.

It imports no library of the command line.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edgegw import __version__, config, logs, memory
from edgegw.clock import SystemClock
from edgegw.gateway import Gateway
from edgegw.notify import Notifier
from edgegw.problems import GatewayError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgegw.config import Config


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; the exit code of INTERFACE §2."""
    parser = argparse.ArgumentParser(prog="python -m edgegw.daemon", description="the edgegw daemon")
    parser.add_argument("-c", "--config", type=Path, default=config.DEFAULT_FILE, help="configuration file")
    parser.add_argument("--version", action="version", version=f"edgegw {__version__}")
    path: Path = parser.parse_args(arguments).config
    memory.share_one_heap()
    try:
        settings = config.load(path)
        asyncio.run(_serve(settings, path))
    except GatewayError as error:
        print(error.text(), file=sys.stderr)  # noqa: T201 -- the last words; the log may not be set up yet
        return int(error.exit_code)
    return 0


async def _serve(settings: Config, path: Path) -> None:
    notifier = Notifier()
    under_systemd = "INVOCATION_ID" in os.environ and not sys.stderr.isatty()
    logger = logs.configure(settings.log.level, settings.log.format, under_systemd=under_systemd)
    gateway = Gateway(settings, notifier, logger, SystemClock())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, gateway.stop)
    reloads: set[asyncio.Task[None]] = set()

    def reload() -> None:
        task = loop.create_task(gateway.reload(lambda: config.load(path)))
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGHUP, reload)
    memory.settle()
    await gateway.run()


if __name__ == "__main__":
    sys.exit(main())

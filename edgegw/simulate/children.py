"""Processes that a simulation starts: each with its own log file, each ended for certain."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Final

from edgegw.problems import GatewayError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

# Time for a clean stop: the daemon commits, says goodbye and closes. A serial line can take seconds to close, and a
# disk that is busy with others half a minute to write; systemd's own default is as long.
STOP_S: Final = 90.0
# Time to come up, on a Raspberry Pi Zero 2 W that has other work.
READY_S: Final = 60.0
# How often something that has no event of its own is asked for.
POLL_S: Final = 0.02
# What of a log is shown when a process failed.
TAIL_BYTES: Final = 2_000


class Child:
    """One program that can be started, killed and started again; its output is appended to `log`.

    It runs in a session of its own, so that a Ctrl-C on the terminal reaches only its parent, who stops it in
    the right order.
    """

    def __init__(
        self, name: str, command: Sequence[str], log: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.command = tuple(command)
        self.log = log
        self._env = env
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._process.pid if self.running and self._process else None

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def start(self, ready: Callable[[], bool] | None = None) -> None:
        """Start it and return once `ready` says so.

        Raises GatewayError with the end of its log when it ends before, or is not ready in time.
        """
        if self.running:
            return
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            try:
                self._process = subprocess.Popen(
                    self.command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **(self._env or {})},
                    start_new_session=True,
                )
            except OSError as error:
                raise GatewayError(
                    "EG-FILE", f"{self.command[0]} cannot be started", why=str(error)
                ) from error
        deadline = time.monotonic() + READY_S
        while ready is not None and not ready():
            code = self._ended_within(POLL_S)
            if code is not None:
                raise self._failed(f"the {self.name} ended with {code} while starting")
            if time.monotonic() > deadline:
                self.kill()
                raise self._failed(f"the {self.name} was not ready within {READY_S:.0f} s")

    def kill(self) -> None:
        """SIGKILL: what it had in memory is gone."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM, then SIGKILL when it does not listen; returns its exit code (negative: the signal)."""
        if not self._end(signal.SIGTERM):
            self._end(signal.SIGKILL)
        return self._process.returncode if self._process else 0

    def _end(self, how: signal.Signals) -> bool:
        if self._process is None or self._process.poll() is not None:
            return True
        self._process.send_signal(how)
        return self._ended_within(STOP_S) is not None

    def _ended_within(self, seconds: float) -> int | None:
        if self._process is None:
            return 0
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def _failed(self, what: str) -> GatewayError:
        return GatewayError(
            "EG-TIMEOUT", what, why=tail(self.log) or "It said nothing.", todo=(f"less {self.log}",)
        )


def tail(log: Path) -> str:
    """The end of a log file; nothing when there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
            return file.read().decode(errors="replace").strip()
    except OSError:
        return ""

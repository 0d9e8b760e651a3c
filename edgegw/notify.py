"""What the daemon tells systemd: ready, reloading, stopping, alive. Without systemd all of it does nothing.

Outside facts: sd_notify(3) for the protocol (lines of `NAME=value` in one datagram to `$NOTIFY_SOCKET`, `@`
for an abstract address), sd_watchdog_enabled(3) for `WATCHDOG_USEC` and `WATCHDOG_PID`.
"""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_STATUS_LIMIT: Final = 512  # characters; `systemctl status` shows one line, and the manager reads 4096 bytes
_SEND_TIMEOUT: Final = 1.0  # seconds; the manager answers in milliseconds, and the loop must not hang on it


class Notifier:
    """Sends notifications to the service manager. No method raises; each says whether it was sent."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        """Take the address and the watchdog from `environment`, as systemd sets it for the main process."""
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self.watchdog_s = _watchdog(environment)
        """Seconds without `alive` after which systemd kills the daemon, or None: nobody watches."""

    def ready(self, status: str = "") -> bool:
        """Start-up, or the reload that `reloading` began, is finished."""
        return self._send("READY=1", *_status(status))

    def status(self, text: str) -> bool:
        """The line that `systemctl status` shows."""
        return self._send(*_status(text))

    def alive(self) -> bool:
        """Feed the watchdog."""
        return self._send("WATCHDOG=1")

    def reloading(self, status: str = "") -> bool:
        """A reload begins; `ready` ends it, whether the new configuration was taken or not."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        return self._send("RELOADING=1", f"MONOTONIC_USEC={now}", *_status(status))

    def stopping(self, status: str = "") -> bool:
        """The daemon stops by itself or on request."""
        return self._send("STOPPING=1", *_status(status))

    def extend(self, seconds: float) -> bool:
        """Starting or stopping goes on for up to `seconds` from now, and that is no hang."""
        return self._send(f"EXTEND_TIMEOUT_USEC={max(1, round(seconds * 1e6))}")

    def _send(self, *lines: str) -> bool:
        if self._address is None:
            return False
        datagram = "\n".join(lines).encode("utf-8", "replace")
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
                manager.settimeout(_SEND_TIMEOUT)
                manager.connect(self._address)
                return manager.send(datagram) == len(datagram)
        except OSError:  # the manager is away or slow; the daemon measures on, the next message tells it
            return False


def _address(text: str) -> str | None:
    """The socket's address as Python takes it; None for no address and for kinds that we do not speak."""
    if "\0" in text or len(os.fsencode(text)) > 107:  # sun_path holds 108 bytes, unix(7)
        return None
    if text.startswith("@"):
        return "\0" + text[1:]
    return text if text.startswith("/") else None


def _watchdog(environment: Mapping[str, str]) -> float | None:
    pid, usec = environment.get("WATCHDOG_PID", ""), environment.get("WATCHDOG_USEC", "")
    if pid and pid != str(os.getpid()):  # meant for another process
        return None
    if not (usec.isascii() and usec.isdecimal() and len(usec) <= 20):  # 64 bits have 20 digits
        return None
    return int(usec) / 1e6 or None  # 0: off


def _status(text: str) -> list[str]:
    """The status line: one line whatever the text holds, so that no sensor's name can say `STOPPING=1`."""
    printable = "".join(char if char.isprintable() else " " for char in text[:_STATUS_LIMIT])
    return [f"STATUS={printable}"] if text else []


class Watchdog:
    """Decides whether the daemon deserves to be called alive. Pure.

    Alive means that both did something since the last time: the event loop, which moves readings, and the
    store, which makes them durable. A loop that only feeds a watchdog while the store hangs would keep a
    gateway "running" that loses every reading. Asked each `period_s`, it lets the daemon be killed when one
    of the two stood still for the whole of systemd's interval. That is 60 s in the unit: a tired SD card
    pauses for seconds while it tidies itself up, and a minute is what the buffers in memory can hold.
    """

    def __init__(self, interval_s: float) -> None:
        """Watch for systemd's `interval_s` (`Notifier.watchdog_s`)."""
        self.period_s = interval_s / 4
        """How often to ask, in seconds: three answers may be lost or negative before systemd acts."""
        self._loop = self._store = float("-inf")

    def deserved(self, *, loop: float, store: float) -> bool:
        """Whether to feed the watchdog now.

        Args:
            loop: monotonic time at which the event loop last finished a turn of its own work.
            store: monotonic time at which the store's thread last finished a job (an empty one counts, so
                an idle store is asked for one).
        """
        if loop <= self._loop or store <= self._store:
            return False
        self._loop, self._store = loop, store
        return True

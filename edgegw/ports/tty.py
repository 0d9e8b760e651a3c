"""A serial device as its own thread sees it: open, read, write, wake, close, with one kind of error.

pyserial opens and configures the device and writes to it. Reading waits here, with `poll` and a wake-up, for
three reasons: pyserial's read waits for a number of bytes and not for what is there, its `select` fails above
file descriptor 1023, and `in_waiting` raises yet another exception when the adapter is pulled out.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import termios
import threading
from typing import TYPE_CHECKING, Final

import serial

from edgegw.ports.errors import PortError

if TYPE_CHECKING:
    from edgegw.driver import SerialLine

# What pyserial and the kernel raise (seen on ptys and FTDI adapters): SerialException is an OSError,
# termios.error is not; TypeError is a descriptor that is closed already, ValueError a refused setting.
FAULTS: Final = (OSError, termios.error, TypeError, ValueError)
# One read: sixteen times what the kernel keeps for a tty (4095 bytes), so one read takes all that is there.
READ_BYTES: Final = 65536
# Longest write: requests of sensors are below 300 bytes; 4096 fit the kernel's buffer without waiting.
WRITE_BYTES: Final = 4096
# 4096 bytes take 4.3 s at 9600 baud; a request of 64 bytes takes 0.3 s even at 2400.
WRITE_S: Final = 5.0
# Insurance only: `wake` ends a read at once, so an idle port wakes once a minute.
READ_S: Final = 60.0

_OPENING: Final = {
    errno.ENOENT: "missing",
    errno.ENXIO: "missing",
    errno.ENODEV: "missing",
    errno.EIO: "missing",  # a pty, or a USB port, whose other side is gone
    errno.EACCES: "permission",
    errno.EPERM: "permission",
    errno.EBUSY: "busy",
    errno.EAGAIN: "busy",
    errno.ENOTTY: "not_serial",
    errno.EISDIR: "not_serial",
    errno.EINVAL: "settings",
}
_TEXTS: Final = {
    "missing": (
        "{path} is not there.",
        "Plug the adapter in; `ls /dev/serial/by-id` shows the names that stay the same.",
    ),
    "permission": (
        "{path} may not be opened ({error}).",
        "Add the service's user to the group of the device (usually dialout), then restart the service.",
    ),
    "busy": (
        "{path} is in use by another program.",
        "Stop the other program; `fuser {path}` names it. Two sensors cannot share one serial stream.",
    ),
    "not_serial": (
        "{path} is not a serial device.",
        "Name the device itself, such as /dev/serial/by-id/...",
    ),
    "settings": (
        "{path} refuses the line settings ({error}).",
        "Check baud rate and parity against what the adapter can do.",
    ),
    "unplugged": (
        "{path} went away ({error}).",
        "Check plug, cable and power of the adapter; it is opened again by itself.",
    ),
    "write_timeout": (
        "{path} does not take the bytes to be sent.",
        "Check the adapter and its flow control; unplug it and plug it in again.",
    ),
    "closed": ("{path} is closed.", "Nothing to do: it is opened again when the sensor is started."),
}


def port_error(path: str, error: BaseException, *, opening: bool) -> PortError:
    """What went wrong with the device at `path`, from whatever the layers below raised."""
    number = _number(error)
    if isinstance(error, serial.SerialTimeoutException):
        reason = "write_timeout"
    elif not opening:
        reason = "unplugged"
    elif number is None:
        reason = "settings" if isinstance(error, ValueError) else "not_serial"
    else:
        reason = _OPENING.get(number, "missing")
    return described(path, reason, os.strerror(number) if number is not None else str(error))


def described(path: str, reason: str, error: str = "") -> PortError:
    """A PortError with the texts of `reason`, which is one of this module's."""
    why, todo = _TEXTS[reason]
    return PortError(reason, why.format(path=path, error=error), todo.format(path=path))


def _number(error: BaseException | None) -> int | None:
    """The errno in an error or in what caused it: pyserial often wraps it in a text."""
    while error is not None:
        number = getattr(error, "errno", None)
        if number is None and isinstance(error, termios.error) and error.args:
            number = error.args[0]
        if isinstance(number, int):
            return number
        error = error.__context__
    return None


class Tty:
    """An open serial device; everything but `wake` belongs to the one thread that opened it.

    Raises:
        PortError: From every method, when the device cannot be used.
    """

    def __init__(self, path: str, line: SerialLine) -> None:
        """Open and configure `path` for this process alone; bytes that came before are dropped."""
        self.path = path
        self._awake = threading.Lock()
        try:
            self._serial = serial.Serial(
                path,
                baudrate=line.baudrate,
                bytesize=line.bytesize,
                parity=line.parity,
                stopbits=line.stopbits,
                timeout=READ_S,
                write_timeout=WRITE_S,
                exclusive=True,
            )
        except FAULTS as error:
            raise port_error(path, error, opening=True) from error
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._open = True
        self._ready = select.poll()
        self._ready.register(self._serial.fileno(), select.POLLIN)
        self._ready.register(self._wake, select.POLLIN)
        self._nap = select.poll()
        self._nap.register(self._wake, select.POLLIN)

    def read(self, timeout_s: float = READ_S) -> bytes:
        """What has arrived, waiting up to `timeout_s` for the first byte; empty on a timeout or `wake`."""
        try:
            ready = self._ready.poll(max(0.0, timeout_s) * 1000)
            if not ready or self._woken(ready):
                return b""
            data = os.read(self._serial.fileno(), READ_BYTES)
        except BlockingIOError:
            return b""  # a spurious wake-up of the tty layer
        except FAULTS as error:
            raise port_error(self.path, error, opening=False) from error
        if not data:
            raise described(self.path, "unplugged", "ready to read, but nothing there")
        return data

    def rest(self, seconds: float) -> None:
        """Let bytes gather for a while; returns early on `wake`."""
        self._woken(self._nap.poll(seconds * 1000))

    def write(self, data: bytes) -> None:
        """Send up to WRITE_BYTES bytes."""
        try:
            self._serial.write(data)
        except FAULTS as error:
            raise port_error(self.path, error, opening=False) from error

    def wake(self) -> None:
        """End the `read` or `rest` that waits, or the next one; from any thread, at any time."""
        with self._awake:
            if self._open:
                os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """Give the device back; it can block while the kernel waits for an adapter."""
        with self._awake:
            self._open = False
            os.close(self._wake)
        # A device that is gone refuses all of this: nothing is left to be dropped or given back then.
        with contextlib.suppress(*FAULTS):
            # Unsent bytes would make the close wait (30 s on a USB adapter with flow control).
            self._serial.reset_output_buffer()
        with contextlib.suppress(*FAULTS):
            self._serial.close()
        # The kernel frees the descriptor even when close fails; pyserial's destructor would close its number
        # again, which may be another file by then.
        self._serial.is_open = False

    def _woken(self, ready: list[tuple[int, int]]) -> bool:
        if not any(descriptor == self._wake for descriptor, _ in ready):
            return False
        os.eventfd_read(self._wake)
        return True

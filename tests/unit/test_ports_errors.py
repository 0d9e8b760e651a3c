"""Whatever pyserial and the kernel raise becomes one word to count and two sentences for a technician."""

from __future__ import annotations

import errno
import os
import termios

import pytest
import serial

from edgegw.ports.tty import FAULTS, port_error

PATH = "/dev/serial/by-id/usb-1a86_USB2.0-Serial-if00-port0"


def wrapped(cause: Exception) -> serial.SerialException:
    """As pyserial does it: the cause stands in the text and in the context only."""
    try:
        try:
            raise cause
        except type(cause) as error:
            raise serial.SerialException(f"Could not configure port: {error}")  # noqa: B904 - pyserial does so
    except serial.SerialException as error:
        return error


OPENING = [
    (serial.SerialException(errno.ENOENT, "could not open port"), "missing"),
    (serial.SerialException(errno.ENXIO, "could not open port"), "missing"),
    (serial.SerialException(errno.EACCES, "could not open port"), "permission"),
    (serial.SerialException(errno.EPERM, "could not open port"), "permission"),
    (serial.SerialException(errno.EAGAIN, "Could not exclusively lock port"), "busy"),
    (serial.SerialException(errno.EBUSY, "could not open port"), "busy"),
    (wrapped(termios.error(errno.ENOTTY, "Inappropriate ioctl for device")), "not_serial"),
    (termios.error(errno.EINVAL, "Invalid argument"), "settings"),
    (ValueError("Not a valid parity: 'X'"), "settings"),
]
WORKING = [
    (OSError(errno.EIO, os.strerror(errno.EIO)), "unplugged"),
    (serial.SerialException("device reports readiness to read but returned no data"), "unplugged"),
    (termios.error(errno.EIO, "Input/output error"), "unplugged"),
    (TypeError("'NoneType' object cannot be interpreted as an integer"), "unplugged"),
    (serial.PortNotOpenError(), "unplugged"),
    (serial.SerialTimeoutException("Write timeout"), "write_timeout"),
]


@pytest.mark.parametrize(("error", "reason"), OPENING)
def test_an_error_on_opening_says_what_is_wrong_with_the_device(error: Exception, reason: str) -> None:
    assert isinstance(error, FAULTS)
    told = port_error(PATH, error, opening=True)
    assert told.reason == reason
    assert PATH in told.why
    assert told.todo.endswith(".")


@pytest.mark.parametrize(("error", "reason"), WORKING)
def test_an_error_at_work_says_that_the_device_went_away(error: Exception, reason: str) -> None:
    assert isinstance(error, FAULTS)
    told = port_error(PATH, error, opening=False)
    assert told.reason == reason
    assert PATH in str(told)

"""What can be wrong with a sound card, in words for whoever stands before it."""

from __future__ import annotations

import errno
import os
from typing import Final

from edgegw.ports.errors import PortError

_OPENING: Final = {
    errno.ENOENT: "missing",
    errno.ENXIO: "missing",
    errno.ENODEV: "missing",
    errno.EACCES: "permission",
    errno.EPERM: "permission",
    errno.EBUSY: "busy",
    errno.EAGAIN: "busy",
    errno.EINVAL: "settings",
}
_TEXTS: Final = {
    "no_library": (
        "The ALSA library is not installed ({error}).",
        "apt install alsa-utils, which brings it; the sensor starts by itself then.",
    ),
    "missing": (
        "There is no sound card {device} ({error}).",
        "Plug it in; `arecord -L` lists the names. Names with CARD= stay when other cards come.",
    ),
    "permission": (
        "{device} may not be opened ({error}).",
        "`systemctl edit edgegw`: [Service] DeviceAllow=char-alsa rw, SupplementaryGroups=audio; then restart it.",
    ),
    "busy": (
        "{device} is in use by another program.",
        "Stop the other program; `fuser -v /dev/snd/*` names it. A microphone is for one sensor.",
    ),
    "settings": (
        "{device} does not give {rate} samples a second of 32 bits on one channel ({error}).",
        "Name it plughw:… instead of hw:…, so that channels and bits are converted.",
    ),
    "rate": (
        "{device} has no {rate} samples a second; resampled sound is not measured.",
        "Use a card that has this rate: `arecord --dump-hw-params -D {device}` shows what it has.",
    ),
    "wrong_rate": (
        "{device} says {rate} samples a second and gives {error}: its levels would be of other frequencies.",
        "Use another card or another USB port; a hub can be too slow.",
    ),
    "stalled": (
        "{device} is open and has given no sound for {error} s.",
        "Unplug it and plug it in again; it is opened again by itself.",
    ),
    "unplugged": (
        "{device} went away ({error}).",
        "Check plug, cable and power of the card; it is opened again by itself.",
    ),
}


def described(device: str, rate: int, reason: str, error: str = "") -> PortError:
    """A PortError with the texts of `reason`, which is one of this module's."""
    why, todo = _TEXTS[reason]
    return PortError(
        reason, why.format(device=device, rate=rate, error=error), todo.format(device=device, rate=rate)
    )


def refused(device: str, rate: int, code: int) -> PortError:
    """Why a card did not open; `code` is the library's, a negative errno."""
    return described(device, rate, _OPENING.get(-code, "missing"), os.strerror(-code))


def gone(device: str, rate: int, code: int) -> PortError:
    """Why an open card gives no more."""
    return described(device, rate, "unplugged", os.strerror(-code))

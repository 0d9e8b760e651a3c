"""Sentences for what can be wrong between here and the radio."""

from __future__ import annotations

from typing import Final

from edgegw.ports.errors import PortError

_BLUETOOTHD: Final = "systemctl status bluetooth"

# Reason: why, what to do. `{adapter}` is the adapter's name, `{error}` what was said.
_TEXTS: Final = {
    "no_dbus": (
        "The system's D-Bus cannot be reached ({error}).",
        "systemctl status dbus; the unit needs RestrictAddressFamilies=AF_UNIX.",
    ),
    "no_bluez": (
        "bluetoothd does not run ({error}).",
        f"{_BLUETOOTHD}; install it with: apt install bluez. The gateway goes on by itself.",
    ),
    "permission": (
        "BlueZ may not be used by this service ({error}).",
        "Put systemd/dbus-1/system.d/org.edgegw.conf into /etc/dbus-1/system.d, then: systemctl reload dbus. Without it BlueZ's own bluetooth.conf decides.",
    ),
    "missing": (
        "There is no Bluetooth adapter{adapter}.",
        "bluetoothctl list shows the adapters; plug it in again, or set adapter under [bluetooth].",
    ),
    "rfkill": (
        "The radio of {adapter} is blocked ({error}).",
        "rfkill list; rfkill unblock bluetooth, or its switch.",
    ),
    "off": (
        "The Bluetooth adapter {adapter} is switched off and does not switch on ({error}).",
        "bluetoothctl power on; dmesg | grep -i bluetooth",
    ),
    "busy": (
        "BlueZ does not let {adapter} scan: another program scans or connects ({error}).",
        "Stop the other program; if there is none: systemctl restart bluetooth.",
    ),
    "passive": (
        "BlueZ does not scan passively ({error}).",
        'Start bluetoothd with --experimental, or set scanning = "auto" under [bluetooth].',
    ),
    "timeout": (
        "bluetoothd does not answer.",
        f"{_BLUETOOTHD}; systemctl restart bluetooth. The gateway goes on by itself.",
    ),
    "silent": (
        "{adapter} hears nobody, and neither scanning again nor switching it off and on has helped.",
        "Is any Bluetooth device near, and is the antenna connected? dmesg | grep -i bluetooth",
    ),
    "flood": (
        "{adapter} heard {error} different devices within a minute: somebody floods the radio with made-up addresses.",
        "Look for a sender near the cabinet. The gateway listens again by itself after 40 s.",
    ),
    "failed": (
        "BlueZ cannot scan with {adapter} ({error}).",
        f"{_BLUETOOTHD}; dmesg | grep -i bluetooth",
    ),
}

# What a power cycle may help against: the radio is there, and stuck.
STUCK: Final = frozenset({"busy", "timeout", "failed", "silent"})

_NAMES: Final = {
    "org.freedesktop.DBus.Error.ServiceUnknown": "no_bluez",
    "org.freedesktop.DBus.Error.NameHasNoOwner": "no_bluez",
    "org.freedesktop.DBus.Error.NoReply": "timeout",
    "org.freedesktop.DBus.Error.Timeout": "timeout",
    "org.freedesktop.DBus.Error.TimedOut": "timeout",
    "org.freedesktop.DBus.Error.AccessDenied": "permission",
    "org.freedesktop.DBus.Error.AuthFailed": "permission",
    "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired": "permission",
    "org.freedesktop.DBus.Error.UnknownObject": "missing",
    "org.bluez.Error.NotAuthorized": "permission",
    "org.bluez.Error.NotPermitted": "permission",
    "org.bluez.Error.InProgress": "busy",
    "org.bluez.Error.NotReady": "off",
    "org.bluez.Error.Blocked": "rfkill",
}
# Where nothing is there to activate, systemd or the bus itself says so.
_STARTING: Final = "org.freedesktop.DBus.Error.Spawn."
_NO_UNIT: Final = "org.freedesktop.systemd1."


def failure(reason: str, adapter: str = "", error: str = "") -> PortError:
    """The PortError with the texts of `reason`."""
    why, todo = _TEXTS[reason]
    # Before BlueZ has answered nobody knows the adapter's name, unless it is configured.
    name = adapter or "the adapter"
    if reason == "missing":
        name = f" {adapter}" if adapter else ""
    names = {"adapter": name, "error": error or "nothing more is known"}
    return PortError(reason, " ".join(why.format(**names).split()), todo.format(**names))


def named(name: str, text: str, adapter: str) -> PortError:
    """The PortError for a D-Bus error `name` that came with `text`."""
    reason = _NAMES.get(name, "")
    if not reason:
        reason = "no_bluez" if name.startswith((_STARTING, _NO_UNIT)) else "failed"
    return failure(reason, adapter, text or name.rpartition(".")[2])


def explained(error: BaseException, adapter: str) -> PortError:
    """The PortError for what bleak, dbus-fast or the system raised."""
    if isinstance(error, PortError):
        return error
    if isinstance(error, TimeoutError):
        return failure("timeout", adapter)
    name = getattr(error, "dbus_error", "")
    if name:
        return named(name, str(getattr(error, "dbus_error_details", "") or ""), adapter)
    kind = type(error).__name__
    if kind in {"AuthError", "AuthTimeoutError"} or getattr(
        getattr(error, "reason", None), "name", ""
    ).startswith("DENIED"):
        return failure("permission", adapter, str(error))
    if isinstance(error, OSError | EOFError) or kind == "InvalidAddressError":
        return failure("no_dbus", adapter, str(error) or kind)
    text = str(error)
    if "not found" in text:
        return failure("missing", adapter)
    if "passive scanning" in text:
        return failure("passive", adapter, "it wants --experimental, and a kernel from 5.10 on")
    return failure("failed", adapter, text or kind)

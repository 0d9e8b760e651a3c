"""Guesses for whatever somebody names: a serial port, a host, a URL, a broker, a Bluetooth address, a sound card."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from edgegw.clock import SystemClock
from edgegw.config.kinds import Address
from edgegw.ports.errors import PortError
from edgegw.probe import broker, modbus, network, radio, serial, sound
from edgegw.probe.candidates import ANYTHING, Wish
from edgegw.probe.guess import Guess, Sureness, best_first
from edgegw.probe.ports import stable_name
from edgegw.probe.progress import timed
from edgegw.problems import GatewayError
from edgegw.wires import RealWires

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgegw.probe.progress import Said

_CODES: Final = {"busy": "EG-PORT-BUSY", "permission": "EG-PORT-DENIED"}
_HOST: Final = re.compile(r"(?P<host>[^/\\s:\[\]]+|\[[0-9a-fA-F:]+\]):(?P<port>\d{1,5})")
_BLUETOOTH: Final = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}")
# Why nothing may have come, where it is no serial line with its wires.
_WHY: Final = {
    "host": "The device is off, has another address or port, or serves somebody else.",
    "url": "A device serves its document at one path; this answers something else, or nothing.",
    "broker": "The broker is off, has another address, or wants a login.",
    "bluetooth": "It needs the radio of this box, a device that is near, and a good battery in it.",
    "sound": "It needs numpy, the ALSA library, and a card that nobody else holds.",
}
# What to do where something was there and no driver knows it, or nothing came.
_TODO: Final = {
    "serial": "check power, and that RX and TX (or A and B) are not swapped",
    "host": "check address and port: Modbus TCP is 502 mostly, a meter's or serial server's is in its manual",
    "url": "open it in a browser: is it the page with the values?",
    "broker": "let the device publish meanwhile (walk past it), or name a topic: -o topic=site/#",
    "bluetooth": "go nearer, and press the device's button if it has one",
    "sound": "pip install 'edgegw[audio]'; arecord -L lists the cards, as plughw:CARD=Device",
}
# Names of the ALSA library begin like this; a bare word is a card of /etc/asound.conf.
_SOUND: Final = re.compile(r"(plughw|hw|sysdefault|dsnoop|default)(:.*)?|[A-Za-z][A-Za-z0-9_-]*")


class Target(NamedTuple):
    """What is probed, and the keys of the sensor's table that name it.

    `kind` is serial, host, url, broker, bluetooth or sound.
    """

    kind: str
    text: str
    keys: Mapping[str, Any]


def target(text: str) -> Target:
    """What somebody means, by its form; else the path of a serial port, under the name that stays."""
    if text.startswith(("http://", "https://")):
        return Target("url", text, {})
    if text.startswith(("mqtt://", "mqtts://")):
        return Target("broker", text, {})
    if _BLUETOOTH.fullmatch(text):
        return Target("bluetooth", text.upper(), {})
    if "/" not in text and Path("/dev", text).exists():
        text = f"/dev/{text}"  # `ttyUSB0`, as the kernel's messages have it
    if not Path(text).exists():
        if _HOST.fullmatch(text):
            return Target("host", text, {"host": text})
        if _SOUND.fullmatch(text) and not text.startswith("tty"):
            return Target("sound", text, {})
    return Target("serial", text, {"port": stable_name(text)})


def find(wanted: Target, said: Said, *, ask: bool, wish: Wish = ANYTHING, adapter: str = "") -> list[Guess]:
    """Guesses, best first; GatewayError when port, host or radio cannot be used.

    `said` is told what is being tried. Without `ask` not a byte is sent on a serial port. `wish` narrows what is
    tried; `adapter` is the Bluetooth radio, empty for the first one.
    """
    try:
        found = asyncio.run(_find(wanted, said, ask=ask, wish=wish, adapter=adapter))
    except PortError as error:
        code = _CODES.get(
            error.reason, "EG-PORT-MISSING" if wanted.kind == "serial" else "EG-SENSOR-NO-ANSWER"
        )
        raise GatewayError(
            code, error.why, why=_WHY.get(wanted.kind, ""), todo=(error.todo or _TODO[wanted.kind],)
        ) from error
    return best_first(guess for guess in found if wish.fits(guess.driver, guess.options))


def nothing(wanted: Target) -> GatewayError:
    """What to say where no driver recognises anything."""
    return GatewayError(
        "EG-SENSOR-NO-ANSWER",
        f"no driver recognises what is on {wanted.text}",
        why=_WHY.get(wanted.kind, ""),
        todo=(_TODO[wanted.kind], "edgegw drivers list: is there a driver for the device?"),
    )


async def _find(wanted: Target, said: Said, *, ask: bool, wish: Wish, adapter: str) -> list[Guess]:
    if wanted.kind == "url":
        return await network.look(wanted.text, said, wish)
    if wanted.kind == "broker":
        return await broker.listen(wanted.text, said, wish)
    if wanted.kind == "sound":
        return await sound.listen(wanted.text, SystemClock(), said, wish)
    if wanted.kind == "bluetooth":
        async with timed(said, f"listening for {wanted.text}", radio.LISTEN_S):
            heard = await radio.listen(adapter=adapter)
        return [guess for each in heard if each.neighbour.address == wanted.text for guess in each.guesses]
    if wanted.kind == "host":
        return await _on_host(wanted.text, said, ask=ask, wish=wish)
    return await _on_line(Path(wanted.text), said, ask=ask, wish=wish)


async def _on_line(port: Path, said: Said, *, ask: bool, wish: Wish) -> list[Guess]:
    """First who talks, then who answers, then who answers to Modbus: what is sure ends the search."""
    wires, clock = RealWires(), SystemClock()
    found = await serial.listen(serial.Wire(port=port), wires, clock, _part(said, 1), wish)
    if ask and not _settled(found):
        found += await serial.ask(serial.Wire(port=port), clock, _part(said, 2), wish)
    # A device that answered in its own protocol is no Modbus device, even when it had no value to say.
    if ask and not found:
        found += await modbus.ask(str(port), _part(said, 3), wish)
    return found


async def _on_host(text: str, said: Said, *, ask: bool, wish: Wish) -> list[Guess]:
    """Modbus TCP, which most hosts with a port are; then a meter or a serial server with a raw TCP port."""
    words = _HOST.fullmatch(text)
    assert words is not None
    host, port = words["host"].strip("[]"), int(words["port"])
    found = await modbus.ask((host, port), _part(said, 1), wish) if ask else []
    wire = serial.Wire(host=Address(host, port))
    if not found:
        found += await serial.listen(wire, RealWires(), SystemClock(), _part(said, 2), wish)
    if ask and not _settled(found):
        found += await serial.ask(wire, SystemClock(), _part(said, 3), wish)
    return found


def _settled(found: list[Guess]) -> bool:
    return any(guess.sureness is Sureness.SURE for guess in found)


def _part(said: Said, number: int, parts: int = 3) -> Said:
    """Says which part of the search it is."""

    def tell(text: str, share: float = 0.0, detail: str = "") -> None:
        said(f"{number} of {parts}: {text}", share, detail)

    return tell

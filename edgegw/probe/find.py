"""Guesses for whatever somebody names: a serial port, a Modbus host, a URL, a Bluetooth address."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from edgegw.clock import SystemClock
from edgegw.ports.errors import PortError
from edgegw.probe import modbus, network, radio, serial
from edgegw.probe.guess import Guess, Sureness, best_first
from edgegw.problems import GatewayError
from edgegw.wires import RealWires

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_CODES: Final = {"busy": "EG-PORT-BUSY", "permission": "EG-PORT-DENIED"}
_HOST: Final = re.compile(r"(?P<host>[^/\\s:\[\]]+|\[[0-9a-fA-F:]+\]):(?P<port>\d{1,5})")
_BLUETOOTH: Final = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}")


class Target(NamedTuple):
    """What is probed: `kind` is serial, host, url or bluetooth; `keys` are those of the sensor's table that name it."""

    kind: str
    text: str
    keys: Mapping[str, Any]


def target(text: str) -> Target:
    """What somebody means: `http://…`, `HOST:PORT`, `AA:BB:CC:DD:EE:FF`, else the path of a serial port."""
    if text.startswith(("http://", "https://")):
        return Target("url", text, {})
    if _BLUETOOTH.fullmatch(text):
        return Target("bluetooth", text.upper(), {})
    if _HOST.fullmatch(text) and not Path(text).exists():
        return Target("host", text, {"host": text})
    return Target("serial", text, {"port": text})


def find(wanted: Target, said: Callable[[str], None], *, ask: bool, only: str = "") -> list[Guess]:
    """Guesses, best first; GatewayError when port, host or radio cannot be used.

    `said` is told what is being tried. Without `ask` not a byte is sent on a serial port. `only` names the one
    driver that is tried.
    """
    try:
        found = asyncio.run(_find(wanted, said, ask=ask, only=only))
        return best_first(guess for guess in found if only in {"", guess.driver})
    except PortError as error:
        code = _CODES.get(
            error.reason, "EG-PORT-MISSING" if wanted.kind == "serial" else "EG-SENSOR-NO-ANSWER"
        )
        raise GatewayError(code, error.why, todo=(error.todo,) if error.todo else None) from error


async def _find(wanted: Target, said: Callable[[str], None], *, ask: bool, only: str) -> list[Guess]:
    if wanted.kind == "url":
        return await network.look(wanted.text, said)
    if wanted.kind == "host":
        words = _HOST.fullmatch(wanted.text)
        assert words is not None
        return await modbus.ask((words["host"].strip("[]"), int(words["port"])), said, only=only)
    if wanted.kind == "bluetooth":
        said(f"listening for {wanted.text}")
        heard = await radio.listen()
        return [guess for each in heard if each.neighbour.address == wanted.text for guess in each.guesses]
    port, clock = Path(wanted.text), SystemClock()
    found = await serial.listen(port, RealWires(), clock, said, only)
    if ask and not any(guess.sureness is Sureness.SURE for guess in found):
        found += await serial.ask(port, clock, said, only)
    if ask and not any(guess.sureness is Sureness.SURE for guess in found):
        found += await modbus.ask(str(port), said, only=only)
    return found

"""Read one sensor now, beside or instead of the daemon: what a technician does before the cabinet is closed.

A sensor on a wire is read by this process, with the daemon's very code, while the daemon leaves the wire to it;
these readings are neither stored nor sent. A sensor without a wire (radio, local network) is not taken from a
running daemon: what the daemon hears is shown, its newest values where nothing comes meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

from edgegw import control
from edgegw.clock import SystemClock
from edgegw.once import read_once
from edgegw.problems import GatewayError
from edgegw.reading import QUANTITIES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edgegw.config import Config, Sensor

#: Longest wait for the first reading, in seconds: a device that warms up speaks within half a minute.
PATIENCE_S: Final = 30.0


# States in which the newest values say nothing about now.
_SILENT: Final = frozenset(("stale", "unplugged", "no_answer", "driver_failed", "paused"))


def read(settings: Config, name: str, patience_s: float = PATIENCE_S) -> dict[str, Any]:
    """What the sensor said: `id driver state errors why todo readings`, `paused` (ids), `stored`, `fresh`.

    `stored` says that the readings are the daemon's own, and `fresh` that they came while this was waiting. Raises GatewayError: EG-SENSOR-UNKNOWN, EG-PERMISSION,
    EG-TIMEOUT when the daemon does not answer.
    """
    sensor = settings.sensor.get(name)
    if sensor is None:
        known = ", ".join(settings.sensor) or "none"
        raise GatewayError("EG-SENSOR-UNKNOWN", f"there is no sensor {name!r}; there are {known}")
    if not sensor.enabled:
        raise GatewayError("EG-SENSOR-UNKNOWN", f"sensor {name!r} is switched off: enabled = false")
    socket = settings.control.socket
    with _lent(socket, name, sensor) as paused:
        if paused is None:
            return _overheard(socket, name, sensor, patience_s)
        (found,) = asyncio.run(
            read_once({name: sensor}, SystemClock(), patience_s, settings.bluetooth, settings.endpoint)
        )
        return {**found, "paused": paused, "stored": False, "fresh": bool(found["readings"])}


@contextlib.contextmanager
def _lent(socket: Path, name: str, sensor: Sensor) -> Iterator[list[str] | None]:
    """The sensors that the daemon pauses until the context ends; None: it runs, and there is no wire to lend."""
    with contextlib.ExitStack() as stack:
        try:
            if sensor.port is not None or sensor.host is not None:
                paused: list[str] | None = stack.enter_context(control.held(socket, "lend", sensor=name))[
                    "paused"
                ]
            else:
                control.request(socket, "status")
                paused = None
        except GatewayError as error:
            if error.code == "EG-SENSOR-UNKNOWN":
                raise GatewayError(
                    "EG-SENSOR-UNKNOWN",
                    f"the daemon does not know {name!r} yet",
                    why="Its configuration was changed after the daemon read it.",
                    todo=("systemctl reload edgegw", f"edgegw sensors test {name}"),
                ) from error
            if error.code != "EG-NOT-RUNNING":
                raise
            paused = []  # nobody holds the wire
        yield paused


def _overheard(socket: Path, name: str, sensor: Sensor, patience_s: float) -> dict[str, Any]:
    """What the daemon has of a sensor, once its next reading came."""
    heard = False
    try:
        with contextlib.closing(control.stream(socket, "tail", patience=patience_s, sensor=name)) as items:
            heard = next(items, None) is not None
    except GatewayError as error:
        if error.code != "EG-TIMEOUT":
            raise
    (view,) = (each for each in control.request(socket, "status")["sensors"] if each["id"] == name)
    readings = [
        {
            "quantity": quantity,
            "value": value,
            "unit": QUANTITIES[quantity].unit,
            "qc": view.get("checks", ()),
        }
        for quantity, value in view["last"].items()
    ]
    # A value that is not stale answers the question: many sensors speak once in minutes.
    known = heard or view["state"] not in _SILENT
    said = {"why": "", "todo": "", **view, "readings": readings if known else []}
    return {**said, "driver": sensor.driver, "paused": [], "stored": True, "fresh": heard}

"""What a model of virtual device is: how one is made, and the table with which the gateway reads it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from edgegw.simulate.devices import Device, Surroundings
    from edgegw.simulate.radar import CrowdRadar
    from edgegw.simulate.radio import Radio
    from edgegw.simulate.scenario import Street


@dataclass(frozen=True)
class VirtualSensor:
    """One sensor of the street: its id, its model (a name in the catalogue) and, for one that talks, its period."""

    id: str
    model: str
    period_s: float = 1.0


class Setting(NamedTuple):
    """Where one virtual device stands.

    `directory` is the simulation's, `link` the name of its pseudo-terminal. With `numbered` every value says which
    frame or answer it came from. `crowd` gives the people that radars watch and `radio` the air, the same for all.
    """

    sensor: VirtualSensor
    directory: Path
    link: Path
    street: Street
    around: Surroundings
    numbered: bool
    crowd: Callable[[], CrowdRadar]
    radio: Callable[[], Radio]

    def blank(self, number: int, t: float) -> bool:
        """Whether the device has no value to say for frame or answer `number` at second `t`."""
        return self.around.condition(number, t).blank


@dataclass(frozen=True)
class Model:
    """One kind of virtual device.

    `driver` reads it, with `keys` in its table besides the driver, the interval and its address under `wire`
    (`port`, `host`, `url`, `address`; empty where it needs none). `interval` is how often it is read, `numbered_interval` how often where values
    are numbered: each of them must then become a reading. `period_s` is the usual time between two frames of a device
    that talks.
    """

    driver: str
    make: Callable[[Setting], Device]
    wire: str = "port"
    interval: str = "5s"
    numbered_interval: str = "all"
    keys: Mapping[str, Any] = field(default_factory=dict)
    period_s: float = 1.0

    def table(self, address: str, *, numbered: bool) -> dict[str, Any]:
        """The keys of `[sensor.X]` for a device at `address`."""
        interval = self.numbered_interval if numbered else self.interval
        where = {self.wire: address} if self.wire else {}
        return {"driver": self.driver, "interval": interval, **where, **self.keys}

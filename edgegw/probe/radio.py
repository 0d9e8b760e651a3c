"""Bluetooth LE devices that advertise something that a driver reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from edgegw import registry
from edgegw.driver import Advert, AdvertDriver, FrameError
from edgegw.ports.ble.survey import Neighbour, survey
from edgegw.probe.guess import Guess, Sureness, best_first, sampled

if TYPE_CHECKING:
    from collections.abc import Sequence

#: How long is listened: most sensors advertise each one to ten seconds.
LISTEN_S: Final = 10.0


class Heard(NamedTuple):
    """A device in earshot, and what reads it, best first."""

    neighbour: Neighbour
    guesses: Sequence[Guess]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "address": self.neighbour.address,
            "name": self.neighbour.name,
            "rssi": self.neighbour.rssi,
            "guesses": [guess.as_dict() for guess in self.guesses],
        }


async def listen(seconds: float = LISTEN_S, adapter: str = "") -> list[Heard]:
    """Whom a driver could read, the nearest first; PortError when the radio cannot be used."""
    return [
        Heard(each, guesses)
        for each in await survey(seconds, adapter)
        if each.drivers and (guesses := recognised(each))
    ]


def recognised(neighbour: Neighbour) -> list[Guess]:
    """What reads a device's newest advertisement. Pure.

    An encrypted one is somebody's, whose key has to be given: likely, without values.
    """
    found: list[Guess] = []
    advert = Advert(
        neighbour.address, neighbour.random, neighbour.rssi, neighbour.companies, neighbour.services
    )
    for name in neighbour.drivers:
        options = {"address": neighbour.address}
        driver = registry.make(name, options)
        if not isinstance(driver, AdvertDriver):
            continue
        try:
            sample = sampled(driver.decoder().decode(advert, 0.0))
        except FrameError as error:
            if error.reason == "key_missing":
                about = "it is encrypted: the key is in its maker's app, and says the rest"
                secret = next(iter(registry.secrets(name)), "")
                found.append(Guess(name, options, Sureness.LIKELY, about, secret=secret))
            continue
        if sample:
            heard = f"{neighbour.count} advertisement{'s' if neighbour.count != 1 else ''}"
            about = (
                f"heard {heard}, {neighbour.rssi} dBm{f', named {neighbour.name}' if neighbour.name else ''}"
            )
            found.append(Guess(name, options, Sureness.SURE, about, sample=sample))
    return best_first(found)

"""Modbus devices on a line or behind a host, as guesses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgegw.driver import PollDriver
from edgegw.ports.modbus.search import Progress, Sure, discover
from edgegw.probe.candidates import ANYTHING, candidates
from edgegw.probe.guess import Guess, Sureness, sampled

if TYPE_CHECKING:
    from edgegw.ports.modbus.search import Found
    from edgegw.probe.candidates import Candidate, Wish
    from edgegw.probe.progress import Said

_SURENESS: Final = {
    Sure.CERTAIN: Sureness.SURE,
    Sure.LIKELY: Sureness.LIKELY,
    Sure.POSSIBLE: Sureness.POSSIBLE,
}


async def ask(where: str | tuple[str, int], said: Said, wish: Wish = ANYTHING) -> list[Guess]:
    """Every Modbus device on a serial port (its path) or behind a host; only reading, within two minutes. PortError.

    A device that several profiles fit makes a guess for each.
    """
    tried = {
        str(each.options.get("profile", each.name)): each
        for each in candidates(PollDriver, wish)
        if isinstance(each.driver, PollDriver)
    }
    if not tried:
        return []
    drivers = {name: each.driver for name, each in tried.items() if isinstance(each.driver, PollDriver)}

    def progress(now: Progress) -> None:
        line = f" at {now.line.baudrate} baud" if now.line else ""
        share = min(1.0, now.asked / now.most) if now.most else 0.0
        said(f"asking for Modbus devices{line}", share, f"unit {now.unit}")

    found: list[Guess] = []
    for device in await discover(where, drivers, units=wish.units, progress=progress):
        if (
            device.profile in tried
        ):  # else it answers, and no profile reads it: nothing that could be configured
            found += _guesses(device, tried)
    return found


def _guesses(device: Found, tried: dict[str, Candidate]) -> list[Guess]:
    """A device as the profile that fits best, then as the others that fit too."""
    best = tried[device.profile]
    # Who says who it is needs no other guess.
    others = () if device.identity or device.sure is Sure.CERTAIN else device.others
    about = device.identity or "it answers with values that can be"
    if others:
        about += f"; {len(others) + 1} profiles fit, and its label or the values tell which"
    sureness = _SURENESS[device.sure]
    found = [
        Guess(best.name, best.options, sureness, about, device.line, device.unit, sampled(device.readings))
    ]
    for name in others:
        each, also = tried[name], sampled(device.alternatives.get(name, ()))
        about = "it fits too, with these values"
        found.append(Guess(each.name, each.options, Sureness.POSSIBLE, about, device.line, device.unit, also))
    return found

"""Modbus devices on a line or behind a host, as guesses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgegw.driver import PollDriver
from edgegw.ports.modbus.search import Progress, Sure, discover
from edgegw.probe.candidates import candidates
from edgegw.probe.guess import Guess, Sureness, sampled

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_SURENESS: Final = {
    Sure.CERTAIN: Sureness.SURE,
    Sure.LIKELY: Sureness.LIKELY,
    Sure.POSSIBLE: Sureness.POSSIBLE,
}


async def ask(
    where: str | tuple[str, int],
    said: Callable[[str], None],
    *,
    only: str = "",
    units: Sequence[int] = (),
) -> list[Guess]:
    """Every Modbus device on a serial port (its path) or behind a host; only reading, within two minutes. PortError."""
    tried = {
        str(each.options.get("profile", each.name)): each
        for each in candidates(PollDriver, only)
        if isinstance(each.driver, PollDriver)
    }
    if not tried:
        return []
    drivers = {name: each.driver for name, each in tried.items() if isinstance(each.driver, PollDriver)}

    def progress(now: Progress) -> None:
        line = f" at {now.line.baudrate} baud" if now.line else ""
        said(f"asking Modbus unit {now.unit}{line}")

    found = []
    for device in await discover(where, drivers, units=units, progress=progress):
        if device.profile not in tried:
            continue  # it answers, and no profile reads it: nothing that could be configured
        others = f"; {', '.join(device.others)} would fit too" if device.others else ""
        about = f"{device.identity or 'it answers with values that can be'}{others}"
        each = tried[device.profile]
        found.append(
            Guess(
                each.name,
                each.options,
                _SURENESS[device.sure],
                about,
                device.line,
                device.unit,
                sampled(device.readings),
            )
        )
    return found

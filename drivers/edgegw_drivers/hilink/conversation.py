"""What a radar was told when it was set up, and whether it did it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgegw.driver import Notice, Request
from edgegw_drivers.hilink.commands import FIRMWARE, MAC, Reply, encode, firmware

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Pause in seconds between two commands: a reply comes within a tenth of it.
COMMAND_GAP_S: Final = 0.2
# Pause after a restart: the radar talks again after about a second.
RESTART_S: Final = 3.0
# What was not acknowledged after so many seconds will not be.
PATIENCE_S: Final = 5.0
# The address that a radar names while its Bluetooth is off (esphome components/ld2450, NO_MAC).
_NO_MAC: Final = bytes((8, 5, 4, 3, 2, 1))


def conversation(commands: Mapping[str, bytes], names: Sequence[str]) -> list[Request]:
    """Requests for these commands of a table, with the pauses that they need.

    All of them change the radar: even to answer a question it has to stop reporting.
    """
    requests = []
    pause = 0.0
    for name in names:
        requests.append(Request(encode(commands, name), name, after_s=pause, changes=True))
        pause = RESTART_S if name == "restart" else COMMAND_GAP_S
    return requests


class Conversation:
    """What one opened radar was told and has not acknowledged yet."""

    def __init__(self) -> None:
        self._open: dict[int, tuple[str, float]] = {}

    def sent(self, request: Request, now: float) -> None:
        """Remember what went out at monotonic second `now`."""
        self._open[request.data[6]] = (request.name, now)

    def heard(self, reply: Reply) -> Sequence[Notice]:
        """What a reply says that a person wants to know."""
        name, _ = self._open.pop(reply.command, (f"{reply.command:#04x}", 0.0))
        if not reply.done:
            return (
                Notice(
                    "settings",
                    f"The radar refused the command {name!r}: its firmware may not know it. "
                    "Set it with the maker's tool.",
                ),
            )
        if reply.command == FIRMWARE and (version := firmware(reply.payload)):
            return (Notice("firmware", f"The radar's firmware is {version}."),)
        if reply.command == MAC and reply.payload[:6] != _NO_MAC:
            return (
                Notice(
                    "bluetooth",
                    "The radar's Bluetooth was on, so that anybody nearby could change it. It is told to switch it off.",
                ),
            )
        return ()

    def overdue(self, now: float) -> Sequence[Notice]:
        """A notice of what was not acknowledged in time, once."""
        missing = [name for name, at in self._open.values() if now > at + PATIENCE_S]
        if not missing:
            return ()
        self._open = {
            command: (name, at) for command, (name, at) in self._open.items() if name not in missing
        }
        return (
            Notice(
                "settings",
                f"The radar did not acknowledge {', '.join(map(repr, missing))}: it may still be as it was. "
                "Is its receive line connected?",
            ),
        )


#: What makes up switching Bluetooth off: it holds from the restart on, and says first how it was.
BLUETOOTH_OFF: Final = (
    "enable configuration",
    "read firmware",
    "read MAC address",
    "Bluetooth off",
    "restart",
)

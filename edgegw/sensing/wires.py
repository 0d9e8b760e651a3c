"""What the kinds of sensors need of ports and buses; the daemon's are real, tests make their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgegw.driver import Block, FrameError, SerialLine


class Bus(Protocol):
    """A Modbus line or host that several sensors share."""

    async def poll(
        self, unit: int, blocks: Sequence[Block], *, timeout_s: float, min_gap_s: float
    ) -> Sequence[Sequence[int] | FrameError]:
        """Read the blocks of one unit."""
        ...

    async def close(self) -> None:
        """Close it."""
        ...


class Port(Protocol):
    """A device that sends bytes, not yet opened."""

    async def run(self) -> None:
        """Open it and read until the device goes."""
        ...

    async def write(self, data: bytes) -> None:
        """Send bytes."""
        ...


class Wires(Protocol):
    """Makes ports and buses; PortError is what they raise."""

    def serial(
        self,
        path: str,
        line: SerialLine,
        on_data: Callable[[bytes, float], None],
        on_open: Callable[[], None],
    ) -> Port:
        """A serial device."""
        ...

    def socket(
        self, host: str, port: int, on_data: Callable[[bytes, float], None], on_open: Callable[[], None]
    ) -> Port:
        """A device behind a raw TCP socket."""
        ...

    def rtu(self, path: str, line: SerialLine) -> Bus:
        """A Modbus RTU line."""
        ...

    def tcp(self, host: str, port: int) -> Bus:
        """A Modbus TCP host."""
        ...

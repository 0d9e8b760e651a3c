"""What the kinds of sensors need of ports and buses; the daemon's are real, tests make their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from edgegw.driver import Block, FrameError, Pull, SerialLine, Subscription, Write
    from edgegw.ports.ble import Ear
    from edgegw.ports.mqtt_local import Arrived


class Bus(Protocol):
    """A Modbus line or host that several sensors share."""

    @property
    def line(self) -> SerialLine | None:
        """The settings with which somebody on this serial line answered; None until then, and on a network."""
        ...

    async def poll(
        self,
        unit: int,
        blocks: Sequence[Block],
        *,
        timeout_s: float,
        min_gap_s: float,
        lines: Sequence[SerialLine] = (),
    ) -> Sequence[Sequence[int] | FrameError]:
        """Read the blocks of one unit, whose serial line may have one of these settings."""
        ...

    async def write(
        self, unit: int, write: Write, *, timeout_s: float, min_gap_s: float
    ) -> FrameError | None:
        """Set something in one unit; why it did not."""
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


class Radio(Protocol):
    """The Bluetooth radio that all sensors share."""

    async def listen(self, ear: Ear) -> None:
        """Let `ear` hear advertisements until it is cancelled; what fails is told to it, and heals."""
        ...

    def facts(self) -> Mapping[str, Any]:
        """What `status` says of it."""
        ...


class Microphone(Protocol):
    """A sound card, not yet opened."""

    async def run(self) -> None:
        """Open it and hand over what it hears until it goes."""
        ...


class Documents(Protocol):
    """The ways of documents from the local network; each raises PortError when its way is closed."""

    async def fetch(self, pull: Pull) -> bytes:
        """The document as it is now."""
        ...

    async def receive(self, name: str, token: str, take: Callable[[bytes, float], str]) -> None:
        """Hand what is posted for the sensor `name`, and when it came, to `take`, until cancelled.

        `take` returns an empty text when the document was taken, else why not.
        """
        ...

    async def listen(
        self, source: Subscription, take: Callable[[Arrived], None], lost: Callable[[int], None]
    ) -> None:
        """Hand what is published to `take` until cancelled; `lost` is told how many messages were dropped."""
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

    def radio(self) -> Radio:
        """The Bluetooth radio, always the same one."""
        ...

    def documents(self) -> Documents:
        """The ways of documents, always the same ones."""
        ...

    def microphone(
        self,
        device: str,
        rate: int,
        on_samples: Callable[[bytes, int, float], None],
        on_open: Callable[[Sequence[str]], None],
    ) -> Microphone:
        """A microphone: samples and how many were lost before them; switches that are on and should not be."""
        ...

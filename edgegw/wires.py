"""The real ports and buses of this machine, as `sensing` asks for them.

Each library is imported with the first sensor that needs it: pymodbus alone takes 80 ms and 3 MiB.
"""

# ruff: noqa: PLC0415 -- for the reason above

from __future__ import annotations

from typing import TYPE_CHECKING

from edgegw.ports.documents import LocalNetwork

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgegw.config import Bluetooth, Endpoint
    from edgegw.driver import SerialLine
    from edgegw.ports.audio import Microphone
    from edgegw.ports.ble import Scanner
    from edgegw.ports.modbus import RtuBus, TcpBus
    from edgegw.ports.serial import SerialPort
    from edgegw.ports.socket import SocketPort


class RealWires:
    """Ports and buses of this machine.

    `bluetooth` says which radio, by default the first; `endpoint` where devices post their documents, by default
    nowhere.
    """

    def __init__(self, bluetooth: Bluetooth | None = None, endpoint: Endpoint | None = None) -> None:
        self._bluetooth = bluetooth
        self._radio: Scanner | None = None
        self._network = LocalNetwork(endpoint.listen if endpoint is not None else None)

    def serial(
        self,
        path: str,
        line: SerialLine,
        on_data: Callable[[bytes, float], None],
        on_open: Callable[[], None],
    ) -> SerialPort:
        """See `sensing.wires.Wires`."""
        from edgegw.ports.serial import SerialPort

        return SerialPort(path, line, on_data=on_data, on_open=on_open)

    def socket(
        self, host: str, port: int, on_data: Callable[[bytes, float], None], on_open: Callable[[], None]
    ) -> SocketPort:
        """See `sensing.wires.Wires`."""
        from edgegw.ports.socket import SocketPort

        return SocketPort(host, port, on_data=on_data, on_open=on_open)

    def rtu(self, path: str, line: SerialLine) -> RtuBus:
        """See `sensing.wires.Wires`."""
        from edgegw.ports.modbus import RtuBus

        return RtuBus(path, line)

    def tcp(self, host: str, port: int) -> TcpBus:
        """See `sensing.wires.Wires`."""
        from edgegw.ports.modbus import TcpBus

        return TcpBus(host, port)

    def radio(self) -> Scanner:
        """See `sensing.wires.Wires`."""
        from edgegw.ports.ble import Scanner

        if self._radio is None:
            about = self._bluetooth
            self._radio = Scanner(about.adapter, about.scanning) if about is not None else Scanner()
        return self._radio

    def documents(self) -> LocalNetwork:
        """See `sensing.wires.Wires`."""
        return self._network

    def microphone(
        self,
        device: str,
        rate: int,
        on_samples: Callable[[bytes, int, float], None],
        on_open: Callable[[Sequence[str]], None],
    ) -> Microphone:
        """See `sensing.wires.Wires`."""
        from edgegw.ports.audio import Microphone

        return Microphone(device, rate, on_samples=on_samples, on_open=on_open)

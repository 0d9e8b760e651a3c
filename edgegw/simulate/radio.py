"""A virtual radio: a private D-Bus with a BlueZ on it, which the real gateway takes for the system's.

A process finds it through the environment variable DBUS_SYSTEM_BUS_ADDRESS, which is `Radio.address`.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from edgegw.problems import GatewayError
from edgegw.simulate.bluez import Bluez
from edgegw.simulate.children import Child

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The environment variable that names the system's bus.
VARIABLE: Final = "DBUS_SYSTEM_BUS_ADDRESS"
_CONFIGURATION: Final = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>{address}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow own="*"/>
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    {rule}
  </policy>
</busconfig>
"""


class Radio:
    """A street's radio: `start`, `advertise` for each device, `stop`; also an async context manager.

    `bluez` is the BlueZ on it, with its faults. With `denied` the bus keeps everybody from BlueZ, as a policy does.
    `restart_bus` is a restart of D-Bus: every connection is cut.
    """

    def __init__(self, bluez: Bluez | None = None, *, denied: bool = False) -> None:
        self.bluez = bluez or Bluez()
        self._denied = denied
        self._directory = Path()
        self._bus: Child | None = None

    @property
    def address(self) -> str:
        """The bus, for DBUS_SYSTEM_BUS_ADDRESS; valid once started."""
        return f"unix:path={self._directory / 'bus'}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start the bus, and BlueZ on it; GatewayError when there is no dbus-daemon."""
        program = shutil.which("dbus-daemon")
        if program is None:
            raise GatewayError(
                "EG-FILE", "there is no dbus-daemon", why="", todo=("sudo apt-get install dbus-daemon",)
            )
        # Not in the simulation's directory: the path of a Unix socket has 108 bytes at most.
        self._directory = Path(tempfile.mkdtemp(prefix="edgegw-radio-"))
        rule = '<deny send_destination="org.bluez"/>' if self._denied else ""
        configuration = self._directory / "bus.conf"
        configuration.write_text(_CONFIGURATION.format(address=self.address, rule=rule))
        self._bus = Child(
            "bus",
            [program, "--nofork", "--nopidfile", f"--config-file={configuration}"],
            self._directory / "log",
        )
        try:
            await self.start_bus()
            await self.bluez.start(self.address)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop both; may be called again."""
        await self.bluez.stop()
        await self.stop_bus()
        if self._directory != Path():
            shutil.rmtree(self._directory, ignore_errors=True)

    async def start_bus(self) -> None:
        """Start D-Bus alone."""
        if self._bus is not None:
            await asyncio.to_thread(self._bus.start, self._answers)

    def _answers(self) -> bool:
        """Whether the bus takes connections, which is a moment after its socket is there."""
        with socket.socket(socket.AF_UNIX) as link, contextlib.suppress(OSError):
            link.connect(str(self._directory / "bus"))
            return True
        return False

    async def stop_bus(self) -> None:
        """Stop D-Bus: every connection to it is cut."""
        if self._bus is not None:
            await asyncio.to_thread(self._bus.kill)
            with contextlib.suppress(OSError):
                (self._directory / "bus").unlink()

    def advertise(
        self,
        address: str,
        random: bool,
        rssi: int,
        companies: Mapping[int, bytes],
        services: Mapping[int, bytes],
        *,
        name: str = "",
        flags: int | None = 0x06,
    ) -> bool:
        """One advertisement on the air; returns whether somebody was told.

        `address` is AA:BB:CC:DD:EE:FF, `random` says that it is no public one, `rssi` is in dBm; `companies` is
        manufacturer data by company id, `services` service data by 16-bit UUID.
        """
        return self.bluez.advertise(
            address,
            random=random,
            rssi=rssi,
            companies=companies,
            services=services,
            name=name,
            flags=flags,
        )

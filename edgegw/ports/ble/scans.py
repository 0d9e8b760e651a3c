"""One scan of bleak: begun, and ended whatever has happened to the radio meanwhile."""

# ruff: noqa: PLC0415 -- bleak and dbus-fast take 0.1 s of a fast machine and 6 MiB: only with the first scan

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from edgegw.ports.ble.failures import explained
from edgegw.ports.ble.patterns import patterns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from bleak import BleakScanner

    from edgegw.ports.ble.patterns import Wants

#: bleak's callback: a BLEDevice and its AdvertisementData.
OnAir: TypeAlias = "Callable[[Any, Any], None]"
Mode: TypeAlias = Literal["passive", "active"]

# Longest wait for bleak to start or stop scanning: it waits for bluetoothd without a limit of its own.
SCAN_S: Final = 15.0


@contextlib.asynccontextmanager
async def scan(adapter: str, wants: Wants, mode: Mode, on_air: OnAir) -> AsyncIterator[None]:
    """Scan with an adapter for as long as the context lasts; PortError when it does not begin.

    A passive scan tells at least what `wants` says, an active one everything.
    """
    running: list[BleakScanner] = []
    try:
        try:
            for each in _passive(adapter, wants, on_air) if mode == "passive" else [_active(adapter, on_air)]:
                running.append(each)
                async with asyncio.timeout(SCAN_S):
                    await each.start()
        except Exception as error:
            raise explained(error, adapter) from error
        yield
    finally:
        for each in running:
            # The radio, bluetoothd or the bus may be gone: then there is nothing left to stop.
            with contextlib.suppress(Exception):
                async with asyncio.timeout(SCAN_S):
                    await each.stop()


def _passive(adapter: str, wants: Wants, on_air: OnAir) -> list[BleakScanner]:
    """A scanner for each monitor; the first one tells what any of them lets through."""
    from bleak import BleakScanner
    from bleak.args.bluez import OrPattern
    from bleak.assigned_numbers import AdvertisementDataType

    return [
        BleakScanner(
            _unheard if number else on_air,
            scanning_mode="passive",
            bluez={
                "adapter": adapter,
                "or_patterns": [OrPattern(at, AdvertisementDataType(kind), data) for at, kind, data in group],
            },
        )
        for number, group in enumerate(patterns(wants))
    ]


def _active(adapter: str, on_air: OnAir) -> BleakScanner:
    """A scanner that is told of every advertisement, repeated or not (BlueZ `DuplicateData`)."""
    from bleak import BleakScanner

    return BleakScanner(on_air, bluez={"adapter": adapter, "filters": {"DuplicateData": True}})


def _unheard(device: Any, data: Any) -> None:
    del device, data

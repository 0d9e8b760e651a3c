"""BlueZ's adapter, asked and switched over D-Bus: what bleak does not do."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from dbus_fast import BusType, Message, MessageType, Variant
from dbus_fast.aio import MessageBus

from edgegw.ports.ble.failures import explained, failure, named

if TYPE_CHECKING:
    from types import TracebackType

# Longest wait for one answer. bluetoothd needs seconds for an adapter that it powers; one that is hung needs none.
ANSWER_S: Final = 15.0
_SERVICE: Final = "org.bluez"
_ADAPTER: Final = "org.bluez.Adapter1"
_ROOT: Final = "/org/bluez/"
_RFKILL: Final = Path("/sys/class/rfkill")


class Adapter(NamedTuple):
    """An adapter: its name (`hci0`), and the bus name of the bluetoothd that serves it, new after each restart."""

    name: str
    owner: str


class Bluez:
    """A connection to BlueZ on the system's D-Bus; an async context manager. PortError is what it raises."""

    def __init__(self, wanted: str, rfkill: Path = _RFKILL) -> None:
        """`wanted` is the adapter's name; empty takes the first one that BlueZ has."""
        self._wanted = wanted
        self._rfkill = rfkill
        self._bus: MessageBus | None = None

    async def __aenter__(self) -> Self:
        bus: MessageBus | None = None
        try:
            bus = MessageBus(bus_type=BusType.SYSTEM)
            async with asyncio.timeout(ANSWER_S):
                await bus.connect()
        except Exception as error:
            if bus is not None:
                bus.disconnect()
            raise explained(error, self._wanted) from error
        self._bus = bus
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bus is not None:
            self._bus.disconnect()

    async def adapter(self) -> Adapter:
        """The wanted adapter; PortError `missing`, `no_bluez`, `permission` ..."""
        # First of all, because this starts bluetoothd where D-Bus may start it.
        objects = (
            await self._call(_SERVICE, "/", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
        )[0]
        found = sorted(
            (path.removeprefix(_ROOT) for path, interfaces in objects.items() if _ADAPTER in interfaces),
            key=lambda name: (len(name), name),
        )
        if not found or (self._wanted and self._wanted not in found):
            raise failure("missing", self._wanted)
        return Adapter(self._wanted or found[0], await self._owner())

    async def same(self, adapter: Adapter) -> bool:
        """Whether it is still the same bluetoothd that serves the adapter; PortError when there is none."""
        return await self._owner() == adapter.owner

    async def powered(self, adapter: Adapter) -> bool:
        """Whether the adapter is on; PortError when it is gone."""
        return await self._powered(adapter.name)

    async def power_on(self, adapter: Adapter) -> bool:
        """Switch it on where it is off, and return whether it was; PortError `off` or `rfkill` when it stays so."""
        if await self._powered(adapter.name):
            return False
        try:
            await self._power(adapter.name, on=True)
        except Exception as error:
            raise self._why_off(adapter.name, str(error)) from error
        if not await self._powered(adapter.name):
            raise self._why_off(adapter.name, "")
        return True

    async def power_cycle(self, adapter: Adapter) -> None:
        """Switch it off and on again."""
        await self._power(adapter.name, on=False)
        await self.power_on(adapter)

    async def _power(self, name: str, *, on: bool) -> None:
        await self._properties(name, "Set", "ssv", _ADAPTER, "Powered", Variant("b", on))

    async def _powered(self, name: str) -> bool:
        return bool((await self._properties(name, "Get", "ss", _ADAPTER, "Powered"))[0].value)

    def _why_off(self, name: str, error: str) -> Exception:
        blocked = rfkill(name, self._rfkill)
        return failure("rfkill", name, blocked) if blocked else failure("off", name, error)

    async def _owner(self) -> str:
        answer = await self._call(
            "org.freedesktop.DBus",
            "/org/freedesktop/DBus",
            "org.freedesktop.DBus",
            "GetNameOwner",
            "s",
            _SERVICE,
        )
        return str(answer[0])

    async def _properties(self, name: str, member: str, signature: str, *body: Any) -> list[Any]:
        return await self._call(
            _SERVICE, _ROOT + name, "org.freedesktop.DBus.Properties", member, signature, *body
        )

    async def _call(
        self, service: str, path: str, interface: str, member: str, signature: str = "", *body: Any
    ) -> list[Any]:
        """What a method returns; PortError when it fails or takes too long."""
        adapter = path.removeprefix(_ROOT) if path.startswith(_ROOT) else self._wanted
        message = Message(
            destination=service,
            path=path,
            interface=interface,
            member=member,
            signature=signature,
            body=list(body),
        )
        try:
            if self._bus is None:
                raise EOFError("the connection is closed")
            async with asyncio.timeout(ANSWER_S):
                reply = await self._bus.call(message)
        except Exception as error:
            raise explained(error, adapter) from error
        if reply.message_type is MessageType.ERROR:
            name = reply.error_name or ""
            text = str(reply.body[0]) if reply.body else ""
            # An adapter that is gone takes its object along; older versions of BlueZ name the method.
            if path.startswith(_ROOT) and name.endswith((".UnknownObject", ".UnknownMethod")):
                raise failure("missing", adapter)
            raise named(name, text, adapter)
        return list(reply.body)


def rfkill(adapter: str, root: Path = _RFKILL) -> str:
    """How the kernel blocks the radio of an adapter, in words; empty when it does not, or nobody knows.

    sysfs-class-rfkill of the kernel's documentation: `name` is the adapter's, `soft` and `hard` are 0 or 1.
    """
    for switch in sorted(root.glob("rfkill*")):
        with contextlib.suppress(OSError):
            if (switch / "name").read_text().strip() != adapter:
                continue
            if (switch / "hard").read_text().strip() == "1":
                return "by a hardware switch"
            if (switch / "soft").read_text().strip() == "1":
                return "by software"
    return ""

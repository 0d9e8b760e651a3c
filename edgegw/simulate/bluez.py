"""The part of BlueZ that a scanner uses, played on any D-Bus: one adapter, advertisements, and BlueZ's faults.

Names, signatures and behaviour are those of org.bluez.Adapter1, Device1, AdvertisementMonitorManager1 and
AdvertisementMonitor1 (BlueZ 5.66, doc/*-api.txt), as far as listening needs them.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from dbus_fast import DBusError, Message, MessageType, NameFlag, Variant
from dbus_fast.aio import MessageBus

if TYPE_CHECKING:
    from collections.abc import Mapping

ADAPTER: Final = "org.bluez.Adapter1"
DEVICE: Final = "org.bluez.Device1"
MANAGER: Final = "org.bluez.AdvertisementMonitorManager1"
MONITOR: Final = "org.bluez.AdvertisementMonitor1"
OBJECTS: Final = "org.freedesktop.DBus.ObjectManager"
PROPERTIES: Final = "org.freedesktop.DBus.Properties"
_UNKNOWN: Final = "org.freedesktop.DBus.Error.UnknownMethod"
# BlueZ forgets a device that nobody asked for after this time without an advertisement (main.conf TemporaryTimeout).
FORGET_S: Final = 30.0
# Without DuplicateData a device's RSSI is told when it has moved by this (src/device.c RSSI_THRESHOLD).
RSSI_STEP: Final = 8
# A client exports its monitor just after it has registered it.
MONITOR_S: Final = 10.0

Pattern = tuple[int, int, bytes]


@dataclass
class _Device:
    """What BlueZ knows of a device."""

    properties: dict[str, Variant]
    heard: float
    companies: dict[int, bytes] = field(default_factory=dict)
    services: dict[int, bytes] = field(default_factory=dict)
    rssi: int = 0


class Bluez:
    """bluetoothd with one adapter: `start`, `advertise`, break what is to be broken, `stop`.

    `passive` False: bluetoothd without --experimental. `refuse` maps a method (or `Powered`) to the name and text of
    the error that it gives; methods in `hang` never answer. A `stuck` radio hears nothing until its scan is begun
    anew (`scan`), until it was powered off and on (`power`), or never (`ever`). `once`: a passive scan tells each
    device only once. `calls` is what clients have asked, in order.
    """

    def __init__(self, adapter: str = "hci0", *, passive: bool = True) -> None:
        self.path = f"/org/bluez/{adapter}"
        self.passive = passive
        self.present = True
        self.powered = True
        self.stuck = ""
        self.once = False
        self.refuse: dict[str, tuple[str, str]] = {}
        self.hang: set[str] = set()
        self.calls: list[str] = []
        self.told = 0
        self.discovery: dict[str, bool] = {}  # client: whether it wants duplicate data
        self.monitors: dict[tuple[str, str], list[Pattern]] = {}
        self._filters: dict[str, bool] = {}
        self._devices: dict[str, _Device] = {}
        self._once_told: set[str] = set()
        self._bus: MessageBus | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    # -- the life of bluetoothd and of the adapter

    async def start(self, address: str) -> None:
        """Appear as org.bluez on the bus at `address`."""
        bus = await MessageBus(bus_address=address).connect()
        bus.add_message_handler(self._handle)
        await bus.request_name("org.bluez", NameFlag.REPLACE_EXISTING)
        self._bus = bus

    async def stop(self) -> None:
        """Die as a killed bluetoothd does: without a word to anybody."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        bus, self._bus = self._bus, None
        if bus is not None:
            bus.disconnect()
        self._devices.clear()
        self._silence()

    def unplug(self) -> None:
        """The adapter vanishes, and its devices with it."""
        self.present = False
        for path in list(self._devices):
            self._forget(path)
        self._removed(self.path, ADAPTER, MANAGER)
        self._silence()

    def plug(self) -> None:
        """The adapter is back."""
        self.present = True
        self._added(self.path, self._interfaces())

    def power(self, *, on: bool) -> None:
        """Switch the adapter, as `bluetoothctl power` does: scans end."""
        self.powered = on
        if not on:
            self._silence()
        elif self.stuck == "power":
            self.stuck = ""
        self._properties_changed(self.path, ADAPTER, {"Powered": Variant("b", on)})

    @property
    def listened(self) -> str:
        """How somebody scans: `active`, `passive` or nothing."""
        return "active" if self.discovery else "passive" if any(self.monitors.values()) else ""

    # -- what is on the air

    def advertise(
        self,
        address: str,
        *,
        random: bool = True,
        rssi: int = -60,
        companies: Mapping[int, bytes] | None = None,
        services: Mapping[int, bytes] | None = None,
        name: str = "",
        flags: int | None = 0x06,
    ) -> bool:
        """An advertisement on the air; returns whether a client was told.

        `companies` is manufacturer data by company id, `services` service data by 16-bit UUID, `flags` None for none.
        """
        sent = dict(companies or {}), dict(services or {})
        path = f"{self.path}/dev_{address.upper().replace(':', '_')}"
        now = time.monotonic()
        self._forget_old(now)
        if not (self.present and self.powered) or self.stuck or self._bus is None:
            return False
        if not self.discovery:
            if not any(_matches(each, *sent, flags) for each in self.monitors.values()):
                return False
            if self.once and path in self._once_told:
                return False
            self._once_told.add(path)
        device = self._devices.pop(path, None)
        if device is None:
            fresh = self._devices[path] = _Device(self._about(address, name, random=random), now, *sent, rssi)
            fresh.properties.update(_heard(*sent, rssi))
            self._added(path, {DEVICE: fresh.properties})
            self.told += 1
            return True
        self._devices[path] = device  # behind all that were heard before
        device.heard = now
        return self._repeat(path, device, *sent, rssi)

    async def flush(self) -> None:
        """Return when the bus has taken what was told; after some 100 advertisements at once it is needed.

        dbus-fast gives its connection up when the socket is full.
        """
        if self._bus is not None:
            await self._call("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "GetId")

    def _repeat(
        self, path: str, device: _Device, companies: dict[int, bytes], services: dict[int, bytes], rssi: int
    ) -> bool:
        """Tell what is new; with duplicate data all of it, and nothing of what was sent before."""
        if any(self.discovery.values()):
            device.companies, device.services, device.rssi = companies, services, rssi
            changed = _heard(companies, services, rssi)
        else:
            changed = {}
            if abs(rssi - device.rssi) >= RSSI_STEP:
                device.rssi = rssi
                changed["RSSI"] = Variant("n", rssi)
            if not companies.items() <= device.companies.items():
                device.companies |= companies
                changed |= _heard(device.companies, {}, rssi)
            if not services.items() <= device.services.items():
                device.services |= services
                changed |= _heard({}, device.services, rssi)
        if not changed:
            return False
        device.properties.update(changed)
        self._properties_changed(path, DEVICE, changed)
        self.told += 1
        return True

    def remember(self, address: str, companies: Mapping[int, bytes]) -> None:
        """Tell of a device that BlueZ knows from before and does not hear now."""
        path = f"{self.path}/dev_{address.upper().replace(':', '_')}"
        properties = self._about(address, "", random=True) | _heard(companies, {}, 0)
        del properties["RSSI"]
        self._added(path, {DEVICE: properties})

    def _forget_old(self, now: float) -> None:
        while self._devices:
            path, device = next(iter(self._devices.items()))
            if now - device.heard < FORGET_S:
                return
            self._forget(path)

    def _forget(self, path: str) -> None:
        del self._devices[path]
        self._removed(path, DEVICE)

    def _silence(self) -> None:
        """Nobody scans any more."""
        self.discovery.clear()
        self.monitors.clear()
        self._filters.clear()
        self._once_told.clear()

    # -- what clients ask

    def _handle(self, message: Message) -> Message | bool | None:
        if message.message_type is not MessageType.METHOD_CALL or message.interface is None:
            return None
        member = message.member or ""
        if message.interface == PROPERTIES and message.body[1:2] == ["Powered"] and member == "Set":
            member = "Powered"
        self.calls.append(member)
        if member in self.hang:
            return True
        if member in self.refuse:
            raise DBusError(*self.refuse[member])
        if message.path == "/" and message.interface == OBJECTS:
            return Message.new_method_return(message, "a{oa{sa{sv}}}", [self._objects()])
        if message.path != self.path or not self.present:
            raise DBusError(
                "org.freedesktop.DBus.Error.UnknownObject",
                f"Method {message.member!r} of {message.path} unknown",
            )
        if message.interface == PROPERTIES:
            return self._property(message)
        if message.interface == ADAPTER or (message.interface == MANAGER and self.passive):
            self._act(message)
            return Message.new_method_return(message)
        raise DBusError(_UNKNOWN, f"No such interface {message.interface!r}")

    def _property(self, message: Message) -> Message:
        values = self._interfaces()[ADAPTER]
        if message.member == "GetAll":
            return Message.new_method_return(message, "a{sv}", [values])
        name = message.body[1]
        if message.member == "Get":
            return Message.new_method_return(message, "v", [values[name]])
        self.power(on=bool(message.body[2].value))
        return Message.new_method_return(message)

    def _act(self, message: Message) -> None:
        client, body = message.sender or "", message.body
        if message.member == "SetDiscoveryFilter":
            asked = body[0].get("DuplicateData")
            self._filters[client] = bool(asked.value) if asked is not None else True
            return
        if message.interface == ADAPTER and message.member == "RemoveDevice":
            return
        if not self.powered:
            raise DBusError("org.bluez.Error.NotReady", "Resource Not Ready")
        if message.member == "StartDiscovery":
            if client in self.discovery:
                raise DBusError("org.bluez.Error.InProgress", "Operation already in progress")
            self.discovery[client] = self._filters.get(client, True)
            self._scan_begins()
        elif message.member == "StopDiscovery":
            if self.discovery.pop(client, None) is None:
                raise DBusError("org.bluez.Error.Failed", "No discovery started")
        elif message.member == "RegisterMonitor":
            self.monitors[client, body[0]] = []
            task = asyncio.get_running_loop().create_task(self._fetch(client, body[0]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif message.member == "UnregisterMonitor":
            if self.monitors.pop((client, body[0]), None) is None:
                raise DBusError("org.bluez.Error.DoesNotExist", "Does Not Exist")
        else:
            raise DBusError(_UNKNOWN, f"No such method {message.member!r}")

    async def _fetch(self, client: str, path: str) -> None:
        """Read the patterns of a monitor, which is exported soon after it is registered; then it is in force."""
        end = time.monotonic() + MONITOR_S
        while time.monotonic() < end and (client, path) in self.monitors:
            reply = await self._call(client, path, PROPERTIES, "Get", "ss", MONITOR, "Patterns")
            if reply is not None and reply.message_type is MessageType.METHOD_RETURN:
                found = [(at, kind, bytes(data)) for at, kind, data in reply.body[0].value]
                if (client, path) in self.monitors:
                    self.monitors[client, path] = found
                    self._scan_begins()
                    await self._call(client, path, MONITOR, "Activate")
                return
            await asyncio.sleep(0.01)

    async def _call(
        self, client: str, path: str, interface: str, member: str, signature: str = "", *body: Any
    ) -> Message | None:
        if self._bus is None:
            return None
        return await self._bus.call(
            Message(
                destination=client,
                path=path,
                interface=interface,
                member=member,
                signature=signature,
                body=list(body),
            )
        )

    def _scan_begins(self) -> None:
        self._once_told.clear()
        if self.stuck == "scan":
            self.stuck = ""

    # -- what clients are told

    def _objects(self) -> dict[str, dict[str, dict[str, Variant]]]:
        if not self.present:
            return {}
        devices = {path: {DEVICE: device.properties} for path, device in self._devices.items()}
        return {self.path: self._interfaces(), **devices}

    def _interfaces(self) -> dict[str, dict[str, Variant]]:
        adapter = {
            "Address": Variant("s", "00:11:22:33:44:55"),
            "Roles": Variant("as", ["central", "peripheral"]),
            "Powered": Variant("b", self.powered),
            "Discovering": Variant("b", bool(self.discovery)),
        }
        kinds = {"SupportedMonitorTypes": Variant("as", ["or_patterns"])}
        return {ADAPTER: adapter, **({MANAGER: kinds} if self.passive else {})}

    def _about(self, address: str, name: str, *, random: bool) -> dict[str, Variant]:
        alias = name or address.upper().replace(":", "-")
        named = {"Name": Variant("s", name)} if name else {}
        return named | {
            "Address": Variant("s", address.upper()),
            "AddressType": Variant("s", "random" if random else "public"),
            "Alias": Variant("s", alias),
            "Adapter": Variant("o", self.path),
            "UUIDs": Variant("as", []),
            "Paired": Variant("b", False),
            "Connected": Variant("b", False),
            "ServicesResolved": Variant("b", False),
        }

    def _added(self, path: str, interfaces: Mapping[str, Mapping[str, Variant]]) -> None:
        self._signal("/", OBJECTS, "InterfacesAdded", "oa{sa{sv}}", path, interfaces)

    def _removed(self, path: str, *interfaces: str) -> None:
        self._signal("/", OBJECTS, "InterfacesRemoved", "oas", path, list(interfaces))

    def _properties_changed(self, path: str, interface: str, changed: Mapping[str, Variant]) -> None:
        self._signal(path, PROPERTIES, "PropertiesChanged", "sa{sv}as", interface, changed, [])

    def _signal(self, path: str, interface: str, member: str, signature: str, *body: Any) -> None:
        if self._bus is not None and self._bus.connected:
            self._bus.send(Message.new_signal(path, interface, member, signature, list(body)))


def _heard(companies: Mapping[int, bytes], services: Mapping[int, bytes], rssi: int) -> dict[str, Variant]:
    """The properties of a device that an advertisement sets."""
    found = {"RSSI": Variant("n", rssi)}
    if companies:
        data = {company: Variant("ay", each) for company, each in companies.items()}
        found["ManufacturerData"] = Variant("a{qv}", data)
    if services:
        named = {
            f"{service:08x}-0000-1000-8000-00805f9b34fb": Variant("ay", each)
            for service, each in services.items()
        }
        found["ServiceData"] = Variant("a{sv}", named)
    return found


def _matches(
    patterns: list[Pattern], companies: Mapping[int, bytes], services: Mapping[int, bytes], flags: int | None
) -> bool:
    """Whether one of the patterns lies in one of the advertisement's elements."""
    elements = [(0xFF, each.to_bytes(2, "little") + data) for each, data in companies.items()]
    elements += [(0x16, each.to_bytes(2, "little") + data) for each, data in services.items()]
    if flags is not None:
        elements.append((0x01, bytes((flags,))))
    return any(
        kind == element and content[at : at + len(data)] == data
        for at, kind, data in patterns
        for element, content in elements
    )

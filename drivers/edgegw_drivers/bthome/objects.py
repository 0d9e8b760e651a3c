"""The objects of BTHome v2: what each id means, how long it is, and how its bytes become a value.

Ids, sizes and factors: BTHome v2 format (bthome.io), as of the table in Bluetooth-Devices/bthome-ble const.py 3.25.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: What an object says: a number, yes or no, a text, an event, or None for an event that says "nothing happened".
Value: TypeAlias = "float | bool | str | None"


class Kind(NamedTuple):
    """One kind of object: its name, the `size` of its value in bytes, and what the value is.

    A number is `factor / divisor` times an integer, little-endian, `signed` or not. `form` is `number`, `boolean`,
    `button`, `dimmer`, `version`, or one of those with their own length: `text`, `raw`, `command`. `quantity` is
    the gateway's name where the object is one.
    """

    name: str
    size: int
    divisor: int = 1
    signed: bool = False
    form: str = "number"
    quantity: str = ""
    factor: int = 1


class Object(NamedTuple):
    """One object of an advertisement: its id, its kind, its value, and the integer that it was sent as."""

    id: int
    kind: Kind
    value: Value
    raw: int


class Objects(NamedTuple):
    """What a payload holds: `unknown` is the id at which the reading stopped, `cut` says that the last was cut."""

    found: tuple[Object, ...]
    unknown: int | None
    cut: bool


# The names of ids 0F to 11, and of 15 to 2D.
_BOOLEANS_0F: Final = ["generic_boolean", "power", "opening"]
_BOOLEANS_15: Final = [
    "battery",
    "battery_charging",
    "carbon_monoxide",
    "cold",
    "connectivity",
    "door",
    "garage_door",
    "gas",
    "heat",
    "light",
    "lock",
    "moisture",
    "motion",
    "moving",
    "occupancy",
    "plug",
    "presence",
    "problem",
    "running",
    "safety",
    "smoke",
    "sound",
    "tamper",
    "vibration",
    "window",
]

PACKET_ID: Final = 0x00
VOLTAGE: Final = 0x0C
PRECIPITATION: Final = 0x5F

KINDS: Final[Mapping[int, Kind]] = {
    PACKET_ID: Kind("packet_id", 1),
    0x01: Kind("battery", 1, quantity="battery"),
    0x02: Kind("temperature", 2, 100, signed=True, quantity="temperature"),
    0x03: Kind("humidity", 2, 100, quantity="humidity"),
    0x04: Kind("pressure", 3, 100, quantity="pressure"),
    0x05: Kind("illuminance", 3, 100, quantity="illuminance"),
    0x06: Kind("mass_kg", 2, 100),
    0x07: Kind("mass_lb", 2, 100),
    0x08: Kind("dew_point", 2, 100, signed=True, quantity="dew_point"),
    0x09: Kind("count", 1),
    0x0A: Kind("energy", 3, 1000),
    0x0B: Kind("power", 3, 100),
    VOLTAGE: Kind("voltage", 2, 1000, quantity="battery_voltage"),
    0x0D: Kind("pm2_5", 2, quantity="pm2_5"),
    0x0E: Kind("pm10", 2, quantity="pm10"),
    **{0x0F + at: Kind(name, 1, form="boolean") for at, name in enumerate(_BOOLEANS_0F)},
    0x12: Kind("co2", 2, quantity="co2"),
    0x13: Kind("tvoc", 2),
    0x14: Kind("moisture", 2, 100),
    **{0x15 + at: Kind(name, 1, form="boolean") for at, name in enumerate(_BOOLEANS_15)},
    0x2E: Kind("humidity", 1, quantity="humidity"),
    0x2F: Kind("moisture", 1),
    0x3A: Kind("button", 1, form="button"),
    0x3B: Kind("command", 0, form="command"),
    0x3C: Kind("dimmer", 2, form="dimmer"),
    0x3D: Kind("count", 2),
    0x3E: Kind("count", 4),
    0x3F: Kind("rotation", 2, 10, signed=True),
    0x40: Kind("distance_mm", 2),
    0x41: Kind("distance_m", 2, 10),
    0x42: Kind("duration", 3, 1000),
    0x43: Kind("current", 2, 1000),
    0x44: Kind("wind_speed", 2, 100, quantity="wind_speed"),
    0x45: Kind("temperature", 2, 10, signed=True, quantity="temperature"),
    0x46: Kind("uv_index", 1, 10),
    0x47: Kind("volume", 2, 10),
    0x48: Kind("volume_ml", 2),
    0x49: Kind("volume_flow_rate", 2, 1000),
    0x4A: Kind("voltage", 2, 10),  # up to 6553 V in steps of 0.1: the mains, no battery
    0x4B: Kind("gas", 3, 1000),
    0x4C: Kind("gas", 4, 1000),
    0x4D: Kind("energy", 4, 1000),
    0x4E: Kind("volume", 4, 1000),
    0x4F: Kind("water", 4, 1000),
    0x50: Kind("timestamp", 4),
    0x51: Kind("acceleration", 2, 1000),
    0x52: Kind("gyroscope", 2, 1000),
    0x53: Kind("text", 0, form="text"),
    0x54: Kind("raw", 0, form="raw"),
    0x55: Kind("volume_storage", 4, 1000),
    0x56: Kind("conductivity", 2),
    0x57: Kind("temperature", 1, signed=True, quantity="temperature"),
    0x58: Kind("temperature", 1, 100, signed=True, quantity="temperature", factor=35),
    0x59: Kind("count", 1, signed=True),
    0x5A: Kind("count", 2, signed=True),
    0x5B: Kind("count", 4, signed=True),
    0x5C: Kind("power", 4, 100, signed=True),
    0x5D: Kind("current", 2, 1000, signed=True),
    0x5E: Kind("direction", 2, 100, quantity="wind_direction"),
    PRECIPITATION: Kind("precipitation", 2, 10, quantity="precipitation"),
    0x60: Kind("channel", 1),
    0x61: Kind("rotational_speed", 2),
    0x62: Kind("speed", 4, 1_000_000, signed=True),
    0x63: Kind("acceleration", 4, 1_000_000, signed=True),
    0x64: Kind("light_level", 1),
    0x65: Kind("settings_revision", 1),
    0xF0: Kind("device_type", 2),
    0xF1: Kind("firmware", 4, form="version"),
    0xF2: Kind("firmware", 3, form="version"),
}
#: Names in the gateway's table that objects can have, each once, in the order of their ids.
QUANTITIES: Final = tuple(dict.fromkeys(kind.quantity for kind in KINDS.values() if kind.quantity))

_BUTTONS: Final[Mapping[int, str | None]] = {
    0x00: None,
    0x01: "press",
    0x02: "double_press",
    0x03: "triple_press",
    0x04: "long_press",
    0x05: "long_double_press",
    0x06: "long_triple_press",
    0x80: "hold_press",
    0x81: "hold_release",
}
_DIMMERS: Final[Mapping[int, str | None]] = {0x00: None, 0x01: "rotate_left", 0x02: "rotate_right"}
_COMMANDS: Final[Mapping[int, str]] = {0: "off", 1: "on", 2: "toggle", 3: "step_up", 4: "step_down"}
# The upper bits of a command's length are reserved.
_COMMAND_LENGTH: Final = 0x1F


def read(payload: bytes) -> Objects:
    """The objects of a payload, in its order; an id that is not known ends the reading: its length is not known."""
    found: list[Object] = []
    at = 0
    while at < len(payload):
        kind = KINDS.get(payload[at])
        if kind is None:
            return Objects(tuple(found), payload[at], cut=False)
        begin, size = at + 1, kind.size
        if not size:  # one that brings its own length
            if begin == len(payload):
                return Objects(tuple(found), None, cut=True)
            size = 1 + (payload[begin] & _COMMAND_LENGTH) if kind.form == "command" else payload[begin]
            begin += 1
        data = payload[begin : begin + size]
        if len(data) < size:
            return Objects(tuple(found), None, cut=True)
        raw = int.from_bytes(data, "little", signed=kind.signed)
        found.append(Object(payload[at], kind, _value(kind, data, raw), raw))
        at = begin + size
    return Objects(tuple(found), None, cut=False)


def _value(kind: Kind, data: bytes, raw: int) -> Value:
    if kind.form == "number":
        whole = raw * kind.factor
        return whole if kind.divisor == 1 else whole / kind.divisor
    if kind.form == "boolean":
        return bool(raw)
    return _WORDS[kind.form](data)


def _dimmer(data: bytes) -> str | None:
    turned = _DIMMERS.get(data[0], f"event_{data[0]:02x}")
    return turned if turned is None else f"{turned} {data[1]}"


def _command(data: bytes) -> str:
    name = _COMMANDS.get(data[0], f"command_{data[0]:02x}")
    return f"{name} {data[1:].hex()}".strip()


_WORDS: Final[Mapping[str, Callable[[bytes], str | None]]] = {
    "button": lambda data: _BUTTONS.get(data[0], f"event_{data[0]:02x}"),
    "dimmer": _dimmer,
    "command": _command,
    "text": lambda data: data.decode("utf-8", "replace"),
    "raw": lambda data: data.hex(),
    # The least significant part is sent first.
    "version": lambda data: ".".join(str(part) for part in reversed(data)),
}

"""Bluetooth tags: BTHome (plain and encrypted), Ruuvi, Aranet4, pvvx and Qingping thermometers, and a crowd of phones."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography.hazmat.primitives.ciphers.aead import AESCCM

from edgegw.simulate.authority import write_private
from edgegw.simulate.ledger import Fate, moment
from edgegw.simulate.model import Model

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgegw.simulate.model import Setting

BTHOME: Final = 0xFCD2
PVVX: Final = 0x181A
QINGPING: Final = 0xFDCD
RUUVI: Final = 0x0499
ARANET: Final = 0x0702
# A street with so many phones in earshot, each heard so often.
PHONES: Final = 40
PHONE_S: Final = 0.5
# One frame in fifty comes from somebody new, or from a phone under its next address.
NEWCOMERS: Final = 0.02
# How often it is looked whether a tag that was carried away is back.
_LOOK_S: Final = 0.2
_RSSI: Final = -67


class Spoken(NamedTuple):
    """One advertisement: manufacturer data, service data, and the values that its readings must carry."""

    companies: Mapping[int, bytes]
    services: Mapping[int, bytes]
    values: Mapping[str, float]


class Tag:
    """A device that advertises each `period_s`."""

    def __init__(
        self, setting: Setting, address: str, say: Callable[[int, float], Spoken], *, random: bool = False
    ) -> None:
        self.address = address
        self._setting = setting
        self._radio = setting.radio()
        self._random = random
        self._say = say

    async def plug(self) -> None:
        """Nothing to do: the air is there."""

    async def run(self) -> None:
        """See `Device.run`."""
        around, number = self._setting.around, 0
        try:
            while True:
                t = around.second()
                condition = around.condition(number, t)
                if condition.silent or condition.unplugged:
                    await asyncio.sleep(_LOOK_S)
                    continue
                spoken, when = self._say(number, t), moment()
                companies = {key: _torn(data, condition.damaged) for key, data in spoken.companies.items()}
                services = {key: _torn(data, condition.damaged) for key, data in spoken.services.items()}
                heard = self._radio.advertise(self.address, self._random, _RSSI, companies, services)
                fate = Fate.DAMAGED if condition.damaged else Fate.SENT
                around.ledger.write(number, when, fate if heard else Fate.UNHEARD, spoken.values)
                number += 1
                await asyncio.sleep(self._setting.sensor.period_s)
        finally:
            around.ledger.close()


def _torn(data: bytes, damaged: bool) -> bytes:
    """A damaged advertisement lacks its end: the radio's own checksum lets no flipped bit through."""
    return data[:-1] if damaged else data


def _address(setting: Setting, prefix: str) -> str:
    """An address that is always the same one for this sensor."""
    tail = Random(setting.sensor.id).randbytes(3)  # noqa: S311  can be repeated
    return f"{prefix}:{tail.hex(':').upper()}"


def _climate(setting: Setting, number: int, t: float) -> tuple[int, int]:
    """Temperature in hundredths of a degree, and humidity in hundredths of a percent."""
    if setting.numbered:
        return number % 6000 - 2000, 3000 + number % 4000
    return round(setting.street.slow("T", 850, 600, t)), round(setting.street.slow("rh", 6000, 1500, t))


def _objects(setting: Setting, number: int, t: float) -> tuple[bytes, Mapping[str, float]]:
    """BTHome objects (bthome.io/format): packet id, battery, temperature, humidity."""
    temperature, humidity = _climate(setting, number, t)
    objects = bytes((0x00, number & 0xFF, 0x01, 87, 0x02)) + temperature.to_bytes(2, "little", signed=True)
    objects += b"\x03" + humidity.to_bytes(2, "little")
    return objects, {"battery": 87, "temperature": temperature / 100, "humidity": humidity / 100}


def _bthome(setting: Setting) -> Tag:
    def say(number: int, t: float) -> Spoken:
        objects, values = _objects(setting, number, t)
        return Spoken({}, {BTHOME: b"\x40" + objects}, values)

    return Tag(setting, _address(setting, "A4:C1:38"), say)


def _bthome_encrypted(setting: Setting) -> Tag:
    address = _address(setting, "54:48:E6")
    key = Random(f"{setting.sensor.id} key").randbytes(16)  # noqa: S311  a key of a toy, for a toy
    write_private(setting.directory / "bthome.key", key.hex().encode())
    cipher = AESCCM(key, tag_length=4)
    # Begins anew with each run, as after a change of battery; so does the gateway's memory of it.
    begin = 1000

    def say(number: int, t: float) -> Spoken:
        objects, values = _objects(setting, number, t)
        counter = (begin + number).to_bytes(4, "little")
        nonce = bytes.fromhex(address.replace(":", "")) + b"\xd2\xfc\x41" + counter
        sealed = cipher.encrypt(nonce, objects, None)
        return Spoken({}, {BTHOME: b"\x41" + sealed[:-4] + counter + sealed[-4:]}, values)

    return Tag(setting, address, say)


def _ruuvi(setting: Setting) -> Tag:
    """Data format 5 (ruuvi/docs): big-endian, with a sequence number."""
    address = _address(setting, "CB:B8:33")

    def say(number: int, t: float) -> Spoken:
        if setting.blank(number, t):
            head = bytes.fromhex("058000ffffffff800080008000ffffff")
            data = head + (number % 0xFFFF).to_bytes(2) + bytes.fromhex(address.replace(":", ""))
            return Spoken({RUUVI: data}, {}, {})
        hundredths, humidity = _climate(setting, number, t)
        temperature, pressure = hundredths * 2, 101_325 - 50_000
        millivolts = 2977
        power = (millivolts - 1600) << 5 | 22
        data = b"\x05" + temperature.to_bytes(2, signed=True) + (humidity * 4).to_bytes(2)
        data += pressure.to_bytes(2) + bytes.fromhex("0004fffc040c") + power.to_bytes(2)
        data += bytes((66,)) + (number % 0xFFFF).to_bytes(2) + bytes.fromhex(address.replace(":", ""))
        values = {"temperature": hundredths / 100, "humidity": humidity / 100, "pressure": 1013.25}
        return Spoken({RUUVI: data}, {}, {**values, "battery_voltage": millivolts / 1000})

    return Tag(setting, address, say, random=True)


def _aranet(setting: Setting) -> Tag:
    """An Aranet4 with integrations on (Anrijs/Aranet4-Python): 22 bytes, little-endian from byte 8."""

    def say(number: int, t: float) -> Spoken:
        ppm = 400 + number % 3000 if setting.numbered else round(setting.street.slow("co2", 700, 200, t))
        head = bytes.fromhex("2105030100050001")
        blank = setting.blank(number, t)
        if blank:
            ppm = 0x8000  # it calibrates
        data = head + ppm.to_bytes(2, "little") + (415).to_bytes(2, "little") + (10_123).to_bytes(2, "little")
        data += bytes((53, 88, 1)) + (60).to_bytes(2, "little") + bytes(2) + bytes((number & 0xFF,))
        known = {} if blank else {"co2": ppm}
        values = {**known, "temperature": 20.75, "pressure": 1012.3, "humidity": 53, "battery": 88}
        return Spoken({ARANET: data}, {}, values)

    return Tag(setting, _address(setting, "FD:00:11"), say, random=True)


def _pvvx(setting: Setting) -> Tag:
    """The custom format of pvvx/ATC_MiThermometer: 15 bytes, little-endian."""
    address = _address(setting, "A4:C1:38")

    def say(number: int, t: float) -> Spoken:
        temperature, humidity = _climate(setting, number, t)
        data = bytes.fromhex(address.replace(":", ""))[::-1] + temperature.to_bytes(2, "little", signed=True)
        data += humidity.to_bytes(2, "little") + (2998).to_bytes(2, "little")
        data += bytes((88, number & 0xFF, 0x0D))
        values = {"temperature": temperature / 100, "humidity": humidity / 100}
        return Spoken({}, {PVVX: data}, {**values, "battery": 88, "battery_voltage": 2.998})

    return Tag(setting, address, say)


def _qingping(setting: Setting) -> Tag:
    """A CGDN1 (custom-components/ble_monitor): type and address, then objects of type, length, value."""
    address = _address(setting, "54:48:E6")

    def say(number: int, t: float) -> Spoken:
        temperature, humidity = (hundredths // 10 for hundredths in _climate(setting, number, t))
        fine, coarse = (tenths // 10 for tenths in setting.street.dust(number, t))
        ppm = 400 + number % 3000
        data = b"\x08\x0e" + bytes.fromhex(address.replace(":", ""))[::-1]
        data += b"\x01\x04" + temperature.to_bytes(2, "little", signed=True) + humidity.to_bytes(2, "little")
        data += b"\x12\x04" + fine.to_bytes(2, "little") + coarse.to_bytes(2, "little")
        data += b"\x13\x02" + ppm.to_bytes(2, "little")
        values = {"temperature": temperature / 10, "humidity": humidity / 10}
        return Spoken({}, {QINGPING: data}, {**values, "pm2_5": fine, "pm10": coarse, "co2": ppm})

    return Tag(setting, address, say)


class Phones:
    """Phones that people carry past: random addresses that change, all kinds of advertisements."""

    address = ""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._radio = setting.radio()

    async def plug(self) -> None:
        """Nothing to do: the air is there."""

    async def run(self) -> None:
        """See `Device.run`."""
        around = self._setting.around
        luck = Random(self._setting.sensor.id)  # noqa: S311  can be repeated
        # Resolvable private addresses: the two top bits are 01 (Bluetooth Core, vol 6 part B §1.3.2.2).
        phones = [self._new(luck) for _ in range(PHONES)]
        number = 0
        try:
            while True:
                condition = around.condition(number, around.second())
                if not (condition.silent or condition.unplugged):
                    place = number % PHONES
                    if luck.random() < NEWCOMERS:
                        phones[place] = self._new(luck)
                    self._radio.advertise(phones[place], True, _RSSI, {0x004C: b"\x10\x05\x01"}, {})
                    number += 1
                await asyncio.sleep(PHONE_S / PHONES)
        finally:
            around.ledger.close()

    @staticmethod
    def _new(luck: Random) -> str:
        raw = bytearray(luck.randbytes(6))
        raw[0] = raw[0] & 0x3F | 0x40
        return raw.hex(":").upper()


def _crowd(setting: Setting) -> Phones:
    return Phones(setting)


MODELS: Final[Mapping[str, Model]] = {
    "bthome": Model("bthome", _bthome, "address"),
    "bthome-encrypted": Model("bthome", _bthome_encrypted, "address", keys={"key": "file:bthome.key"}),
    "ruuvi": Model("ruuvi", _ruuvi, "address"),
    "aranet4": Model("aranet", _aranet, "address"),
    "pvvx": Model("ble_env", _pvvx, "address"),
    "qingping": Model("ble_env", _qingping, "address"),
    "phones": Model(
        "ble_presence", _crowd, "", interval="1m", numbered_interval="1m", keys={"window": "60s"}
    ),
}

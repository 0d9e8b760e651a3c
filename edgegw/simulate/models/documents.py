"""Devices of the local network: an AirGradient and an airRohr that are fetched, a camera that publishes on a broker."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from edgegw.simulate.broker import find_mosquitto, free_port
from edgegw.simulate.children import Child
from edgegw.simulate.devices import WATCH_S
from edgegw.simulate.ledger import Fate, moment
from edgegw.simulate.model import Model
from edgegw.simulate.wires import TcpLine

if TYPE_CHECKING:
    from edgegw.simulate.model import Setting

# The longest head of a request that such a device takes.
_HEAD: Final = 8192
_SCENARIO: Final = "axis:CameraApplicationPlatform/ObjectAnalytics/Device1Scenario1"
_TOPIC: Final = f"axis/bridge/event/tns:{_SCENARIO}"

#: A document for fetch `number` at second `t`, and the values that its readings must carry.
Document = Callable[[int, float], tuple[Any, Mapping[str, float]]]


class WebDevice:
    """A device with a small web server: each GET of `path` is answered with a document of JSON."""

    def __init__(self, setting: Setting, path: str, say: Document) -> None:
        self._around = setting.around
        self._path = path
        self._say = say
        self._line = TcpLine(self._serve)
        self._number = 0

    @property
    def address(self) -> str:
        """See `Device.address`: the URL of the document."""
        return f"http://127.0.0.1:{self._line.port}{self._path}"

    async def plug(self) -> None:
        """See `Device.plug`."""
        await self._line.plug()

    async def run(self) -> None:
        """See `Device.run`."""
        try:
            while True:
                if self._around.condition(self._number, self._around.second()).unplugged:
                    await self._line.unplug()
                else:
                    await self._line.plug()
                await asyncio.sleep(WATCH_S)
        finally:
            await self._line.unplug()
            self._around.ledger.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            method, path, *_ = head.split(b" ", 2)
            t = self._around.second()
            condition = self._around.condition(self._number, t)
            if condition.silent:
                continue
            if (method, path) != (b"GET", self._path.encode()):
                writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                continue
            if condition.late_s:
                await asyncio.sleep(condition.late_s)
            document, values = self._say(self._number, t)
            body = json.dumps(document).encode()
            # A device that restarts in the middle of an answer: the length says more than comes.
            sent = body[: len(body) // 2] if condition.damaged else body
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                + f"Content-Length: {len(body)}\r\n\r\n".encode()
                + sent
            )
            fate = Fate.DAMAGED if condition.damaged else Fate.LATE if condition.late_s else Fate.SENT
            self._around.ledger.write(self._number, moment(), fate, values)
            self._number += 1
            await writer.drain()
            if condition.damaged:
                return


def _air(setting: Setting, number: int, t: float) -> tuple[float, int, int, int]:
    """Temperature, CO2, PM2.5 and PM10."""
    fine, coarse = (tenths // 10 for tenths in setting.street.dust(number, t))
    temperature = (
        (number % 6000 - 2000) / 100 if setting.numbered else round(setting.street.slow("T", 8.5, 6, t), 2)
    )
    return temperature, 400 + number % 3000, fine, coarse


def _airgradient(setting: Setting) -> WebDevice:
    def say(number: int, t: float) -> tuple[Any, Mapping[str, float]]:
        temperature, ppm, fine, coarse = _air(setting, number, t)
        document = {
            "wifi": -46,
            "serialno": "84fce612f5b8",
            "rco2": ppm,
            "pm01": fine,
            "pm02": fine,
            "pm10": coarse,
            "atmp": temperature,
            "rhum": 43,
            "boot": number // 60,
            "firmware": "3.1.3",
            "model": "O-1PST",
        }
        values = {"co2": ppm, "pm2_5": fine, "pm10": coarse, "temperature": temperature}
        if setting.blank(number, t):
            # After its start the keys of what is not measured yet are missing.
            return {key: document[key] for key in ("wifi", "serialno", "boot", "firmware", "model")}, {}
        return document, values

    return WebDevice(setting, "/measures/current", say)


def _airrohr(setting: Setting) -> WebDevice:
    def say(number: int, t: float) -> tuple[Any, Mapping[str, float]]:
        temperature, _, fine, coarse = _air(setting, number, t)
        if setting.blank(number, t):
            # Before its first cycle the list is empty and the age negative.
            return {"software_version": "NRZ-2020-133", "age": "-1", "sensordatavalues": []}, {}
        values = {"SDS_P1": coarse, "SDS_P2": fine, "BME280_temperature": temperature, "BME280_humidity": 43}
        document = {
            "software_version": "NRZ-2020-133",
            "age": "12",
            "sensordatavalues": [
                {"value_type": name, "value": f"{each:.2f}"} for name, each in values.items()
            ],
        }
        return document, {"pm10": coarse, "pm2_5": fine, "temperature": temperature, "humidity": 43}

    return WebDevice(setting, "/data.json", say)


class Camera:
    """A camera that counts, on a broker of its own: what Axis Object Analytics publishes."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._folder = setting.directory / f"{setting.sensor.id}-broker"
        self._broker: Child | None = None
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._port = 0

    @property
    def address(self) -> str:
        """See `Device.address`: the broker."""
        return f"mqtt://127.0.0.1:{self._port}"

    async def plug(self) -> None:
        """See `Device.plug`; GatewayError where mosquitto is not installed."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._port = free_port()
        configuration = self._folder / "mosquitto.conf"
        root = "user root\n" if os.geteuid() == 0 else ""
        configuration.write_text(
            f"listener {self._port} 127.0.0.1\nallow_anonymous true\npersistence false\n{root}"
        )
        program = find_mosquitto() or "mosquitto"
        self._broker = Child("local broker", [program, "-c", str(configuration)], self._folder / "log")
        await asyncio.to_thread(self._broker.start, self._connects)
        self._client.loop_start()

    def _connects(self) -> bool:
        try:
            self._client.connect("127.0.0.1", self._port)
        except OSError:
            return False
        return True

    async def run(self) -> None:
        """See `Device.run`."""
        around, number, total = self._setting.around, 0, 0
        try:
            while True:
                t = around.second()
                condition = around.condition(number, t)
                if not (condition.silent or condition.unplugged):
                    if number:
                        total += 1 + number % 3
                    body = self._document(total, number)
                    sent = body[: len(body) // 2] if condition.damaged else body
                    heard = self._client.publish(_TOPIC, sent, qos=0).rc == 0
                    fate = Fate.DAMAGED if condition.damaged else Fate.SENT if heard else Fate.UNHEARD
                    values = {"count_in": 1 + number % 3} if number else {}
                    around.ledger.write(number, moment(), fate, values)
                    number += 1
                await asyncio.sleep(self._setting.sensor.period_s)
        finally:
            self._client.disconnect()
            self._client.loop_stop()
            if self._broker is not None:
                await asyncio.to_thread(self._broker.stop)
            around.ledger.close()

    @staticmethod
    def _document(total: int, number: int) -> bytes:
        """Numbers are texts (reelyactive/barnowl-axis)."""
        data = {"scenario": "In", "reason": "human", "total": str(total), "totalHuman": str(total)}
        document = {
            "topic": _SCENARIO,
            "timestamp": 1_760_000_000_000 + 1000 * number,
            "serial": "B8A44F941234",
            "message": {"source": {}, "key": {}, "data": data},
        }
        return json.dumps(document).encode()


def _camera(setting: Setting) -> Camera:
    return Camera(setting)


MODELS: Final[Mapping[str, Model]] = {
    "airgradient": Model(
        "json_http", _airgradient, "url", "5s", numbered_interval="1s", keys={"map": "airgradient"}
    ),
    "airrohr": Model("json_http", _airrohr, "url", "5s", numbered_interval="1s", keys={"map": "airrohr"}),
    "axis-camera": Model(
        "json_mqtt",
        _camera,
        "server",
        keys={"map": "axis-object-analytics", "topic": "axis/bridge/event/#", "line": "In"},
    ),
}

"""Whole sensors with documents: from a real socket or broker, through the registry, to the readings that are recorded."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from broker import free_port
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from edgegw.clock import SystemClock
from edgegw.config import Address, Endpoint, Sensor
from edgegw.sensors import Sensors
from edgegw.wires import RealWires

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from broker import MakeBroker

    from edgegw.driver import Reading

#: Far longer than any answer on loopback takes.
PATIENT_S = 60.0
NODE = {"serialno": "a1", "pm01": 1, "pm02": 2, "pm10": 3, "atmp": 20.5, "rhum": 40}


class Sink:
    """Where readings go; `until` waits for some."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, Reading]] = []
        self._more = asyncio.Event()

    def readings(self, sensor: str, readings: Sequence[Reading], monotonic: float) -> int:
        assert monotonic > 0
        self.taken += [(sensor, reading) for reading in readings]
        self._more.set()
        return len(readings)

    async def until(self, sensor: str, quantity: str, times: int = 1) -> list[Reading]:
        async with asyncio.timeout(PATIENT_S):
            while True:
                found = [r for name, r in self.taken if name == sensor and r.quantity.name == quantity]
                if len(found) >= times:
                    return found
                self._more.clear()
                await self._more.wait()


@pytest.fixture
async def sink() -> Sink:
    return Sink()


@pytest.fixture
async def gateway(sink: Sink) -> AsyncIterator[tuple[Sensors, int]]:
    """Sensors on the real wires, and the port of their endpoint."""
    port = free_port()
    wires = RealWires(endpoint=Endpoint(listen=Address("127.0.0.1", port)))
    log = structlog.wrap_logger(structlog.testing.CapturingLogger())
    sensors = Sensors(wires, sink, SystemClock(), log, simulated=False, listen=lambda *_: None)
    yield sensors, port
    await sensors.stop()


def sensor(driver: str, interval: float | None, **options: Any) -> Sensor:
    return Sensor(driver=driver, interval=interval, stale_after=30.0, options=options)


async def post(port: int, path: str, document: object, token: str = "") -> int:
    """The status of the answer."""
    body = json.dumps(document).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {token}\r\nContent-Length: {len(body)}\r\n"
    )
    writer.write(head.encode() + b"\r\n" + body)
    async with asyncio.timeout(PATIENT_S):
        status = await reader.readline()
    writer.close()
    return int(status.split()[1])


async def listening(port: int) -> None:
    async with asyncio.timeout(PATIENT_S):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.01)
            else:
                writer.close()
                return


async def test_a_node_that_is_asked(sink: Sink, gateway: tuple[Sensors, int]) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = json.dumps(NODE).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/measures/current"
        await gateway[0].apply({"air-1": sensor("json_http", 0.05, map="airgradient", url=url)})
        first, second = (await sink.until("air-1", "temperature", 2))[:2]
    assert (first.value, first.checks, first.flag) == (20.5, ("unauthenticated",), None)
    assert second.value == 20.5
    assert gateway[0].views["air-1"].errors == {}


async def test_a_counter_that_posts_with_its_token(
    sink: Sink, gateway: tuple[Sensors, int], tmp_path: Path
) -> None:
    sensors, port = gateway
    token = tmp_path / "token"
    token.touch(mode=0o600)
    token.write_text("s3cret\n")
    await sensors.apply({"gate-1": sensor("json_http", 10.0, map="xovis", token=f"file:{token}")})
    await listening(port)
    row = {
        "from": "08:00",
        "to": "08:01",
        "value": [{"label": "fw", "value": 4}, {"label": "bw", "value": 1}],
    }
    push = {
        "sensor-info": {"serial-number": "X"},
        "content": {"element": [{"element-id": 0, "element-name": "Door", "measurement": [row]}]},
    }
    assert await post(port, "/push/gate-1", push) == 401
    assert sink.taken == []
    assert await post(port, "/push/gate-1", push, "s3cret") == 200
    assert [(r.quantity.name, r.value) for _, r in sink.taken] == [("count_in", 4.0), ("count_out", 1.0)]
    # The answer was lost and the device says it again: taken, and not counted twice.
    assert await post(port, "/push/gate-1", push, "s3cret") == 200
    assert len(sink.taken) == 2
    assert sensors.views["gate-1"].errors == {"repeated": 1}
    assert await post(port, "/push/gate-1", {"other": 1}, "s3cret") == 422


async def test_two_sensors_share_the_endpoint_and_one_that_goes_leaves_the_other(
    sink: Sink, gateway: tuple[Sensors, int]
) -> None:
    sensors, port = gateway
    both = {name: sensor("json_http", 10.0, map="airgradient") for name in ("air-1", "air-2")}
    await sensors.apply(both)
    await listening(port)
    assert await post(port, "/push/air-1", NODE) == 200
    await sensors.apply({"air-2": both["air-2"]})
    assert await post(port, "/push/air-1", NODE) == 404
    assert await post(port, "/push/air-2", NODE) == 200
    assert {name for name, _ in sink.taken} == {"air-1", "air-2"}


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_a_camera_on_the_broker_of_the_site(
    sink: Sink, gateway: tuple[Sensors, int], make_broker: MakeBroker, protocol: str
) -> None:
    port = free_port()
    make_broker(options=[f"listener {port} 127.0.0.1", "allow_anonymous true"])
    server = f"mqtt://127.0.0.1:{port}"
    options = {"map": "axis-object-analytics", "server": server, "topic": "axis/#", "protocol": protocol}
    await gateway[0].apply({"door-1": sensor("json_mqtt", None, **options)})
    await listening(port)
    publisher = Client(CallbackAPIVersion.VERSION2)
    publisher.connect("127.0.0.1", port)
    publisher.loop_start()
    reading = asyncio.create_task(sink.until("door-1", "count_in", 2))
    total = 0
    try:
        while not reading.done():  # each document counts three more; the first ones may come before we listen
            total += 3
            data = {"scenario": "In", "total": str(total + 7), "totalHuman": str(total)}
            topic = "axis:CameraApplicationPlatform/ObjectAnalytics/Device1Scenario1"
            document = {"topic": topic, "serial": "AX", "message": {"data": data}}
            publisher.publish("axis/door", json.dumps(document), qos=1).wait_for_publish(PATIENT_S)
            await asyncio.wait({reading}, timeout=0.05)
    finally:
        publisher.disconnect()
        publisher.loop_stop()
    for each in await reading:
        assert (each.value, each.checks) == (3.0, ("unauthenticated",))
    assert gateway[0].views["door-1"].errors["first_count"] == 1

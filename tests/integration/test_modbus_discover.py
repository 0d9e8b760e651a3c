"""Unknown devices on a line or behind a host are found by reading alone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import serial
from modbus_device import Device, SerialDevices, holding
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from edgegw import registry
from edgegw.driver import PollDriver, SerialLine
from edgegw.ports.modbus import PortError, Progress, Sure, discover, rtu

if TYPE_CHECKING:
    from collections.abc import Iterator


def candidates(*names: str) -> dict[str, PollDriver]:
    """Drivers by profile; all that ship unless some are named."""
    kinds = registry.load("modbus").candidates()
    found = {}
    for options in kinds:
        if not names or options["profile"] in names:
            driver = registry.make("modbus", options)
            assert isinstance(driver, PollDriver)
            found[options["profile"]] = driver
    return found


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtu, "LATE_S", 0.05)
    monkeypatch.setattr(rtu, "LATE_TIMES", 1)
    monkeypatch.setattr("edgegw.ports.modbus.search.TIMEOUT_S", 0.1)


@pytest.fixture
def line() -> Iterator[SerialDevices]:
    line = SerialDevices({})
    yield line
    line.stop()


def renke(unit: int, baud: int) -> Device:
    return Device(holding(713) | holding(unit, 1, start=0x07D0), baud=baud)


async def test_a_lone_device_tells_its_address_and_is_certain(line: SerialDevices) -> None:
    line.devices[77] = renke(77, 4800)
    (found,) = await discover(line.path, candidates(), units=[1, 2])
    assert (found.profile, found.unit, found.sure) == ("renke-noise", 77, Sure.CERTAIN)
    assert found.line == SerialLine(4800)
    assert [(each.quantity.name, each.value) for each in found.readings] == [("la_sampled", 71.3)]
    assert line.writes == []


async def test_devices_are_found_at_the_addresses_that_they_come_with(line: SerialDevices) -> None:
    words = holding(0, 0, 0, 612, function=4)
    line.devices[254] = Device({**words, (4, 0x1D): 0x1122, (4, 0x1E): 0x3344, (4, 0x1C): 0x0105})
    line.devices[3] = Device(holding(0xFF9B, 0x0362))
    found = {each.unit: each for each in await discover(line.path, candidates())}
    assert set(found) == {3, 254}
    assert found[254].profile == "senseair"
    assert found[254].identity == "serial 11223344, firmware 1.5"
    assert found[254].sure is Sure.LIKELY
    assert "rs485-th" in {found[3].profile, *found[3].others}
    assert line.writes == []


async def test_a_device_that_no_profile_reads_is_found_all_the_same(line: SerialDevices) -> None:
    line.devices[5] = Device({})
    (found,) = await discover(line.path, candidates("scd30"), units=range(1, 8), lines=[SerialLine(9600)])
    assert (found.profile, found.unit, found.sure, found.readings) == ("", 5, Sure.UNKNOWN, ())


async def test_values_that_cannot_be_make_a_profile_unlikely(line: SerialDevices) -> None:
    line.devices[1] = Device(holding(9999, 90))
    (found,) = await discover(line.path, candidates("renke-wind-direction", "renke-noise"), units=[1])
    assert found.profile == "renke-wind-direction"
    assert found.others == ()


async def test_a_search_is_bounded_in_time_and_tells_how_far_it_is(line: SerialDevices) -> None:
    told: list[Progress] = []
    async with asyncio.timeout(60):
        found = await discover(
            line.path, candidates(), units=range(1, 248), limit_s=1.0, progress=told.append
        )
    assert found == []
    assert 0 < told[-1].asked < told[-1].most
    assert [each.asked for each in told] == sorted(each.asked for each in told)
    assert told[-1].line is not None


async def test_what_was_found_in_time_stands(line: SerialDevices) -> None:
    line.devices[1] = renke(1, 9600)
    found = await discover(line.path, candidates("renke-noise"), units=range(1, 248), limit_s=5.0)
    assert [each.unit for each in found] == [1]


async def test_a_port_that_is_just_being_given_back_is_waited_for(line: SerialDevices) -> None:
    line.devices[1] = renke(1, 9600)
    held = serial.Serial(line.path, exclusive=True)
    asyncio.get_running_loop().call_later(0.5, held.close)
    (found,) = await discover(line.path, candidates("renke-noise"), units=[1])
    assert found.profile == "renke-noise"


async def test_a_port_that_is_not_there_is_named() -> None:
    with pytest.raises(PortError, match="is not there"):
        await discover("/dev/no-such-port", candidates("renke-noise"))


async def test_units_behind_a_host_are_found() -> None:
    words = SimData(0, values=[713, *[0] * 9], datatype=DataType.REGISTERS)
    bits = SimData(0, values=[False] * 16, datatype=DataType.BITS)
    server = ModbusTcpServer(
        [SimDevice(unit, ([bits], [bits], [words], [words])) for unit in (2, 4)], address=("127.0.0.1", 0)
    )
    await server.serve_forever(background=True)
    assert isinstance(server.transport, asyncio.Server)
    try:
        port = server.transport.sockets[0].getsockname()[1]
        found = await discover(("127.0.0.1", port), candidates("renke-noise"), units=range(1, 6))
    finally:
        await server.shutdown()  # type: ignore[no-untyped-call]  # pymodbus has no types here
    assert [(each.profile, each.unit, each.line) for each in found] == [
        ("renke-noise", 2, None),
        ("renke-noise", 4, None),
    ]

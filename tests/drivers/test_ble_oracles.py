"""The drivers of Bluetooth devices against decoders that others wrote, on any bytes.

`pip install --group oracles` brings them; they are in no other environment, and these tests are then skipped.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgegw.driver import Advert, FrameError, Reading
from edgegw_drivers.aranet.models import parse as parse_aranet
from edgegw_drivers.bthome import Bthome
from edgegw_drivers.bthome.objects import KINDS, Kind, read
from edgegw_drivers.ruuvi.formats import parse as parse_ruuvi

ADDRESS = "54:48:E6:8F:80:A5"
KEY = "231d39c1d7cc1ab1aee224cd096db932"


def oracle(name: str) -> Any:
    return pytest.importorskip(name, reason=f"{name} is not installed (dependency group oracles)")


# BTHome


def test_bthome_ble_knows_the_same_objects_with_the_same_lengths_signs_and_factors() -> None:
    theirs = oracle("bthome_ble.const").MEAS_TYPES
    assert KINDS.keys() == theirs.keys()
    for number, kind in KINDS.items():
        other = theirs[number]
        assert kind.size in {0, other.data_length}, hex(number)
        if kind.form == "number" and other.data_format.endswith("_integer"):
            assert kind.signed == other.data_format.startswith("signed"), hex(number)
            assert kind.factor / kind.divisor == pytest.approx(other.factor), hex(number)


NUMBERS = st.sampled_from([(number, kind) for number, kind in KINDS.items() if kind.form == "number"])


@given(NUMBERS, st.binary(min_size=4, max_size=4))
@settings(max_examples=1000)
def test_bthome_ble_reads_the_same_number(chosen: tuple[int, Kind], data: bytes) -> None:
    parser = oracle("bthome_ble.parser")
    factor = oracle("bthome_ble.const").MEAS_TYPES[chosen[0]].factor
    number, kind = chosen
    (found,) = read(bytes((number,)) + data[: kind.size]).found
    parsed = (parser.parse_int if kind.signed else parser.parse_uint)(data[: kind.size], factor)
    # It rounds to the decimals of the factor.
    assert found.value == pytest.approx(parsed, abs=factor / 2 + 1e-9)


@given(st.binary(max_size=24))
@settings(max_examples=500)
def test_bthome_ble_takes_the_same_temperature_and_humidity_out_of_any_packet(payload: bytes) -> None:
    theirs = oracle("bthome_ble").BTHomeBluetoothDeviceData()
    info = oracle("habluetooth").BluetoothServiceInfoBleak
    data = b"\x40\x02\xca\x09" + payload
    update = theirs.update(
        info(
            name="x",
            address=ADDRESS,
            rssi=-60,
            manufacturer_data={},
            service_data={"0000fcd2-0000-1000-8000-00805f9b34fb": data},
            service_uuids=[],
            source="",
            device=None,
            advertisement=None,
            connectable=False,
            time=0.0,
            tx_power=None,
        )
    )
    values = [
        each.native_value for key, each in update.entity_values.items() if key.key.startswith("temperature")
    ]
    outcomes = (
        Bthome(ADDRESS, instance=0).decoder().decode(Advert(ADDRESS, False, -60, {}, {0xFCD2: data}), 0.0)
    )
    ours = [
        each.value for each in outcomes if isinstance(each, Reading) and each.quantity.name == "temperature"
    ]
    # It rounds object 58, of steps of 0.35, to one decimal.
    assert ours == pytest.approx(values, abs=0.051)


# Ruuvi

RUUVI = {
    3: ("ruuvitag_sensor.decoders.df3_decoder", "Df3Decoder", 14),
    5: ("ruuvitag_sensor.decoders.df5_decoder", "Df5Decoder", 24),
    6: ("ruuvitag_sensor.decoders.df6_decoder", "Df6Decoder", 20),
    0xE1: ("ruuvitag_sensor.decoders.dfe1_decoder", "DfE1Decoder", 40),
}
RUUVI_NAMES = {
    "temperature": "temperature",
    "humidity": "humidity",
    "pressure": "pressure",
    "pm1": "pm_1",
    "pm2_5": "pm_2_5",
    "pm4": "pm_4",
    "pm10": "pm_10",
    "co2": "co2",
    "voc_index": "voc",
    "nox_index": "nox",
    "illuminance": "luminosity",
}


@given(st.sampled_from(list(RUUVI)), st.binary(min_size=39, max_size=39))
@settings(max_examples=1000)
def test_ruuvitag_sensor_reads_the_same_sample(number: int, body: bytes) -> None:
    module, name, length = RUUVI[number]
    data = (bytes((number,)) + body)[:length]
    theirs = getattr(oracle(module), name)().decode_data(data.hex())
    sample = parse_ruuvi(data)
    for quantity, value in sample.values.items():
        if quantity == "battery_voltage":
            other = theirs["battery"]
            assert (value is None) == (other is None)
            assert value is None or value * 1000 == pytest.approx(other)
            continue
        other = theirs[RUUVI_NAMES[quantity]]
        assert (value is None) == (other is None), quantity
        # It rounds to two decimals, the formats have steps of 0.0025 and 0.005.
        assert value is None or value == pytest.approx(other, abs=0.0051), quantity
    if number != 3:
        expected = theirs["measurement_sequence_number"]
        assert sample.sequence == (None if number == 5 and expected == 0xFFFF else expected)


# Aranet

ARANET_NAMES = {
    "co2": "co2",
    "temperature": "temperature",
    "humidity": "humidity",
    "pressure": "pressure",
    "radon": "radon_concentration",
    "dose_rate": "radiation_rate",
    "battery": "battery",
}


@given(st.sampled_from([0, 1, 2, 3]), st.binary(min_size=22, max_size=22))
@settings(max_examples=1000)
def test_aranet4_reads_the_same_measurement(model: int, body: bytes) -> None:
    client = oracle("aranet4.client")
    flags = bytes((body[0] | 0x20,))
    # Its words for the status know no other than these.
    data = flags + body[1:16] + b"\x01" + body[17:22] if model == 0 else (bytes((model,)) + flags + body)
    if model:
        data = data[:18] + bytes((data[18] & 3,)) + data[19:]
    device = SimpleNamespace(name=None, address=ADDRESS)
    theirs = client.Aranet4Advertisement(
        device, SimpleNamespace(manufacturer_data={0x0702: data}, rssi=-60)
    ).readings
    try:
        sample = parse_aranet(data)
    except FrameError:
        assert theirs is None
        return
    for quantity, value in sample.values.items():
        other = getattr(theirs, ARANET_NAMES[quantity])
        if quantity == "dose_rate":
            assert value == pytest.approx(other * 1e-9, rel=1e-9)
        elif value is None:
            assert other == -1, quantity
        elif not (model == 3 and value == 0 and quantity in {"temperature", "humidity"}):
            # It rounds to one decimal, and takes a radon monitor's zero for a missing sensor, one by one.
            assert value == pytest.approx(other, abs=0.051), quantity
    assert sample.meta["age_s"] == theirs.ago
    assert sample.meta["interval_s"] == theirs.interval

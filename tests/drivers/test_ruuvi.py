from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegw.driver import Advert, FrameError, Quality, Reading
from edgegw_drivers.ruuvi import Ruuvi
from edgegw_drivers.ruuvi.formats import parse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgegw.driver import Outcome

# Test vectors of ruuvi/docs, communication/bluetooth-advertisements.
MAC = "CB:B8:33:4C:88:4F"
TAG = bytes.fromhex("0512fc5394c37c0004fffc040cac364200cdcbb8334c884f")
AIR = bytes.fromhex("06170c5668c79e007000c90501d9ffcd004c884f")
EXTENDED = bytes.fromhex("e1170c5668c79e0065007004bd11ca00c90a0213e0ac000000decdee110000000000cbb8334c884f")


def heard(decoder: object, data: bytes, now: float = 0.0, address: str = MAC) -> Sequence[Outcome]:
    found: Sequence[Outcome] = decoder.decode(Advert(address, True, -60, {0x0499: data}, {}), now)  # type: ignore[attr-defined]
    return found


def told(outcomes: Sequence[Outcome]) -> dict[str, float]:
    return {each.quantity.name: each.value for each in outcomes if isinstance(each, Reading)}


def numbered(data: bytes, sequence: int) -> bytes:
    """The same sample with another number."""
    at, size = {5: (16, 2), 6: (15, 1), 0xE1: (25, 3)}[data[0]]
    return data[:at] + sequence.to_bytes(size, "big") + data[at + size :]


@given(st.integers(-32767, 32767), st.integers(0, 65534), st.integers(0, 65534), st.integers(0, 0x7FE))
def test_values_are_the_decimals_of_the_formats_steps(
    temperature: int, humidity: int, pressure: int, power: int
) -> None:
    data = struct.pack(">BhHHhhhHBH", 5, temperature, humidity, pressure, 0, 0, 0, power << 5, 0, 1)
    values = parse(data + b"\xff" * 6).values
    assert values == {
        "temperature": pytest.approx(temperature * 0.005, abs=1e-9),
        "humidity": pytest.approx(humidity * 0.0025, abs=1e-9),
        "pressure": pytest.approx(500 + pressure / 100, abs=1e-9),
        "battery_voltage": pytest.approx(1.6 + power / 1000, abs=1e-9),
    }


def test_the_brightest_and_the_darkest_light_of_format_6() -> None:
    def lux(code: int) -> float | None:
        return parse(AIR[:13] + bytes((code,)) + AIR[14:]).values["illuminance"]

    # Examples of the format's description; its fourth, for 0x80, is what its own formula gives for 0x7E.
    assert [lux(code) for code in (0, 1, 0x10, 0x7E, 0xFE, 0xFF)] == [0, 0.04, 1.01, 244.06, 65535.0, None]


def test_an_index_has_nine_bits_the_last_in_the_flags() -> None:
    def indices(voc: int, nox: int, flags: int) -> tuple[float | None, float | None]:
        values = parse(AIR[:11] + bytes((voc, nox)) + AIR[13:16] + bytes((flags,)) + AIR[17:]).values
        return values["voc_index"], values["nox_index"]

    assert indices(250, 0, 0x40) == (501, 0)
    assert indices(0, 250, 0x80) == (0, 501)
    assert indices(255, 255, 0xC0) == (None, None)


def test_what_is_not_available_is_a_counted_reason_each_time_and_never_a_zero() -> None:
    outcomes = heard(Ruuvi(MAC).decoder(), bytes.fromhex("058000ffffffff800080008000ffffffffffffffffffffff"))
    assert told(outcomes) == {}
    assert [each.reason for each in outcomes if isinstance(each, FrameError)] == ["not_available"] * 4


def test_what_cannot_be_air_is_decoded_and_fails() -> None:
    largest = bytes.fromhex("057ffffffefffe7fff7fff7fffffdefefffecbb8334c884f")
    found = {
        each.quantity.name: each for each in heard(Ruuvi(MAC).decoder(), largest) if isinstance(each, Reading)
    }
    assert {name: each.flag for name, each in found.items()} == {
        "temperature": Quality.FAIL,
        "humidity": Quality.FAIL,
        "pressure": Quality.FAIL,
        "battery_voltage": None,
    }
    assert found["temperature"].value == 163.835
    assert found["temperature"].checks == ("unauthenticated", "range")


def test_values_of_a_monitor_that_calibrates_are_suspect_or_dropped() -> None:
    found = heard(Ruuvi(MAC).decoder(), EXTENDED)
    assert {(each.flag, each.checks) for each in found if isinstance(each, Reading)} == {
        (Quality.SUSPECT, ("unauthenticated", "warm_up"))
    }
    with pytest.raises(FrameError, match="warming_up"):
        heard(Ruuvi(MAC, warm_up="drop").decoder(), EXTENDED)
    assert told(heard(Ruuvi(MAC, warm_up="drop").decoder(), AIR))


def test_a_sample_is_taken_once_however_often_it_is_heard() -> None:
    decoder = Ruuvi(MAC).decoder()
    assert told(heard(decoder, TAG, 0.0))
    assert heard(decoder, TAG, 1.0) == ()
    assert told(heard(decoder, numbered(TAG, 206), 2.0))
    assert heard(decoder, numbered(TAG, 206), 3.0) == ()
    assert told(heard(decoder, numbered(TAG, 206), 400.0)), "the number has come round in five silent minutes"


def test_a_sample_without_a_number_is_taken_each_time() -> None:
    old = bytes.fromhex("03291a1ece1efc18f94202ca0b53")
    for data in (old, numbered(TAG, 0xFFFF)):
        decoder = Ruuvi(MAC).decoder()
        assert told(heard(decoder, data, 0.0)) == told(heard(decoder, data, 1.0)) != {}


def test_the_fuller_format_is_preferred_for_as_long_as_it_is_heard() -> None:
    decoder = Ruuvi(MAC).decoder()
    assert "pm4" in told(heard(decoder, numbered(EXTENDED, 0x0201), 0.0))
    assert heard(decoder, numbered(AIR, 2), 1.0) == ()
    assert "pm4" in told(heard(decoder, numbered(EXTENDED, 0x0202), 2.0))
    assert "pm2_5" in told(heard(decoder, numbered(AIR, 9), 303.0)), (
        "no extended advertisement for five minutes"
    )


def test_one_sample_in_both_formats_is_taken_once() -> None:
    decoder = Ruuvi(MAC).decoder()
    assert told(heard(decoder, numbered(AIR, 0x42), 0.0))
    assert heard(decoder, numbered(EXTENDED, 0x010142), 0.1) == ()
    assert "pm4" in told(heard(decoder, numbered(EXTENDED, 0x010143), 1.0))


@pytest.mark.parametrize("data", [TAG, AIR, EXTENDED])
def test_a_payload_that_names_another_device_is_refused(data: bytes) -> None:
    with pytest.raises(FrameError, match="wrong_address"):
        heard(Ruuvi(MAC).decoder(), data, address="CB:B8:33:4C:88:50")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "truncated"),
        (TAG[:-1], "truncated"),
        (TAG + b"\0", "unsupported_length"),
        (b"\x04" + TAG[1:], "unsupported_format"),
        (b"\x08" + TAG[1:], "unsupported_format"),
    ],
)
def test_what_is_no_format_of_ours_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(FrameError, match=reason):
        heard(Ruuvi(MAC).decoder(), data)


def test_time_alone_brings_nothing() -> None:
    assert Ruuvi(MAC).decoder().due(1e9) == ()

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edgegw.driver import Advert, FrameError, Reading
from edgegw_drivers.aranet import Aranet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgegw.driver import Outcome

MAC = "00:11:22:33:44:55"
# Captures of Anrijs/Aranet4-Python tests/test_advertisements.py.
ARANET4 = bytes.fromhex("210503010005000143049f018b27350c023c00100055")
ARANET2 = bytes.fromhex("01210404010000000000990100000a02003b097800520064")
RADIATION = bytes.fromhex("022126040100d03300006c60060082000063002c01580072")
RADON_PLUS = bytes.fromhex("03210406010000000700fe01c927ce010064015802f60108")


def heard(decoder: object, data: bytes, now: float = 0.0) -> Sequence[Outcome]:
    found: Sequence[Outcome] = decoder.decode(Advert(MAC, True, -60, {0x0702: data}, {}), now)  # type: ignore[attr-defined]
    return found


def told(data: bytes) -> tuple[dict[str, float], list[str]]:
    """Values, and the reasons for what is missing."""
    outcomes = heard(Aranet(MAC).decoder(), data)
    values = {each.quantity.name: each.value for each in outcomes if isinstance(each, Reading)}
    return values, [each.reason for each in outcomes if isinstance(each, FrameError)]


def patched(data: bytes, at: int, word: int) -> bytes:
    return data[:at] + word.to_bytes(2, "little") + data[at + 2 :]


def test_a_dose_rate_is_in_sievert_per_hour_and_the_dose_itself_is_no_quantity() -> None:
    (rate, battery) = heard(Aranet(MAC).decoder(), RADIATION)
    assert isinstance(rate, Reading)
    assert isinstance(battery, Reading)
    assert (rate.quantity.name, rate.value, rate.quantity.unit) == ("dose_rate", 1.3e-07, "Sv/h")
    assert rate.meta is not None
    assert (
        rate.meta.items()
        >= {"total_nsv": 13264, "duration_s": 417900, "age_s": 88, "firmware": "1.4.38"}.items()
    )
    assert (battery.quantity.name, battery.value) == ("battery", 99)


def test_a_radon_monitor_with_a_thermometer_gives_both() -> None:
    values, missing = told(RADON_PLUS)
    assert values == {"radon": 7, "temperature": 25.5, "humidity": 46.2, "pressure": 1018.5, "battery": 100}
    assert missing == []


@pytest.mark.parametrize(
    ("data", "at", "word", "quantity"),
    [
        (ARANET4, 8, 0x8001, "co2"),
        (ARANET4, 10, 0x4000, "temperature"),
        (ARANET4, 12, 0x8000, "pressure"),
        (ARANET2, 10, 0x4001, "temperature"),
        (ARANET2, 14, 0x8000, "humidity"),
        (RADON_PLUS, 8, 0x1F00, "radon"),
        (RADON_PLUS, 8, 0x1F02, "radon"),
        (RADON_PLUS, 12, 0xFFFF, "pressure"),
    ],
)
def test_a_code_in_place_of_a_value_is_not_available(data: bytes, at: int, word: int, quantity: str) -> None:
    whole, _ = told(data)
    values, missing = told(patched(data, at, word))
    assert missing == ["not_available"]
    assert values.keys() == whole.keys() - {quantity}


def test_zero_degrees_is_a_temperature_where_there_is_a_sensor() -> None:
    values, missing = told(patched(RADON_PLUS, 10, 0))
    assert values["temperature"] == 0
    assert missing == []


def test_a_measurement_is_taken_once_however_often_it_is_heard() -> None:
    decoder = Aranet(MAC).decoder()
    assert heard(decoder, ARANET4, 0.0)
    older = patched(ARANET4, 19, 20)
    assert heard(decoder, older, 4.0) == (), "only its age has grown"
    assert heard(decoder, ARANET4[:-1] + b"\x56", 60.0)
    assert heard(decoder, patched(ARANET4[:-1] + b"\x56", 8, 700), 61.0), (
        "another value is another measurement"
    )


def test_every_reading_says_that_anybody_can_have_sent_it() -> None:
    for data in (ARANET4, ARANET2, RADIATION, RADON_PLUS):
        for each in heard(Aranet(MAC).decoder(), data):
            assert isinstance(each, Reading)
            assert (each.flag, each.checks) == (None, ("unauthenticated",))


@pytest.mark.parametrize("data", [ARANET4, ARANET2, RADIATION, RADON_PLUS])
def test_a_device_that_may_not_speak_is_told_from_one_that_was_cut(data: bytes) -> None:
    flags = 0 if data is ARANET4 else 1
    silent = data[:flags] + bytes((data[flags] & ~0x20,)) + data[flags + 1 :]
    for length in range(2, len(silent) + 1):
        with pytest.raises(FrameError, match=r"integrations_off|truncated"):
            heard(Aranet(MAC).decoder(), silent[:length])
    with pytest.raises(FrameError, match="integrations_off"):
        heard(Aranet(MAC).decoder(), silent)
    with pytest.raises(FrameError, match="truncated"):
        heard(Aranet(MAC).decoder(), data[:-1])
    with pytest.raises(FrameError, match="unsupported_length"):
        heard(Aranet(MAC).decoder(), data + b"\0")


def test_what_is_shorter_than_the_header_is_truncated() -> None:
    for data in (b"", b"\x01", b"\x21", b"\x01\x00\x02", ARANET4[:6]):
        with pytest.raises(FrameError, match="truncated"):
            heard(Aranet(MAC).decoder(), data)


def test_time_alone_brings_nothing() -> None:
    assert Aranet(MAC).decoder().due(1e9) == ()

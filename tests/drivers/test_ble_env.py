from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESCCM

from edgegw.driver import Advert, FrameError, Notice, Reading
from edgegw_drivers.ble_env import BleEnv

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgegw.driver import Outcome

MAC = "A4:C1:38:02:83:F4"
# Captures of custom-components/ble_monitor, test_atc_parser.py and test_qingping_parser.py.
ATC = bytes.fromhex("a4c1380283f400a22f5f0bf819")
CUSTOM = bytes.fromhex("f4830238c1a4a9066911b60b58f70d")
KEY = "b9ea895fac7eea6d30532432a516f3a3"
KEYED_MAC = "A4:C1:38:8D:18:B2"
ENCRYPTED = bytes.fromhex("11d603fbfa7b6dfb1e26fd")
CGPR1 = bytes.fromhex("0812005e60342d580201640f011c09048b090000")


def heard(
    decoder: object,
    data: bytes,
    now: float = 0.0,
    *,
    service: int = 0x181A,
    address: str = MAC,
    company: int = 0,
) -> Sequence[Outcome]:
    of, services = ({company: data}, {}) if company else ({}, {service: data})
    found: Sequence[Outcome] = decoder.decode(Advert(address, False, -60, of, services), now)  # type: ignore[attr-defined]
    return found


def told(outcomes: Sequence[Outcome]) -> dict[str, float]:
    return {each.quantity.name: each.value for each in outcomes if isinstance(each, Reading)}


def gadget(kind: int, *words: int) -> bytes:
    return bytes((0, kind, 0x67, 0x35)) + b"".join(word.to_bytes(2, "little") for word in words)


def sealed(plain: bytes, counter: int) -> bytes:
    """What pvvx firmware with the key sends."""
    head = bytes((len(plain) + 8, 0x16, 0x1A, 0x18, counter))
    nonce = bytes.fromhex(KEYED_MAC.replace(":", ""))[::-1] + head
    return head[-1:] + AESCCM(bytes.fromhex(KEY), tag_length=4).encrypt(nonce, plain, b"\x11")


# Qingping


def test_each_model_of_qingping_gives_what_it_has() -> None:
    for data, expected in {
        "080cbf6552342d580104f100ad01020125": {"temperature": 24.1, "humidity": 42.9, "battery": 37},
        "0807b24410342d580104ca004502020138": {"temperature": 20.2, "humidity": 58.1, "battery": 56},
        "8818072240342d5801041701ca0002016107027227": {
            "temperature": 27.9,
            "humidity": 20.2,
            "battery": 97,
            "pressure": 1009.8,
        },
        "0824b6ebc994c27c0104d100ba0112040a000a0013026f02": {
            "temperature": 20.9,
            "humidity": 44.2,
            "pm2_5": 10,
            "pm10": 10,
            "co2": 623,
        },
        "885d00112233445501041701ca000201e41302ed03": {
            "temperature": 27.9,
            "humidity": 20.2,
            "battery": 100,
            "co2": 1005,
        },
        CGPR1.hex(): {"battery": 100, "illuminance": 2443},
        "4812005e60342d580804008b09000f0122": {"illuminance": 2443},
    }.items():
        assert told(heard(BleEnv(MAC).decoder(), bytes.fromhex(data), service=0xFDCD)) == expected


def test_light_and_motion_are_no_quantities_and_unknown_objects_are_skipped_by_their_length() -> None:
    with pytest.raises(FrameError, match="no_data"):
        heard(BleEnv(MAC).decoder(), bytes.fromhex("4812005e60342d581101010f0130"), service=0xFDCD)
    (reading,) = heard(BleEnv(MAC).decoder(), bytes.fromhex("080c005e60342d5877020102020125"), service=0xFDCD)
    assert isinstance(reading, Reading)
    assert reading.meta is not None
    assert reading.meta["unknown"] == ["770102"]


def test_a_packet_id_tells_repetitions_apart() -> None:
    decoder = BleEnv(MAC).decoder()
    assert heard(decoder, CGPR1, 0.0, service=0xFDCD)
    assert heard(decoder, CGPR1, 1.0, service=0xFDCD) == ()
    assert heard(decoder, CGPR1.replace(b"\x0f\x01\x1c", b"\x0f\x01\x1d"), 2.0, service=0xFDCD)


# ATC and pvvx


def test_both_plain_formats_give_what_is_sent_and_are_marked() -> None:
    for data in (ATC, CUSTOM):
        outcomes = heard(BleEnv(MAC).decoder(), data)
        assert told(outcomes).keys() == {"temperature", "humidity", "battery", "battery_voltage"}
        assert {each.checks for each in outcomes if isinstance(each, Reading)} == {("unauthenticated",)}


def test_a_sample_is_taken_once_and_the_next_one_again() -> None:
    decoder = BleEnv(MAC).decoder()
    assert heard(decoder, ATC, 0.0)
    assert heard(decoder, ATC, 5.0) == ()
    assert heard(decoder, ATC[:-1] + b"\x1a", 10.0)


def test_a_payload_that_names_another_device_is_refused() -> None:
    for data in (ATC, CUSTOM):
        with pytest.raises(FrameError, match="wrong_address"):
            heard(BleEnv(MAC).decoder(), data, address=KEYED_MAC)


def test_an_encrypted_sample_gives_what_is_sent_and_no_voltage() -> None:
    decoder = BleEnv(KEYED_MAC, key=KEY).decoder()
    outcomes = heard(decoder, ENCRYPTED, address=KEYED_MAC)
    assert told(outcomes) == {"temperature": 23.45, "humidity": 41.73, "battery": 61}
    assert {each.checks for each in outcomes if isinstance(each, Reading)} == {("unauthenticated_time",)}
    assert heard(decoder, ENCRYPTED, address=KEYED_MAC) == ()


def test_the_short_encrypted_format_has_half_degrees() -> None:
    decoder = BleEnv(KEYED_MAC, key=KEY).decoder()
    data = sealed(bytes((80 + 41, 90, 0x80 | 77)), 5)
    assert told(heard(decoder, data, address=KEYED_MAC)) == {
        "temperature": 20.5,
        "humidity": 45.0,
        "battery": 77,
    }


def test_one_counter_with_two_contents_is_an_alarm() -> None:
    decoder = BleEnv(KEYED_MAC, key=KEY).decoder()
    heard(decoder, sealed(bytes(3), 5), address=KEYED_MAC)
    notice, error = heard(decoder, sealed(bytes((1, 1, 1)), 5), address=KEYED_MAC)
    assert isinstance(notice, Notice)
    assert isinstance(error, FrameError)
    assert (notice.name, error.reason) == ("replay", "replay")
    assert heard(decoder, sealed(bytes((1, 1, 1)), 6), address=KEYED_MAC)


def test_a_key_refuses_every_plain_format_and_what_another_key_has_sealed() -> None:
    decoder = BleEnv(MAC, key=KEY).decoder()
    for data, service, company in (
        (ATC, 0x181A, 0),
        (CUSTOM, 0x181A, 0),
        (CGPR1, 0xFDCD, 0),
        (gadget(4, 1, 2), 0, 0x06D5),
    ):
        with pytest.raises(FrameError, match="downgrade"):
            heard(decoder, data, service=service, company=company)
    with pytest.raises(FrameError, match="auth"):
        heard(decoder, ENCRYPTED)
    with pytest.raises(FrameError, match="key_missing"):
        heard(BleEnv(MAC).decoder(), ENCRYPTED)


def test_no_flipped_bit_of_an_encrypted_sample_passes() -> None:
    for bit in range(8 * len(ENCRYPTED)):
        forged = bytearray(ENCRYPTED)
        forged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FrameError, match="auth"):
            heard(BleEnv(KEYED_MAC, key=KEY).decoder(), bytes(forged), address=KEYED_MAC)


def test_a_key_of_another_length_opens_nothing_and_is_not_shown() -> None:
    driver = BleEnv(MAC, key=KEY[:-2])
    with pytest.raises(ValueError, match="15 bytes long") as refused:
        driver.decoder()
    assert KEY[:-2] not in str(refused.value) + repr(driver)
    with pytest.raises(FrameError, match="key_length"):
        driver.decode_layer("ble-service-data-0x181A", ENCRYPTED, {})


def test_a_packet_with_the_counter_that_came_last_is_a_replay_to_whoever_says_so() -> None:
    driver = BleEnv(KEYED_MAC, key=KEY)
    with pytest.raises(FrameError, match="replay"):
        driver.decode_layer("ble-service-data-0x181A", ENCRYPTED, {"last_counter": ENCRYPTED[0]})
    assert driver.decode_layer("ble-service-data-0x181A", ENCRYPTED, {"last_counter": "3"})


# Sensirion


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (gadget(4, 0x6667, 0x8000), {"temperature": 25.0, "humidity": 50.0}),
        (gadget(6, 0x6667, 0x8000), {"temperature": 25.0, "humidity": 56.5}),
        (gadget(10, 0x6667, 0x8000, 600), {"temperature": 25.0, "humidity": 50.0, "co2": 600}),
        (
            gadget(26, 0x6667, 0x8000, 600, 101, 1, 123),
            {"temperature": 25, "humidity": 50, "co2": 600, "voc_index": 101, "nox_index": 1, "pm2_5": 12.3},
        ),
        (gadget(34, 1, 2, 3, 4), {"pm1": 0.1, "pm2_5": 0.2, "pm4": 0.3, "pm10": 0.4}),
        (gadget(14, 0x6667, 0x8000, 100), {"temperature": 25.0, "humidity": 50.0}),
        (gadget(8, 0x6667, 0x8000, 600, 0), {"temperature": 25.0, "humidity": 50.0, "co2": 600}),
    ],
)
def test_each_sample_type_of_a_gadget_has_its_own_values(data: bytes, expected: dict[str, float]) -> None:
    assert told(heard(BleEnv(MAC).decoder(), data, company=0x06D5)) == pytest.approx(expected, abs=0.006)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\0\x04\0", "truncated"),
        (gadget(4, 1), "truncated"),
        (gadget(4, 1, 2, 3), "unsupported_length"),
        (gadget(5, 1, 2), "unsupported_format"),
        (b"\x01" + gadget(4, 1, 2)[1:], "unsupported_format"),
    ],
)
def test_what_is_no_sample_of_a_gadget_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(FrameError, match=reason):
        heard(BleEnv(MAC).decoder(), data, company=0x06D5)


def test_time_alone_brings_nothing() -> None:
    assert BleEnv(MAC).decoder().due(1e9) == ()

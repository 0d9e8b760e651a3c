from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from hypothesis import given
from hypothesis import strategies as st

from edgegw.driver import Advert, FrameError, Notice, Quality, Reading
from edgegw_drivers.bthome import Bthome
from edgegw_drivers.bthome.objects import KINDS, read

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgegw.driver import Outcome
    from edgegw_drivers.bthome.driver import Decoder

ADDRESS = "54:48:E6:8F:80:A5"
# The key and the capture of Bluetooth-Devices/bthome-ble tests/test_parser_v2.py.
KEY = "231d39c1d7cc1ab1aee224cd096db932"
CAPTURED = bytes.fromhex("41a47266c95f730011223378237214")
TEMPERATURE = bytes.fromhex("02ca09")


def advert(data: bytes, address: str = ADDRESS) -> Advert:
    return Advert(address, False, -60, {}, {0xFCD2: data})


def sealed(counter: int, payload: bytes = TEMPERATURE, *, key: str = KEY, info: int = 0x41) -> bytes:
    """What a device with that key sends."""
    head, tail = bytes((info,)), counter.to_bytes(4, "little")
    nonce = bytes.fromhex(ADDRESS.replace(":", "")) + b"\xd2\xfc" + head + tail
    text = AESCCM(bytes.fromhex(key), tag_length=4).encrypt(nonce, payload, None)
    return head + text[:-4] + tail + text[-4:]


def told(outcomes: Sequence[Outcome]) -> list[tuple[str, float]]:
    return [(each.quantity.name, each.value) for each in outcomes if isinstance(each, Reading)]


def reasons(outcomes: Sequence[Outcome]) -> list[str]:
    return [each.reason for each in outcomes if isinstance(each, FrameError)]


def heard(decoder: Decoder, data: bytes, now: float = 0.0) -> list[tuple[str, float]] | str:
    """Readings of one packet, or why there are none."""
    try:
        outcomes = decoder.decode(advert(data), now)
    except FrameError as error:
        return error.reason
    return told(outcomes) or ",".join(reasons(outcomes))


@pytest.fixture
def keyed() -> Decoder:
    return Bthome(ADDRESS, key=KEY).decoder()


WARM = [("temperature", 25.06)]

# Objects


def test_every_object_of_the_format_is_read_with_its_own_length() -> None:
    for number, kind in KINDS.items():
        data = {"text": b"\x02hi", "raw": b"\x01\x7f", "command": b"\x01\x04\x05"}.get(
            kind.form, b"\x01" * kind.size
        )
        found = read(bytes((number,)) + data + TEMPERATURE)
        assert [each.kind.name for each in found.found] == [kind.name, "temperature"], hex(number)
        assert not found.cut
        assert found.unknown is None


@pytest.mark.parametrize(
    ("data", "name", "value"),
    [
        ("3a05", "button", "long_double_press"),
        ("3a00", "button", None),
        ("3a77", "button", "event_77"),
        ("3c0203", "dimmer", "rotate_right 3"),
        ("3c0000", "dimmer", None),
        ("3b0003", "command", "step_up"),
        ("3b0204aabb", "command", "step_down aabb"),
        ("530568656c6c6f", "text", "hello"),
        ("5301ff", "text", "�"),
        ("5300", "text", ""),
        ("5403deadff", "raw", "deadff"),
        ("f100010204", "firmware", "4.2.1.0"),
        ("f2000106", "firmware", "6.1.0"),
        ("f00100", "device_type", 1),
        ("58ea", "temperature", -7.7),
        ("2101", "motion", True),
        ("2300", "occupancy", False),
        ("5d02ea", "current", -5.63),
        ("3f020c", "rotation", 307.4),
        ("461e", "uv_index", 3.0),
        ("62cdffffff", "speed", -0.000051),
    ],
)
def test_a_value_is_the_decimal_event_or_text_that_the_device_states(
    data: str, name: str, value: object
) -> None:
    (found,) = read(bytes.fromhex(data)).found
    assert (found.kind.name, found.value) == (name, value)


@given(st.binary(max_size=64))
def test_any_payload_is_read_to_its_end_or_up_to_what_is_not_known(payload: bytes) -> None:
    found = read(payload)
    assert not (found.cut and found.unknown is not None)
    assert len(found.found) <= len(payload)


def test_what_has_no_quantity_is_shown_and_never_measured() -> None:
    # Mass, moisture and a person in the room are no quantities of the gateway; occupancy here is yes or no.
    (outcome,) = Bthome(ADDRESS).decoder().decode(advert(bytes.fromhex("40015d065e1e142302230a")), 0.0)[:1]
    assert isinstance(outcome, Reading)
    assert outcome.quantity.name == "battery"
    assert outcome.meta is not None
    assert {"mass_kg", "moisture", "occupancy"} <= outcome.meta.keys()


def test_the_first_of_two_temperatures_is_the_sensors_unless_another_is_asked_for() -> None:
    data = bytes.fromhex("4002ca0902cf094500ff03bf13")
    assert heard(Bthome(ADDRESS).decoder(), data) == [("temperature", 25.06), ("humidity", 50.55)]
    assert heard(Bthome(ADDRESS, instance=2).decoder(), data) == [("temperature", 25.11)]
    assert heard(Bthome(ADDRESS, instance=3).decoder(), data) == [("temperature", -25.6)]
    assert heard(Bthome(ADDRESS, instance=4).decoder(), data) == ""


def test_a_voltage_is_the_battery_unless_it_is_said_to_be_something_else() -> None:
    data = bytes.fromhex("400c020c4a020c")
    assert heard(Bthome(ADDRESS).decoder(), data) == [("battery_voltage", 3.074)]
    assert heard(Bthome(ADDRESS, voltage="other").decoder(), data) == ""


def test_rain_is_what_fell_since_the_total_before() -> None:
    decoder = Bthome(ADDRESS).decoder()

    def rain(tenths: int) -> object:
        return heard(decoder, b"\x40\x5f" + tenths.to_bytes(2, "little"))

    assert rain(65_530) == "first_value"
    assert rain(65_533) == [("precipitation", 0.3)]
    assert rain(65_533) == [("precipitation", 0.0)]
    assert rain(4) == [("precipitation", 0.7)], "sixteen bits wrapped"
    assert rain(2000) == "implausible"
    assert rain(2010) == [("precipitation", 1.0)]
    assert rain(0) == "counter_reset"
    assert heard(Bthome(ADDRESS, precipitation="increment").decoder(), b"\x40\x5f\x07\x00") == [
        ("precipitation", 0.7)
    ]


def test_what_cannot_be_air_fails_and_is_kept() -> None:
    (outcome,) = Bthome(ADDRESS).decoder().decode(advert(bytes.fromhex("402e65")), 0.0)
    assert isinstance(outcome, Reading)
    assert (outcome.value, outcome.flag, outcome.checks) == (101, Quality.FAIL, ("unauthenticated", "range"))


def test_objects_that_are_not_in_order_are_read_and_the_operator_is_told() -> None:
    outcomes = Bthome(ADDRESS).decoder().decode(advert(bytes.fromhex("4003bf1302ca09")), 0.0)
    assert told(outcomes) == [("humidity", 50.55), ("temperature", 25.06)]
    assert [each.name for each in outcomes if isinstance(each, Notice)] == ["order"]


def test_what_is_complete_is_taken_before_a_cut_and_before_an_unknown_object() -> None:
    decoder = Bthome(ADDRESS).decoder()
    for data, reason in (("4002ca0903bf", "truncated"), ("4002ca09feca09", "unknown_object")):
        outcomes = decoder.decode(advert(bytes.fromhex(data)), 0.0)
        assert told(outcomes) == WARM
        assert reasons(outcomes) == [reason]


# Provenance


def test_a_plain_reading_is_marked_and_its_flag_is_left_alone_an_encrypted_one_is_not_marked() -> None:
    (plain,) = Bthome(ADDRESS).decoder().decode(advert(b"\x40" + TEMPERATURE), 0.0)
    (sealed_one,) = Bthome(ADDRESS, key=KEY).decoder().decode(advert(sealed(1)), 0.0)
    assert isinstance(plain, Reading)
    assert isinstance(sealed_one, Reading)
    assert (plain.flag, plain.checks) == (None, ("unauthenticated",))
    assert (sealed_one.flag, sealed_one.checks) == (None, ())


def test_the_published_capture_opens_and_what_we_seal_is_sealed_alike(keyed: Decoder) -> None:
    assert heard(keyed, CAPTURED) == [("temperature", 25.06), ("humidity", 50.55)]
    assert sealed(857870592, bytes.fromhex("02ca0903bf13")) == CAPTURED


def test_a_key_refuses_what_is_plain_and_what_another_key_has_sealed(keyed: Decoder) -> None:
    assert heard(keyed, b"\x40" + TEMPERATURE) == "downgrade"
    assert heard(keyed, sealed(1, key=KEY[::-1])) == "auth"
    assert heard(Bthome(ADDRESS).decoder(), sealed(1)) == "key_missing"


def test_no_flipped_bit_of_an_encrypted_packet_passes(keyed: Decoder) -> None:
    for bit in range(8 * len(CAPTURED)):
        forged = bytearray(CAPTURED)
        forged[bit // 8] ^= 1 << bit % 8
        assert heard(keyed, bytes(forged)) in {"auth", "unsupported_version", "downgrade", "truncated"}, bit


def test_a_packet_that_names_another_sender_is_refused() -> None:
    inside = bytes.fromhex("42b2188d38c1a404138a01")
    assert heard(Bthome(ADDRESS).decoder(), inside) == "wrong_address"
    assert told(Bthome("A4:C1:38:8D:18:B2").decoder().decode(advert(inside, "A4:C1:38:8D:18:B2"), 0.0)) == [
        ("pressure", 1008.83)
    ]


@pytest.mark.parametrize("data", ["", "40", "42b2188d38c1", "41", "4111223344aabbccdd", "e0", "2002ca09"])
def test_what_holds_no_objects_is_refused_with_a_reason(data: str) -> None:
    for driver in (Bthome(ADDRESS), Bthome(ADDRESS, key=KEY)):
        assert isinstance(heard(driver.decoder(), bytes.fromhex(data)), str)


# Repetitions and replays


def test_a_packet_that_is_heard_again_is_dropped_silently(keyed: Decoder) -> None:
    assert heard(keyed, sealed(7)) == WARM
    assert heard(keyed, sealed(7)) == ""
    assert heard(keyed, sealed(8)) == WARM


def test_the_same_counter_with_another_content_is_an_alarm(keyed: Decoder) -> None:
    keyed.decode(advert(sealed(7)), 0.0)
    outcomes = keyed.decode(advert(sealed(7, bytes.fromhex("02ffff"))), 1.0)
    notice, error = outcomes
    assert isinstance(notice, Notice)
    assert notice.name == "replay"
    assert isinstance(error, FrameError)
    assert error.reason == "replay"
    assert heard(keyed, sealed(8)) == WARM, "the alarm costs nothing that is genuine"


def test_an_older_packet_is_a_replay_and_the_operator_is_told_what_to_do(keyed: Decoder) -> None:
    keyed.decode(advert(sealed(1000)), 0.0)
    outcomes = keyed.decode(advert(sealed(999)), 1.0)
    assert reasons(outcomes) == ["replay"]
    assert "battery" in next(each.text for each in outcomes if isinstance(each, Notice))
    assert heard(keyed, sealed(1001)) == WARM


def test_a_forged_packet_moves_no_counter(keyed: Decoder) -> None:
    keyed.decode(advert(sealed(5)), 0.0)
    assert heard(keyed, sealed(4_000_000_000, key=KEY[::-1])) == "auth"
    assert heard(keyed, sealed(6)) == WARM


def test_a_counter_may_wrap_at_its_end_and_nowhere_else(keyed: Decoder) -> None:
    assert heard(keyed, sealed(2**32 - 5)) == WARM
    assert heard(keyed, sealed(20_000_000)) == "replay"
    assert heard(keyed, sealed(3)) == WARM
    assert heard(keyed, sealed(2**32 - 4)) == "replay", "recorded before the wrap"
    assert heard(keyed, sealed(4)) == WARM


def test_the_operator_may_accept_that_a_device_begins_anew() -> None:
    decoder = Bthome(ADDRESS, key=KEY, counter_restart="accept").decoder()
    assert [heard(decoder, sealed(counter)) for counter in (5000, 12, 13)] == [WARM] * 3
    assert heard(decoder, sealed(13)) == ""


def test_after_a_restart_the_first_counter_is_believed_unless_the_last_one_is_configured() -> None:
    assert heard(Bthome(ADDRESS, key=KEY).decoder(), sealed(5)) == WARM
    floored = Bthome(ADDRESS, key=KEY, last_counter=1000).decoder()
    assert [heard(floored, sealed(counter)) for counter in (5, 1000)] == ["replay", "replay"]
    assert heard(floored, sealed(1001)) == WARM
    assert heard(floored, sealed(1001)) == "", "from then on a repetition is known as one"


def test_a_packet_id_tells_repetitions_of_plain_packets_apart_from_new_ones() -> None:
    decoder = Bthome(ADDRESS).decoder()
    one, two, voltage = (bytes.fromhex(text) for text in ("40000902ca09", "40000a02ca09", "40000a0c020c"))
    assert heard(decoder, one) == WARM
    assert heard(decoder, one, 10.0) == ""
    assert heard(decoder, two, 20.0) == WARM
    assert heard(decoder, voltage, 21.0) == [("battery_voltage", 3.074)], "a sample in two halves, one id"
    assert heard(decoder, two, 22.0) == ""
    assert heard(decoder, two, 400.0) == WARM, "after five silent minutes the numbers have come round"


def test_a_device_without_packet_ids_is_read_as_often_as_it_is_heard() -> None:
    decoder = Bthome(ADDRESS).decoder()
    assert [heard(decoder, b"\x40" + TEMPERATURE, now) for now in (0.0, 1.0)] == [WARM, WARM]


# Options


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"address": "54:48"}, "address: '54:48' is no Bluetooth address"),
        ({"address": ""}, "address: is empty"),
        ({"key": "not hexadecimal"}, "key: is not written in hexadecimal digits"),
        ({"last_counter": 2**32}, "last_counter: 0 to 4294967295"),
        ({"instance": -1}, "instance: 1 is the first"),
    ],
)
def test_options_that_cannot_be_are_refused_in_a_sentence(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{sentence}"):
        Bthome(**{"address": ADDRESS, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize("key", [KEY[:-2], KEY + "00"])
def test_a_key_of_another_length_opens_nothing_and_is_not_shown(key: str) -> None:
    driver = Bthome(ADDRESS, key=key)
    with pytest.raises(ValueError, match="bytes long; the key of a device has 16") as refused:
        driver.decoder()
    assert key not in str(refused.value)
    with pytest.raises(FrameError, match="key_length"):
        driver.decode_layer("ble-service-data-0xFCD2", sealed(1), {})


def test_a_key_may_be_written_with_colons_and_blanks() -> None:
    spaced = ":".join(KEY[at : at + 2] for at in range(0, 32, 2))
    assert heard(Bthome(ADDRESS, key=spaced).decoder(), sealed(1)) == WARM


def test_the_address_may_be_written_as_it_is_printed_anywhere() -> None:
    for text in ("5448e68f80a5", "54-48-e6-8f-80-a5", ADDRESS.lower()):
        assert Bthome(text).hears(advert(b"\x40"))
    assert not Bthome("54:48:E6:8F:80:A6").hears(advert(b"\x40"))


def test_time_alone_brings_nothing(keyed: Decoder) -> None:
    assert keyed.due(1e9) == ()

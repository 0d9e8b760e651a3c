from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgegw.driver import Advert, FrameError, KeyedAdvertDecoder, Quality, Reading
from edgegw_drivers.ble_presence import BlePresence
from edgegw_drivers.ble_presence.addresses import class_of
from edgegw_drivers.ble_presence.window import MOST_SENDERS, PARTS, Window

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edgegw.driver import Outcome
    from edgegw_drivers.ble_presence.driver import Decoder

LENGTH_S = 60.0


def key(fill: int = 7) -> bytearray:
    return bytearray((fill,) * 32)


def address(number: int, top: int = 0x40) -> str:
    octets = bytes((top, 0, 0, *number.to_bytes(3, "big")))
    return octets.hex(":").upper()


def advert(sender: str, rssi: int = -60, *, random: bool | None = True, **data: dict[int, bytes]) -> Advert:
    return Advert(sender, random, rssi, data.get("companies", {}), data.get("services", {}))


def opened(**options: object) -> Decoder:
    decoder = BlePresence(**{"window": "60s", **options}).decoder()  # type: ignore[arg-type]
    decoder.rekey(key())
    assert decoder.due(0.0) == ()
    return decoder


def heard(decoder: Decoder, adverts: Iterable[Advert], *, frames: int = 2) -> Decoder:
    """Each advertisement so many times, early in the window."""
    for each in adverts:
        for now in range(frames):
            assert decoder.decode(each, float(now)) == ()
    return decoder


def closed(decoder: Decoder, now: float = LENGTH_S) -> Sequence[Outcome]:
    decoder.rekey(key(9))
    return decoder.due(now)


def index(decoder: Decoder, now: float = LENGTH_S) -> float | str:
    (outcome,) = closed(decoder, now)
    return outcome.value if isinstance(outcome, Reading) else getattr(outcome, "reason", "")


def phones(count: int, top: int = 0x40) -> list[Advert]:
    return [advert(address(number, top)) for number in range(count)]


# What is counted


def test_the_index_is_how_many_senders_moved_about_in_the_window() -> None:
    (reading,) = closed(heard(opened(), phones(20)))
    assert isinstance(reading, Reading)
    assert (reading.quantity.name, reading.value, reading.flag) == ("presence_index", 20, None)
    assert reading.meta == {"window_s": 60.0, "frames": 40, "resolvable_private": 20}


def test_nothing_is_said_below_the_minimum_and_nothing_of_a_class_below_it() -> None:
    assert index(heard(opened(), phones(4))) == "below_minimum"
    assert index(heard(opened(min_count=4), phones(4))) == 4
    assert index(opened()) == "below_minimum"
    mixed = heard(opened(), phones(6) + phones(2, 0x00))
    (reading,) = closed(mixed)
    assert isinstance(reading, Reading)
    assert reading.value == 8
    assert reading.meta == {"window_s": 60.0, "frames": 16, "resolvable_private": 6}


def test_a_single_frame_and_a_weak_one_do_not_count() -> None:
    assert index(heard(opened(), phones(9), frames=1)) == "below_minimum"
    weak = [advert(address(number), -91) for number in range(9)]
    assert index(heard(opened(), weak)) == "below_minimum"
    assert index(heard(opened(min_rssi=-91), weak)) == 9


def test_sensors_do_not_count_whoever_made_them() -> None:
    ours = [
        advert(address(100 + number), companies={company: b""})
        for number, company in enumerate((0x0499, 0x0702, 0x06D5))
    ]
    ours += [
        advert(address(200 + number), services={service: b""})
        for number, service in enumerate((0xFCD2, 0xFDCD, 0x181A))
    ]
    assert index(heard(opened(), phones(7) + ours)) == 7


def beacon(
    decoder: Decoder, sender: str, powers: Sequence[int], *, random: bool = True, parts: int = PARTS
) -> None:
    for part in range(parts):
        for power in powers:
            decoder.decode(advert(sender, power, random=random), part * LENGTH_S / PARTS)


@pytest.mark.parametrize(
    ("top", "random", "powers", "parts", "fixed"),
    [
        (0x00, False, (-60, -64), PARTS, True),  # a public address that stays
        (0xC0, True, (-60, -64), PARTS, True),  # a static one
        (0xC0, True, (-50, -80), PARTS, False),  # it comes and goes: somebody carries it
        (0xC0, True, (-60, -64), PARTS - 1, False),  # it has left, or come
        (0x40, True, (-60, -64), PARTS, False),  # a phone on a bench
    ],
)
def test_a_fixed_beacon_is_told_from_somebody_who_moves(
    top: int, random: bool, powers: Sequence[int], parts: int, fixed: bool
) -> None:
    decoder = opened()
    heard(decoder, phones(5, 0x00))
    beacon(decoder, address(999, top), powers, random=random, parts=parts)
    assert index(decoder) == (5 if fixed else 6)


@pytest.mark.parametrize(
    ("first", "random", "expected"),
    [
        (0xC0, True, "static_random"),
        (0xFF, True, "static_random"),
        (0x7F, True, "resolvable_private"),
        (0x3F, True, "non_resolvable_private"),
        (0x80, True, "reserved"),
        (0xC0, False, "public"),
        (0xC0, None, "unknown"),
    ],
)
def test_the_class_of_an_address_stands_in_its_two_top_bits(
    first: int, random: bool | None, expected: str
) -> None:
    assert class_of(first, random) == expected


def test_reserved_addresses_do_not_count() -> None:
    assert index(heard(opened(), phones(5) + phones(9, 0x80))) == 5


def test_more_senders_than_can_be_told_apart_are_the_end_of_the_scale_and_cost_no_more_memory() -> None:
    decoder = opened()
    for now in (0.0, 1.0):
        for number in range(MOST_SENDERS + 100):
            decoder.decode(advert(address(number)), now)
    assert decoder._window is not None
    assert len(decoder._window._senders) == MOST_SENDERS
    (reading,) = closed(decoder)
    assert isinstance(reading, Reading)
    assert (reading.value, reading.flag) == (MOST_SENDERS, Quality.SUSPECT)
    assert "saturated" in reading.checks


# Windows


def test_windows_follow_one_another_and_nobody_is_carried_over() -> None:
    decoder = heard(opened(), phones(9))
    assert closed(decoder, LENGTH_S - 1) == ()
    assert index(decoder, LENGTH_S) == 9
    for number in range(6):
        for now in (61.0, 62.0):
            decoder.decode(advert(address(number)), now)
    assert index(decoder, 2 * LENGTH_S) == 6
    assert index(decoder, 3 * LENGTH_S) == "below_minimum"


def test_a_window_that_ran_over_gives_nothing() -> None:
    assert index(heard(opened(), phones(9)), LENGTH_S * 1.2) == "late"
    assert index(heard(opened(), phones(9)), LENGTH_S * 1.05) == 9


# Keys


def test_it_counts_only_under_a_key_and_says_so() -> None:
    decoder = BlePresence().decoder()
    assert isinstance(decoder, KeyedAdvertDecoder)
    with pytest.raises(FrameError, match="key_missing"):
        decoder.decode(advert(address(1)), 0.0)
    assert decoder.due(1000.0) == ()
    decoder.rekey(key())
    assert decoder.decode(advert(address(1)), 1001.0) == ()


def test_a_key_is_overwritten_with_its_window_and_one_that_is_not_needed_at_once() -> None:
    decoder = BlePresence(window="60s").decoder()
    first, second, third = key(1), key(2), key(3)
    decoder.rekey(first)
    decoder.due(0.0)
    decoder.rekey(second)
    decoder.rekey(third)
    assert second == bytes(32), "offered and not needed"
    assert first == key(1), "in use"
    heard(decoder, phones(3))
    decoder.due(LENGTH_S)
    assert first == bytes(32)
    assert third == key(3), "in use now"
    decoder.rekey(fourth := key(4))
    decoder.forget()
    assert third == fourth == bytes(32)


def test_nothing_of_a_sender_stays_when_the_window_has_closed() -> None:
    window = Window(key(), 0.0, LENGTH_S)
    window.hear(address(1), random=True, rssi=-60, now=1.0)
    octets, senders = window._octets, window._senders
    assert octets != bytes(6)
    window.close()
    assert octets == bytes(6)
    assert senders == {}


def test_the_same_sender_has_another_name_under_another_key() -> None:
    one, two = Window(key(1), 0.0, LENGTH_S), Window(key(2), 0.0, LENGTH_S)
    for window in (one, two):
        window.hear(address(1), random=True, rssi=-60, now=1.0)
    assert one._senders.keys().isdisjoint(two._senders)


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="a key has 32 bytes, not 16"):
        BlePresence().decoder().rekey(bytearray(16))


@given(
    st.lists(
        st.tuples(st.integers(0, 2**48 - 1), st.sampled_from([True, False, None]), st.integers(-127, 20))
    ),
)
@settings(max_examples=50)
def test_whatever_is_on_the_air_the_index_is_a_number_of_senders_or_nothing(
    frames: list[tuple[int, bool | None, int]],
) -> None:
    decoder = opened(min_rssi=-127)
    for now, (number, random, rssi) in enumerate(frames):
        decoder.decode(advert(number.to_bytes(6, "big").hex(":").upper(), rssi, random=random), float(now))
    found = index(decoder)
    assert found in {"below_minimum", "late"} or 5 <= float(found) <= len({number for number, _, _ in frames})


# Options


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"address": "AA:BB:CC:DD:EE:FF"}, "address: must stay empty"),
        ({"window": "59s"}, "window: 60s to 15m"),
        ({"window": "16m"}, "window: 60s to 15m"),
        ({"window": "soon"}, "window: 'soon' is no number"),
        ({"min_count": 2}, "min_count: 3 to 1000"),
        ({"min_count": 1001}, "min_count: 3 to 1000"),
        ({"min_rssi": 1}, "min_rssi: -127 to 0 dBm"),
    ],
)
def test_what_would_endanger_people_or_cannot_be_is_refused(
    options: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ValueError, match=f"^{sentence}"):
        BlePresence(**options)  # type: ignore[arg-type]


def test_it_hears_everybody() -> None:
    driver = BlePresence()
    assert driver.everything
    assert driver.hears(advert(address(1)))

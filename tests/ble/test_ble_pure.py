from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegw.driver import Advert
from edgegw.ports.ble.adverts import UNHEARD, advert, short_uuid
from edgegw.ports.ble.bluez import rfkill
from edgegw.ports.ble.crowd import Crowd
from edgegw.ports.ble.failures import _TEXTS, STUCK, explained, failure, named
from edgegw.ports.ble.patterns import MOST_PATTERNS, Wants, patterns
from edgegw.ports.ble.probation import MOST_PATIENCE, MOST_SENDERS, Probation
from edgegw.ports.ble.watch import LONGEST_QUIET_S, POWER_PAUSE_S, QUIET_S, Step, Watch
from edgegw.ports.errors import PortError

if TYPE_CHECKING:
    from pathlib import Path

TAG, OTHER, THIRD = "C0:FF:EE:00:00:01", "C0:FF:EE:00:00:02", "C0:FF:EE:00:00:03"
BASE = "-0000-1000-8000-00805f9b34fb"


# -- advertisements


def test_addresses_are_upper_case_and_their_kind_is_known_or_not() -> None:
    for kind, random in (("random", True), ("public", False), (None, None)):
        found = advert(TAG.lower(), kind, -60, {}, {})
        assert found is not None
        assert (found.address, found.random) == (TAG, random)


def test_only_service_data_of_16_bit_services_is_kept() -> None:
    found = advert(
        TAG,
        "random",
        -60,
        {},
        {
            "0000FCD2" + BASE.upper(): b"bthome",
            "0001fcd2" + BASE: b"32 bit",
            "6e400001-b5a3-f393-e0a9-e50e24dcca9e": b"128 bit",
        },
    )
    assert found is not None
    assert found.services == {0xFCD2: b"bthome"}


def test_a_property_that_changed_without_radio_is_no_advertisement() -> None:
    assert advert(TAG, "random", UNHEARD, {1: b"old"}, {}) is None


def test_an_rssi_that_the_controller_does_not_know_is_not_a_device_that_is_near() -> None:
    found = advert(TAG, "random", 127, {}, {})
    assert found is not None
    assert found.rssi == -127


@given(st.text(max_size=40))
def test_any_text_for_a_uuid_is_a_short_one_or_none(text: str) -> None:
    assert short_uuid(text) is None
    assert short_uuid("0000" + text[:4].ljust(4, "x") + BASE) in {None, *range(0x10000)}


# -- patterns


@given(
    st.frozensets(st.integers(0, 0xFFFF), max_size=100), st.frozensets(st.integers(0, 0xFFFF), max_size=100)
)
def test_every_wanted_company_and_service_has_its_pattern(
    companies: frozenset[int], services: frozenset[int]
) -> None:
    groups = patterns(Wants(companies, services))
    assert all(0 < len(group) <= MOST_PATTERNS for group in groups)
    flat = [each for group in groups for each in group]
    assert sorted(flat) == sorted(
        [(0, 0xFF, each.to_bytes(2, "little")) for each in companies]
        + [(0, 0x16, each.to_bytes(2, "little")) for each in services]
    )


def test_wanting_everything_adds_to_what_is_wanted_by_name() -> None:
    flat = [each for group in patterns(Wants(frozenset({0x0499}), everything=True)) for each in group]
    assert (0, 0xFF, b"\x99\x04") in flat
    assert (0, 0x01, b"\x06") in flat
    assert (0, 0xFF, b"\x4c\x00") in flat
    assert len(set(flat)) == len(flat)


def test_more_kinds_than_the_kernel_takes_are_refused() -> None:
    assert patterns(Wants(frozenset(range(256))))
    with pytest.raises(ValueError, match="256"):
        patterns(Wants(frozenset(range(257))))


def test_the_union_wants_what_each_wants() -> None:
    both = Wants.union([Wants(frozenset({1})), Wants(frozenset({2}), frozenset({3}), everything=True)])
    assert both == Wants(frozenset({1, 2}), frozenset({3}), everything=True)
    assert Wants.union([]) == Wants()


# -- silence


def test_the_first_round_is_a_restart_and_then_a_power_cycle() -> None:
    watch = Watch(0.0)
    assert watch.due(QUIET_S - 1) is None
    assert watch.due(QUIET_S) is Step.RESTART
    assert watch.suspicious
    assert not watch.helpless
    assert watch.due(2 * QUIET_S - 1) is None
    assert watch.due(2 * QUIET_S) is Step.POWER_CYCLE
    assert not watch.helpless
    assert watch.due(4 * QUIET_S) is Step.RESTART
    assert watch.helpless


def test_a_quiet_place_is_cycled_ever_more_seldom() -> None:
    watch = Watch(0.0)
    week = [(t, step) for t in range(7 * 86_400) if (step := watch.due(float(t))) is not None]
    cycles = [t for t, step in week if step is Step.POWER_CYCLE]
    # At most one of two steps an hour is a power cycle: 12 a day.
    assert sum(t < 86_400 for t in cycles) <= 18
    assert sum(t >= 6 * 86_400 for t in cycles) <= 12
    assert all(b - a >= POWER_PAUSE_S for a, b in itertools.pairwise(cycles))
    assert week[-1][0] - week[-2][0] == LONGEST_QUIET_S


def test_power_cycles_lie_apart_even_when_each_seems_to_help() -> None:
    watch, now, cycles = Watch(0.0), 0.0, []
    while now < 7200:
        now += 1
        step = watch.due(now)
        if step is Step.POWER_CYCLE:
            cycles.append(now)
            watch.heard(now)
    assert len(cycles) > 3
    assert all(b - a >= POWER_PAUSE_S for a, b in itertools.pairwise(cycles))


@given(st.lists(st.tuples(st.floats(0, 1e5), st.booleans()), max_size=50))
def test_whoever_is_heard_ends_the_suspicion(events: list[tuple[float, bool]]) -> None:
    watch, now = Watch(0.0), 0.0
    for pause, heard in events:
        now += pause
        if heard:
            watch.heard(now)
            assert not watch.suspicious
            assert watch.silence(now) == 0
            assert watch.due(now + QUIET_S / 2) is None
        else:
            watch.due(now)
            assert watch.silence(now) <= now


def test_a_radio_that_was_away_begins_anew() -> None:
    watch = Watch(0.0)
    assert watch.due(1e4) is Step.RESTART
    watch.begin(1e4)
    assert not watch.suspicious
    assert watch.due(1e4 + QUIET_S - 1) is None


# -- the comparison of scans

WANTS = Wants(frozenset({0x0499}))


def wanted(address: str = TAG) -> Advert:
    return Advert(address, True, -60, {0x0499: b""}, {})


def stranger(address: str = OTHER) -> Advert:
    return Advert(address, True, -60, {0x004C: b""}, {0xFEAA: b""})


def test_a_wanted_device_that_falls_silent_brings_a_passive_scan_under_suspicion() -> None:
    probation = Probation(60)
    probation.heard(wanted(), WANTS, 0)
    for second in range(60):
        probation.heard(wanted(OTHER), WANTS, second)
        probation.heard(stranger(THIRD), WANTS, 0)
        assert not probation.suspicious(second)
    assert probation.suspicious(60)


def test_it_is_convicted_by_the_device_that_an_active_scan_hears_again_and_again() -> None:
    probation = Probation(60)
    probation.heard(wanted(), WANTS, 0)
    probation.begin(60)
    probation.heard(wanted(), WANTS, 61)
    probation.heard(wanted(), WANTS, 63)
    assert probation.verdict(64) == "open"  # one burst
    probation.heard(wanted(), WANTS, 77)
    assert probation.verdict(78) == "active"
    assert not probation.running


def test_others_acquit_it_and_it_gets_more_patience() -> None:
    probation = Probation(60)
    for round_ in range(10):
        patience = probation.patience
        assert patience == 60 * min(MOST_PATIENCE, 2**round_)
        probation.heard(wanted(), WANTS, 0)
        assert probation.suspicious(patience)
        probation.begin(patience)
        for second in range(100):
            probation.heard(stranger(), WANTS, patience + second)
            probation.heard(wanted(THIRD), WANTS, patience + second)  # it came only now
        assert probation.verdict(2 * patience - 1) == "open"
        assert probation.verdict(2 * patience) == "passive"
        assert not probation.suspicious(1e9)


def test_after_complete_silence_whoever_is_wanted_convicts_it() -> None:
    probation = Probation(60)
    probation.begin(60, silence=True)
    for second in (61, 80):
        probation.heard(stranger(), WANTS, second)
    assert probation.verdict(81) == "open"
    for second in (82, 100):
        probation.heard(wanted(), WANTS, second)
    assert probation.verdict(101) == "active"


def test_silence_gives_no_verdict() -> None:
    probation = Probation(60)
    assert probation.verdict(0) == "open"
    probation.begin(0, silence=True)
    assert probation.verdict(1e6) == "open"
    probation.cancel()
    probation.heard(wanted(), WANTS, 1)
    assert probation.verdict(1e6) == "open"


def test_a_flood_of_senders_is_not_remembered() -> None:
    probation = Probation(60)
    for scan in ("passive", "active"):
        if scan == "active":
            probation.begin(1e6, silence=True)
        for number in range(10 * MOST_SENDERS):
            probation.heard(wanted(f"{number:012x}"), WANTS, 1.0)
    assert len(probation._firsts) == MOST_SENDERS
    assert not probation._passively
    probation.cancel()
    for number in range(10 * MOST_SENDERS):
        probation.heard(wanted(f"{number:012x}"), WANTS, 1.0)
    assert len(probation._passively) == MOST_SENDERS


# -- floods


def test_more_devices_than_can_be_kept_are_a_flood_and_many_advertisements_are_none() -> None:
    crowd = Crowd(100)
    assert not any(crowd.heard(f"{number % 100:012x}", number / 100) for number in range(10_000))
    assert crowd.heard("one more", 100.0)


def test_devices_that_went_long_ago_do_not_count() -> None:
    crowd = Crowd(100)
    assert not any(crowd.heard(f"{number:012x}", number) for number in range(10_000))
    assert len(crowd._newer) + len(crowd._older) <= 62


# -- failures


@pytest.mark.parametrize("reason", sorted(_TEXTS))
def test_every_failure_says_why_and_what_to_do(reason: str) -> None:
    found = failure(reason, "hci0", "some words")
    assert found.reason == reason
    assert found.why.endswith(".")
    assert found.todo
    assert "{" not in str(found)
    assert "  " not in failure(reason).why
    assert set(_TEXTS) >= STUCK


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("org.freedesktop.DBus.Error.ServiceUnknown", "no_bluez"),
        ("org.freedesktop.DBus.Error.Spawn.ServiceNotFound", "no_bluez"),
        ("org.freedesktop.systemd1.NoSuchUnit", "no_bluez"),
        ("org.freedesktop.DBus.Error.AccessDenied", "permission"),
        ("org.bluez.Error.NotAuthorized", "permission"),
        ("org.bluez.Error.InProgress", "busy"),
        ("org.bluez.Error.NotReady", "off"),
        ("org.bluez.Error.Blocked", "rfkill"),
        ("org.freedesktop.DBus.Error.NoReply", "timeout"),
        ("org.bluez.Error.Anything", "failed"),
    ],
)
def test_errors_of_dbus_and_bluez_have_their_reasons(name: str, reason: str) -> None:
    assert named(name, "", "hci0").reason == reason


def test_errors_of_the_library_and_the_system_have_their_reasons() -> None:
    own = PortError("x", "y.", "z")
    assert explained(own, "hci0") is own
    assert explained(TimeoutError(), "hci0").reason == "timeout"
    assert explained(ConnectionRefusedError("refused"), "hci0").reason == "no_dbus"
    assert explained(EOFError(), "hci0").reason == "no_dbus"
    assert explained(ZeroDivisionError("a defect"), "hci0").reason == "failed"


# -- rfkill


@pytest.mark.parametrize(
    ("soft", "hard", "words"), [("0", "0", ""), ("1", "0", "by software"), ("1", "1", "by a hardware switch")]
)
def test_how_the_kernel_blocks_a_radio(tmp_path: Path, soft: str, hard: str, words: str) -> None:
    for number, name in enumerate(("phy0", "hci0")):
        switch = tmp_path / f"rfkill{number}"
        switch.mkdir()
        (switch / "name").write_text(name + "\n")
        (switch / "soft").write_text((soft if name == "hci0" else "1") + "\n")
        (switch / "hard").write_text((hard if name == "hci0" else "0") + "\n")
    (tmp_path / "rfkill2").mkdir()  # one that has just gone
    assert rfkill("hci0", tmp_path) == words
    assert rfkill("hci1", tmp_path) == ""
    assert rfkill("hci0", tmp_path / "missing") == ""
